//! The agent in the DaemonSet's container. containerd and runc run it with exactly
//! the privileges that `manifests/` grant.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::PodSpec;
use kube::Api;
use kubebed::container::Runtime;
use kubebed::daemon::Daemon;
use kubebed::rootfs;
use kubebed::world::{PATIENCE, World, manifests, soon};
use netbed::net::Namespace;
use netbed::probe::Knock;
use netbed::program;
use netbed::scenario::Scenario;
use netbed::testbed::Endpoint;
use nix::unistd::Pid;
use samples::fixtures;
use samples::testbed_spec::{Families, Network};

const KNOCKS: [Knock; 2] = [Knock::Tcp(80), Knock::Udp(53)];
/// Bit 12 (linux/capability.h).
const NET_ADMIN: u64 = 1 << 12;

#[test]
fn the_agent_works_with_the_privileges_of_the_daemonset() -> Result<()> {
    let spec = fixtures::dev_pods(Network::Bridge, &["node-1"], &["web", "db"], Families::Both);
    let world = World::beside(spec, "pv")?;
    let scenario = Scenario::new(&world.cluster, &KNOCKS)?;
    let node = &world.cluster.endpoint("node-1")?.namespace;
    let runtime = Runtime::start(node)?;
    let pod = daemonset(&world)?;

    without_net_admin(&world, &runtime, &pod).context("without NET_ADMIN")?;
    let mut agent = runtime.agent(&world.server, &pod, "node-1")?;
    agent.ready_within(PATIENCE)?;
    exactly_these(runtime.process()?).context("the privileges")?;
    the_documentation_names_the_metrics(&agent).context("docs/operate.md")?;
    live_connections_are_cut(&world, &agent).context("a live connection")?;
    soon(&world, &scenario).context("the policy on packets")?;
    bound_to_their_interfaces(&world, &agent).context("the binding")?;
    node_command(node, &["nft", "flush", "ruleset"])?;
    soon(&world, &scenario).context("after `nft flush ruleset`")?;
    ensure!(agent.metric("nftpol_repairs_total")? == 0.0, "flushed:\n{}", agent.log());
    bound_to_their_interfaces(&world, &agent).context("the binding after it")?;
    unfiltered_bridge(node, &mut agent).context("a bridge's packets unseen")?;
    ipvs(node, &mut agent).context("IPVS")?;
    foreign_drop(node, &agent).context("a chain of others that drops")?;
    agent.stop()?;
    soon(&world, &scenario).context("the policy after the agent's end")?;
    Ok(())
}

/// The pod template of the DaemonSet, as the API server has it after
/// `kubectl apply -k manifests/`.
fn daemonset(world: &World) -> Result<PodSpec> {
    let sets: Api<DaemonSet> = Api::namespaced(world.server.client(), "kube-system");
    let set = world.server.block_on(sets.get("nftpol"))?;
    set.spec.and_then(|spec| spec.template.spec).context("a DaemonSet without a spec")
}

fn without_net_admin(world: &World, runtime: &Runtime<'_>, pod: &PodSpec) -> Result<()> {
    let mut pod = pod.clone();
    let security = pod.containers[0].security_context.as_mut();
    let capabilities = security.and_then(|security| security.capabilities.as_mut());
    let added = capabilities.context("no capabilities")?.add.take();
    assert_eq!(added, Some(vec!["NET_ADMIN".to_owned()]));
    let mut agent = runtime.agent(&world.server, &pod, "node-1")?;
    let mend = "CAP_NET_ADMIN (securityContext.capabilities.add: [NET_ADMIN])";
    agent.unready_within(PATIENCE, mend)?;
    assert_eq!(sets(&status(runtime.process()?)?)?, [0; 5]);
    ensure!(agent.get("/healthz")?.0 == 200, "/healthz fails, but a restart would not help");
    let log = agent.stop()?;
    ensure!(log.contains(mend), "{log}");
    Ok(())
}

/// Checks uid, capabilities, no_new_privs, seccomp and root file system (proc(5)).
fn exactly_these(pid: Pid) -> Result<()> {
    let status = status(pid)?;
    let field = |name: &str| value(&status, name).map(str::to_owned);
    assert_eq!(field("Uid")?, "0\t0\t0\t0");
    assert_eq!(field("Gid")?, "0\t0\t0\t0");
    assert_eq!(sets(&status)?, [0, NET_ADMIN, NET_ADMIN, NET_ADMIN, 0]);
    assert_eq!(field("NoNewPrivs")?, "1");
    // SECCOMP_MODE_FILTER (linux/seccomp.h): containerd's RuntimeDefault.
    assert_eq!(field("Seccomp")?, "2");
    let mounts = fs::read_to_string(format!("/proc/{pid}/mountinfo"))?;
    for path in ["/", "/proc/sys", "/sys"] {
        // Number, parent, device, root, path, options.
        let mount = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
        let mount = mount.rev().find(|fields| fields[4] == path).context("no such mount")?;
        assert!(mount[5].split(',').any(|option| option == "ro"), "{path} is {}", mount[5]);
    }
    let root = format!("/proc/{pid}/root");
    for absent in ["/bin", "/usr/bin", "/usr/sbin", "/sbin"] {
        assert!(!fs::exists(format!("{root}{absent}"))?, "{absent}: must be absent");
    }
    assert!(fs::exists(format!("{root}{}", rootfs::PROGRAM))?);
    let mut shown = "in the DaemonSet's container:".to_owned();
    for name in ["Uid", "CapBnd", "CapEff", "NoNewPrivs", "Seccomp"] {
        shown += &format!(" {name} {};", field(name)?.replace('\t', " "));
    }
    // Visible in a normal run, too.
    writeln!(std::io::stderr(), "{shown} the root is read-only").context("write to stderr")
}

/// Without volumes, hostPID or more capabilities.
fn bound_to_their_interfaces(world: &World, agent: &Daemon<'_>) -> Result<()> {
    let node = &world.cluster.endpoint("node-1")?.namespace;
    let list = ["nft", "list", "set", "bridge", "nftpol", "own4"];
    let set = node.command(list[0]).args(&list[1..]).output().context("run nft")?;
    let set = String::from_utf8(set.stdout)?;
    for pod in world.cluster.endpoints().iter().filter(|endpoint| endpoint.is_pod()) {
        let address = pod.address(false).context("an address")?.to_string();
        ensure!(set.contains(&address), "{address} is not in {set}\n{}", agent.log());
    }
    ensure!(agent.metric("nftpol_bound_ports")? == 2.0, "bound ports: {}", agent.log());
    ensure!(agent.metric("nftpol_unbound_pods")? == 0.0, "unbound pods: {}", agent.log());
    Ok(())
}

fn status(pid: Pid) -> Result<String> {
    fs::read_to_string(format!("/proc/{pid}/status")).context("read the process's status")
}

fn value<'a>(status: &'a str, name: &str) -> Result<&'a str> {
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.map(str::trim).with_context(|| format!("no {name} in {status}"))
}

/// Inheritable, permitted, effective, bounding, ambient.
fn sets(status: &str) -> Result<[u64; 5]> {
    let mut sets = [0; 5];
    for (set, name) in sets.iter_mut().zip(["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"]) {
        *set = u64::from_str_radix(value(status, name)?, 16)?;
    }
    Ok(sets)
}

fn the_documentation_names_the_metrics(agent: &Daemon<'_>) -> Result<()> {
    let page_of_docs = fs::read_to_string(manifests().join("../docs/operate.md"))?;
    let (_, page) = agent.get("/metrics")?;
    let names = page.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
    let unnamed: Vec<&str> =
        names.filter(|name| !page_of_docs.contains(&format!("| `{name}"))).collect();
    assert_eq!(unnamed, Vec::<&str>::new(), "of:\n{page}");
    Ok(())
}

/// A connection that exchanges data until a policy denies it.
fn live_connections_are_cut(world: &World, agent: &Daemon<'_>) -> Result<()> {
    let web = world.cluster.endpoint("dev/web")?;
    let db = world.cluster.endpoint("dev/db")?;
    let mut connection = connected(web, db)?;
    echoed(&mut connection).context("while nothing denies it")?;
    world.server.apply(&fixtures::isolated("db", "Ingress"))?;
    let start = Instant::now();
    while agent.metric("nftpol_connections_total{what=\"entries_deleted\"}")? < 1.0 {
        ensure!(start.elapsed() < PATIENCE, "no entry deleted:\n{}", agent.log());
        sleep(Duration::from_millis(10));
    }
    ensure!(echoed(&mut connection).is_err(), "the denied connection still works");
    Ok(())
}

fn connected(from: &Endpoint, to: &Endpoint) -> Result<TcpStream> {
    let address = SocketAddr::new(to.address(false).context("no address")?, 7777);
    let listener = to.namespace.run(|| TcpListener::bind(address))??;
    thread::spawn(move || -> std::io::Result<()> {
        let (mut stream, _) = listener.accept()?;
        let mut byte = [0];
        while stream.read(&mut byte)? > 0 {
            stream.write_all(&byte)?;
        }
        Ok(())
    });
    let stream = from.namespace.run(|| TcpStream::connect(address))??;
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    Ok(stream)
}

fn echoed(stream: &mut TcpStream) -> Result<()> {
    stream.write_all(b"a")?;
    stream.read_exact(&mut [0]).context("no echo")
}

/// The container cannot set the sysctl: its /proc/sys is read-only.
fn unfiltered_bridge(node: &Namespace, agent: &mut Daemon<'_>) -> Result<()> {
    for name in ["bridge-nf-call-iptables", "bridge-nf-call-ip6tables"] {
        node.sysctl(&format!("bridge.{name}"), "0")?;
        let mend = format!("run `sysctl -w net.bridge.{name}=1` on the host");
        agent.unready_within(PATIENCE, &mend)?;
        ensure!(agent.log().contains(&mend), "{}", agent.log());
        node.sysctl(&format!("bridge.{name}"), "1")?;
        agent.ready_within(PATIENCE)?;
    }
    Ok(())
}

/// kube-proxy in IPVS mode puts the addresses of its Services on a dummy interface of
/// this name. The rules for what IPVS forwards come at once. The test uses a veth, because some kernels have no dummy interfaces.
fn ipvs(node: &Namespace, agent: &mut Daemon<'_>) -> Result<()> {
    let has_chain = || node_command(node, &["nft", "list", "chain", "inet", "nftpol", "ipvs"]);
    ensure!(has_chain().is_err(), "without IPVS there is a chain for it");
    node.ip("link add kube-ipvs0 type veth peer name unused")?;
    let start = Instant::now();
    while has_chain().is_err() {
        ensure!(start.elapsed() < PATIENCE, "no chain judges what IPVS forwards: {}", agent.log());
        sleep(Duration::from_millis(20));
    }
    agent.ready_within(PATIENCE)?;
    node.ip("link del kube-ipvs0")?;
    agent.ready_within(PATIENCE).map(drop)
}

fn foreign_drop(node: &Namespace, agent: &Daemon<'_>) -> Result<()> {
    let before = agent.log();
    node_command(node, &["nft", "add", "table", "ip", "others"])?;
    let chain = "{ type filter hook forward priority 10; policy drop; }";
    node_command(node, &["nft", "add", "chain", "ip", "others", "KUBE-POD-FW-ABCDEF"])?;
    node_command(node, &["nft", "add", "chain", "ip", "others", "strict", chain])?;
    let named = [
        "chain strict in table ip others drops forwarded packets by its policy",
        "kube-router enforces NetworkPolicy on this node, too, or left its rules (chain \
         KUBE-POD-FW-ABCDEF in table ip others)",
    ];
    let start = Instant::now();
    for named in named {
        while !agent.log().contains(named) {
            ensure!(start.elapsed() < 2 * PATIENCE, "not named:\n{}", agent.log());
            sleep(Duration::from_millis(20));
        }
        ensure!(!before.contains(named), "it was named before it was there");
    }
    let remark =
        "[+] alone: others enforce NetworkPolicy here, too, or left their rules: kube-router";
    while !agent.get("/readyz")?.1.contains(remark) {
        ensure!(start.elapsed() < 2 * PATIENCE, "no remark: {:?}", agent.get("/readyz")?);
        sleep(Duration::from_millis(20));
    }
    // The chain belongs to the node. The agent is not responsible for it.
    ensure!(agent.get("/readyz")?.0 == 200, "not ready because of a foreign chain");
    node_command(node, &["nft", "delete", "table", "ip", "others"])
}

fn node_command(node: &Namespace, command: &[&str]) -> Result<()> {
    let [program, arguments @ ..] = command else { bail!("no program") };
    let mut command = node.command(program);
    command.args(arguments);
    program::finish(command, "")?.success().map(drop)
}
