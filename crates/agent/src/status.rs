//! Whether this node is enforced, in conditions that a person can read.
//!
//! In: what the other parts find. Out: ready or not and why; alive or not.
//! Never: a word of the API server in liveness: a restart would not mend it.

use std::collections::BTreeMap;
use std::fmt;
use std::fmt::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long the loop that enforces may stay silent before it counts as stuck.
/// The longest commit measured took half a second.
const SILENCE: Duration = Duration::from_secs(60);

/// What must hold for a node to be ready, in the order in which it comes true.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Condition {
    /// No other nftpol enforces on this node.
    Alone,
    /// The kernel has what the rules need.
    Kernel,
    /// Every kind was listed.
    Listed,
    /// The kernel holds what the policies say.
    Enforced,
    /// Packets between pods of one bridge cross the forward hook.
    Bridges,
    /// No IPVS, which sends from the local-out hook.
    Services,
}

impl Condition {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Alone, Self::Kernel, Self::Listed, Self::Enforced, Self::Bridges, Self::Services];

    /// One word, for metrics and reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Alone => "alone",
            Self::Kernel => "kernel",
            Self::Listed => "listed",
            Self::Enforced => "enforced",
            Self::Bridges => "bridges",
            Self::Services => "services",
        }
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Shared between the threads.
#[derive(Clone, Debug)]
pub struct Status(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    /// Why a condition does not hold; one that is missing does.
    problems: BTreeMap<Condition, String>,
    heartbeat: Instant,
}

impl Default for Status {
    fn default() -> Self {
        Self::new()
    }
}

impl Status {
    /// Nothing holds yet.
    pub fn new() -> Self {
        let problems = Condition::ALL.map(|condition| (condition, "not known yet".to_owned()));
        Self(Arc::new(Mutex::new(State { problems: problems.into(), heartbeat: Instant::now() })))
    }

    /// A condition holds.
    pub fn holds(&self, condition: Condition) {
        let mended = self.state().problems.remove(&condition);
        if mended.is_some() {
            tracing::debug!(%condition, "holds");
        }
    }

    /// A condition does not hold: why, and how to mend it.
    pub fn fails(&self, condition: Condition, problem: impl Into<String>) {
        let problem = problem.into();
        let before = self.state().problems.insert(condition, problem.clone());
        if before.as_ref() != Some(&problem) {
            tracing::warn!(%condition, "not ready: {problem}");
        }
    }

    /// What keeps a condition from holding.
    pub fn problem(&self, condition: Condition) -> Option<String> {
        self.state().problems.get(&condition).cloned()
    }

    /// Whether all conditions hold.
    pub fn is_ready(&self) -> bool {
        self.state().problems.is_empty()
    }

    /// A line for each condition, as the API server's `/readyz?verbose`.
    pub fn report(&self) -> String {
        let state = self.state();
        let mut out = String::new();
        for condition in Condition::ALL {
            // Writing to a String does not fail.
            let _ = match state.problems.get(&condition) {
                None => writeln!(out, "[+] {condition}"),
                Some(problem) => writeln!(out, "[-] {condition}: {problem}"),
            };
        }
        out
    }

    /// The loop that enforces is at work.
    pub fn heartbeat(&self) {
        self.state().heartbeat = Instant::now();
    }

    /// Whether it has been lately.
    pub fn is_alive(&self) -> bool {
        self.state().heartbeat.elapsed() < SILENCE
    }

    /// A thread that panicked in here left no half-made value.
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_only_when_every_condition_holds() {
        let status = Status::new();
        for condition in Condition::ALL {
            assert!(!status.is_ready());
            status.holds(condition);
        }
        assert!(status.is_ready());
        status.fails(Condition::Bridges, "run `sysctl -w ...=1`");
        assert!(!status.is_ready());
        let report = status.report();
        assert!(report.contains("[-] bridges: run `sysctl -w ...=1`\n"), "{report}");
        assert!(report.contains("[+] enforced\n"), "{report}");
    }
}
