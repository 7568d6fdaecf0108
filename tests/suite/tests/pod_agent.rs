//! `nftpol pod-agent` between a real API server and the kernels of pods' namespaces.
//!
//! The pods are MacVLAN pods. Their processes are a folder like `/proc`: a control group
//! with the uid that the API server gave, and a link to the namespace.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use k8s_openapi::jiff::Timestamp;
use kubebed::daemon::Daemon;
use kubebed::world::{PATIENCE, World};
use netbed::fire::{nft, say};
use netbed::probe::Knock;
use netbed::program;
use netbed::scenario::Scenario;
use netbed::verdict::Counts;
use policy::{ObjectKey, PodUid};
use samples::scratch::Folder;
use samples::testbed_spec::{Families, Network, TestbedSpec};

const HEALTH: &str = "127.0.0.1:9477";
const KNOCKS: [Knock; 3] = [Knock::Tcp(80), Knock::Tcp(443), Knock::Udp(53)];
const SOON: Duration = Duration::from_secs(10);
const NODE: &str = "node-1";

/// Only clients reach the web servers, at one port; these reach nobody.
const POLICY: &str = "apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: web, namespace: dev}
spec:
  podSelector: {matchLabels: {app: web}}
  policyTypes: [Ingress, Egress]
  ingress:
  - from: [{podSelector: {matchLabels: {app: client}}}]
    ports: [{port: 80}]
";

/// More, for everybody.
const WIDER: &str = "apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: web, namespace: dev}
spec:
  podSelector: {matchLabels: {app: web}}
  policyTypes: [Ingress, Egress]
  ingress: [{ports: [{port: 80}, {port: 8080}, {port: 53, protocol: UDP}]}]
";

/// A folder like `/proc`.
struct Processes(Folder);

impl Processes {
    fn new() -> Result<Self> {
        Ok(Self(Folder::new("proc")?))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// A process of a pod.
    fn add(&self, world: &World, pod: &str, number: u32) -> Result<()> {
        let key = pod.split_once('/').map(|(one, other)| ObjectKey::new(one, other));
        let snapshot = world.snapshot()?;
        let found = key.and_then(|key| snapshot.pods.get(&key).cloned()).context("no such pod")?;
        let PodUid(uid) = found.attachment.uid;
        ensure!(uid != 0, "pod {pod} has no uid");
        let folder = self.path().join(number.to_string());
        fs::create_dir_all(folder.join("ns"))?;
        fs::write(folder.join("cgroup"), format!("0::/kubepods/burstable/pod{uid:032x}/01\n"))?;
        symlink(world.cluster.endpoint(pod)?.namespace.path(), folder.join("ns/net"))?;
        Ok(())
    }

    fn end(&self, number: u32) -> Result<()> {
        Ok(fs::remove_dir_all(self.path().join(number.to_string()))?)
    }
}

fn start<'a>(world: &'a World, processes: &Processes, owner: &str) -> Result<Daemon<'a>> {
    let node = &world.cluster.endpoint(NODE)?.namespace;
    let mut command = node.command(program::path()?);
    command.args(["pod-agent", "--node-name", NODE, "--verify", "--kubeconfig"]);
    command.arg(world.kubeconfig()).arg("--proc").arg(processes.path()).arg(owner);
    let mut agent = Daemon::spawn(node, command, HEALTH.parse()?)?;
    agent.ready_within(PATIENCE)?;
    Ok(agent)
}

/// Waits until packets do what the objects of the API server say.
fn follows(world: &World, scenario: &Scenario<'_>, agent: &Daemon<'_>) -> Result<Counts> {
    let start = Instant::now();
    loop {
        match scenario.check_snapshot(&world.snapshot()?) {
            Err(error) if start.elapsed() > SOON => return Err(error.context(agent.log())),
            Err(_) => sleep(Duration::from_millis(200)),
            counts => return counts,
        }
    }
}

fn tables(world: &World, pod: &str) -> Result<String> {
    let namespace = &world.cluster.endpoint(pod)?.namespace;
    let output = namespace.command("nft").args(["list", "tables"]).output()?;
    Ok(String::from_utf8(output.stdout)?)
}

/// A connection that a change denies ends, although it was established.
fn connection_is_cut(world: &World, scenario: &Scenario<'_>, agent: &Daemon<'_>) -> Result<()> {
    let (web, other) = (world.cluster.endpoint("dev/web")?, world.cluster.endpoint("dev/other")?);
    let to = SocketAddr::new(web.address(false).context("no address")?, 8080);
    let listener = web.namespace.run(|| TcpListener::bind(to))??;
    let mut client = other.namespace.run(|| TcpStream::connect_timeout(&to, SOON))??;
    let (mut server, _) = listener.accept()?;
    server.set_read_timeout(Some(Duration::from_millis(300)))?;
    client.write_all(b"a")?;
    server.read_exact(&mut [0])?;
    world.server.apply(POLICY)?;
    follows(world, scenario, agent).context("the narrower policy again")?;
    let start = Instant::now();
    while client.write_all(b"b").is_ok() && server.read_exact(&mut [0]).is_ok() {
        ensure!(start.elapsed() < SOON, "the connection lives on: {}", agent.log());
    }
    Ok(())
}

/// A policy in audit opens the pod, and closes it again by itself.
fn an_audit_is_over_by_itself(
    world: &World,
    scenario: &Scenario<'_>,
    agent: &Daemon<'_>,
) -> Result<()> {
    let end = Timestamp::from_second(Timestamp::now().as_second() + 8)?;
    let until = format!(", annotations: {{nftpol.dev/audit-until: '{end}'}}}}\nspec:");
    world.server.apply(&POLICY.replace("}\nspec:", &until))?;
    let start = Instant::now();
    while let Err(error) = scenario.check("") {
        ensure!(start.elapsed() < SOON, "in audit: {error:?}: {}", agent.log());
        sleep(Duration::from_millis(100));
    }
    ensure!(Timestamp::now() < end, "the machine is too slow for this test");
    // Nothing is written at the API server.
    while let Err(error) = scenario.check(POLICY) {
        ensure!(start.elapsed() < 2 * SOON, "the audit is not over: {error:?}: {}", agent.log());
        sleep(Duration::from_millis(100));
    }
    ensure!(Timestamp::now() >= end, "over too early");
    world.server.apply(POLICY)
}

#[test]
fn pod_agent_enforces_restores_and_takes_over() -> Result<()> {
    let spec = TestbedSpec::new(Network::Macvlan, &[NODE])
        .namespace("dev", &[])
        .pod("dev", "web", &[("app", "web")], Families::Both, &[])
        .pod("dev", "client", &[("app", "client")], Families::Both, &[])
        .pod("dev", "other", &[("app", "other")], Families::Both, &[]);
    let world = World::new(spec, "pa")?;
    let processes = Processes::new()?;
    for (pod, number) in [("dev/web", 4001), ("dev/client", 4002), ("dev/other", 4003)] {
        processes.add(&world, pod, number)?;
    }
    let scenario = Scenario::new(&world.cluster, &KNOCKS)?;
    let agent = start(&world, &processes, "--table-owner=off")?;
    ensure!(!tables(&world, "dev/web")?.contains("nftpol"), "a table although nobody is isolated");

    world.server.apply(POLICY)?;
    let counts = follows(&world, &scenario, &agent).context("after the policy")?;
    ensure!(counts.refused > 20, "{counts:?}");
    ensure!(!tables(&world, "dev/client")?.contains("nftpol"), "a table in an open pod");
    say(&format!("MacVLAN pods by pod-agent: {counts:?}\n"))?;

    // What a pod with CAP_NET_ADMIN can do.
    for damage in ["flush ruleset", "flush chain inet nftpol input", "delete table inet nftpol"] {
        let before = agent.metric("nftpol_repairs_total")?;
        let start = Instant::now();
        nft(&world.cluster.endpoint("dev/web")?.namespace, damage)?;
        while agent.metric("nftpol_repairs_total")? == before {
            ensure!(start.elapsed() < SOON, "{damage}: {}", agent.log());
            sleep(Duration::from_millis(10));
        }
        say(&format!("| {damage} | restored after {} ms |\n", start.elapsed().as_millis()))?;
        follows(&world, &scenario, &agent).context(damage)?;
    }
    ensure!(agent.log().contains("which takes CAP_NET_ADMIN; restored in"), "{}", agent.log());

    // Stopped: what was in force stays. Started again: it takes over, and follows.
    agent.stop()?;
    scenario.check(POLICY).context("without an agent")?;
    let agent = start(&world, &processes, "--table-owner=auto")?;
    world.server.apply(WIDER)?;
    follows(&world, &scenario, &agent).context("after the start")?;
    ensure!(agent.metric("nftpol_repairs_total")? == 0.0, "{}", agent.log());

    // The table belongs to the agent now: a pod with CAP_NET_ADMIN is refused.
    let pod = &world.cluster.endpoint("dev/web")?.namespace;
    let refused = nft(pod, "delete table inet nftpol").err().context("it is deleted")?;
    ensure!(refused.to_string().contains("not permitted"), "{refused}");
    nft(pod, "flush ruleset")?;
    follows(&world, &scenario, &agent).context("after a flush")?;
    ensure!(agent.metric("nftpol_repairs_total")? == 0.0, "{}", agent.log());

    connection_is_cut(&world, &scenario, &agent)?;
    an_audit_is_over_by_itself(&world, &scenario, &agent)?;

    processes.end(4001)?;
    let start = Instant::now();
    while !agent.log().contains("no process of the pod is in its namespace any more") {
        ensure!(start.elapsed() < SOON, "{}", agent.log());
        sleep(Duration::from_millis(50));
    }
    scenario.check(POLICY).context("the rules stay")?;
    agent.stop().map(drop)
}
