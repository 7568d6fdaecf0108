//! A greedy policy beside a real API server: what the operator and its author see, and what
//! becomes of others.

use anyhow::{Result, ensure};
use kubebed::world::{PATIENCE, World};
use samples::testbed_spec::Network;
use serde_json::{Value, json};

use super::events::{cluster, told};

const UID: &str = "0d2c1a0e-52d5-4f0c-9a53-0a4d1a5b7c22";

/// Lets 100 peers in.
fn greedy() -> Value {
    let peer = |number: u32| json!({"podSelector": {"matchLabels": {"peer": number.to_string()}}});
    let port = |number: u32| json!({"port": 1000 + 2 * number, "endPort": 1001 + 2 * number});
    json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {
            "name": "greedy", "namespace": "dev", "uid": UID,
            "creationTimestamp": "2020-01-01T00:00:00Z",
        },
        "spec": {
            "podSelector": {"matchLabels": {"app": "web"}},
            "policyTypes": ["Ingress"],
            "ingress": (0..50).map(|number| json!({
                "from": [peer(number), peer(number + 50)],
                "ports": [port(number)],
            })).collect::<Vec<Value>>(),
        },
    })
}

#[test]
fn a_greedy_policy_is_set_aside_and_said() -> Result<()> {
    let world = World::beside(cluster(&["node-1", "node-2"], Network::Routed), "bu")?;
    world.server.store_policy(&greedy())?;
    let mut agent = world.agent("node-1", &["--namespace-budget", "50,50,50"])?;
    let words = "finds no room in the budget of namespace dev (50 sets, 50 rules and 50 elements)";
    let event = told(&world, "node-1", words, &agent)?;
    ensure!(event.reason.as_deref() == Some("OverBudget"), "{:?}", event.reason);
    ensure!(event.metadata.name == Some(format!("nftpol.{UID}.overbudget")), "{event:?}");
    agent.ready_within(PATIENCE)?;
    let log = agent.log();
    ensure!(log.contains("NetworkPolicy dev/greedy") && log.contains(words), "{log}");
    Ok(())
}
