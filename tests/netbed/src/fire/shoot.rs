//! One run: one processor shoots, another updates, then the packets are counted.
//!
//! Never: an end by the clock. A run ends after a number of updates and packets, so
//! a slow machine works longer.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

use super::gun::{self, Fire};
use super::observe::{self, ProbeCount};
use super::{Expect, Probe, Range};

/// The calling thread, in sched_setaffinity(2).
const THIS_THREAD: Pid = Pid::from_raw(0);

/// How much is enough. A run must reach both.
#[derive(Clone, Copy, Debug)]
pub struct Goal {
    /// Updates.
    pub updates: u64,
    /// Packets sent during the updates.
    pub packets: u64,
}

/// The result of a run. All fields except `updates` and `seconds` count packets.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    /// Updates made.
    pub updates: u64,
    /// Packets that reached the node.
    pub packets: u64,
    /// Packets of [`Expect::Drop`] that passed.
    pub wrongly_passed: u64,
    /// Packets of [`Expect::Pass`] that did not.
    pub wrongly_dropped: u64,
    /// How long the fire lasted.
    pub seconds: f64,
    /// The counts of each probe.
    pub counts: Vec<ProbeCount>,
}

impl Outcome {
    /// Packets per second.
    pub fn rate(&self) -> f64 {
        self.packets as f64 / self.seconds
    }
}

/// Fires all probes and calls `update` again and again, with 0, 1, 2, ... It stops
/// when the goal is reached, or earlier when `update` returns `Ok(false)`.
///
/// # Errors
/// Errors of `update`. Also when packets cannot be sent or counted, or when a probe
/// did not reach the node at all.
pub fn shoot(
    range: &Range,
    probes: &[Probe],
    goal: Goal,
    fire: &Fire,
    update: impl FnMut(u64) -> Result<bool>,
) -> Result<Outcome> {
    observe::start(range.node(), probes.len())?;
    let (start, before) = (Instant::now(), fire.sent());
    let processors = Processors::get()?;
    fire.burn(true);
    let (updates, seconds) = thread::scope(|scope| {
        let shooter = scope.spawn(|| {
            let fired = pin(&processors.fire).and_then(|()| gun::shoot(range, probes, fire));
            fire.burn(false);
            fired
        });
        let updates =
            pin(&processors.updates).and_then(|()| keep_updating(goal, fire, before, update));
        fire.burn(false);
        let fired = shooter.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        // Threads started later inherit this thread's processors.
        pin(&processors.all)?;
        fired?;
        updates.map(|updates| (updates, start.elapsed().as_secs_f64()))
    })?;
    let counts = settled(range, probes.len(), fire.sent() - before)?;
    if let Some((probe, _)) = probes.iter().zip(&counts).find(|(_, count)| count.arrived == 0) {
        bail!("no packet of {probe:?} reached the node");
    }
    Ok(judge(probes, counts, updates, seconds))
}

fn keep_updating(
    goal: Goal,
    fire: &Fire,
    before: u64,
    mut update: impl FnMut(u64) -> Result<bool>,
) -> Result<u64> {
    let sent = || fire.sent() - before;
    // Wait until the first packet is sent.
    while sent() == 0 && fire.burns() {
        thread::yield_now();
    }
    let mut updates = 0;
    while (updates < goal.updates || sent() < goal.packets) && fire.burns() {
        let go_on = update(updates)?;
        updates += 1;
        if !go_on {
            break;
        }
    }
    Ok(updates)
}

/// Reads the counters once all sent packets have arrived, or none arrive any more.
/// Packets that a full queue lost on the way to the node are counted nowhere.
fn settled(range: &Range, probes: usize, sent: u64) -> Result<Vec<ProbeCount>> {
    let mut last = observe::read(range.node(), probes)?;
    loop {
        if last.iter().map(|count| count.arrived).sum::<u64>() >= sent {
            return Ok(last);
        }
        thread::sleep(Duration::from_millis(20));
        let counts = observe::read(range.node(), probes)?;
        if counts == last {
            return Ok(counts);
        }
        last = counts;
    }
}

/// Adds up the counts.
pub fn judge(probes: &[Probe], counts: Vec<ProbeCount>, updates: u64, seconds: f64) -> Outcome {
    let mut outcome = Outcome { updates, seconds, ..Outcome::default() };
    for (probe, count) in probes.iter().zip(&counts) {
        outcome.packets += count.arrived;
        match probe.expect {
            Expect::Pass => outcome.wrongly_dropped += count.arrived.saturating_sub(count.passed),
            Expect::Drop => outcome.wrongly_passed += count.passed,
            Expect::Either => {}
        }
    }
    outcome.counts = counts;
    outcome
}

/// The processors that this thread may use, and two of them for separate work. A
/// thread that shares a processor with the fire never sees a packet halfway.
struct Processors {
    all: CpuSet,
    fire: CpuSet,
    updates: CpuSet,
}

impl Processors {
    fn get() -> Result<Self> {
        let all = sched_getaffinity(THIS_THREAD).context("ask for the processors")?;
        let mut usable = (0..CpuSet::count()).filter(|&cpu| all.is_set(cpu).unwrap_or(false));
        let (Some(first), Some(second)) = (usable.next(), usable.next()) else {
            bail!("updates under fire need two processors");
        };
        let only = |cpu| {
            let mut set = CpuSet::new();
            set.set(cpu).map(|()| set)
        };
        Ok(Self { all, fire: only(first)?, updates: only(second)? })
    }
}

/// Restricts this thread to these processors.
fn pin(processors: &CpuSet) -> Result<()> {
    sched_setaffinity(THIS_THREAD, processors).context("choose a processor")
}
