//! The agent's picture of the node's interfaces, in real network namespaces: who
//! has which address while pods come, go, and claim what is not theirs.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use agent::node_network::{Binder, Given, Look, NodeView, NodeWatcher, look_once};
use anyhow::{Context, Result, ensure};
use netbed::net::{Namespace, veth};
use policy::{
    BindingFinding, BoundPort, Claims, InterfaceIndex, Labels, ObjectKey, Phase, Pod, Tunnel,
    TunnelSources,
};

/// Longer than any look, even on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// A node with a watcher.
struct Node {
    namespace: Namespace,
    watcher: NodeWatcher,
    changes: Arc<AtomicU64>,
}

impl Node {
    fn new() -> Result<Self> {
        let namespace = Namespace::new("nod")?;
        let changes = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&changes);
        let changed = move || {
            counted.fetch_add(1, Ordering::Relaxed);
        };
        let watcher = namespace.run(|| NodeWatcher::start(changed))??;
        Ok(Self { namespace, watcher, changes })
    }

    /// A pod's namespace, wired as a CNI plugin wires it.
    fn wire(&self, port: &str, addresses: &[&str]) -> Result<Namespace> {
        let pod = Namespace::new("pod")?;
        veth((&self.namespace, port), (&pod, "eth0"))?;
        give(&pod, addresses)?;
        Ok(pod)
    }

    fn want(&self, pods: &[&Pod]) {
        self.watcher.want(pods.iter().map(|pod| pod.addresses.iter().copied().collect()).collect());
    }

    /// The first look that is like this.
    fn look(&self, is_so: impl Fn(&Look) -> bool) -> Result<Arc<Look>> {
        let start = Instant::now();
        loop {
            let latest = self.watcher.latest();
            match latest.filter(|look| is_so(look)) {
                Some(look) => return Ok(look),
                None if start.elapsed() < PATIENCE => std::thread::sleep(Duration::from_millis(1)),
                None => anyhow::bail!("not seen: {:#?}", self.watcher.latest()),
            }
        }
    }

    fn index(&self, name: &str) -> Result<InterfaceIndex> {
        let look = self.look(|look| look.seen.ports.iter().any(|port| port.name == name))?;
        let port = look.seen.ports.iter().find(|port| port.name == name).context("the port")?;
        Ok(port.index)
    }
}

fn give(pod: &Namespace, addresses: &[&str]) -> Result<()> {
    let lines: Vec<String> =
        addresses.iter().map(|address| format!("addr add {address} dev eth0")).collect();
    pod.ip(&lines.join("\n"))
}

fn pod(name: &str, addresses: &[&str]) -> Pod {
    Pod {
        key: ObjectKey::new("default", name),
        addresses: addresses.iter().map(|text| ip(text)).collect(),
        labels: Labels::default(),
        node: None,
        host_addresses: Vec::new(),
        host_network: false,
        phase: Phase::Running,
        created: 0,
        is_ending: false,
        grace_seconds: 30,
        attachment: policy::Attachment::default(),
        ports: Vec::new(),
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn has(look: &Look, port: &str, address: &str) -> bool {
    look.seen.ports.iter().any(|one| one.name == port && one.has(ip(address)))
}

/// Which pod has an address, and by which port.
fn owner(binder: &Binder, address: &str) -> Option<(String, InterfaceIndex)> {
    let has = |port: &BoundPort| port.addresses.contains(&ip(address));
    let found = binder.network().ports.iter().find(|(_, port)| has(port));
    found.map(|(index, port)| (port.pod.name.clone(), *index))
}

#[test]
fn a_new_pod_is_seen_when_its_address_is_known() -> Result<()> {
    let node = Node::new()?;
    assert!(node.watcher.latest().is_some(), "the first look was made");
    let _pod = node.wire("port", &["10.0.0.2/24", "fd00::2/64"])?;
    let reported = pod("p", &["10.0.0.2", "fd00::2"]);
    let start = Instant::now();
    node.want(&[&reported]);
    node.look(|look| has(look, "port", "10.0.0.2") && has(look, "port", "fd00::2"))?;
    println!("seen after {:?}", start.elapsed());
    ensure!(node.changes.load(Ordering::Relaxed) > 0, "nobody was told");
    Ok(())
}

/// The address is known before the CNI plugin has given it to the port.
#[test]
fn an_address_that_comes_late_is_looked_for() -> Result<()> {
    let node = Node::new()?;
    let (first, second) = (pod("p", &["10.0.0.2", "fd00::2"]), pod("q", &["10.0.0.3"]));
    node.want(&[&first, &second]);
    let one = node.wire("one", &["10.0.0.2/24"])?;
    let other = node.wire("other", &[])?;
    node.look(|look| has(look, "one", "10.0.0.2"))?;
    give(&other, &["10.0.0.3/24"])?;
    node.look(|look| has(look, "other", "10.0.0.3"))?;
    give(&one, &["fd00::2/64"])?;
    node.look(|look| has(look, "one", "fd00::2"))?;
    Ok(())
}

/// No event tells of it.
#[test]
fn what_a_pod_gives_to_itself_is_seen_after_a_while() -> Result<()> {
    let node = Node::new()?;
    let namespace = node.wire("port", &["10.0.0.2/24"])?;
    let reported = pod("p", &["10.0.0.2"]);
    node.want(&[&reported]);
    let look = node.look(|look| has(look, "port", "10.0.0.2"))?;
    let mut binder = Binder::new(Given::default(), Claims::default());
    binder.update(&look.seen, [&reported]);
    give(&namespace, &["10.9.9.9/24"])?;
    let look = node.look(|look| has(look, "port", "10.9.9.9"))?;
    let update = binder.update(&look.seen, [&reported]);
    assert!(!update.is_changed, "what nobody reports is not bound");
    assert!(matches!(update.came[..], [BindingFinding::UnreportedAddress { .. }]), "{update:?}");
    Ok(())
}

#[test]
fn an_address_stays_with_the_port_that_had_it_first() -> Result<()> {
    let node = Node::new()?;
    let owned = node.wire("owned", &["10.0.0.2/24"])?;
    let thief = node.wire("thief", &["10.0.0.3/24"])?;
    let pods = [pod("owner", &["10.0.0.2"]), pod("thief", &["10.0.0.3"])];
    node.want(&[&pods[0], &pods[1]]);
    let look =
        node.look(|look| has(look, "owned", "10.0.0.2") && has(look, "thief", "10.0.0.3"))?;
    let mut binder = Binder::new(Given::default(), Claims::default());
    assert!(binder.update(&look.seen, &pods).is_changed);
    let owned_by = Some(("owner".to_owned(), node.index("owned")?));
    assert_eq!(owner(&binder, "10.0.0.2"), owned_by);

    give(&thief, &["10.0.0.2/24"])?;
    owned.ip("addr del 10.0.0.2/24 dev eth0")?;
    node.namespace.ip("link set owned down\nlink set owned name renamed\nlink set renamed up")?;
    let look =
        node.look(|look| has(look, "thief", "10.0.0.2") && !has(look, "renamed", "10.0.0.2"))?;
    let update = binder.update(&look.seen, &pods);
    assert_eq!(owner(&binder, "10.0.0.2"), owned_by);
    assert!(
        update.came.iter().any(|one| matches!(one, BindingFinding::ClaimedTwice { .. })),
        "{update:?}"
    );

    // After a restart the kernel's tables say who had what.
    let claims = binder.network().claims();
    let mut restarted = Binder::new(Given::default(), claims);
    restarted.update(&look.seen, &pods);
    assert_eq!(owner(&restarted, "10.0.0.2"), owned_by);

    // The owner ends. Its address goes to whoever gets it next.
    drop(owned);
    let look = node.look(|look| !look.seen.ports.iter().any(|port| port.name == "renamed"))?;
    binder.update(&look.seen, &pods[1..]);
    assert_eq!(owner(&binder, "10.0.0.2"), None);
    Ok(())
}

/// A pod takes an address before the pod comes that gets it.
#[test]
fn an_address_that_was_taken_early_is_the_newcomers() -> Result<()> {
    let node = Node::new()?;
    let thief = node.wire("thief", &["10.0.0.3/24"])?;
    let mut pods = vec![pod("thief", &["10.0.0.3"])];
    node.want(&[&pods[0]]);
    let look = node.look(|look| has(look, "thief", "10.0.0.3"))?;
    let mut binder = Binder::new(Given::default(), Claims::default());
    binder.update(&look.seen, &pods);
    give(&thief, &["10.0.0.2/24"])?;
    let _owned = node.wire("owned", &["10.0.0.2/24"])?;
    pods.push(pod("owner", &["10.0.0.2"]));
    node.want(&[&pods[0], &pods[1]]);
    let look = node.look(|look| has(look, "owned", "10.0.0.2"))?;
    binder.update(&look.seen, &pods);
    assert_eq!(owner(&binder, "10.0.0.2"), Some(("owner".to_owned(), node.index("owned")?)));
    assert_eq!(owner(&binder, "10.0.0.3"), Some(("thief".to_owned(), node.index("thief")?)));
    Ok(())
}

#[test]
fn a_pod_that_ends_loses_its_port() -> Result<()> {
    let node = Node::new()?;
    let namespace = node.wire("port", &["10.0.0.2/24"])?;
    node.look(|look| !look.seen.ports.is_empty())?;
    drop(namespace);
    node.look(|look| look.seen.ports.is_empty())?;
    Ok(())
}

/// Links that change all the time. A pod that takes its own end up and down causes
/// few events: the kernel delays them (`linkwatch_run_queue`,
/// net/core/link_watch.c, Linux 6.18).
#[test]
fn links_that_flap_cannot_keep_the_agent_busy() -> Result<()> {
    let node = Node::new()?;
    let pod = node.wire("port", &["10.0.0.2/24"])?;
    node.look(|look| !look.seen.ports.is_empty())?;
    let flaps = [
        (&pod, "link set eth0 down\nlink set eth0 up\n"),
        (&node.namespace, "link set port alias one\nlink set port alias two\n"),
    ];
    for (namespace, commands) in flaps {
        let (start, before) = (Instant::now(), node.watcher.effort());
        namespace.ip(&commands.repeat(5000))?;
        let (took, after) = (start.elapsed(), node.watcher.effort());
        println!("{took:?}: {} looks, {:?}", after.looks - before.looks, after.took - before.took);
        ensure!(after.took - before.took < took / 5, "{before:?} {after:?} in {took:?}");
    }
    assert!(node.watcher.is_alive());
    assert_eq!(node.watcher.problem(), None);
    Ok(())
}

#[test]
fn tunnels_are_seen_and_the_operators_are_added() -> Result<()> {
    let node = Node::new()?;
    node.namespace.ip("link add vx type vxlan id 1 dstport 8472 remote 192.0.2.9")?;
    let look = node.look(|look| look.seen.tunnels.contains_key(&Tunnel::Udp(8472)))?;
    let given = Given {
        tunnels: [Tunnel::Protocol(4)].into(),
        tunnel_peers: [ip("192.0.2.7")].into(),
        any_source: false,
        ..Given::default()
    };
    let mut binder = Binder::new(given, Claims::default());
    assert!(binder.update(&look.seen, []).is_changed);
    let network = binder.network();
    let tunnels: Vec<(Tunnel, TunnelSources)> =
        network.tunnels.iter().map(|(tunnel, sources)| (*tunnel, *sources)).collect();
    let expected = [Tunnel::Udp(8472), Tunnel::Protocol(4)];
    assert_eq!(tunnels, expected.map(|tunnel| (tunnel, TunnelSources::Nodes)));
    let peers: BTreeSet<IpAddr> = network.tunnel_peers.iter().copied().collect();
    assert_eq!(peers, [ip("192.0.2.7"), ip("192.0.2.9")].into());
    assert_eq!(binder.update(&look.seen, []), agent::node_network::Update::default());
    Ok(())
}

#[test]
fn a_single_look_sees_the_same() -> Result<()> {
    let node = Node::new()?;
    let _pod = node.wire("port", &["10.0.0.2/24"])?;
    let reported = pod("p", &["10.0.0.2"]);
    node.want(&[&reported]);
    let watched = node.look(|look| has(look, "port", "10.0.0.2"))?;
    let once = node.namespace.run(|| look_once(&[ip("10.0.0.2")].into()))??;
    assert_eq!(once.seen.ports[0].addresses, watched.seen.ports[0].addresses);
    Ok(())
}
