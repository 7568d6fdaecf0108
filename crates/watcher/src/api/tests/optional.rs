//! A kind that a cluster need not have.

use policy::{PolicyFor, Severity};

use super::super::multi_network_policies;
use super::*;

fn resources(names: &[&str]) -> Answer {
    let all: Vec<Json> = names.iter().map(|name| json!({"name": name})).collect();
    ends(200, json!({"kind": "APIResourceList", "resources": all}))
}

fn absent() -> Answer {
    ends(404, status(404, "the server could not find the requested resource"))
}

fn policy(version: &str, policy_for: Json) -> Json {
    json!({
        "apiVersion": format!("k8s.cni.cncf.io/{version}"), "kind": "MultiNetworkPolicy",
        "metadata": {
            "name": "p", "namespace": "ns", "resourceVersion": "5",
            "annotations": {"k8s.v1.cni.cncf.io/policy-for": policy_for, "x": "y"},
        },
        "spec": {"podSelector": {}, "ingress": [{"ports": [{"port": 80, "endPort": 90}]}]},
    })
}

async fn run(answers: Vec<Answer>, count: usize) -> (Vec<String>, Vec<String>) {
    let (client, asked) = served(answers);
    let events = multi_network_policies(client, Following::default());
    let shown = shown(events, count).await;
    let asked = asked.lock().unwrap();
    let path = |uri: &String| uri.split('?').next().unwrap_or_default().to_owned();
    (shown, asked.iter().map(path).collect())
}

const V1BETA1: &str = "/apis/k8s.cni.cncf.io/v1beta1";
const V1BETA2: &str = "/apis/k8s.cni.cncf.io/v1beta2";

#[tokio::test(start_paused = true)]
async fn a_cluster_without_the_kind_is_asked_again_and_told_of_once() {
    let (shown, asked) = run(
        vec![
            absent(),
            absent(),
            // Another kind of the group is there.
            absent(),
            resources(&["network-attachment-definitions"]),
            // It is installed.
            resources(&["multi-networkpolicies"]),
            stays_open(&[event("ADDED", policy("v1beta2", json!("a"))), bookmark(7, true)]),
        ],
        2,
    )
    .await;
    assert!(shown[0].contains("serves no MultiNetworkPolicy"), "{shown:?}");
    assert_eq!(shown[1], "listed ns/p");
    let list = format!("{V1BETA2}/multi-networkpolicies");
    assert_eq!(asked, [V1BETA2, V1BETA1, V1BETA2, V1BETA1, V1BETA2, &list]);
}

#[tokio::test(start_paused = true)]
async fn the_older_version_is_followed_and_a_kind_that_goes_takes_nothing_away() {
    let (shown, asked) = run(
        vec![
            absent(),
            resources(&["multi-networkpolicies"]),
            ended(&[event("ADDED", policy("v1beta1", json!("a"))), bookmark(7, true)]),
            absent(),
            absent(),
            absent(),
        ],
        3,
    )
    .await;
    assert_eq!(shown[0], "listed ns/p");
    assert!(shown[1].contains("ended the watch at once"), "{shown:?}");
    assert!(shown[2].contains("serves no MultiNetworkPolicy"), "{shown:?}");
    let list = format!("{V1BETA1}/multi-networkpolicies");
    assert_eq!(asked, [V1BETA2, V1BETA1, &list, &list, V1BETA2, V1BETA1]);
}

#[test]
fn what_the_annotation_says_is_where_the_policy_holds() {
    let read = |policy_for: Json| {
        let (policy, found) =
            super::super::policy_json::multi_network_policy(&policy("v1beta2", policy_for));
        let rules = policy.policy.ingress.as_ref().map(Vec::len);
        let networks = match policy.networks {
            PolicyFor::Networks(all) => {
                all.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
            }
            PolicyFor::Unreadable => "unreadable".to_owned(),
        };
        let found: Vec<Severity> = found.iter().map(|one| one.severity).collect();
        (networks, rules, found)
    };
    assert_eq!(read(json!("a, other/b ,a")), ("ns/a other/b".to_owned(), Some(1), vec![]));
    for nowhere in [json!(""), json!(" ")] {
        assert_eq!(read(nowhere), (String::new(), Some(1), vec![Severity::Warning]));
    }
    let some = read(json!("a,,b c"));
    assert_eq!(some, ("ns/a".to_owned(), Some(1), vec![Severity::Error; 2]));
    let (networks, rules, found) = read(json!(["a"]));
    assert_eq!((&*networks, rules), ("unreadable", Some(0)));
    assert!(found.contains(&Severity::Error));
}
