//! New pods that no policy selects, and new pods while no agent runs.
//!
//! What `--unknown-pods` costs and what it gives. A pod without a policy asks a server
//! without a policy on the other node, every millisecond from its own network namespace,
//! as soon as that has an address: so from before its first container is created. Its own
//! node asks the pod, which shows when its program began to answer. The first question of a
//! program is about then.
//!
//! ```text
//!  created   network    program runs      API: address     agent's commit
//!  |---------|----------|-----------------|----------------|
//!            own questions: `open` answers all, others none up to the commit
//!                       |<--- what a program notices ----->|
//! ```

use std::net::SocketAddr;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use netbed::new_flows::{NewFlows, Progress};
use netbed::testbed::Endpoint;
use serde_json::json;
use tools::interrupt;

use crate::figures::{Measure, Unit};
use crate::new_pod::{NewPod, since};
use crate::scene::{ECHO, NAMESPACE, NODES, Scene, accounts, address, create, pod, ready, until};

/// A namespace without policies.
const FREE: &str = "free";
const SERVER: &str = "server";
/// A program that gets no answer for this long, in milliseconds, has lost its first
/// question. A resolver asks again after seconds.
const LOST: f64 = 5.0;
/// Answers after which nobody asks any longer.
const ENOUGH: u64 = 20;
/// Questions to a pod while no agent runs.
const QUESTIONS: u64 = 300;
/// New pods of each kind meanwhile.
const AWAY: usize = 5;

/// What one round showed.
struct Round {
    created: Instant,
    /// When the network namespace had an address.
    wired: Instant,
    /// When the API server knew the address.
    known: Instant,
    /// The first question of the node that was answered.
    program: Option<Instant>,
    own: Option<Instant>,
}

/// Makes the namespace, with a server.
fn server(scene: &Scene<'_>) -> Result<Endpoint> {
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": FREE}});
    scene.kubernetes.server().apply(&namespace.to_string())?;
    accounts(scene.kubernetes, &[FREE.to_owned()])?;
    create(scene.kubernetes, &[pod(FREE, SERVER, NODES[1], &json!({}))])?;
    ready(scene.kubernetes, &["--namespace", FREE, "--all"])?;
    scene.kubernetes.pod(&format!("{FREE}/{SERVER}"))
}

/// New pods without a policy.
pub fn free(scene: &Scene<'_>, rounds: usize, patience: Duration) -> Result<Vec<Measure>> {
    let server = server(scene)?;
    let mut all = Vec::new();
    for number in 0..rounds {
        let round = round(scene, &server, number, patience);
        all.push(round.with_context(|| format!("new pod without policy {number}"))?);
    }
    let values = |of: &dyn Fn(&Round) -> Option<f64>| all.iter().map(of).collect::<Vec<_>>();
    let shown = |name: &str, of: &dyn Fn(&Round) -> Option<f64>| {
        Measure::new(format!("new pod without policy: {name}"), Unit::Milliseconds, values(of))
    };
    let waits = |round: &Round| Some(since(round.program?, round.own?).max(0.0));
    let lost = values(&|round| {
        Some(if waits(round).is_some_and(|waits| waits < LOST) { 0.0 } else { 100.0 })
    });
    let share = lost.iter().flatten().sum::<f64>() / lost.len().max(1) as f64;
    Ok(vec![
        shown("its program runs to the first answer to a question of its own", &waits),
        Measure::new(
            "new pods without policy whose first question is lost",
            Unit::Percent,
            vec![Some(share)],
        ),
        shown("its network to the first answer to a question of its own", &|round| {
            Some(since(round.wired, round.own?))
        }),
        shown("its address in the API to that answer", &|round| {
            Some(since(round.known, round.own?))
        })
        .detail(),
        shown("its program runs to its address in the API", &|round| {
            Some(since(round.program?, round.known))
        }),
        shown("created to its program runs", &|round| Some(since(round.created, round.program?)))
            .detail(),
    ])
}

fn round(scene: &Scene<'_>, server: &Endpoint, number: usize, patience: Duration) -> Result<Round> {
    let new = NewPod::create(scene, FREE, &format!("guest-{number}"), &json!({"run": "free"}))?;
    let to_server = SocketAddr::new(address(server)?, ECHO);
    let round = new.watched(scene, |endpoint, wired| {
        let own = NewFlows::start(endpoint, to_server, ENOUGH)?;
        let node = asks(scene.kubernetes.cluster().endpoint(NODES[0])?, endpoint, ENOUGH)?;
        let has_first = |flows: &NewFlows| flows.asked().first.is_some();
        let end = Instant::now() + patience;
        while !(has_first(&own) && has_first(&node)) && Instant::now() < end {
            interrupt::check()?;
            sleep(Duration::from_millis(5));
        }
        Ok((wired, node.asked().first, own.asked().first))
    });
    let created = new.created;
    new.remove(scene)?;
    let ((wired, program, own), reported) = round?;
    Ok(Round { created, wired, known: reported.known, program, own })
}

fn asks(from: &Endpoint, pod: &Endpoint, enough: u64) -> Result<NewFlows> {
    NewFlows::start(from, SocketAddr::new(address(pod)?, ECHO), enough)
}

/// New pods while no agent runs: what a stranger asks one that a policy isolates, and what
/// one without a policy asks. All agents are back at the end.
pub fn agent_away(scene: &Scene<'_>, rounds: usize) -> Result<Vec<Measure>> {
    let server = scene.kubernetes.pod(&format!("{FREE}/{SERVER}"))?;
    agents(scene, false)?;
    let mut answered = [Vec::new(), Vec::new(), Vec::new()];
    for number in 0..rounds.min(AWAY) {
        let name = format!("away-{number}");
        let labels = json!({"role": "friend", "run": "guest"});
        let isolated = NewPod::create(scene, NAMESPACE, &name, &labels)?;
        let asked = isolated.watched(scene, |endpoint, _| {
            served(scene, endpoint)?;
            Ok([
                part(&asks(&scene.stranger, endpoint, u64::MAX)?)?,
                part(&asks(&scene.friend, endpoint, u64::MAX)?)?,
            ])
        });
        isolated.remove(scene)?;
        let ([stranger, friend], _) = asked?;
        let free = NewPod::create(scene, FREE, &name, &json!({"run": "free"}))?;
        let asked = free.watched(scene, |endpoint, _| {
            let to = SocketAddr::new(address(&server)?, ECHO);
            part(&NewFlows::start(endpoint, to, u64::MAX)?)
        });
        free.remove(scene)?;
        let values = [stranger, friend, asked?.0];
        answered.iter_mut().zip(values).for_each(|(all, one)| all.push(Some(one)));
    }
    agents(scene, true)?;
    let [stranger, friend, free] = answered;
    let measure = |name: &str, values| {
        let name = format!("no agent: answered questions {name}");
        Measure::new(name, Unit::Percent, values)
    };
    Ok(vec![
        measure("of a stranger to a new isolated pod", stranger),
        measure("of a friend to a new isolated pod", friend),
        measure("of a new pod without policy", free),
    ])
}

/// Waits until the pod's program answers its node.
fn served(scene: &Scene<'_>, pod: &Endpoint) -> Result<()> {
    let node = asks(scene.kubernetes.cluster().endpoint(NODES[0])?, pod, 1)?;
    until("answer of a new pod to its node", || Ok(node.asked().first.is_some()))
}

/// How much of some hundred questions is answered, in percent.
fn part(asking: &NewFlows) -> Result<f64> {
    until("questions", || Ok(asking.asked().sent >= QUESTIONS))?;
    let Progress { sent, answered, .. } = asking.asked();
    Ok(answered as f64 * 100.0 / sent as f64)
}

/// Takes the agents away from all nodes, or brings them back.
fn agents(scene: &Scene<'_>, run: bool) -> Result<()> {
    let kubernetes = scene.kubernetes;
    let value = if run { json!(null) } else { json!("nowhere") };
    let patch = json!({"spec": {"template": {"spec": {"nodeSelector": {"nftpol.test": value}}}}});
    let of = ["-n", "kube-system", "patch", "daemonset", "nftpol", "-p"];
    kubernetes.kubectl(&[&of[..], &[patch.to_string().as_str()]].concat(), "")?.success()?;
    if run {
        let wait = ["-n", "kube-system", "rollout", "status", "daemonset/nftpol", "--timeout=120s"];
        return kubernetes.kubectl(&wait, "")?.success().map(drop);
    }
    until("end of all agents", || {
        let label = "--selector=app.kubernetes.io/name=nftpol";
        let get = ["-n", "kube-system", "get", "pods", label, "-o", "name"];
        Ok(kubernetes.kubectl(&get, "")?.success()?.trim().is_empty())
    })
}
