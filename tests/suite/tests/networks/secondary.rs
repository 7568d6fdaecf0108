//! MultiNetworkPolicy with packets. Each pod has a veth for its primary network, and MacVLAN
//! interfaces on one or two other ones. Every flow by these does what the specification says,
//! and the primary network is left alone.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use netbed::net::{Namespace, veth};
use netbed::{fire::say, program};
use policy::secondary::networks_of;
use policy::spec::secondary::passes;
use policy::spec::{Packet, ProtocolPort};
use policy::{Direction, ObjectKey, Protocol, Snapshot};
use watcher::Store;
use watcher::files::{self, Validation};

const PORTS: [u16; 3] = [80, 85, 443];
/// Packets of one machine need less.
const ARRIVES_WITHIN: Duration = Duration::from_millis(300);
/// Less than the second after which a client sends its SYN again.
const CONNECTS_WITHIN: Duration = Duration::from_millis(700);

/// A pod: its labels, its namespace, and the last part of its addresses. Pods with an even one
/// are on network `b`, too.
const PODS: [(&str, &str, &str, u8); 5] = [
    ("dev", "web", "web", 2),
    ("dev", "client", "client", 3),
    ("dev", "other", "other", 4),
    ("ops", "scraper", "client", 5),
    ("ops", "db", "web", 6),
];

/// Policies, each with a word about it.
const POLICIES: [(&str, &str); 10] = [
    ("deny all", "nets/a|{podSelector: {}, policyTypes: [Ingress, Egress]}"),
    ("deny ingress on both", "nets/a, nets/b|{podSelector: {matchLabels: {app: web}}}"),
    ("missing", "|{podSelector: {}, policyTypes: [Ingress, Egress]}"),
    (
        "pods",
        "nets/a|{podSelector: {matchLabels: {app: web}},
          ingress: [{from: [{podSelector: {matchLabels: {app: client}}}]}]}",
    ),
    (
        "namespaces",
        "nets/a,nets/b|{podSelector: {matchLabels: {app: web}}, ingress: [{from: [
          {namespaceSelector: {matchLabels: {team: ops}}, podSelector: {}}]}]}",
    ),
    (
        "ipBlock with except",
        "nets/a|{podSelector: {}, policyTypes: [Ingress, Egress],
          ingress: [{from: [{ipBlock: {cidr: 10.10.0.0/24, except: [10.10.0.4/31]}}]}],
          egress: [{to: [{ipBlock: {cidr: 10.10.0.0/29}}]}]}",
    ),
    (
        "ports",
        "nets/a|{podSelector: {}, ingress: [{ports: [{port: 80}, {port: 443, protocol: UDP}]}]}",
    ),
    ("endPort", "nets/a|{podSelector: {}, ingress: [{ports: [{port: 80, endPort: 90}]}]}"),
    ("named port", "nets/a|{podSelector: {}, ingress: [{ports: [{port: http}]}]}"),
    (
        "egress",
        "nets/b|{podSelector: {}, policyTypes: [Egress], egress: [{ports: [{port: 443}], to: [
          {podSelector: {matchLabels: {app: other}}}]}]}",
    ),
];

struct World {
    /// Holds the networks.
    hub: Namespace,
    pods: BTreeMap<ObjectKey, Namespace>,
}

/// The names of networks, interfaces and addresses that a pod has. The first is the primary
/// one.
fn attached(number: u8) -> Vec<(&'static str, &'static str, IpAddr)> {
    let of = |network, interface, second| (network, interface, [10, second, 0, number].into());
    let b = number.is_multiple_of(2).then(|| of("nets/b", "net2", 20));
    [of("", "eth0", 244), of("nets/a", "net1", 10)].into_iter().chain(b).collect()
}

fn world() -> Result<World> {
    let hub = Namespace::new("ns")?;
    hub.ip("link add br0 type bridge\nlink set br0 up\n\
            link add under0 type veth peer name wire0\nlink set under0 up\nlink set wire0 up\n\
            link add under1 type veth peer name wire1\nlink set under1 up\nlink set wire1 up")?;
    let mut pods = BTreeMap::new();
    for (namespace, name, _, number) in PODS {
        let pod = Namespace::new("ns")?;
        let port = format!("v{number}");
        veth((&pod, "eth0"), (&hub, &port))?;
        hub.ip(&format!("link set {port} master br0\nlink set {port} up"))?;
        for (network, interface, address) in attached(number) {
            if !network.is_empty() {
                let under = if interface == "net1" { "under0" } else { "under1" };
                hub.ip(&format!(
                    "link add link {under} name m{number} type macvlan mode bridge\n\
                     link set m{number} netns {}",
                    pod.name()
                ))?;
                pod.ip(&format!("link set m{number} name {interface}"))?;
            }
            pod.ip(&format!("addr add {address}/24 dev {interface}\nlink set {interface} up"))?;
        }
        pod.ip("link set lo up")?;
        pods.insert(ObjectKey::new(namespace, name), pod);
    }
    Ok(World { hub, pods })
}

fn manifests(policy: &str) -> String {
    let mut text = "apiVersion: v1\nkind: Namespace\nmetadata: {name: dev}\n---\napiVersion: v1\n\
                    kind: Namespace\nmetadata: {name: ops, labels: {team: ops}}\n"
        .to_owned();
    for (namespace, name, app, number) in PODS {
        let mut networks = Vec::new();
        for (network, interface, address) in attached(number) {
            let is_default = network.is_empty();
            networks.push(format!(
                r#"{{"name": "{network}", "interface": "{interface}", "ips": ["{address}"], "default": {is_default}}}"#
            ));
        }
        text.push_str(&format!(
            "---\napiVersion: v1\nkind: Pod\nmetadata:\n  name: {name}\n  namespace: {namespace}\n  \
             labels: {{app: {app}}}\n  annotations:\n    k8s.v1.cni.cncf.io/network-status: '[{}]'\n\
             spec: {{containers: [{{name: c, image: i, ports: [{{name: http, containerPort: 80}}]}}]}}\n\
             status: {{podIP: 10.244.0.{number}, podIPs: [{{ip: 10.244.0.{number}}}]}}\n",
            networks.join(", ")
        ));
    }
    let Some((networks, spec)) = policy.split_once('|') else { return text };
    // Policies of both namespaces, so that pods of both are isolated.
    for namespace in ["dev", "ops"] {
        text.push_str(&format!(
            "---\napiVersion: k8s.cni.cncf.io/v1beta2\nkind: MultiNetworkPolicy\nmetadata:\n  \
             name: p\n  namespace: {namespace}\n  annotations:\n    \
             k8s.v1.cni.cncf.io/policy-for: '{networks}'\nspec: {spec}\n"
        ));
    }
    text
}

fn snapshot(text: &str) -> Result<Snapshot> {
    let loaded = files::parse("manifests", text, Validation::Strict);
    ensure!(!loaded.has_errors(), "{:?}", loaded.findings);
    let store: Store = loaded.objects.into_iter().collect();
    Ok(store.snapshot().clone())
}

/// A flow between two pods on a network.
#[derive(Clone, Debug)]
struct Flow {
    network: String,
    from: ObjectKey,
    to: ObjectKey,
    protocol: Protocol,
    source: IpAddr,
    target: SocketAddr,
}

fn flows() -> Vec<Flow> {
    let mut flows = Vec::new();
    for (namespace, name, _, number) in PODS {
        for (other_namespace, other_name, _, other) in
            PODS.into_iter().filter(|one| one.3 != number)
        {
            for (network, _, source) in attached(number) {
                let there = attached(other).into_iter().find(|one| one.0 == network);
                let Some((_, _, target)) = there else { continue };
                for (port, protocol) in PORTS
                    .into_iter()
                    .flat_map(|port| [(port, Protocol::Tcp), (port, Protocol::Udp)])
                {
                    flows.push(Flow {
                        network: network.to_owned(),
                        from: ObjectKey::new(namespace, name),
                        to: ObjectKey::new(other_namespace, other_name),
                        protocol,
                        source,
                        target: SocketAddr::new(target, port),
                    });
                }
            }
        }
    }
    flows
}

/// What the specification says of a flow: both ends must let it pass.
fn allowed(cluster: &Snapshot, flow: &Flow) -> Result<bool> {
    let Some((namespace, name)) = flow.network.split_once('/') else { return Ok(true) };
    let network = ObjectKey::new(namespace, name);
    let transport = ProtocolPort::Port(flow.protocol, flow.target.port());
    let packet = Packet { source: flow.source, destination: flow.target.ip(), transport };
    let at = |pod: &ObjectKey, direction| -> Result<bool> {
        let pod = cluster.pods.get(pod).context("no such pod")?;
        Ok(passes(cluster, &network, pod, direction, &packet))
    };
    Ok(at(&flow.from, Direction::Egress)? && at(&flow.to, Direction::Ingress)?)
}

/// Sockets that listen at each address of each pod.
struct Doors {
    udp: BTreeMap<SocketAddr, UdpSocket>,
    _tcp: Vec<TcpListener>,
}

fn doors(world: &World) -> Result<Doors> {
    let mut doors = Doors { udp: BTreeMap::new(), _tcp: Vec::new() };
    for (namespace, name, _, number) in PODS {
        let pod = &world.pods[&ObjectKey::new(namespace, name)];
        for (_, _, address) in attached(number) {
            for port in PORTS {
                let at = SocketAddr::new(address, port);
                let udp = pod.run(|| UdpSocket::bind(at))??;
                udp.set_nonblocking(true)?;
                doors.udp.insert(at, udp);
                doors._tcp.push(pod.run(|| TcpListener::bind(at))??);
            }
        }
    }
    Ok(doors)
}

/// Which flows pass.
fn probe(world: &World, doors: &Doors, flows: &[Flow]) -> Result<Vec<bool>> {
    let tcp: Vec<bool> = std::thread::scope(|scope| {
        let connect = |flow: &Flow| -> Result<bool> {
            let target = flow.target;
            world.pods[&flow.from].run(move || connects(target))?
        };
        let threads: Vec<_> = flows.iter().map(|flow| scope.spawn(move || connect(flow))).collect();
        let all = threads.into_iter();
        all.map(|thread| thread.join().unwrap_or(Ok(false))).collect::<Result<_>>()
    })?;
    let mut sources = BTreeMap::new();
    for (index, flow) in flows.iter().enumerate().filter(|(_, one)| one.protocol == Protocol::Udp) {
        let at = SocketAddr::new(flow.source, 0);
        let socket = world.pods[&flow.from].run(|| UdpSocket::bind(at))??;
        // What egress denies is refused with EPERM.
        let _ = socket.send_to(&[0], flow.target);
        sources.insert(socket.local_addr()?, (index, socket));
    }
    std::thread::sleep(ARRIVES_WITHIN);
    let mut arrived = BTreeSet::new();
    for socket in doors.udp.values() {
        loop {
            match socket.recv_from(&mut [0; 8]) {
                Ok((_, source)) => drop(arrived.insert((source, socket.local_addr()?))),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            }
        }
    }
    let udp = |index: usize| {
        let from = sources.iter().find(|(_, (of, _))| *of == index).map(|(from, _)| *from);
        from.is_some_and(|from| arrived.contains(&(from, flows[index].target)))
    };
    let all = flows.iter().enumerate();
    Ok(all
        .map(|(index, flow)| match flow.protocol {
            Protocol::Tcp => tcp[index],
            Protocol::Udp | Protocol::Sctp => udp(index),
        })
        .collect())
}

fn connects(target: SocketAddr) -> Result<bool> {
    match TcpStream::connect_timeout(&target, CONNECTS_WITHIN) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == ErrorKind::TimedOut => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// `nftpol apply` in each pod, for each of its networks.
fn apply(world: &World, text: &str) -> Result<()> {
    for (namespace, name, _, number) in PODS {
        let key = ObjectKey::new(namespace, name);
        let netns = world.pods[&key].path();
        let netns = netns.to_str().context("a path in UTF-8")?;
        let pod = key.to_string();
        for (network, ..) in attached(number).into_iter().skip(1) {
            let at = ["--place=pod", "--pod", &pod, "--network", network, "--netns", netns];
            let arguments = [&["apply", "-f", "-"], &at[..]].concat();
            let finished = program::run(&world.hub, &arguments, text)?;
            finished.success().with_context(|| format!("{network} in {pod}"))?;
        }
    }
    Ok(())
}

fn check(world: &World, doors: &Doors, cluster: &Snapshot, flows: &[Flow]) -> Result<usize> {
    let seen = probe(world, doors, flows)?;
    let mut refused = 0;
    for (flow, passed) in flows.iter().zip(seen) {
        let expected = allowed(cluster, flow)?;
        ensure!(passed == expected, "{flow:?}: passed: {passed}, allowed: {expected}");
        refused += usize::from(!expected);
    }
    Ok(refused)
}

#[test]
fn networks_secondary() -> Result<()> {
    let (world, flows) = (world()?, flows());
    let doors = doors(&world)?;
    let open = snapshot(&manifests(""))?;
    ensure!(networks_of(&open.pods[&ObjectKey::new("dev", "web")]).len() == 2);
    // Neighbours find each other before anything is denied.
    while let Err(error) = check(&world, &doors, &open, &flows) {
        say(&format!("not settled yet: {error}\n"))?;
    }
    for (what, policy) in POLICIES {
        let text = manifests(policy);
        let cluster = snapshot(&text)?;
        apply(&world, &text).context(what)?;
        let refused = check(&world, &doors, &cluster, &flows).context(what)?;
        say(&format!("| {what} | {} flows | {refused} refused |\n", flows.len()))?;
        ensure!((refused == 0) == (what == "missing"), "{what}: {refused}");
    }
    let web = &world.pods[&ObjectKey::new("dev", "web")];
    let tables = String::from_utf8(web.command("nft").args(["list", "tables"]).output()?.stdout)?;
    let mut tables: Vec<&str> = tables.lines().collect();
    tables.sort_unstable();
    ensure!(
        tables == ["table inet nftpol-net-nets/a", "table inet nftpol-net-nets/b"],
        "{tables:?}"
    );
    Ok(())
}
