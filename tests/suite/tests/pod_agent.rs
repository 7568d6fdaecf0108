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
use k8s_openapi::api::core::v1::{Event, Pod};
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use kube::api::ListParams;
use kubebed::daemon::Daemon;
use kubebed::world::{PATIENCE, World};
use netbed::fire::{nft, say};
use netbed::net::Namespace;
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
        self.add_in(&world.cluster.endpoint(pod)?.namespace, PodUid(uid), number)
    }

    /// A process of a pod in any network namespace.
    fn add_in(&self, namespace: &Namespace, PodUid(uid): PodUid, number: u32) -> Result<()> {
        ensure!(uid != 0, "the pod has no uid");
        let folder = self.path().join(number.to_string());
        fs::create_dir_all(folder.join("ns"))?;
        fs::write(folder.join("cgroup"), format!("0::/kubepods/burstable/pod{uid:032x}/01\n"))?;
        symlink(namespace.path(), folder.join("ns/net"))?;
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
    tables_in(&world.cluster.endpoint(pod)?.namespace)
}

fn tables_in(namespace: &Namespace) -> Result<String> {
    let output = namespace.command("nft").args(["list", "tables"]).output()?;
    Ok(String::from_utf8(output.stdout)?)
}

/// A pod with CAP_NET_ADMIN moves its interface into a namespace of its own.
fn an_interface_is_judged_wherever_a_process_of_the_pod_is(
    world: &World,
    processes: &Processes,
    agent: &Daemon<'_>,
) -> Result<()> {
    let (web, made) = (&world.cluster.endpoint("dev/web")?.namespace, Namespace::new("pa")?);
    let links = web.command("ip").args(["-o", "link", "show", "type", "macvlan"]).output()?;
    let links = String::from_utf8(links.stdout)?;
    let name = links.split(": ").nth(1).and_then(|name| name.split('@').next());
    let name = name.with_context(|| format!("no macvlan interface: {links}"))?;
    web.ip(&format!("link set {name} netns {}", made.name()))?;
    made.ip(&format!("link set {name} name mine0\nlink set mine0 up"))?;
    let key = ObjectKey::new("dev", "web");
    let uid = world.snapshot()?.pods.get(&key).context("no pod")?.attachment.uid;
    processes.add_in(&made, uid, 4005)?;
    let start = Instant::now();
    while !tables_in(&made)?.contains("table inet nftpol") {
        ensure!(start.elapsed() < SOON, "{}", agent.log());
        sleep(Duration::from_millis(50));
    }
    say(&format!("judged in a namespace that the pod made after {:?}\n", start.elapsed()))
}

/// Lines that `nftpol monitor` prints on the node.
fn monitored(world: &World) -> Result<String> {
    let node = &world.cluster.endpoint(NODE)?.namespace;
    let mut command = node.command(program::path()?);
    let output = command.args(["monitor", "--local", "--no-follow"]).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}

/// Packets that the rules in the pod's own namespace drop are shown with names, and counted.
/// What the pod itself writes to the log group is not.
fn what_is_denied_is_shown_and_counted(world: &World, agent: &Daemon<'_>) -> Result<()> {
    let web = world.cluster.endpoint("dev/web")?;
    let forger = "add table inet forger\n\
        add chain inet forger output { type filter hook output priority -300 ; }\n\
        add rule inet forger output log group 9478 prefix \"forged\"\n\
        add rule inet forger output log group 9478 prefix \"i.forged/chain\"";
    nft(&web.namespace, forger)?;
    let to = SocketAddr::new(web.address(false).context("no address")?, 8080);
    let other = world.cluster.endpoint("dev/other")?;
    let counted = "nftpol_denied_packets_total{direction=\"ingress\",namespace=\"dev\"}";
    let (before, start) = (agent.metric(counted)?, Instant::now());
    loop {
        let wait = Duration::from_millis(100);
        let refused = other.namespace.run(|| TcpStream::connect_timeout(&to, wait))?;
        ensure!(refused.is_err(), "it is let in");
        let lines = monitored(world)?;
        let is_shown = lines
            .lines()
            .any(|line| ["dev/other", "dev/web", "8080"].iter().all(|word| line.contains(word)));
        ensure!(!lines.contains("forged"), "{lines}");
        if is_shown && agent.metric(counted)? > before {
            break;
        }
        let page = agent.get("/metrics")?.1;
        let page: Vec<&str> = page.lines().filter(|line| line.contains("denied")).collect();
        ensure!(start.elapsed() < SOON, "{lines}\n{page:#?}\n{}", agent.log());
    }
    nft(&web.namespace, "delete table inet forger")
}

/// Under the names of what happened and of the pod.
fn the_pod_has_an_event(world: &World, agent: &Daemon<'_>) -> Result<()> {
    let events: Api<Event> = Api::namespaced(world.server.client(), "dev");
    let start = Instant::now();
    loop {
        let all = world.server.block_on(events.list(&ListParams::default()))?.items;
        let found = all.iter().find(|one| one.reason.as_deref() == Some("TableRemoved"));
        if let Some(event) = found {
            let about = &event.involved_object;
            let names = [&about.kind, &about.namespace, &about.name].map(Option::as_deref);
            ensure!(names == [Some("Pod"), Some("dev"), Some("web")], "{about:?}");
            let pods: Api<Pod> = Api::namespaced(world.server.client(), "dev");
            let pod = world.server.block_on(pods.get("web"))?;
            ensure!(about.uid == pod.metadata.uid, "{about:?}");
            ensure!(all.len() == 1, "one for all times: {all:?}");
            return say(&format!("{}\n", event.message.as_deref().unwrap_or_default()));
        }
        ensure!(start.elapsed() < SOON, "{all:?}: {}", agent.log());
        sleep(Duration::from_millis(100));
    }
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
    what_is_denied_is_shown_and_counted(&world, &agent)?;

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
    the_pod_has_an_event(&world, &agent)?;

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
    an_interface_is_judged_wherever_a_process_of_the_pod_is(&world, &processes, &agent)?;
    agent.stop().map(drop)
}
