use serde_json::json;

use super::*;

/// Metadata of a workspace with these members and edges. A `~` before a target
/// means that only tests need it.
fn metadata(members: &[&str], edges: &[(&str, &str)]) -> Value {
    let targets = edges.iter().map(|(_, to)| to.trim_start_matches('~'));
    let sources = edges.iter().map(|(from, _)| *from);
    let names: BTreeSet<&str> = members.iter().copied().chain(targets).chain(sources).collect();
    let deps = |name: &str| -> Vec<Value> {
        let own = edges.iter().filter(|(from, _)| *from == name);
        own.map(|(_, to)| match to.strip_prefix('~') {
            Some(to) => json!({"pkg": format!("{to}#1"), "dep_kinds": [{"kind": "dev"}]}),
            None => json!({"pkg": format!("{to}#1"), "dep_kinds": [{"kind": null}]}),
        })
        .collect()
    };
    json!({
        "packages": names.iter().map(|n| json!({"id": format!("{n}#1"), "name": n})).collect::<Vec<_>>(),
        "workspace_members": members.iter().map(|n| format!("{n}#1")).collect::<Vec<_>>(),
        "resolve": {
            "nodes": names.iter()
                .map(|n| json!({"id": format!("{n}#1"), "deps": deps(n)}))
                .collect::<Vec<_>>()
        },
    })
}

fn wrong(members: &[&str], edges: &[(&str, &str)]) -> Vec<String> {
    check(&Graph::read(&metadata(members, edges)).unwrap())
}

const MEMBERS: [&str; 16] = [
    "agent", "author", "cni", "compiler", "fuzz", "kubebed", "netbed", "nft", "policy", "ruleset",
    "samples", "suite", "tools", "verify", "watcher", "xtask",
];

const DRAWN: [(&str, &str); 25] = [
    ("author", "policy"),
    ("author", "watcher"),
    ("agent", "author"),
    ("agent", "cni"),
    ("watcher", "policy"),
    ("watcher", "k8s-openapi"),
    ("compiler", "policy"),
    ("compiler", "ruleset"),
    ("verify", "policy"),
    ("verify", "ruleset"),
    ("nft", "ruleset"),
    ("nft", "nftnl"),
    ("agent", "watcher"),
    ("agent", "compiler"),
    ("agent", "nft"),
    ("agent", "policy"),
    ("agent", "ruleset"),
    ("agent", "verify"),
    ("samples", "policy"),
    ("netbed", "samples"),
    ("kubebed", "netbed"),
    ("tools", "kubebed"),
    ("suite", "agent"),
    ("fuzz", "watcher"),
    ("fuzz", "nft"),
];

#[test]
fn the_drawing_passes() {
    assert_eq!(wrong(&MEMBERS, &DRAWN), [""; 0]);
}

#[test]
fn the_drawing_has_every_member_with_a_rule() {
    let ruled: BTreeSet<&str> = RULES.iter().map(|(name, ..)| *name).collect();
    assert_eq!(BTreeSet::from(MEMBERS), ruled);
}

#[test]
fn an_edge_that_is_not_drawn_is_named() {
    for edge in
        [("policy", "ruleset"), ("ruleset", "policy"), ("watcher", "nft"), ("nft", "policy")]
    {
        let sentence = format!("{} -> {} is not drawn", edge.0, edge.1);
        let found = wrong(&MEMBERS, &[&DRAWN[..], &[edge]].concat());
        assert!(found.contains(&sentence), "{found:?}");
    }
}

#[test]
fn an_edge_of_tests_counts_between_members_only() {
    let found = wrong(&MEMBERS, &[("compiler", "~watcher"), ("policy", "~tokio")]);
    assert_eq!(found, ["compiler -> watcher is not drawn"]);
}

#[test]
fn nothing_is_reached_through_another_crate() {
    let found = wrong(&MEMBERS, &[("compiler", "helper"), ("helper", "tokio")]);
    assert_eq!(found, ["compiler must not reach tokio (it comes by helper)"]);
}

#[test]
fn a_new_crate_needs_a_rule() {
    let found = wrong(&["policy", "novel"], &[]);
    assert_eq!(found, ["novel is a new crate: say in xtask what it may depend on"]);
}

#[test]
fn every_rule_is_about_names_that_rules_know() {
    let known: BTreeSet<&str> = RULES.iter().map(|(name, ..)| *name).collect();
    for (name, allowed, _) in RULES {
        assert!(allowed.iter().all(|to| known.contains(to) && *to != name), "{name}");
    }
}

#[test]
fn metadata_of_another_shape_is_an_error() {
    for (key, message) in [("packages", "no list packages"), ("resolve", "no field resolve")] {
        let mut broken = metadata(&MEMBERS, &DRAWN);
        broken.as_object_mut().unwrap().remove(key);
        assert_eq!(Graph::read(&broken).unwrap_err().to_string(), message);
    }
}
