//! Live flows when policies change. Flows that are now denied end, and the others are
//! not affected.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use agent::conntrack_cleanup::{ConntrackCleanup, Counters};
use agent::pipeline::Pipeline;
use anyhow::{Context, Result, ensure};
use compiler::Options;
use netbed::conntrack::{self, Entry};
use netbed::echo::{Server, Stream};
use netbed::testbed::{Endpoint, Testbed};
use nft::{Conntrack, Kernel};
use policy::{ObjectKey, Snapshot};
use ruleset::Ruleset;
use samples::objects;
use samples::testbed_spec::{Families, Network, TestbedSpec};

const PATIENCE: Duration = Duration::from_secs(20);
/// A packet that has not arrived by then does not arrive.
const MOMENT: Duration = Duration::from_millis(250);
const SERVICE: &str = "10.96.0.10:80";
const PORT: u16 = 7000;
const OTHER_PORT: u16 = 7001;
const NODE: &str = "node-1";

/// A Service whose only endpoint is `dev/web`.
const KUBE_PROXY: &str = "
table ip kube-proxy {
    chain prerouting {
        type nat hook prerouting priority dstnat;
        ip daddr 10.96.0.10 meta l4proto { tcp, udp } th dport 80 dnat to 10.244.1.2:7000
    }
}
";

/// The node that forwards and its pod `web`, which the policies are about.
struct Setup {
    testbed: Testbed,
    snapshot: Snapshot,
    pipeline: Pipeline<Kernel>,
    table: Option<Arc<Ruleset>>,
    connections: ConntrackCleanup,
}

impl Setup {
    fn new(network: Network) -> Result<Self> {
        let spec = TestbedSpec::new(network, &[NODE, "node-2"])
            .namespace("dev", &[])
            .pod_on(0, "dev", "web", &[("app", "web")], Families::Both, &[])
            .pod_on(0, "dev", "near", &[("app", "near")], Families::Both, &[])
            .pod_on(1, "dev", "client", &[("app", "client")], Families::Both, &[])
            .pod_on(1, "dev", "client-2", &[("app", "client")], Families::Both, &[])
            .pod_on(1, "dev", "stranger", &[("app", "stranger")], Families::Both, &[]);
        let snapshot = objects::snapshot(&spec, "")?;
        let testbed = Testbed::new(spec, "cn")?;
        let node = &testbed.endpoint(NODE)?.namespace;
        let mut nft = node.command("nft");
        ensure!(nft.arg(KUBE_PROXY).status().context("run nft")?.success(), "nft refused");
        testbed.endpoint("node-2")?.namespace.ip("route add 10.96.0.10 via 192.168.77.11")?;
        let options = Options { node: Some(NODE.to_owned()), ..Options::default() };
        let pipeline = Pipeline::new(node.run(Kernel::open)??, options);
        let connections = node.run(ConntrackCleanup::start)??;
        let mut setup = Self { testbed, snapshot, pipeline, table: None, connections };
        setup.policies("")?;
        let (before, after) = setup.enforce()?;
        setup.connections.changed(before, after);
        Ok(setup)
    }

    fn pod(&self, name: &str) -> Result<&Endpoint> {
        self.testbed.endpoint(&format!("dev/{name}"))
    }

    fn policies(&mut self, policies: &str) -> Result<()> {
        self.snapshot.policies = objects::snapshot(self.testbed.spec(), policies)?.policies;
        Ok(())
    }

    /// Enforces the snapshot; returns the tables before and after.
    fn enforce(&mut self) -> Result<(Option<Arc<Ruleset>>, Arc<Ruleset>)> {
        self.pipeline.sync(&self.snapshot)?;
        let after = Arc::new(self.pipeline.compile(&self.snapshot).ruleset);
        Ok((self.table.replace(Arc::clone(&after)), after))
    }

    /// Enforces the snapshot and checks what happens to the streams. Denied streams
    /// continue until `ConntrackCleanup` learns of the change, which shows that the
    /// cleanup ends them.
    fn change(&mut self, case: &str, streams: Streams) -> Result<()> {
        let (before, after) = self.enforce()?;
        for (name, stream) in streams.denied.iter().chain(&streams.allowed) {
            ensure!(stream.goes_on(20), "{case}: {name} ended before the cleanup began");
        }
        let told = Instant::now();
        let done = self.connections.counters();
        self.connections.changed(before, after);
        // The first pass comes at once, and a second one follows.
        self.wait(|counters| counters.sweeps >= done.sweeps + 2)?;
        let ended: Vec<u64> = streams.denied.iter().map(|(_, stream)| stream.echoes()).collect();
        for (name, stream) in &streams.allowed {
            ensure!(stream.goes_on(100), "{case}: {name} ended");
        }
        let counters = self.connections.counters();
        ensure!(counters.errors == 0, "{case}: {counters:?}");
        streams.denied.iter().for_each(|(_, stream)| stream.stop());
        for ((name, stream), echoes) in streams.denied.into_iter().zip(ended) {
            let report = stream.finish();
            ensure!(!report.missing.is_empty(), "{case}: {name} lost nothing");
            let now = report.sent - report.missing.len() as u64;
            ensure!(now == echoes, "{case}: {name} still gets echoes");
            let after = report.last.saturating_duration_since(told);
            println!("{case}: {name} ended {after:?} after the change; pass {:?}", counters.last);
        }
        for (name, stream) in streams.allowed {
            let report = stream.finish();
            ensure!(report.missing.is_empty(), "{case}: {name} lost {:?}", report.missing);
            println!("{case}: {name} had all {} messages echoed", report.sent);
        }
        Ok(())
    }

    fn wait(&self, until: impl Fn(Counters) -> bool) -> Result<()> {
        let begun = Instant::now();
        while !until(self.connections.counters()) {
            ensure!(begun.elapsed() < PATIENCE, "waited for: {:?}", self.connections.counters());
            sleep(Duration::from_millis(2));
        }
        Ok(())
    }
}

/// The streams, with their names in messages.
#[derive(Default)]
struct Streams {
    denied: Vec<(String, Stream)>,
    allowed: Vec<(String, Stream)>,
}

impl Streams {
    fn denied(&mut self, from: &Endpoint, to: SocketAddr) -> Result<()> {
        self.denied.extend(both(from, to)?);
        Ok(())
    }

    fn allowed(&mut self, from: &Endpoint, to: SocketAddr) -> Result<()> {
        self.allowed.extend(both(from, to)?);
        Ok(())
    }
}

/// Over UDP and over TCP.
fn both(from: &Endpoint, to: SocketAddr) -> Result<[(String, Stream); 2]> {
    let name = |protocol| format!("{} to {to}/{protocol}", from.name);
    Ok([(name("UDP"), Stream::udp(from, to)?), (name("TCP"), Stream::tcp(from, to)?)])
}

fn at(endpoint: &Endpoint, v6: bool, port: u16) -> Result<SocketAddr> {
    Ok((endpoint.address(v6).context("an address")?, port).into())
}

/// Servers on both ports and both families of an endpoint.
fn servers(endpoint: &Endpoint) -> Result<Vec<Server>> {
    let places = [(false, PORT), (true, PORT), (false, OTHER_PORT), (true, OTHER_PORT)];
    places
        .into_iter()
        .map(|(v6, port)| {
            let at = at(endpoint, v6, port)?;
            Server::start(endpoint, at.ip(), at.port())
        })
        .collect()
}

/// `web` accepts UDP and TCP on these ports from `app: client`, and may send to one
/// port of `app: near` only. If `web` could send freely, an echo in flight while its
/// flow is deleted would open a new flow, in which the other side's datagrams would
/// pass as answers.
fn web_from_client(ports: &[u16]) -> String {
    let ports: String = ports
        .iter()
        .map(|port| format!("    - port: {port}\n    - port: {port}\n      protocol: UDP\n"))
        .collect();
    format!(
        "apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: web
  namespace: dev
spec:
  podSelector:
    matchLabels:
      app: web
  policyTypes: [Ingress, Egress]
  egress:
  - to:
    - podSelector:
        matchLabels:
          app: near
    ports:
    - port: 7000
    - port: 7000
      protocol: UDP
  ingress:
  - from:
    - podSelector:
        matchLabels:
          app: client
    ports:
{ports}"
    )
}

#[test]
fn isolation_ends_what_it_denies_and_nothing_else() -> Result<()> {
    for network in [Network::Bridge, Network::Routed] {
        let mut setup = Setup::new(network)?;
        let (web, near) = (setup.pod("web")?, setup.pod("near")?);
        let node = setup.testbed.endpoint(NODE)?;
        let _servers = [servers(web)?, servers(near)?, servers(node)?];
        let mut streams = Streams::default();
        let service: SocketAddr = SERVICE.parse()?;
        for v6 in [false, true] {
            streams.denied(setup.pod("stranger")?, at(web, v6, PORT)?)?;
            streams.denied(setup.pod("client")?, at(web, v6, OTHER_PORT)?)?;
            streams.denied(near, at(web, v6, PORT)?)?;
            streams.allowed(setup.pod("client")?, at(web, v6, PORT)?)?;
            streams.allowed(web, at(near, v6, PORT)?)?;
            streams.allowed(setup.pod("stranger")?, at(near, v6, PORT)?)?;
            streams.allowed(node, at(web, v6, OTHER_PORT)?)?;
            streams.allowed(web, at(node, v6, PORT)?)?;
        }
        streams.denied(setup.pod("stranger")?, service)?;
        streams.allowed(setup.pod("client")?, service)?;
        setup.policies(&web_from_client(&[PORT]))?;
        setup.change(&format!("{network:?}, isolated"), streams)?;
    }
    Ok(())
}

#[test]
fn a_port_or_a_peer_less_ends_its_own_flows_alone() -> Result<()> {
    let mut setup = Setup::new(Network::Routed)?;
    setup.policies(&web_from_client(&[PORT, OTHER_PORT]))?;
    let (before, after) = setup.enforce()?;
    setup.connections.changed(before, after);
    let web = setup.pod("web")?;
    let _servers = servers(web)?;
    let mut streams = Streams::default();
    for v6 in [false, true] {
        for client in ["client", "client-2"] {
            streams.allowed(setup.pod(client)?, at(web, v6, PORT)?)?;
            streams.denied(setup.pod(client)?, at(web, v6, OTHER_PORT)?)?;
        }
    }
    setup.policies(&web_from_client(&[PORT]))?;
    setup.change("a port less", streams)?;

    let web = setup.pod("web")?;
    let mut streams = Streams::default();
    for v6 in [false, true] {
        streams.allowed(setup.pod("client")?, at(web, v6, PORT)?)?;
        streams.denied(setup.pod("client-2")?, at(web, v6, PORT)?)?;
    }
    setup.snapshot.pods.remove(&ObjectKey::new("dev", "client-2"));
    setup.change("a peer deleted", streams)
}

/// An address changes owners: from its pod to nobody, then to an isolated pod.
#[test]
fn an_isolated_pod_does_not_inherit_the_flows_of_its_address() -> Result<()> {
    let mut setup = Setup::new(Network::Routed)?;
    let key = ObjectKey::new("dev", "web");
    let web = setup.snapshot.pods.remove(&key).context("the pod is missing")?;
    let predecessor = policy::Pod {
        key: ObjectKey::new("dev", "predecessor"),
        labels: policy::Labels::new(),
        ..policy::Pod::clone(&web)
    };
    setup.snapshot.pods.insert(predecessor.key.clone(), Arc::new(predecessor.clone()));
    setup.policies(&web_from_client(&[PORT]))?;
    let (before, after) = setup.enforce()?;
    setup.connections.changed(before, after);

    let endpoint = setup.pod("web")?;
    let _servers = servers(endpoint)?;
    let mut streams = Streams::default();
    for v6 in [false, true] {
        streams.denied(setup.pod("stranger")?, at(endpoint, v6, PORT)?)?;
        streams.allowed(setup.pod("client")?, at(endpoint, v6, PORT)?)?;
    }
    setup.snapshot.pods.remove(&predecessor.key);
    let (before, after) = setup.enforce()?;
    setup.connections.changed(before, after);
    setup.snapshot.pods.insert(key, web);
    setup.change("another owner", streams)
}

/// The pod is isolated for ingress alone, so it may still send. A late answer opens a
/// flow in the other direction, and the client can use this flow until the second
/// pass.
#[test]
fn a_late_answer_does_not_keep_a_denied_udp_flow_alive() -> Result<()> {
    let mut setup = Setup::new(Network::Routed)?;
    let place = at(setup.pod("web")?, false, PORT)?;
    let server = setup.pod("web")?.namespace.run(|| UdpSocket::bind(place))??;
    server.set_read_timeout(Some(MOMENT))?;
    let client = setup.pod("stranger")?.namespace.run(|| UdpSocket::bind("0.0.0.0:0"))??;
    client.connect(place)?;
    client.set_read_timeout(Some(PATIENCE))?;
    let mut buffer = [0; 8];
    client.send(b"1")?;
    let (_, from) = server.recv_from(&mut buffer).context("before")?;
    setup.policies(&web_from_client(&[PORT]).replace("[Ingress, Egress]", "[Ingress]"))?;
    let (before, after) = setup.enforce()?;
    setup.connections.changed(before, after);
    setup.wait(|counters| counters.sweeps == 1)?;
    server.send_to(b"late", from)?;
    client.recv(&mut buffer).context("the pod's late answer is lost")?;
    client.send(b"2")?;
    server.recv_from(&mut buffer).context("the client's answer to it is lost")?;
    setup.wait(|counters| counters.sweeps == 2)?;
    client.send(b"3")?;
    let third = server.recv_from(&mut buffer);
    ensure!(third.is_err(), "the denied flow still works");
    Ok(())
}

/// The flow that announced an expected flow decides its fate. The test creates the
/// entries itself, because no program here uses such a protocol.
#[test]
fn expected_flows_end_with_the_flow_that_announced_them() -> Result<()> {
    let mut setup = Setup::new(Network::Routed)?;
    let node = &setup.testbed.endpoint(NODE)?.namespace;
    let address = |name: &str| at(setup.pod(name)?, false, 0).map(|at| at.ip());
    let (web, service) = (address("web")?, SERVICE.parse::<SocketAddr>()?);
    let (client, stranger) = (address("client")?, address("stranger")?);
    let control = |from, port| Entry::translated((from, port), (service.ip(), 80), (web, PORT), 6);
    let data = |to, port, master: &Entry| Entry {
        master: Some(master.original),
        ..Entry::plain((web, 20), (to, port), 6)
    };
    let (open, shut) = (control(client, 1), control(stranger, 2));
    let entries = [open, shut, data(client, 3, &open), data(stranger, 4, &shut)];
    node.run(|| conntrack::create(&entries))??;
    setup.policies(&web_from_client(&[PORT]))?;
    let (before, after) = setup.enforce()?;
    setup.connections.changed(before, after);
    setup.wait(|counters| counters.deleted >= 2)?;
    let node = &setup.testbed.endpoint(NODE)?.namespace;
    let mut conntrack = node.run(Conntrack::open)??;
    for (entry, lives) in entries.iter().zip([true, false, true, false]) {
        let found = conntrack.get(&entry.original, 0)?;
        assert_eq!(found.is_some(), lives, "{entry:?}");
    }
    Ok(())
}
