//! The words of a difference: for a terminal, a comment, a program.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use serde_json::{Value, json};

use super::{Change, Delta, Diff};
use crate::matrix::json::ports;
use crate::matrix::markdown::cell_text;
use crate::matrix::sets::{SetId, Sets};

/// Names that one side of a line has before the others are counted.
const NAMED: usize = 4;

/// Changes that one line tells.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Line {
    is_opening: bool,
    is_closing: bool,
    from: String,
    to: String,
    what: String,
    why: Vec<String>,
    pairs: usize,
}

/// A line for each change of several pairs that is the same.
pub fn text(diff: &Diff) -> String {
    let lines = lines(diff);
    let width = |part: fn(&Line) -> &str| {
        lines.iter().map(|line| part(line).chars().count()).max().unwrap_or_default().min(40)
    };
    let (from, to) = (width(|line| &line.from), width(|line| &line.to));
    let mut text = String::new();
    for line in &lines {
        let sign = sign(line);
        _ = writeln!(text, " {sign} {:from$} -> {:to$}  {}", line.from, line.to, line.what);
        for why in &line.why {
            _ = writeln!(text, "       {why}");
        }
    }
    text + &summary(diff) + "\n"
}

/// The same as a comment.
pub fn markdown(diff: &Diff) -> String {
    let lines = lines(diff);
    let mut text = String::from("### What this changes for the network\n\n");
    if lines.is_empty() {
        return text + &summary(diff) + "\n";
    }
    let (opens, closes): (Vec<&Line>, Vec<&Line>) = lines.iter().partition(|one| one.is_opening);
    for (title, lines) in [("Opens", opens), ("Closes", closes)] {
        if lines.is_empty() {
            continue;
        }
        _ = writeln!(text, "**{title}**\n\n| from | to | what | why |\n|---|---|---|---|");
        for line in lines {
            let cells = [&line.from, &line.to, &line.what, &line.why.join("; ")];
            let cells = cells.map(|cell| cell_text(cell));
            _ = writeln!(text, "| {} |", cells.join(" | "));
        }
        text.push('\n');
    }
    text + &summary(diff) + "\n"
}

/// Each pair by itself.
pub fn json(diff: &Diff) -> Value {
    let families = |sets: [Option<SetId>; 2]| {
        let [ipv4, ipv6] = sets.map(|set| set.map(|set| ports(diff.sets.get(set))));
        json!({"ipv4": ipv4, "ipv6": ipv6})
    };
    let changes = diff.iter().map(|(change, delta)| {
        json!({
            "from": diff.names[change.from],
            "to": diff.names[change.to],
            "before": families(change.before),
            "after": families(change.after),
            "opens": families(delta.opens.map(Some)),
            "closes": families(delta.closes.map(Some)),
            "causes": change.causes,
        })
    });
    json!({
        "changes": changes.collect::<Vec<_>>(),
        "pairs": diff.pairs,
        "opening": diff.opening(),
    })
}

fn sign(line: &Line) -> char {
    match (line.is_opening, line.is_closing) {
        (true, true) => '~',
        (true, false) => '+',
        (false, _) => '-',
    }
}

fn summary(diff: &Diff) -> String {
    let changes = diff.changes.len();
    if changes == 0 {
        return format!("nothing changes, of {} pairs", diff.pairs);
    }
    let opening = match diff.opening() {
        0 => "nothing opens".to_owned(),
        1 => "1 opens something: review it".to_owned(),
        more => format!("{more} open something: review them"),
    };
    let what = if changes == 1 { "pair changes" } else { "pairs change" };
    format!("{changes} {what}, of {}; {opening}", diff.pairs)
}

/// What tells two changes apart that could be one line.
type Alike = (String, Delta, Vec<String>);

fn lines(diff: &Diff) -> Vec<Line> {
    let mut alike: BTreeMap<Alike, BTreeMap<usize, BTreeSet<usize>>> = BTreeMap::new();
    for (change, delta) in diff.iter() {
        let key = (what(&diff.sets, *delta, change), *delta, change.causes.clone());
        alike.entry(key).or_default().entry(change.to).or_default().insert(change.from);
    }
    let mut lines = Vec::new();
    for ((what, delta, why), by_receiver) in alike {
        let mut blocks: BTreeMap<BTreeSet<usize>, BTreeSet<usize>> = BTreeMap::new();
        for (to, from) in by_receiver {
            blocks.entry(from).or_default().insert(to);
        }
        for (from, to) in blocks {
            let names = Names::new(diff);
            lines.push(Line {
                is_opening: delta.is_opening(),
                is_closing: delta.is_closing(),
                from: names.of(&from, &to),
                to: names.of(&to, &from),
                what: what.clone(),
                why: why.clone(),
                pairs: from.len() * to.len(),
            });
        }
    }
    let order = |line: &Line| {
        (!line.is_opening, usize::MAX - line.pairs, line.to.clone(), line.from.clone())
    };
    lines.sort_by_cached_key(order);
    lines
}

/// `opens 80`, `opens all (was 80)`, `closes 80 (81 stays)`, `IPv4 closes 80; IPv6 opens 81`.
fn what(sets: &Sets, delta: Delta, change: &Change) -> String {
    let of = |family: usize| {
        let show = |set: SetId| sets.get(set).to_string();
        let set = |passing: Option<SetId>| passing.unwrap_or(SetId::NOTHING);
        let (before, after) = (set(change.before[family]), set(change.after[family]));
        match (delta.opens[family], delta.closes[family]) {
            (SetId::NOTHING, SetId::NOTHING) => None,
            (_, SetId::NOTHING) if before == SetId::NOTHING => {
                Some(format!("opens {}", show(after)))
            }
            (_, SetId::NOTHING) if after == SetId::EVERYTHING => {
                Some(format!("opens all (was {})", show(before)))
            }
            (opens, SetId::NOTHING) => {
                Some(format!("opens {} (was {})", show(opens), show(before)))
            }
            (SetId::NOTHING, _) if after == SetId::NOTHING => {
                Some(format!("closes {}", show(before)))
            }
            (SetId::NOTHING, _) if before == SetId::EVERYTHING => {
                Some(format!("closes all but {}", show(after)))
            }
            (SetId::NOTHING, closes) => {
                Some(format!("closes {} (left: {})", show(closes), show(after)))
            }
            (_, _) => Some(format!("now {} (was {})", show(after), show(before))),
        }
    };
    match [of(0), of(1)] {
        [Some(one), Some(other)] if one == other => one,
        [Some(one), Some(other)] => format!("IPv4 {one}; IPv6 {other}"),
        [Some(one), None] if change.before[1].is_none() && change.after[1].is_none() => one,
        [Some(one), None] => format!("IPv4 {one}"),
        [None, Some(one)] => format!("IPv6 {one}"),
        [None, None] => String::new(),
    }
}

/// Names of sets of ends.
struct Names<'a> {
    diff: &'a Diff,
    namespaces: BTreeMap<&'a str, BTreeSet<usize>>,
}

impl<'a> Names<'a> {
    fn new(diff: &'a Diff) -> Self {
        let mut namespaces: BTreeMap<&str, BTreeSet<usize>> = BTreeMap::new();
        for (at, unit) in diff.units.iter().enumerate() {
            if let Some(namespace) = unit.namespace() {
                namespaces.entry(namespace).or_default().insert(at);
            }
        }
        Self { diff, namespaces }
    }

    /// What a set is called. An end and itself are no pair, so those that it meets may
    /// be missing.
    fn of(&self, ends: &BTreeSet<usize>, met: &BTreeSet<usize>) -> String {
        let all = 0..self.diff.units.len();
        let has = |end: usize| ends.contains(&end) || met.contains(&end);
        if ends.len() > 1 && all.clone().all(has) {
            return "any".to_owned();
        }
        let mut left = ends.clone();
        let mut names = Vec::new();
        let pods = || all.clone().filter(|&end| self.diff.units[end].is_pod());
        if pods().filter(|end| ends.contains(end)).count() > 1 && pods().all(has) {
            names.push("every pod".to_owned());
            left.retain(|&end| !self.diff.units[end].is_pod());
        }
        for (namespace, members) in &self.namespaces {
            let there = members.intersection(&left).count();
            if there > 1 && members.iter().all(|&end| has(end)) {
                names.push(format!("{namespace}/*"));
                left.retain(|end| !members.contains(end));
            }
        }
        names.extend(left.iter().map(|&end| self.diff.names[end].clone()));
        let more = names.len().saturating_sub(NAMED);
        names.truncate(NAMED);
        match more {
            0 => names.join(", "),
            _ => format!("{} and {more} more", names.join(", ")),
        }
    }
}
