//! The Events that users see for a policy that cannot be enforced as written.
//!
//! The API server rejects such a policy, but it does not check stored objects again.
//! It still serves a policy that an older server accepted, for instance from before
//! `ipBlock.cidr` was checked. So the test writes the policy into etcd itself.

use std::net::SocketAddr;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::Event;
use kube::Api;
use kube::api::ListParams;
use kubebed::apiserver::proxy::{Proxy, Verb};
use kubebed::daemon::Daemon;
use kubebed::world::{PATIENCE, World};
use samples::testbed_spec::{Families, Network, TestbedSpec};
use serde_json::{Value, json};

/// `metadata.uid` of the unusable policy, and the name of its Event.
const UID: &str = "6f2c1a0e-52d5-4f0c-9a53-0a4d1a5b7c11";
const NAME: &str = "nftpol.6f2c1a0e-52d5-4f0c-9a53-0a4d1a5b7c11.unusablepart";
/// Shortest pause between two Events of one agent.
const PAUSE: Duration = Duration::from_millis(200);

/// Nodes with one selected pod each. The last node has none.
pub(super) fn cluster(nodes: &[&str], network: Network) -> TestbedSpec {
    let spec = TestbedSpec::new(network, nodes)
        .namespace("dev", &[])
        .namespace("free", &[])
        .pod_on(0, "dev", "web-1", &[("app", "web")], Families::V4, &[])
        .pod_on(1, "dev", "web-2", &[("app", "web")], Families::V4, &[]);
    let alone = nodes.len() - 1;
    spec.pod_on(alone, "free", "one", &[], Families::V4, &[])
}

/// Stores the policy with `address` in place of a CIDR.
pub(super) fn store_unusable(world: &World, address: &str) -> Result<()> {
    world.server.store_policy(&json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {
            "name": "old", "namespace": "dev", "uid": UID,
            "creationTimestamp": "2020-01-01T00:00:00Z",
        },
        "spec": {
            "podSelector": {"matchLabels": {"app": "web"}},
            "policyTypes": ["Ingress"],
            "ingress": [{"from": [{"ipBlock": {"cidr": address}}]}],
        },
    }))
}

/// The Events in the policy's namespace.
pub(super) fn events(world: &World) -> Result<Vec<Event>> {
    let events: Api<Event> = Api::namespaced(world.server.client(), "dev");
    Ok(world.server.block_on(events.list(&ListParams::default()))?.items)
}

/// Waits until this node has written the only Event and its message contains this
/// text.
pub(super) fn told(world: &World, node: &str, message: &str, agent: &Daemon<'_>) -> Result<Event> {
    let start = Instant::now();
    loop {
        let mut events = events(world)?;
        let said: Vec<_> = events
            .iter()
            .map(|event| (&event.metadata.name, host(event), &event.message))
            .collect();
        ensure!(events.len() <= 1, "more than one Event: {said:#?}");
        let problem = format!("no Event of {node} with {message:?}, but {said:?}");
        let is_it = |event: &Event| {
            let said = event.message.as_deref().unwrap_or_default();
            host(event) == Some(node) && said.contains(message)
        };
        if let Some(event) = events.pop().filter(is_it) {
            return Ok(event);
        }
        ensure!(start.elapsed() < PATIENCE, "{problem}\n{}", agent.log());
        sleep(Duration::from_millis(20));
    }
}

fn host(event: &Event) -> Option<&str> {
    event.source.as_ref()?.host.as_deref()
}

/// A proxy on a node to the API server. It has the rights of the DaemonSet.
pub(super) fn proxy(world: &World, node: &str) -> Result<Proxy> {
    let client = world.server.service_account_client("kube-system", "nftpol")?;
    let address: SocketAddr = "127.0.0.1:0".parse()?;
    Proxy::start(&world.server, &world.cluster.endpoint(node)?.namespace, address, client)
}

/// How many Events an agent has asked the server to create.
fn created(proxy: &Proxy) -> usize {
    let calls = proxy.calls().into_iter().filter(|call| call.verb == Verb::Write);
    calls.filter(|call| call.path.ends_with("/events")).count()
}

#[test]
fn an_event_for_each_unusable_policy_and_no_more() -> Result<()> {
    let nodes = ["node-1", "node-2", "node-3"];
    let world = World::beside(cluster(&nodes, Network::Routed), "ev")?;
    store_unusable(&world, "10.244.1.2")?;
    let mut first = world.agent("node-1", &[])?;
    let event = told(&world, "node-1", "did you mean 10.244.1.2/32?", &first)?;
    is_about_the_policy(&event)?;
    first.ready_within(PATIENCE)?;

    let proxies = [proxy(&world, "node-2")?, proxy(&world, "node-3")?];
    let start = |node: &str, proxy: &Proxy| {
        let namespace = &world.cluster.endpoint(node)?.namespace;
        Daemon::start(namespace, &proxy.kubeconfig()?, node, &[])
    };
    let second = start("node-2", &proxies[0])?;
    let again = told(&world, "node-2", "10.244.1.2", &second).context("a second node")?;
    assert_eq!(again.metadata.uid, event.metadata.uid);
    assert_eq!(again.first_timestamp, event.first_timestamp);
    assert!(again.last_timestamp >= event.last_timestamp);
    first.stop()?;
    let first = world.agent("node-1", &[])?;
    let again = told(&world, "node-1", "10.244.1.2", &first).context("after a restart")?;
    assert_eq!(again.metadata.uid, event.metadata.uid);
    first.stop()?;

    let mut third = start("node-3", &proxies[1])?;
    third.ready_within(PATIENCE)?;
    a_storm(&world, &second, &proxies[0])?;
    // By now node 3 has seen every version of the policy. It has no Event to write.
    assert_eq!(third.metric("nftpol_broken_policies{reason=\"unusable_part\"}")?, 1.0);
    assert_eq!(proxies[1].count(Verb::Write, "events"), 0, "a node without a selected pod");
    Ok(())
}

fn is_about_the_policy(event: &Event) -> Result<()> {
    assert_eq!(event.metadata.name.as_deref(), Some(NAME));
    assert_eq!(event.type_.as_deref(), Some("Warning"));
    assert_eq!(event.reason.as_deref(), Some("UnusablePart"));
    let about: Value = serde_json::to_value(&event.involved_object)?;
    let expected = json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "namespace": "dev", "name": "old", "uid": UID,
    });
    assert_eq!(about, expected);
    let said = event.message.as_deref().unwrap_or_default();
    ensure!(said.contains("spec.ingress[0].from[0].ipBlock.cidr"), "{said}");
    Ok(())
}

/// A policy that changes all the time. The agent writes few Events, and the last one
/// is up to date.
fn a_storm(world: &World, agent: &Daemon<'_>, proxy: &Proxy) -> Result<()> {
    let (start, before) = (Instant::now(), created(proxy));
    let changes = 60;
    for number in 1..=changes {
        store_unusable(world, &format!("10.0.0.{number}"))?;
    }
    let last = format!("did you mean 10.0.0.{changes}/32?");
    told(world, "node-2", &last, agent).context("after many changes")?;
    let (took, written) = (start.elapsed(), created(proxy) - before);
    let most = took.as_millis() / PAUSE.as_millis() + 1;
    println!("{changes} changes in {took:?}: {written} Events written");
    ensure!(written as u128 <= most, "{written} Events in {took:?}");
    Ok(())
}
