//! From a write to the API to the packets between running pods.
//!
//! Measures how long until streams stop or begin, counted from the API server's
//! answer and from the request. A round begins only after the change of the last
//! round was seen.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use netbed::stream::{EVERY, Stream};
use serde_json::json;
use tools::interrupt;

use crate::figures::{Measure, Unit, names};
use crate::scene::{NODES, Scene, Written};

/// The port to which the streams go.
const PORT: u16 = 5353;
/// Waits are cut into slices, to notice an interruption.
const SLICE: Duration = Duration::from_secs(1);
/// Give up after this many rounds in a row that never end.
const NEVERS: usize = 3;
/// The role that the policy lets in.
const FRIEND: &str = "friend";

/// Two streams from the same pod, one to a pod on each node.
struct Streams {
    near: Stream,
    far: Stream,
}

/// What one round showed about one change.
#[derive(Clone, Copy, Debug)]
struct Effect {
    /// The time since the answer, for each stream: near, far.
    answer: [Option<Duration>; 2],
    /// The time since the request.
    request: [Option<Duration>; 2],
}

const NEVER: Effect = Effect { answer: [None; 2], request: [None; 2] };

/// What the streams must do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expected {
    Stop,
    Begin,
}

impl Streams {
    fn start(scene: &Scene<'_>) -> Result<Self> {
        let to = |to| Stream::start(&scene.client, to, false, PORT);
        let streams = Self { near: to(&scene.near)?, far: to(&scene.far)? };
        for stream in streams.both() {
            stream.heard_after(Instant::now()).context("before any policy")?;
        }
        Ok(streams)
    }

    fn both(&self) -> [&Stream; 2] {
        [&self.near, &self.far]
    }

    fn effect(&self, wish: Expected, written: Written, patience: Duration) -> Result<Effect> {
        let mut effect = NEVER;
        for (index, stream) in self.both().into_iter().enumerate() {
            effect.answer[index] = within(patience, || wish.of(stream, written.answer))?;
            if effect.answer[index].is_some() {
                effect.request[index] = wish.of(stream, written.request);
            }
        }
        Ok(effect)
    }
}

impl Expected {
    fn of(self, stream: &Stream, since: Instant) -> Option<Duration> {
        match self {
            Self::Stop => stream.silenced_within(since, SLICE),
            Self::Begin => stream.heard_within(since, SLICE),
        }
    }
}

/// Tries until there is a result or the time is over.
fn within<T>(patience: Duration, mut tries: impl FnMut() -> Option<T>) -> Result<Option<T>> {
    let start = Instant::now();
    loop {
        interrupt::check()?;
        let found = tries();
        if found.is_some() || start.elapsed() > patience {
            return Ok(found);
        }
    }
}

impl Effect {
    fn never(&self) -> bool {
        self.answer.contains(&None)
    }
}

pub fn measure(scene: &Scene<'_>, rounds: usize, patience: Duration) -> Result<Vec<Measure>> {
    let streams = Streams::start(scene)?;
    let policies = alternate(rounds, |there| {
        let (wish, written) = if there {
            (Expected::Stop, scene.create_policy("deny", json!([]))?)
        } else {
            (Expected::Begin, scene.delete_policy("deny")?)
        };
        streams.effect(wish, written, patience)
    })?;
    let isolated = streams.effect(Expected::Stop, befriend(scene)?, patience)?;
    // A label opens nothing for a client that was never shut out.
    let rounds = if isolated.never() { 0 } else { rounds };
    let labels = alternate(rounds, |there| {
        let (wish, role) =
            if there { (Expected::Begin, FRIEND) } else { (Expected::Stop, "client") };
        streams.effect(wish, scene.relabel_client(role)?, patience)
    })?;
    scene.delete_policy("friends")?;
    let mut measures = Vec::new();
    for (name, effects) in [
        (names::CREATED, &policies[0]),
        (names::DELETED, &policies[1]),
        (names::LABEL_DENIED, &labels[1]),
        (names::LABEL_ALLOWED, &labels[0]),
    ] {
        measures.extend(described(name, effects));
    }
    Ok(measures)
}

/// All pods of the namespace accept friends alone.
pub fn befriend(scene: &Scene<'_>) -> Result<Written> {
    let friends = json!([{"from": [{"podSelector": {"matchLabels": {"role": FRIEND}}}]}]);
    scene.create_policy("friends", friends)
}

/// Makes the change and its reverse, for the given number of rounds. If the change
/// never had its effect, the reverse shows nothing.
fn alternate(
    rounds: usize,
    mut change: impl FnMut(bool) -> Result<Effect>,
) -> Result<[Vec<Effect>; 2]> {
    let [mut there, mut back] = [Vec::new(), Vec::new()];
    for _ in 0..rounds {
        let effect = change(true)?;
        there.push(effect);
        let returned = change(false)?;
        back.push(if effect.never() { NEVER } else { returned });
        let nevers = there.iter().zip(&back).rev();
        let nevers = nevers.take_while(|(one, other)| one.never() || other.never());
        if nevers.count() >= NEVERS {
            break;
        }
    }
    Ok([there, back])
}

/// The slower of the two streams, and each stream. Without a round the effect never
/// came.
fn described(name: &str, effects: &[Effect]) -> Vec<Measure> {
    let values = |of: &dyn Fn(&Effect) -> Option<Duration>| {
        let effects = if effects.is_empty() { &[NEVER][..] } else { effects };
        effects.iter().map(|effect| of(effect).map(milliseconds)).collect()
    };
    let slower = |[near, far]: [Option<Duration>; 2]| Some(near?.max(far?));
    let detail = |what: &str, of: &dyn Fn(&Effect) -> Option<Duration>| {
        Measure::new(format!("{name}, {what}"), Unit::Milliseconds, values(of)).detail()
    };
    vec![
        Measure::new(name, Unit::Milliseconds, values(&|one| slower(one.answer))),
        detail("same node", &|one| one.answer[0]),
        detail("across nodes", &|one| one.answer[1]),
        detail("from the request", &|one| slower(one.request)),
    ]
}

pub fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// Another program flushes all rules of a node on which a policy denies. Measures the
/// time from the first datagram that passes to the last, or 0 if none passes. A round
/// that does not end is the last one.
pub fn flush(scene: &Scene<'_>, rounds: usize, patience: Duration) -> Result<Measure> {
    let streams = Streams::start(scene)?;
    let denied = streams.effect(
        Expected::Stop,
        scene.create_policy("deny", json!([]))?,
        patience.min(Duration::from_secs(30)),
    )?;
    let mut values = Vec::new();
    for _ in 0..rounds {
        if denied.never() {
            values.push(None);
            break;
        }
        let start = Instant::now();
        scene.kubernetes.exec(NODES[0], &["nft", "flush", "ruleset"])?.success()?;
        let last = within(patience, || streams.near.silenced_within(start, SLICE))?;
        let open = last.map(|last| {
            let first = streams.near.first_since(start);
            first.map_or(Duration::ZERO, |first| last - first.duration_since(start) + EVERY)
        });
        values.push(open.map(milliseconds));
        if open.is_none() {
            break;
        }
    }
    Ok(Measure::new(names::FLUSH, Unit::Milliseconds, values))
}
