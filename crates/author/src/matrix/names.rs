//! What ends are called.

use std::collections::{BTreeMap, BTreeSet};

use super::ends::Unit;
use super::table::End;
use crate::printable::is_unsafe;

/// How a sentence names an end: `shop/cart`, `node worker-1`, `internet`, `10.0.0.0/8`.
pub fn unit(unit: &Unit) -> String {
    match unit {
        Unit::Outside(outside) => outside.to_string(),
        Unit::Node(name) => format!("node {}", printable(name)),
        Unit::Kept(address) => format!("{address} (kept)"),
        Unit::Workload(_, key) | Unit::Pod(key) => printable(&key.to_string()),
    }
}

/// Names that tell all of these apart: `shop/cart`, with its kind (`shop/pod/cart`) where
/// something else is called so, too.
pub fn units(units: &[Unit]) -> Vec<String> {
    let mut names: Vec<String> = units.iter().map(unit).collect();
    let mut uses: BTreeMap<String, BTreeSet<&Unit>> = BTreeMap::new();
    for (name, unit) in names.iter().zip(units) {
        uses.entry(name.clone()).or_default().insert(unit);
    }
    for (name, unit) in names.iter_mut().zip(units) {
        let is_ambiguous = uses.get(name).is_some_and(|users| users.len() > 1);
        let (kind, key) = match unit {
            Unit::Workload(kind, key) => (kind.to_lowercase(), key),
            Unit::Pod(key) => ("pod".to_owned(), key),
            Unit::Outside(_) | Unit::Node(_) | Unit::Kept(_) => continue,
        };
        if is_ambiguous {
            *name = printable(&format!("{}/{kind}/{}", key.namespace, key.name));
        }
    }
    names
}

/// A name, and which pods if the workload has others.
pub fn with_part(name: String, end: &End) -> String {
    match (end.is_part, end.pods.as_slice()) {
        (false, _) | (true, []) => name,
        (true, [one]) => format!("{name}[{}]", printable(&one.name)),
        (true, [one, others @ ..]) => {
            format!("{name}[{} +{}]", printable(&one.name), others.len())
        }
    }
}

/// What it is, in full: `Deployment shop/cart, 2 pods`.
pub fn in_full(end: &End) -> String {
    let count = match end.count {
        Some(1) => ", 1 pod".to_owned(),
        Some(count) => format!(", {count} pods"),
        None => ", a pod for each node".to_owned(),
    };
    match &end.unit {
        Unit::Outside(outside) => match outside.cidrs().len() {
            0 => "internet, every address that is not named here".to_owned(),
            _ => format!("{outside}, as far as no pod and no node has it"),
        },
        Unit::Node(_) | Unit::Kept(_) => unit(&end.unit),
        Unit::Workload(kind, key) => printable(&format!("{kind} {key}")) + &count,
        Unit::Pod(key) => format!("Pod {}", printable(&key.to_string())),
    }
}

/// Text from outside without what moves a terminal's cursor or turns writing around.
pub fn printable(text: &str) -> String {
    match text.chars().any(is_unsafe) {
        false => text.to_owned(),
        true => text.chars().map(|one| if is_unsafe(one) { '\u{fffd}' } else { one }).collect(),
    }
}
