//! The matrix as one page that needs no network.
//!
//! In: a matrix, and the judge that made it. Out: a page with its style, its script and its
//! data: the cells, and for each pair which rules allow or deny it.
//! Never: text of the input as markup. It is JSON within a script element, and the script
//! makes text nodes of it. A browser that heeds the page's Content-Security-Policy runs that
//! script alone and loads nothing.
//!
//! ```text
//! groups       name, ...                                      namespaces, nodes, outside
//! ends         [name, group, what it is, is one pod, [IPv4 egress, IPv4 ingress, IPv6 ...]]
//! isolations   [0 none | 1 by | 2 shut, [policy, ...]]        an end's numbers, null without an address
//! cells        [IPv4 ports, IPv6 ports, 0 no question | 1 none | 2 some ports | 3 all]
//! rows, row    runs of cells (cell*count, base 36), and which of them is an end's row
//! policies     [key, file:line]
//! rules        [policy, 0 egress | 1 ingress, index, file:line, ports, peers, ends, ends by IPv6 if others]
//! ```

mod words;

use std::collections::BTreeMap;
use std::hash::Hash;

use anyhow::{Context, Result};
use askama::Template;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use policy::Direction;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::ends::Unit;
use super::judge::{ClassId, Isolated, Judge, PolicyRule};
use super::names;
use super::sets::{SetId, Sets};
use super::table::{Cell, Matrix};
use crate::Cluster;
use words::{peers_text, ports_text};

const SCRIPT: &str = include_str!("../../templates/matrix.js");
const STYLE: &str = include_str!("../../templates/matrix.css");

/// The page. The template escapes what is not marked as safe.
#[derive(Template)]
#[template(path = "matrix.html")]
struct Page<'a> {
    title: &'a str,
    notices: &'a [String],
    /// The script's SHA-256 in base64, for the Content-Security-Policy.
    script_hash: String,
    style: &'static str,
    script: &'static str,
    /// JSON without `<`, so that it cannot end its element.
    data: String,
}

/// The page about a matrix. `judge` has made it.
///
/// # Errors
/// None that is known: memory can be written.
pub fn page(cluster: &Cluster, judge: &Judge<'_>, matrix: &Matrix) -> Result<String> {
    let title = match &cluster.focus {
        Some(namespace) => format!("Who reaches whom: {}", names::printable(namespace)),
        None => "Who reaches whom".to_owned(),
    };
    let title = match &cluster.network {
        Some(network) => {
            format!("{title}, on network {}", names::printable(&network.key.to_string()))
        }
        None => title,
    };
    let data = serde_json::to_string(&data(cluster, judge, matrix)).context("write JSON")?;
    let page = Page {
        title: &title,
        notices: &cluster.notices,
        script_hash: BASE64_STANDARD.encode(Sha256::digest(SCRIPT)),
        style: STYLE,
        script: SCRIPT,
        data: within_script(&data),
    };
    page.render().context("fill the page's template")
}

/// JSON in which no character can end a script element or begin a comment (HTML standard,
/// "Restrictions for contents of script elements").
fn within_script(json: &str) -> String {
    json.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026")
}

fn data(cluster: &Cluster, judge: &Judge<'_>, matrix: &Matrix) -> Value {
    let mut groups = Numbers::default();
    let mut isolations = Numbers::default();
    let ends: Vec<Value> = matrix
        .ends
        .iter()
        .map(|end| {
            let isolated = end.classes.map(|class| {
                Direction::BOTH.map(|direction| {
                    class.map(|class| isolations.of(isolation(judge, class, direction)))
                })
            });
            let group = groups.of(group(&end.unit));
            json!([end.name, group, names::in_full(end), end.is_alone(), isolated.concat()])
        })
        .collect();
    let mut cells = Numbers::default();
    let mut rows = Numbers::default();
    let row: Vec<usize> = (0..matrix.ends.len())
        .map(|from| {
            let cells = (0..matrix.ends.len()).map(|to| cells.of(matrix.cell(from, to)));
            rows.of(runs(cells))
        })
        .collect();
    let of_cell = |cell: &Cell| cell_value(&matrix.sets, *cell);
    json!({
        "groups": groups.all,
        "ends": ends,
        "isolations": isolations.all.iter().map(|(kind, by)| json!([kind, by])).collect::<Vec<_>>(),
        "blank": cell_value(&matrix.sets, Cell::default()),
        "cells": cells.all.iter().map(of_cell).collect::<Vec<_>>(),
        "rows": rows.all,
        "row": row,
        "policies": policies(cluster, judge),
        "rules": rules(cluster, judge, matrix),
    })
}

/// Values under numbers, in the order in which they were met.
struct Numbers<T> {
    all: Vec<T>,
    known: std::collections::HashMap<T, usize>,
}

impl<T> Default for Numbers<T> {
    fn default() -> Self {
        Self { all: Vec::new(), known: std::collections::HashMap::new() }
    }
}

impl<T: Clone + Eq + Hash> Numbers<T> {
    fn of(&mut self, value: T) -> usize {
        if let Some(&number) = self.known.get(&value) {
            return number;
        }
        self.all.push(value.clone());
        self.known.insert(value, self.all.len() - 1);
        self.all.len() - 1
    }
}

fn group(unit: &Unit) -> String {
    match unit {
        Unit::Outside(_) => "outside".to_owned(),
        Unit::Node(_) => "nodes".to_owned(),
        Unit::Kept(_) => "kept".to_owned(),
        Unit::Workload(_, key) | Unit::Pod(key) => names::printable(&key.namespace),
    }
}

fn isolation(judge: &Judge<'_>, class: ClassId, direction: Direction) -> (u8, Vec<usize>) {
    match judge.class(class).isolated(direction) {
        Isolated::No => (0, Vec::new()),
        Isolated::By(policies) => (1, policies.clone()),
        Isolated::Shut(policies) => (2, policies.clone()),
    }
}

fn cell_value(sets: &Sets, cell: Cell) -> Value {
    let ports = cell.ports.map(|set| set.map(|set| sets.get(set).to_string()));
    let is_all = cell.ports.into_iter().flatten().all(|set| set == SetId::EVERYTHING);
    let level = match (cell.is_blank(), cell.is_denied()) {
        (true, _) => 0,
        (false, true) => 1,
        (false, false) => 2 + u8::from(is_all),
    };
    json!([ports[0], ports[1], level])
}

/// `0*5,1,2*a`: cell 0 five times, cell 1 once, cell 2 ten times, all in base 36.
fn runs(cells: impl Iterator<Item = usize>) -> String {
    let mut runs: Vec<(usize, usize)> = Vec::new();
    for cell in cells {
        match runs.last_mut() {
            Some((last, count)) if *last == cell => *count += 1,
            _ => runs.push((cell, 1)),
        }
    }
    let texts: Vec<String> = runs
        .into_iter()
        .map(|(cell, count)| match count {
            1 => base36(cell),
            _ => format!("{}*{}", base36(cell), base36(count)),
        })
        .collect();
    texts.join(",")
}

fn base36(mut number: usize) -> String {
    let mut digits = Vec::new();
    loop {
        digits
            .extend(u32::try_from(number % 36).ok().and_then(|digit| char::from_digit(digit, 36)));
        number /= 36;
        if number == 0 {
            return digits.into_iter().rev().collect();
        }
    }
}

fn policies(cluster: &Cluster, judge: &Judge<'_>) -> Vec<Value> {
    let all = judge.policies().iter();
    all.map(|policy| {
        json!([names::printable(&policy.key.to_string()), place(cluster, &policy.key, "")])
    })
    .collect()
}

fn place(cluster: &Cluster, policy: &policy::ObjectKey, field: &str) -> String {
    let at = cluster.places.of(policy, field);
    at.map(|at| format!("{}:{}", names::printable(&at.file), at.line)).unwrap_or_default()
}

fn rules(cluster: &Cluster, judge: &Judge<'_>, matrix: &Matrix) -> Vec<Value> {
    let place_of: BTreeMap<_, usize> =
        judge.policies().iter().enumerate().map(|(at, policy)| (&policy.key, at)).collect();
    let value = |(at, rule): (usize, &PolicyRule<'_>)| {
        let PolicyRule { policy, direction, index, rule } = *rule;
        let [v4, v6] = [0, 1].map(|family| {
            let is_peer = |end: usize| {
                matrix.ends[end].classes[family].is_some_and(|one| judge.class(one).is_peer_of(at))
            };
            ranges((0..matrix.ends.len()).filter(|&end| is_peer(end)))
        });
        json!([
            place_of.get(&policy.key),
            u8::from(direction == Direction::Ingress),
            index,
            place(cluster, &policy.key, &format!("spec.{direction}[{index}]")),
            ports_text(rule),
            names::printable(&peers_text(rule)),
            v4,
            (v6 != v4).then_some(v6),
        ])
    };
    judge.rules().iter().enumerate().map(value).collect()
}

/// `0-a,c`: in base 36.
fn ranges(numbers: impl Iterator<Item = usize>) -> String {
    let mut ranges: Vec<(usize, usize)> = Vec::new();
    for number in numbers {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == number => *last = number,
            _ => ranges.push((number, number)),
        }
    }
    let texts: Vec<String> = ranges
        .into_iter()
        .map(|(first, last)| match first == last {
            true => base36(first),
            false => format!("{}-{}", base36(first), base36(last)),
        })
        .collect();
    texts.join(",")
}

#[cfg(test)]
mod tests;
