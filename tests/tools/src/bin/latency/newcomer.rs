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
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use netbed::new_flows::{EVERY, NewFlows, Progress};
use netbed::stream::Stream;
use netbed::testbed::Endpoint;
use serde_json::json;
use tools::interrupt;

use crate::changes::milliseconds;
use crate::figures::{Measure, Unit};
use crate::new_pod::{NewPod, ReportTimes, since};
use crate::scene::{ECHO, NAMESPACE, NODES, Scene, address};

/// The port to which the stream of the new pod goes.
const PORT: u16 = 5354;
/// How long a stranger must have been refused, and how many of its questions.
const REFUSED: Duration = Duration::from_millis(300);
const QUESTIONS: u64 = 100;
/// Allowed askers stop after this many answers.
const ENOUGH: u64 = 20;

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
    let labels = json!({"role": "friend", "run": "guest"});
    let new = NewPod::create(scene, NAMESPACE, &format!("guest-{number}"), &labels)?;
    let round = asked(scene, &new, patience);
    new.remove(scene)?;
    round
}

fn asked(scene: &Scene<'_>, new: &NewPod, patience: Duration) -> Result<Round> {
    let start = |endpoint: &Endpoint, wired| Ok((Asking::start(scene, endpoint)?, wired));
    let ((asking, wired), reported) = new.watched(scene, start)?;
    let shut = asking.wait(reported, patience)?;
    let own = asking.own.first_since(wired);
    let [node, friend, stranger, outsider] = asking.all().map(NewFlows::asked);
    let created = new.created;
    Ok(Round { created, wired, reported, node, friend, stranger, outsider, shut, own })
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
