//! Two nodes, pods with two further networks, an API server that knows them.
//!
//! The annotation of each pod is what Multus writes. Pods' processes are a folder like
//! `/proc`.

use std::collections::BTreeMap;
use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::symlink;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use kubebed::daemon::Daemon;
use kubebed::world::{PATIENCE, World, manifests};
use netbed::probe::{Flow, Knock, Prober, Seen};
use netbed::program;
use netbed::testbed::Testbed;
use netbed::verdict::Counts;
use policy::{NamedPort, ObjectKey, PodUid, Protocol};
use samples::fixtures;
use samples::scratch::Folder;
use samples::testbed_spec::{Families, Network, TestbedSpec};
use serde_json::{Value, json};

use crate::expected::Expected;

pub const CASES: &str = "multi-network/cases";
const KIND: &str = "multi-network/crd.yaml";
pub const STATUS: &str = "k8s.v1.cni.cncf.io/network-status";
pub const KNOCKS: [Knock; 4] = [Knock::Tcp(5555), Knock::Tcp(6666), Knock::Udp(5555), Knock::Icmp];
/// The pods on both further networks, by their number there.
const PODS: [(&str, u8); 4] = [("a/server", 2), ("a/client", 3), ("a/other", 4), ("b/client", 5)];
pub const NODES: [&str; 2] = ["node-1", "node-2"];
const HEALTH: &str = "127.0.0.1:9477";
/// How long packets may take to follow the policies.
pub const SOON: Duration = Duration::from_secs(15);

/// A further network.
#[derive(Debug)]
pub struct Further {
    /// In tables of cases.
    pub short: &'static str,
    /// Its NetworkAttachmentDefinition.
    pub name: &'static str,
    pub interface: &'static str,
    number: u8,
}

pub const NETWORKS: [Further; 2] = [
    Further { short: "one", name: "a/one", interface: "net1", number: 101 },
    Further { short: "two", name: "nets/two", interface: "net2", number: 102 },
];

impl Further {
    pub fn addresses(&self, pod: u8) -> Vec<IpAddr> {
        let Self { number, .. } = self;
        let addresses = [format!("10.{number}.0.{pod}"), format!("fd00:{number}::{pod}")];
        addresses.iter().filter_map(|address| address.parse().ok()).collect()
    }

    fn mac(&self, pod: u8) -> String {
        format!("02:00:00:00:{:02x}:{pod:02x}", self.number)
    }

    /// An entry of the annotation.
    fn status(&self, pod: u8) -> Value {
        json!({
            "name": self.name,
            "interface": self.interface,
            "ips": self.addresses(pod),
            "mac": self.mac(pod),
            "dns": {},
        })
    }
}

pub struct Stage {
    pub world: World,
    processes: Folder,
    /// Each further network's pods.
    views: Vec<Testbed>,
}

impl Stage {
    pub fn new(prefix: &str) -> Result<Self> {
        let web = NamedPort { name: "web".to_owned(), protocol: Protocol::Tcp, port: 6666 };
        let both = Families::Both;
        let spec = TestbedSpec::new(Network::Routed, &NODES)
            .namespace("a", &[("team", "a")])
            .namespace("b", &[("team", "b")])
            .pod("a", "server", &[("app", "server")], both, &[web])
            .pod("a", "client", &[("role", "client")], both, &[])
            .pod("a", "other", &[("app", "other")], both, &[])
            .pod("b", "client", &[("role", "client")], both, &[])
            .pod("a", "plain", &[("app", "plain")], both, &[]);
        let world = World::new(spec, prefix)?;
        let mut stage = Self { world, processes: Folder::new("proc")?, views: Vec::new() };
        stage.grant().context("the overlay")?;
        for (pod, number) in PODS {
            for network in &NETWORKS {
                let addresses: Vec<_> = network.addresses(number);
                let lengths =
                    addresses.iter().map(|one| (*one, if one.is_ipv6() { 64 } else { 24 }));
                let lengths: Vec<_> = lengths.collect();
                let mac = network.mac(number);
                stage.world.cluster.add_interface(pod, network.interface, &mac, &lengths)?;
            }
            stage.report(pod)?;
        }
        for (number, pod) in
            ["a/server", "a/client", "a/other", "b/client", "a/plain"].iter().enumerate()
        {
            stage.add_process(pod, 4001 + number)?;
        }
        for network in &NETWORKS {
            let pods =
                PODS.iter().map(|&(pod, number)| (pod.to_owned(), network.addresses(number)));
            let pods: BTreeMap<_, _> = pods.collect();
            stage.views.push(stage.world.cluster.by_other_addresses(&pods)?);
        }
        Ok(stage)
    }

    /// Writes the pod's annotation, as Multus does.
    pub fn report(&self, pod: &str) -> Result<()> {
        let number = PODS.iter().find(|(name, _)| *name == pod).context("no such pod")?.1;
        let own = self.world.cluster.endpoint(pod)?;
        let first = json!({
            "name": "pods", "interface": "eth0", "ips": own.addresses, "default": true, "dns": {},
        });
        let others = NETWORKS.iter().map(|network| network.status(number));
        let all: Vec<Value> = std::iter::once(first).chain(others).collect();
        self.annotate(pod, &Value::from(all).to_string())
    }

    pub fn annotate(&self, pod: &str, value: &str) -> Result<()> {
        let (namespace, name) = pod.split_once('/').context("no namespace")?;
        let value = format!("{STATUS}={value}");
        let words = ["-n", namespace, "annotate", "--overwrite", "pod", name, &value];
        self.world.server.kubectl(&words, "")?.success().map(drop)
    }

    fn add_process(&self, pod: &str, number: usize) -> Result<()> {
        let key = pod.split_once('/').map(|(one, other)| ObjectKey::new(one, other));
        let snapshot = self.world.snapshot()?;
        let found = key.and_then(|key| snapshot.pods.get(&key).cloned()).context("no such pod")?;
        let PodUid(uid) = found.attachment.uid;
        let folder = self.processes.path().join(number.to_string());
        fs::create_dir_all(folder.join("ns"))?;
        fs::write(folder.join("cgroup"), format!("0::/kubepods/burstable/pod{uid:032x}/01\n"))?;
        symlink(self.world.cluster.endpoint(pod)?.namespace.path(), folder.join("ns/net"))?;
        Ok(())
    }

    /// Makes the API server serve MultiNetworkPolicy.
    pub fn install_kind(&self) -> Result<()> {
        self.world.server.apply(&fixtures::read(KIND)?)?;
        let wait = ["wait", "--for=condition=Established", "crd", "--all", "--timeout=30s"];
        self.world.server.kubectl(&wait, "")?.success().map(drop)
    }

    /// Makes the API server forget MultiNetworkPolicy, with all objects of it.
    pub fn remove_kind(&self) -> Result<()> {
        self.world
            .server
            .kubectl(&["delete", "-f", "-"], &fixtures::read(KIND)?)?
            .success()
            .map(drop)
    }

    /// A pod agent on each node. Which pods are its own, it sees by the node's name.
    pub fn pod_agents(&self, options: &[&str]) -> Result<Vec<Daemon<'_>>> {
        NODES.iter().map(|node| self.pod_agent(node, options)).collect()
    }

    fn pod_agent(&self, name: &str, options: &[&str]) -> Result<Daemon<'_>> {
        let mut agent = self.start_pod_agent(name, options)?;
        agent.ready_within(PATIENCE)?;
        Ok(agent)
    }

    /// One that does not enforce MultiNetworkPolicies.
    pub fn plain_pod_agent(&self, name: &str) -> Result<Daemon<'_>> {
        let mut agent = self.spawn(name, &[])?;
        agent.ready_within(PATIENCE)?;
        Ok(agent)
    }

    /// Does not wait until it is ready.
    pub fn start_pod_agent(&self, name: &str, options: &[&str]) -> Result<Daemon<'_>> {
        self.spawn(name, &[&["--multi-network-policies"], options].concat())
    }

    fn spawn(&self, name: &str, options: &[&str]) -> Result<Daemon<'_>> {
        let node = &self.world.cluster.endpoint(name)?.namespace;
        let mut command = node.command(program::path()?);
        command.args(["pod-agent", "--verify", "--node-name", name]);
        command.arg("--kubeconfig").arg(self.world.kubeconfig());
        command.arg("--proc").arg(self.processes.path()).args(options);
        Daemon::spawn(node, command, HEALTH.parse()?)
    }

    /// Gives the pod agents the rights of `manifests/overlays/multi-network`.
    pub fn grant(&self) -> Result<()> {
        let overlay = manifests().join("overlays/multi-network").display().to_string();
        self.world.server.kubectl(&["apply", "-k", &overlay], "")?.success().map(drop)
    }

    /// Takes back what that overlay grants beyond the base.
    pub fn deny(&self) -> Result<()> {
        let words = ["delete", "clusterrolebinding", "nftpol-multi-network"];
        self.world.server.kubectl(&words, "")?.success().map(drop)
    }

    /// Applies a case. The kind may have been installed just now.
    pub fn put(&self, text: &str) -> Result<()> {
        let start = Instant::now();
        while let Err(error) = self.world.server.apply(text) {
            ensure!(start.elapsed() < SOON, "{error:#}");
            sleep(Duration::from_millis(200));
        }
        Ok(())
    }

    pub fn remove(&self, text: &str) -> Result<()> {
        let words = ["delete", "--wait=false", "-f", "-"];
        self.world.server.kubectl(&words, text)?.success().map(drop)
    }

    /// Waits until all pass everywhere, without policies.
    pub fn settle(&self) -> Result<()> {
        for cluster in self.views.iter().chain([&self.world.cluster]) {
            Prober::new(cluster, &KNOCKS)?.settle(&Flow::all(cluster, &KNOCKS))?;
        }
        Ok(())
    }

    /// Waits until packets on the further networks do what is expected.
    pub fn follows(&self, expected: &Expected) -> Result<Counts> {
        let start = Instant::now();
        loop {
            match self.check(expected) {
                Err(error) if start.elapsed() > SOON => return Err(error),
                Err(_) => sleep(Duration::from_millis(100)),
                counts => return counts,
            }
        }
    }

    /// Tries every pair of pods on each further network.
    pub fn check(&self, expected: &Expected) -> Result<Counts> {
        let mut counts = Counts::default();
        let mut wrong = Vec::new();
        for (network, cluster) in NETWORKS.iter().zip(&self.views) {
            let flows = Flow::all(cluster, &KNOCKS);
            let seen = Prober::new(cluster, &KNOCKS)?.run(&flows)?;
            for (flow, seen) in flows.iter().zip(seen) {
                let name = |index: usize| cluster.endpoints()[index].name.as_str();
                let (from, to) = (name(flow.from), name(flow.to));
                let passes = expected.passes(network.short, from, to, flow.knock, flow.v6);
                match (passes, seen) {
                    (true, Seen::Answered) => counts.passed += 1,
                    (false, Seen::Nothing) => counts.refused += 1,
                    _ => wrong.push(format!(
                        "{} {}: {seen:?}, expected {}",
                        network.short,
                        flow.describe(cluster),
                        if passes { "to pass" } else { "to be refused" }
                    )),
                }
            }
        }
        if wrong.is_empty() {
            return Ok(counts);
        }
        bail!("{} wrong: {}", wrong.len(), wrong[..wrong.len().min(12)].join("; "))
    }

    /// Every pair by the primary network.
    pub fn primary_is_open(&self) -> Result<()> {
        let cluster = &self.world.cluster;
        let prober = Prober::new(cluster, &[Knock::Tcp(5555)])?;
        let flows = Flow::all(cluster, &[Knock::Tcp(5555)]);
        let seen = prober.run(&flows)?;
        let mut wrong = flows.iter().zip(seen).filter(|(_, seen)| *seen != Seen::Answered);
        let first = wrong.next().map(|(flow, _)| flow.describe(cluster));
        ensure!(first.is_none(), "on the primary network: {first:?}");
        Ok(())
    }
}
