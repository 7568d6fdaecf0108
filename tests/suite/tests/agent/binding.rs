//! The agent follows the node's interfaces, and remembers who had which address.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use kubebed::daemon::Daemon;
use kubebed::world::{PATIENCE, World};
use netbed::net::{Namespace, veth};
use netbed::testbed::Endpoint;
use samples::fixtures;
use samples::testbed_spec::{Families, Network};

/// How long the agent may take to see what happens inside a pod: the kernel tells
/// nobody.
const SEEN_WITHIN: Duration = Duration::from_secs(15);

struct Node {
    world: World,
}

impl Node {
    fn namespace(&self) -> Result<&Namespace> {
        Ok(&self.world.cluster.endpoint("node-1")?.namespace)
    }

    fn pod(&self, name: &str) -> Result<&Endpoint> {
        self.world.cluster.endpoint(&format!("dev/{name}"))
    }

    fn address(&self, name: &str) -> Result<String> {
        Ok(self.pod(name)?.address(false).context("an address")?.to_string())
    }

    fn agent(&self) -> Result<Daemon<'_>> {
        let mut agent = self.world.agent("node-1", &["--table-owner=off"])?;
        agent.ready_within(PATIENCE)?;
        Ok(agent)
    }

    /// Which addresses are whose, by the bridge's table; empty without it.
    fn bound(&self) -> Result<String> {
        let mut nft = self.namespace()?.command("nft");
        let found = nft.args(["list", "set", "bridge", "nftpol", "own4"]).output()?;
        Ok(String::from_utf8(found.stdout)?)
    }

    fn flush(&self) -> Result<()> {
        let done = self.namespace()?.command("nft").args(["flush", "ruleset"]).status()?;
        ensure!(done.success(), "nft flush ruleset: {done}");
        Ok(())
    }
}

fn until(what: &str, mut holds: impl FnMut() -> Result<bool>) -> Result<Duration> {
    let start = Instant::now();
    while !holds()? {
        ensure!(start.elapsed() < SEEN_WITHIN, "waited in vain until {what}");
        sleep(Duration::from_millis(2));
    }
    Ok(start.elapsed())
}

#[test]
fn an_address_stays_with_its_interface_whatever_happens() -> Result<()> {
    let pods = ["web", "db", "late"];
    let spec = fixtures::dev_pods(Network::Bridge, &["node-1"], &pods, Families::V4);
    let node = Node { world: World::beside(spec, "ab")? };
    let agent = node.agent()?;
    let before = node.bound()?;
    for pod in pods {
        ensure!(before.contains(&node.address(pod)?), "{pod} is not bound: {before}");
    }

    let db = node.address("db")?;
    node.pod("web")?.namespace.ip(&format!("addr add {db}/32 dev eth0"))?;
    until("the claim is named", || Ok(agent.log().contains("claims")))?;
    ensure!(node.bound()? == before, "a claim moved an address");
    let claims = "nftpol_binding_findings{kind=\"claimed_twice\"}";
    until("the claim is counted", || Ok(agent.metric(claims)? == 1.0))?;
    ensure!(agent.get("/readyz")?.0 == 200, "a tenant made the node unready");

    // Nobody looks while the owner's address becomes the newer one.
    agent.kill()?;
    node.pod("db")?
        .namespace
        .ip(&format!("addr del {db}/24 dev eth0\naddr add {db}/24 dev eth0"))?;
    let agent = node.agent()?;
    ensure!(node.bound()? == before, "a restart moved an address");
    ensure!(agent.metric("nftpol_batches_total")? == 0.0, "it changed something: {}", agent.log());

    node.flush()?;
    let took = until("both tables are back", || Ok(node.bound()? == before))?;
    println!("both tables were back after {took:?}");
    until("that is counted", || Ok(agent.metric("nftpol_repairs_total")? >= 1.0))?;

    replaced_interface(&node).context("another interface with the same address")?;
    agent.stop().map(drop)
}

/// As when a pod's sandbox is made again.
fn replaced_interface(node: &Node) -> Result<()> {
    let (late, address) = (node.pod("late")?, node.address("late")?);
    late.namespace.ip("link del eth0")?;
    veth((node.namespace()?, "again"), (&late.namespace, "eth0"))?;
    node.namespace()?.ip("link set again master cni0 up")?;
    late.namespace.ip(&format!("addr add {address}/24 dev eth0"))?;
    let took = until("it is bound", || {
        let bound = node.bound()?;
        Ok(bound.lines().any(|line| line.contains("\"again\"") && line.contains(&address)))
    })?;
    println!("a new interface was bound after {took:?}");
    Ok(())
}
