//! The matrix as JSON, for programs.

use policy::Protocol;
use serde_json::{Value, json};

use super::ends::Unit;
use super::table::{End, Matrix};
use crate::ports::PROTOCOLS;
use crate::{Cluster, PortSet};

/// `{"ends": [...], "pairs": [{"from", "to", "ipv4": ["80/TCP"], "ipv6": ["all"]}]}`. A
/// pair that is not listed passes nothing; with `denied` it is listed. A family that is no
/// question is `null`. `network` is there if it is a further one.
pub fn json(cluster: &Cluster, matrix: &Matrix, denied: bool) -> Value {
    let pairs = matrix.pairs(denied).map(|(from, to, cell)| {
        let [ipv4, ipv6] = cell.ports.map(|set| set.map(|set| ports(matrix.sets.get(set))));
        json!({
            "from": matrix.ends[from].name,
            "to": matrix.ends[to].name,
            "ipv4": ipv4,
            "ipv6": ipv6,
        })
    });
    let mut value = json!({
        "ends": matrix.ends.iter().map(end).collect::<Vec<_>>(),
        "pairs": pairs.collect::<Vec<_>>(),
    });
    if let Some(network) = &cluster.network {
        value["network"] = json!(network.key.to_string());
    }
    value
}

/// `["all"]`, `[]`, `["80/TCP", "8000-8100/TCP", "53/UDP", "other"]`.
pub fn ports(set: &PortSet) -> Vec<String> {
    if set.is_everything() {
        return vec!["all".to_owned()];
    }
    let of = |protocol: Protocol| {
        set.of(protocol).iter().map(move |(first, last)| match first == last {
            true => format!("{first}/{protocol}"),
            false => format!("{first}-{last}/{protocol}"),
        })
    };
    let mut all: Vec<String> = PROTOCOLS.into_iter().flat_map(of).collect();
    all.extend(set.has_others().then(|| "other".to_owned()));
    all
}

fn end(end: &End) -> Value {
    let pods: Vec<String> = end.pods.iter().map(ToString::to_string).collect();
    let mut value = json!({
        "name": end.name,
        "kind": kind(&end.unit),
        "ipv4": end.classes[0].is_some(),
        "ipv6": end.classes[1].is_some(),
    });
    match &end.unit {
        Unit::Outside(outside) => {
            let cidrs: Vec<String> = outside.cidrs().iter().map(ToString::to_string).collect();
            value["cidrs"] = json!(cidrs);
        }
        Unit::Node(_) | Unit::Kept(_) => {}
        Unit::Workload(_, key) | Unit::Pod(key) => {
            value["namespace"] = json!(key.namespace);
            value["pods"] = json!(pods);
            value["count"] = json!(end.count);
        }
    }
    value
}

/// The kind of an end, as the API has it for workloads and pods.
pub fn kind(unit: &Unit) -> &str {
    match unit {
        Unit::Outside(_) => "outside",
        Unit::Node(_) => "Node",
        Unit::Kept(_) => "kept",
        Unit::Workload(kind, _) => kind,
        Unit::Pod(_) => "Pod",
    }
}
