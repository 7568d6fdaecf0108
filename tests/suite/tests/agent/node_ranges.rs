//! What the Node object says of its pods' addresses (`--node-pod-cidrs`), on nodes that had no
//! pod when their agent died; and what else a Node, or an API server, can say.

use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use kubebed::daemon::Daemon;
use kubebed::world::{PATIENCE, manifests};
use policy::{ObjectKey, Pod};
use samples::scratch::Folder;
use samples::testbed_spec::{Network, TestbedSpec};
use serde_json::{Value, json};

use super::unknown::{NODE, Scene};

const ACCOUNT: &str = "--as=system:serviceaccount:kube-system:nftpol";
const FLAGS: [&str; 2] = ["--unknown-pods=selected", "--node-pod-cidrs"];
/// The agent asks again within 30 s, and a third of that more.
const ASKED_AGAIN: Duration = Duration::from_secs(45);

/// A node with a pod that nobody knows, and no other but nftpol's own, which is in the node's
/// network. The cluster has a policy.
fn empty(network: Network, prefix: &str) -> Result<Scene> {
    let scene = Scene::new(network, prefix)?;
    let server = &scene.world.server;
    let of_node = scene.world.cluster.spec().pods();
    let first = of_node.first().context("a pod")?;
    let own = Pod {
        key: ObjectKey::new("kube-system", "nftpol-own"),
        host_network: true,
        addresses: first.host_addresses.clone(),
        ..first.clone()
    };
    let keys: Vec<ObjectKey> = ["web", "db", "far"].map(|name| ObjectKey::new("dev", name)).into();
    server.delete_pods(&keys)?;
    server.create_pods(&[own])?;
    scene.isolate("db")?;
    Ok(scene)
}

fn put_node(scene: &Scene, spec: &Value) -> Result<()> {
    let node =
        json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE}, "spec": spec});
    scene.world.server.apply(&node.to_string())
}

fn ranges() -> Value {
    let ranges = [false, true].map(|v6| TestbedSpec::pod_range(0, v6));
    json!({"podCIDR": ranges[0], "podCIDRs": ranges})
}

fn grant(scene: &Scene) -> Result<()> {
    let role = manifests().join("components/node-ranges/rbac.yaml").display().to_string();
    scene.world.server.kubectl(&["apply", "-f", &role], "")?.success().map(drop)
}

/// Whether the pod that nobody knows is shut, for both families and in both directions.
fn is_shut(scene: &Scene) -> Result<bool> {
    let seen = [scene.reaches("late", "outsider")?, scene.reaches("outsider", "late")?].concat();
    ensure!(seen.iter().all(|one| *one == seen[0]), "shut in part: {seen:?}");
    Ok(!seen[0])
}

fn soon_shut(scene: &Scene, agent: &Daemon<'_>) -> Result<()> {
    let start = Instant::now();
    while !is_shut(scene)? {
        ensure!(start.elapsed() < ASKED_AGAIN, "it is open: {}", agent.log());
        sleep(Duration::from_millis(50));
    }
    Ok(())
}

/// `/readyz` has a line about the ranges with this text, and the node is ready.
fn says(agent: &Daemon<'_>, text: &str) -> Result<()> {
    let start = Instant::now();
    loop {
        let (code, page) = agent.get("/readyz")?;
        ensure!(code == 200, "not ready: {page}");
        let line = page.lines().find(|line| line.contains("] ranges")).context("no such line")?;
        if line.contains(text) {
            return Ok(());
        }
        ensure!(start.elapsed() < ASKED_AGAIN, "it does not say {text:?}: {line}");
        sleep(Duration::from_millis(50));
    }
}

#[test]
fn ranges_of_the_node_outlive_an_agent_that_never_saw_a_pod() -> Result<()> {
    for (network, prefix) in [(Network::Bridge, "nb"), (Network::Routed, "nr")] {
        let scene = empty(network, prefix)?;
        grant(&scene)?;
        put_node(&scene, &ranges())?;
        let mut without = scene.world.agent(NODE, &FLAGS[..1])?;
        without.ready_within(PATIENCE)?;
        says(&without, "no address is shut yet")?;
        without.kill()?;
        ensure!(!is_shut(&scene)?, "{network:?}: without the flag, so this shows nothing");

        let folder = Folder::new("boot")?;
        let file = folder.path().join("boot");
        let restore = format!("--restore-file={}", file.display());
        let mut agent = scene.world.agent(NODE, &[&FLAGS[..], &[&restore]].concat())?;
        agent.ready_within(PATIENCE)?;
        // At once: the first commit has the ranges.
        ensure!(is_shut(&scene)?, "{network:?}: open when ready: {}", agent.log());
        says(&agent, "[+] ranges")?;
        let start = Instant::now();
        let expected = "range 10.244.1.0-10.244.1.254\nrange fd00:10:244:1::";
        while !fs::read_to_string(&file).is_ok_and(|text| text.contains(expected)) {
            ensure!(start.elapsed() < PATIENCE, "the boot file lacks them: {}", agent.log());
            sleep(Duration::from_millis(20));
        }
        agent.kill()?;
        ensure!(is_shut(&scene)?, "{network:?}: open without an agent");
        let mut next = scene.world.agent(NODE, &FLAGS)?;
        next.ready_within(PATIENCE)?;
        ensure!(is_shut(&scene)?, "{network:?}: open with the next agent");
        next.stop()?;
    }
    Ok(())
}

/// Without the right, without a Node, without ranges: the agent goes on, and says what is missing.
#[test]
fn what_is_missing_is_said_and_counts_once_it_is_there() -> Result<()> {
    let scene = empty(Network::Routed, "nm")?;
    let mut agent = scene.world.agent(NODE, &FLAGS)?;
    agent.ready_within(PATIENCE)?;
    says(&agent, "a ClusterRole must grant the verb get on nodes")?;
    ensure!(agent.log().contains("cannot get nodes: forbidden"), "not logged: {}", agent.log());
    ensure!(agent.metric("nftpol_condition{condition=\"ranges\"}")? == 0.0, "it holds");
    grant(&scene)?;
    says(&agent, "answers 404")?;
    put_node(&scene, &json!({}))?;
    says(&agent, "has no spec.podCIDRs")?;
    ensure!(!is_shut(&scene)?, "shut, and nobody said where");
    put_node(&scene, &ranges())?;
    soon_shut(&scene, &agent)?;
    says(&agent, "[+] ranges")?;
    agent.stop().map(drop)
}

/// What an operator, or whoever may write Nodes, can get wrong.
#[test]
fn ranges_that_would_cut_off_others_are_refused() -> Result<()> {
    let scene = empty(Network::Routed, "nx")?;
    grant(&scene)?;
    put_node(&scene, &json!({"podCIDR": "0.0.0.0/0", "podCIDRs": ["0.0.0.0/0"]}))?;
    let mut agent = scene.world.agent(NODE, &FLAGS)?;
    agent.ready_within(PATIENCE)?;
    says(&agent, "\"0.0.0.0/0\" is more than pods")?;
    ensure!(!is_shut(&scene)?, "it is used");
    agent.stop()?;
    // The pods have other addresses than the Node says, as with Calico's IPAM.
    scene.world.server.kubectl(&["delete", "node", NODE], "")?.success()?;
    put_node(&scene, &json!({"podCIDR": "10.99.0.0/24", "podCIDRs": ["10.99.0.0/24"]}))?;
    scene.world.server.create_pods(&scene.world.cluster.spec().pods())?;
    let mut agent = scene.world.agent(NODE, &FLAGS)?;
    agent.ready_within(PATIENCE)?;
    says(&agent, "pods of this node have addresses outside of the ranges")?;
    agent.stop().map(drop)
}

/// The component grants one right, and no more.
#[test]
fn the_component_grants_to_get_nodes_alone() -> Result<()> {
    let scene = empty(Network::Routed, "ng")?;
    let can = |verb: &str, what: &str| -> Result<bool> {
        let words: Vec<&str> =
            ["auth", "can-i", verb, ACCOUNT].into_iter().chain(what.split(' ')).collect();
        Ok(scene.world.server.kubectl(&words, "")?.stdout.trim() == "yes")
    };
    ensure!(!can("get", "nodes")?, "the base has it");
    grant(&scene)?;
    let start = Instant::now();
    while !can("get", "nodes")? {
        ensure!(start.elapsed() < PATIENCE, "not granted");
        sleep(Duration::from_millis(20));
    }
    for (verb, what) in [
        ("list", "nodes"),
        ("watch", "nodes"),
        ("patch", "nodes"),
        ("update", "nodes"),
        ("get", "nodes --subresource=proxy"),
        ("get", "nodes --subresource=status"),
        ("get", "pods"),
        ("get", "secrets"),
    ] {
        ensure!(!can(verb, what)?, "{verb} {what}");
    }
    Ok(())
}
