//! A connection to the API server that dies silently.
//!
//! As in a cluster, the agent reaches the server through the address of a Service.
//! Another program removes the rules that translate this address, as
//! `nft flush ruleset` does. From then on, packets of the server arrive with a source
//! that the agent's socket does not know. The kernel answers them with a reset that
//! only the server sees.

use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use kubebed::daemon::Daemon;
use kubebed::world::{PATIENCE, World, soon};
use netbed::net::Namespace;
use netbed::probe::Knock;
use netbed::program;
use netbed::scenario::Scenario;
use samples::fixtures::{isolated_victim, victim_and};
use samples::testbed_spec::Network;

/// The Service of the API server.
const SERVICE: &str = "10.96.0.1";
/// Longer than the agent needs to notice a dead connection, shorter than the longest
/// silence of a watch (`SILENCE` in crates/watcher/src/api/watch.rs).
const NOTICED: Duration = Duration::from_secs(100);

#[test]
fn a_connection_that_died_in_silence_is_noticed() -> Result<()> {
    let world = World::beside(victim_and("web", Network::Routed), "si")?;
    let scenario = Scenario::new(&world.cluster, &[Knock::Tcp(80)])?;
    let node = &world.cluster.endpoint("node-1")?.namespace;
    let server = world.server.address();
    let translate = format!(
        "table ip service {{ chain output {{ type nat hook output priority -100; \
         ip daddr {SERVICE} tcp dport 443 dnat to {server}; }}; }}"
    );
    nft(node, &translate)?;
    let by_service = fs::read_to_string(world.kubeconfig())?
        .replace(&server.to_string(), &format!("{SERVICE}:443"));
    let kubeconfig = world.kubeconfig().with_extension("by-service");
    fs::write(&kubeconfig, by_service)?;
    let mut agent = Daemon::start(node, &kubeconfig, "node-1", &[])?;
    agent.ready_within(PATIENCE)?;

    let before = connections(&world)?;
    nft(node, "delete table ip service")?;
    world.server.apply(&isolated_victim("Ingress"))?;
    let start = Instant::now();
    while connections(&world)? >= before {
        ensure!(start.elapsed() < PATIENCE, "the event is answered with no reset");
        sleep(Duration::from_millis(10));
    }
    ensure!(!nft(node, "list table inet nftpol")?.contains("dev/isolated"), "the event arrived");
    nft(node, &translate)?;
    let start = Instant::now();
    while !nft(node, "list table inet nftpol")?.contains("dev/isolated") {
        ensure!(start.elapsed() < NOTICED, "the policy does not arrive:\n{}", agent.log());
        sleep(Duration::from_millis(100));
    }
    eprintln!("noticed after {:.1} s", start.elapsed().as_secs_f32());
    soon(&world, &scenario)?;
    agent.stop().map(drop)
}

/// Connections of the agent that the server believes to be alive.
fn connections(world: &World) -> Result<usize> {
    let mut command = world.cluster.switch().command("ss");
    let port = format!(":{}", world.server.address().port());
    let agent = world.cluster.endpoint("node-1")?.address(false).context("no IPv4")?.to_string();
    command.args(["-Htn", "state", "established", "sport", "=", &port, "and", "dst", &agent]);
    Ok(program::finish(command, "")?.success()?.lines().count())
}

fn nft(node: &Namespace, script: &str) -> Result<String> {
    let mut command = node.command("nft");
    command.args(["-f", "-"]);
    program::finish(command, script)?.success()
}
