//! Faults while traffic runs.
//!
//! Each sender sends a datagram every millisecond over a persistent socket. Some
//! senders must always get through and some never may. The flows are one-way, so that
//! the rules judge every datagram. A TCP connection goes through a Service. Right
//! after the fault, the test removes a label. The fault is over when the removal has
//! its effect and the cluster's own programs report that they are healthy.

use std::net::SocketAddr;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use kubebed::image::Image;
use kubebed::rootfs;
use netbed::echo;
use netbed::program;
use netbed::stream::{Stream, StreamCount};
use netbed::testbed::Endpoint;
use nix::sys::signal::{Signal, kill};
use policy::{Labels, ObjectKey};
use serde_json::{Value, json};

use crate::absence::Absence;
use crate::agents::agent_in;
use crate::report::{Report, Row};
use crate::scene::{Scene, WAIT, addresses, namespace, pod, policy};

/// The node with the fault and with the pod that receives.
const NODE: &str = "node-1";
const SERVER: &str = "faults/server";
/// The senders: name, node, label, and whether they may send.
const SENDERS: [(&str, &str, &str, bool); 5] = [
    ("faults/near", NODE, "friend", true),
    ("faults/far", "node-2", "friend", true),
    ("faults/stranger", NODE, "stranger", false),
    ("faults/foreigner", "node-2", "stranger", false),
    // It may enter, but its own egress is denied.
    ("faults/mute", NODE, "mute", false),
];
/// The pod that loses its label after the fault.
const SWING: &str = "faults/swing";
/// The port of the first sender. Each sender has its own.
const PORT: u16 = 9001;
const SWING_PORT: u16 = 9050;
const SERVICE_PORT: u16 = 9060;
/// Pause between two datagrams of a sender.
const PACE: Duration = Duration::from_millis(1);
/// How long traffic runs before a fault and after its end.
const REST: Duration = Duration::from_millis(500);
/// A silence that long is no accident, even on a busy machine.
const SILENCE: Duration = Duration::from_secs(1);
/// How long the API server is away.
const AWAY: Duration = Duration::from_secs(60);
/// The image for the update.
const NEXT: &str = "nftpol:next";

/// Causes the fault. Returns at once, or when the API server accepts requests again.
type Trigger = fn(&mut Scene) -> Result<()>;

struct Fault {
    name: &'static str,
    cause: Trigger,
    /// Whether the fault removes the rules, so that something passes.
    opens: bool,
    /// The repair that a person must make, because no program does.
    mend: Option<Trigger>,
}

/// A fault that leaves the rules in place.
const fn harmless(name: &'static str, cause: Trigger) -> Fault {
    Fault { name, cause, opens: false, mend: None }
}

const FAULTS: [Fault; 10] = [
    harmless("agent's pod deleted", delete_pod),
    harmless("agent killed (SIGKILL)", kill_agent),
    harmless("API server away for a minute", stop_server),
    harmless("kubelet restarted", |scene| scene.again("kubelet")),
    harmless("containerd restarted", |scene| scene.again("containerd")),
    harmless("kube-proxy restarted", |scene| scene.again("kube-proxy")),
    harmless("`nft delete table inet nftpol` (refused)", |scene| {
        ensure!(scene.nft("delete table inet nftpol").is_err(), "others delete the table");
        Ok(())
    }),
    Fault {
        name: "`nft flush ruleset`",
        cause: |scene| scene.nft("flush ruleset"),
        opens: false,
        // The flush removed kube-proxy's rules, and with them the agent's way to
        // the API server. Left alone, kube-proxy looks only once an hour
        // (FullSyncPeriod in pkg/proxy/util of Kubernetes 1.36).
        mend: Some(|scene| scene.again("kube-proxy")),
    },
    harmless("`kubectl rollout restart`", rollout),
    harmless("`kubectl set image`", update),
];

impl Scene {
    pub fn faults(&mut self) -> Result<()> {
        self.put(&objects()?)?;
        self.pods_ready("faults")?;
        let pods = Pods {
            server: self.kubernetes.pod(SERVER)?,
            senders: SENDERS
                .iter()
                .map(|(name, .., may)| Ok((self.kubernetes.pod(name)?, *may)))
                .collect::<Result<_>>()?,
            swing: self.kubernetes.pod(SWING)?,
            service: self.service()?,
        };
        let _echoes = echo::Server::start(&pods.server, pods.server.addresses[0], SERVICE_PORT)?;
        let mut report = Report::default();
        for fault in &FAULTS {
            let row = self.befall(fault, &pods).with_context(|| fault.name)?;
            self.say(&row.to_string());
            report.push(row);
        }
        eprintln!("{report}");
        self.remove(&["faults"])?;
        report.judge()
    }

    fn befall(&mut self, fault: &Fault, pods: &Pods) -> Result<Row> {
        self.label_swing("friend")?;
        let swing = Stream::paced(&pods.swing, &pods.server, false, SWING_PORT, PACE)?;
        swing.heard_after(Instant::now()).context("before")?;
        let traffic = Traffic::start(pods)?;
        sleep(REST);
        let absence = Absence::watch(&self.kubernetes.cluster().endpoint(NODE)?.namespace)?;
        (fault.cause)(self)?;
        let moment = Instant::now();
        self.label_swing("stranger")?;
        if let Some(mend) = fault.mend {
            mend(self)?;
        }
        let effect = swing.quiet_after(moment, SILENCE)?;
        self.well()?;
        sleep(REST);
        let agentless = absence.end();
        let Seen { passed, lost, open_for, connection } = traffic.finish();
        ensure!(connection, "a connection through a Service broke");
        // Rules that were removed count as restored when the last wrong packet has
        // passed.
        let recovered = if fault.opens { open_for } else { effect };
        Ok(Row { fault: fault.name, recovered, agentless, passed, lost, opens: fault.opens })
    }

    /// Waits until the nodes and agents are healthy.
    fn well(&self) -> Result<()> {
        self.kubectl(&["wait", "node", "--all", "--for=condition=Ready", WAIT])?;
        let node = &self.kubernetes.cluster().endpoint(NODE)?.namespace;
        self.until("an agent runs", || Ok(agent_in(node).is_ok()))?;
        self.agents_ready()?;
        self.pods_ready("faults")
    }

    fn label_swing(&self, role: &str) -> Result<()> {
        let (namespace, name) = SWING.split_once('/').context("no namespace")?;
        let labels = Labels::from_iter([("role".to_owned(), role.to_owned())]);
        self.kubernetes.server().relabel_pods(&[(ObjectKey::new(namespace, name), labels)])
    }

    fn service(&self) -> Result<SocketAddr> {
        let service = self.list("faults", "service", "name=echo")?;
        let all = service.first().map(addresses).unwrap_or_default();
        let address = all.into_iter().find(|address| address.is_ipv4());
        Ok(SocketAddr::new(address.context("no ClusterIP")?, SERVICE_PORT))
    }

    /// Does it on every node.
    fn again(&mut self, program: &str) -> Result<()> {
        let nodes: Vec<String> =
            self.kubernetes.cluster().nodes().map(|node| node.name.clone()).collect();
        nodes.iter().try_for_each(|node| self.kubernetes.restart(node, program))
    }

    fn nft(&mut self, words: &str) -> Result<()> {
        let mut command = self.kubernetes.cluster().endpoint(NODE)?.namespace.command("nft");
        command.args(words.split(' '));
        program::finish(command, "")?.success().map(drop)
    }
}

fn delete_pod(scene: &mut Scene) -> Result<()> {
    let on_node = format!("--field-selector=spec.nodeName={NODE}");
    let words = ["-n", "kube-system", "delete", "pod", "--wait=false", &on_node];
    scene.kubectl(&[&words[..], &["-l", "app.kubernetes.io/name=nftpol"]].concat()).map(drop)
}

fn kill_agent(scene: &mut Scene) -> Result<()> {
    let agent = agent_in(&scene.kubernetes.cluster().endpoint(NODE)?.namespace)?;
    kill(agent, Signal::SIGKILL).context("kill the agent")
}

fn stop_server(scene: &mut Scene) -> Result<()> {
    scene.kubernetes.server_mut().stop();
    sleep(AWAY);
    scene.kubernetes.server_mut().restart()
}

fn rollout(scene: &mut Scene) -> Result<()> {
    scene.kubectl(&["-n", "kube-system", "rollout", "restart", "daemonset/nftpol"]).map(drop)
}

/// Updates to the same program under another name.
fn update(scene: &mut Scene) -> Result<()> {
    let next = Image::of(NEXT, &program::path()?, rootfs::PROGRAM)?;
    scene.kubernetes.import(&next)?;
    let image = format!("nftpol={}", next.full_name());
    scene.kubectl(&["-n", "kube-system", "set", "image", "daemonset/nftpol", &image]).map(drop)
}

struct Pods {
    server: Endpoint,
    senders: Vec<(Endpoint, bool)>,
    swing: Endpoint,
    service: SocketAddr,
}

/// All traffic except that of the pod that loses its label.
struct Traffic {
    streams: Vec<(Stream, bool)>,
    connection: echo::Stream,
}

struct Seen {
    /// Datagrams that must never pass: sent, and arrived.
    passed: StreamCount,
    /// Datagrams that must pass: sent, and arrived.
    lost: StreamCount,
    /// From the first datagram that wrongly passed to the last.
    open_for: Duration,
    /// Whether everything that was sent through the Service came back.
    connection: bool,
}

impl Traffic {
    fn start(pods: &Pods) -> Result<Self> {
        let far = pods.senders.iter().find(|(sender, _)| sender.name == "faults/far");
        let connection = echo::Stream::tcp(&far.context("no such pod")?.0, pods.service)?;
        let streams = pods.senders.iter().zip(PORT..).map(|((from, may), port)| {
            Ok((Stream::paced(from, &pods.server, false, port, PACE)?, *may))
        });
        Ok(Self { streams: streams.collect::<Result<_>>()?, connection })
    }

    fn finish(self) -> Seen {
        let wrong: Vec<_> =
            self.streams.iter().filter(|(_, may)| !may).filter_map(|(one, _)| one.span()).collect();
        let first = wrong.iter().map(|(first, _)| *first).min();
        let last = wrong.iter().map(|(_, last)| *last).max();
        let open_for = first.zip(last).map_or(Duration::ZERO, |(first, last)| last - first);
        let (mut passed, mut lost) = (StreamCount::default(), StreamCount::default());
        for (stream, may) in self.streams {
            let StreamCount { sent, arrived } = stream.finish();
            let sum = if may { &mut lost } else { &mut passed };
            sum.sent += sent;
            sum.arrived += arrived;
        }
        let connection = self.connection.goes_on(10) && self.connection.finish().missing.is_empty();
        Seen { passed, lost, open_for, connection }
    }
}

fn objects() -> Result<Vec<Value>> {
    let role = |role: &str| json!({"matchLabels": {"role": role}});
    let friends = json!([{"podSelector": role("friend")}, {"podSelector": role("mute")}]);
    let mut all = vec![
        namespace("faults", json!({})),
        policy(
            "faults/friends",
            json!({"podSelector": role("server"), "ingress": [{"from": friends}]}),
        )?,
        policy("faults/mute", json!({"podSelector": role("mute"), "policyTypes": ["Egress"]}))?,
        json!({
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "echo", "namespace": "faults", "labels": {"name": "echo"}},
            "spec": {"selector": {"role": "server"}, "ports": [{"port": SERVICE_PORT}]},
        }),
        pod(SERVER, NODE, json!({"role": "server"}))?,
        pod(SWING, "node-2", json!({"role": "stranger"}))?,
    ];
    for (name, node, role, _) in SENDERS {
        all.push(pod(name, node, json!({"role": role}))?);
    }
    Ok(all)
}
