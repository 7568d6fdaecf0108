//! A new pod, from its creation to its last wrong answer.
//!
//! The pods of the scene accept friends alone. This measures how long friends wait
//! and how long strangers are answered.
//!
//! The API server learns the pod's address late, with the kubelet's report. So the
//! test looks for the pod's network namespace on the node itself, every millisecond.
//! The namespace has the address before the first container is created, with any CNI
//! plugin. From then on a friend, a stranger and the outsider ask every millisecond,
//! each time from another port. The pod's own node asks, too. No policy can deny a
//! node, so its answers show when the server began to answer. The pod itself is a
//! friend and sends a stream to an isolated pod on the other node. A watch shows when
//! the API server knew the address and called the pod ready. On a busy machine the
//! watch may learn this later than the agents do.
//!
//! ```text
//!  created   namespace   first answer       API: address, Ready   last answer to a stranger
//!  |---------|-----------|------------------|---------------------|
//!    kubelet   containers  kubelet's report   controller
//!                        |<--- a stranger is answered for ------->|
//! ```

use std::net::SocketAddr;
use std::pin::pin;
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use futures::TryStreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{PostParams, WatchEvent, WatchParams};
use kubebed::apiserver::ApiServer;
use netbed::new_flows::{EVERY, NewFlows, Progress};
use netbed::stream::Stream;
use netbed::testbed::Endpoint;
use policy::ObjectKey;
use serde_json::json;
use tools::interrupt;

use crate::changes::milliseconds;
use crate::figures::{Measure, Unit};
use crate::scene::{ECHO, NAMESPACE, NODES, Scene, address, pod, until};

/// The port to which the stream of the new pod goes.
const PORT: u16 = 5354;
/// How long a stranger must have been refused, and how many of its questions.
const REFUSED: Duration = Duration::from_millis(300);
const QUESTIONS: u64 = 100;
/// Allowed askers stop after this many answers.
const ENOUGH: u64 = 20;
/// How long a pod may take to be ready.
const READY: Duration = Duration::from_secs(60);

/// When the API server reported each fact.
#[derive(Clone, Copy, Debug)]
struct ReportTimes {
    /// The pod's addresses.
    known: Instant,
    ready: Instant,
}

/// What one round showed.
struct Round {
    created: Instant,
    /// When the network namespace had an address.
    wired: Instant,
    reported: ReportTimes,
    /// The pod's own node, which is never denied.
    node: Progress,
    friend: Progress,
    stranger: Progress,
    outsider: Progress,
    /// Whether strangers were refused in the end.
    shut: bool,
    /// The pod's own first datagram that arrived.
    own: Option<Instant>,
}

pub fn measure(scene: &Scene<'_>, rounds: usize, patience: Duration) -> Result<Vec<Measure>> {
    for node in scene.kubernetes.cluster().nodes() {
        // A few seconds less than usual, so that the thousands of questions to each
        // pod do not fill connection tracking.
        node.namespace.sysctl("netfilter.nf_conntrack_udp_timeout", "3")?;
    }
    let mut all = Vec::new();
    for number in 0..rounds {
        all.push(round(scene, number, patience).with_context(|| format!("new pod {number}"))?);
    }
    let values = |of: &dyn Fn(&Round) -> Option<f64>| all.iter().map(of).collect::<Vec<_>>();
    let shown = |name: &str, of: &dyn Fn(&Round) -> Option<f64>| {
        Measure::new(name, Unit::Milliseconds, values(of))
    };
    let first_answer = |round: &Round| {
        let all = [round.node, round.friend, round.stranger, round.outsider];
        all.iter().filter_map(|one| one.first).min()
    };
    let last_wrong = |round: &Round| round.stranger.last.max(round.outsider.last);
    Ok(vec![
        shown("new pod: Ready and serving to a friend's first answered packet", &|round| {
            let serving = first_answer(round)?.max(round.reported.ready);
            Some(since(serving, round.friend.first?).max(0.0))
        }),
        shown("new pod: Ready to its own first packet at an isolated pod", &|round| {
            Some(since(round.reported.ready, round.own?).max(0.0))
        }),
        shown("new isolated pod answers a stranger for", &|round| round.answers(&round.stranger)),
        shown("new isolated pod answers the outsider for", &|round| round.answers(&round.outsider)),
        shown("new pod: its first answer to its address in the API", &|round| {
            Some(since(first_answer(round)?, round.reported.known))
        }),
        shown("new pod: its address in the API to the last wrong answer", &|round| {
            let last = round.shut.then(|| last_wrong(round).unwrap_or(round.reported.known))?;
            Some(since(round.reported.known, last).max(0.0))
        }),
        shown("a new pod's program answers its node to it answers a friend", &|round| {
            Some(since(round.node.first?, round.friend.first?))
        })
        .detail(),
        shown("created to network", &|round| Some(since(round.created, round.wired))).detail(),
        shown("created to first answer", &|round| Some(since(round.created, first_answer(round)?)))
            .detail(),
        shown("created to address in the API", &|round| {
            Some(since(round.created, round.reported.known))
        })
        .detail(),
        shown("created to Ready", &|round| Some(since(round.created, round.reported.ready)))
            .detail(),
        shown("address in the API to its own first packet at an isolated pod", &|round| {
            Some(since(round.reported.known, round.own?))
        })
        .detail(),
        shown("Ready to a friend's first answered packet, signed", &|round| {
            Some(since(round.reported.ready, round.friend.first?))
        })
        .detail(),
        shown("Ready to its own first packet, signed", &|round| {
            Some(since(round.reported.ready, round.own?))
        })
        .detail(),
    ])
}

/// Milliseconds from one moment to the other, negative in reverse order.
fn since(from: Instant, to: Instant) -> f64 {
    milliseconds(to.saturating_duration_since(from))
        - milliseconds(from.saturating_duration_since(to))
}

impl Round {
    /// For how long a peer was answered that must be refused.
    fn answers(&self, asked: &Progress) -> Option<f64> {
        match (asked.first, asked.last) {
            (Some(first), Some(last)) => {
                self.shut.then(|| milliseconds(last.duration_since(first) + EVERY))
            }
            _ => Some(0.0),
        }
    }
}

fn round(scene: &Scene<'_>, number: usize, patience: Duration) -> Result<Round> {
    let (kubernetes, server) = (scene.kubernetes, scene.kubernetes.server());
    let name = format!("guest-{number}");
    let before = kubernetes.namespaces_of_pods(NODES[0])?;
    let guest = pod(NAMESPACE, &name, NODES[0], &json!({"role": "friend", "run": "guest"}));
    let guest: Pod = serde_json::from_value(guest)?;
    let api: Api<Pod> = Api::namespaced(server.client(), NAMESPACE);
    let made = server.block_on(api.create(&PostParams::default(), &guest))?;
    let created = Instant::now();
    let version = made.metadata.resource_version.context("a pod without version")?;
    let round = thread::scope(|scope| {
        let reported = scope.spawn(|| watch(server, &name, &version));
        let endpoint = kubernetes.newcomer(NODES[0], &before, READY)?.context("no network")?;
        let wired = Instant::now();
        let asking = Asking::start(scene, &endpoint)?;
        let reported = match reported.join() {
            Ok(reported) => reported?,
            Err(panic) => std::panic::resume_unwind(panic),
        };
        let shut = asking.wait(reported, patience)?;
        let own = asking.own.first_since(wired);
        let [node, friend, stranger, outsider] = asking.all().map(NewFlows::asked);
        Ok::<_, anyhow::Error>(Round {
            created,
            wired,
            reported,
            node,
            friend,
            stranger,
            outsider,
            shut,
            own,
        })
    });
    server.delete_pods(&[ObjectKey::new(NAMESPACE, name)])?;
    until("end of a pod's network", || {
        Ok(kubernetes.namespaces_of_pods(NODES[0])?.is_subset(&before))
    })?;
    round
}

/// All traffic to the pod and from it.
struct Asking {
    node: NewFlows,
    friend: NewFlows,
    stranger: NewFlows,
    outsider: NewFlows,
    own: Stream,
}

impl Asking {
    fn start(scene: &Scene<'_>, endpoint: &Endpoint) -> Result<Self> {
        let to = SocketAddr::new(address(endpoint)?, ECHO);
        Ok(Self {
            node: NewFlows::start(scene.kubernetes.cluster().endpoint(NODES[0])?, to, ENOUGH)?,
            stranger: NewFlows::start(&scene.stranger, to, u64::MAX)?,
            outsider: NewFlows::start(scene.outsider()?, to, u64::MAX)?,
            friend: NewFlows::start(&scene.friend, to, ENOUGH)?,
            own: Stream::start(endpoint, &scene.far, false, PORT)?,
        })
    }

    fn all(&self) -> [&NewFlows; 4] {
        [&self.node, &self.friend, &self.stranger, &self.outsider]
    }

    /// Waits until all traffic follows the policy. Returns whether strangers are
    /// refused.
    fn wait(&self, reported: ReportTimes, patience: Duration) -> Result<bool> {
        let ready = reported.ready.max(reported.known);
        loop {
            interrupt::check()?;
            let [_, friend, strangers @ ..] = self.all().map(NewFlows::asked);
            let refused = |asked: &Progress| {
                let since = asked.last.unwrap_or(ready).max(ready);
                since.elapsed() > REFUSED && asked.unanswered > QUESTIONS
            };
            let shut = strangers.iter().all(refused);
            let served = friend.first.is_some() && self.own.first_since(reported.known).is_some();
            if shut && served || ready.elapsed() > patience {
                return Ok(shut);
            }
            sleep(Duration::from_millis(5));
        }
    }
}

/// Watches a pod until it is ready.
fn watch(server: &ApiServer, name: &str, version: &str) -> Result<ReportTimes> {
    let api: Api<Pod> = Api::namespaced(server.client(), NAMESPACE);
    let seconds = u32::try_from(READY.as_secs()).unwrap_or(u32::MAX);
    let params = WatchParams::default().fields(&format!("metadata.name={name}")).timeout(seconds);
    server.block_on(async {
        let mut events = pin!(api.watch(&params, version).await?);
        let mut known = None;
        while let Some(event) = events.try_next().await? {
            let WatchEvent::Modified(pod) = event else { continue };
            let status = pod.status.unwrap_or_default();
            if status.pod_ips.is_some_and(|addresses| !addresses.is_empty()) {
                known.get_or_insert_with(Instant::now);
            }
            let mut conditions = status.conditions.into_iter().flatten();
            let is_ready = conditions.any(|one| one.type_ == "Ready" && one.status == "True");
            if let (true, Some(known)) = (is_ready, known) {
                return Ok(ReportTimes { known, ready: Instant::now() });
            }
        }
        bail!("{name} is not ready after {READY:?}")
    })
}
