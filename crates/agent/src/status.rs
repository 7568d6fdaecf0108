//! Whether this node enforces, as conditions that a person can read.
//!
//! In: what the other parts find. Out: ready or not, and why; alive or not.
//! Never: liveness that depends on the API server, since a restart would not
//! help.

use std::collections::BTreeMap;
use std::fmt;
use std::fmt::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A loop without a heartbeat for this long counts as stuck. The longest commit
/// measured took half a second.
const SILENCE: Duration = Duration::from_secs(60);

/// What must hold for a node to be ready, in the order in which it becomes true.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Condition {
    /// No other nftpol enforces on this node.
    Alone,
    /// The kernel has what the rules need.
    Kernel,
    /// The API server answers, accepts this agent, and is the known cluster's.
    Api,
    /// Every kind was listed.
    Listed,
    /// Some Pod was seen on the node of this name.
    Node,
    /// Every object can be read.
    Readable,
    /// The kernel matches the listed objects. Stays true while the API server is
    /// unreachable.
    Enforced,
    /// The node's interfaces are known, and the kernel can bind addresses to them.
    Bound,
    /// Packets between pods of one bridge cross the forward hook.
    Bridges,
    /// What IPVS forwards, from the output hook, is judged; or there is no IPVS.
    Services,
    /// It is known where this node's pods have their addresses, as far as it must be.
    Ranges,
    /// Denied packets can be shown.
    Log,
    /// Connection tracking has room for new connections.
    Conntrack,
}

impl Condition {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::Alone,
        Self::Kernel,
        Self::Api,
        Self::Listed,
        Self::Node,
        Self::Readable,
        Self::Enforced,
        Self::Bound,
        Self::Bridges,
        Self::Services,
        Self::Ranges,
        Self::Log,
        Self::Conntrack,
    ];

    /// One word, for metrics and reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Alone => "alone",
            Self::Kernel => "kernel",
            Self::Api => "api",
            Self::Listed => "listed",
            Self::Node => "node",
            Self::Readable => "readable",
            Self::Enforced => "enforced",
            Self::Bound => "bound",
            Self::Bridges => "bridges",
            Self::Services => "services",
            Self::Ranges => "ranges",
            Self::Log => "log",
            Self::Conntrack => "conntrack",
        }
    }

    /// Whether a node is ready only if it holds. The others are about what pods can bring
    /// about, what is shown, or pods that nobody knows yet: policies are enforced without them.
    pub const fn counts(self) -> bool {
        match self {
            Self::Alone
            | Self::Kernel
            | Self::Api
            | Self::Listed
            | Self::Node
            | Self::Readable
            | Self::Enforced
            | Self::Bound
            | Self::Bridges
            | Self::Services => true,
            Self::Ranges | Self::Log | Self::Conntrack => false,
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
    /// Why a condition does not hold. One that is not listed here holds.
    problems: BTreeMap<Condition, String>,
    /// What should be known about a condition that holds.
    remarks: BTreeMap<Condition, String>,
    heartbeat: Instant,
}

impl Default for Status {
    fn default() -> Self {
        Self::new()
    }
}

impl Status {
    /// No condition holds yet that counts.
    pub fn new() -> Self {
        let counting = Condition::ALL.into_iter().filter(|condition| condition.counts());
        let problems = counting.map(|condition| (condition, "not known yet".to_owned()));
        Self(Arc::new(Mutex::new(State {
            problems: problems.collect(),
            remarks: BTreeMap::new(),
            heartbeat: Instant::now(),
        })))
    }

    /// A condition holds.
    pub fn holds(&self, condition: Condition) {
        let was_failing = self.state().problems.remove(&condition);
        if was_failing.is_some() {
            tracing::debug!(%condition, "holds");
        }
    }

    /// What should be known about a condition while it holds. An empty remark is
    /// none.
    pub fn remark(&self, condition: Condition, remark: impl Into<String>) {
        let remark = remark.into();
        let remarks = &mut self.state().remarks;
        match remark.is_empty() {
            true => remarks.remove(&condition),
            false => remarks.insert(condition, remark),
        };
    }

    /// A condition does not hold: why, and how to fix it.
    pub fn fails(&self, condition: Condition, problem: impl Into<String>) {
        let problem = problem.into();
        // The log first: who sees the condition finds its reason there.
        if self.problem(condition).as_ref() != Some(&problem) {
            match condition.counts() {
                true => tracing::warn!(%condition, "not ready: {problem}"),
                false => tracing::warn!(%condition, "{problem}"),
            }
        }
        self.state().problems.insert(condition, problem);
    }

    /// As [`Self::fails`], for what each start goes through.
    pub fn begins(&self, condition: Condition, problem: impl Into<String>) {
        let problem = problem.into();
        if self.problem(condition).as_ref() != Some(&problem) {
            tracing::info!(%condition, "not ready yet: {problem}");
        }
        self.state().problems.insert(condition, problem);
    }

    /// As [`Self::fails`], for a problem that is logged in its own rhythm.
    pub fn fails_quietly(&self, condition: Condition, problem: impl Into<String>) {
        self.state().problems.insert(condition, problem.into());
    }

    /// Why a condition does not hold.
    pub fn problem(&self, condition: Condition) -> Option<String> {
        self.state().problems.get(&condition).cloned()
    }

    /// Whether all conditions hold that count.
    pub fn is_ready(&self) -> bool {
        self.state().problems.keys().all(|condition| !condition.counts())
    }

    /// The conditions that do not hold or have a remark: whether they hold, and the text.
    pub fn remarkable(&self) -> Vec<(Condition, bool, String)> {
        let state = self.state();
        let remarkable = |condition: Condition| {
            let problem = state.problems.get(&condition).map(|text| (false, text));
            let found = problem.or(state.remarks.get(&condition).map(|text| (true, text)));
            found.map(|(holds, text)| (condition, holds, text.clone()))
        };
        Condition::ALL.into_iter().filter_map(remarkable).collect()
    }

    /// A line for each condition, in the style of the API server's
    /// `/readyz?verbose`.
    pub fn report(&self) -> String {
        let state = self.state();
        let mut out = String::new();
        for condition in Condition::ALL {
            let sign = if condition.counts() { '-' } else { '!' };
            let problem = state.problems.get(&condition).map(|problem| (sign, problem));
            let remark = state.remarks.get(&condition).map(|remark| ('+', remark));
            // Writing to a String does not fail.
            let _ = match problem.or(remark) {
                None => writeln!(out, "[+] {condition}"),
                Some((sign, text)) => writeln!(out, "[{sign}] {condition}: {text}"),
            };
        }
        out
    }

    /// The loop that enforces is running.
    pub fn heartbeat(&self) {
        self.state().heartbeat = Instant::now();
    }

    /// Whether it was running a short time ago.
    pub fn is_alive(&self) -> bool {
        self.state().heartbeat.elapsed() < SILENCE
    }

    /// A thread that panicked while it held the lock left no half-written value.
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
        for condition in Condition::ALL.into_iter().filter(|condition| condition.counts()) {
            assert!(!status.is_ready());
            status.holds(condition);
        }
        assert!(status.is_ready());
        status.fails(Condition::Log, "another program reads the group");
        assert!(status.is_ready());
        assert!(status.report().contains("[!] log: another"), "{}", status.report());
        status.fails(Condition::Bridges, "run `sysctl -w ...=1`");
        assert!(!status.is_ready());
        let report = status.report();
        assert!(report.contains("[-] bridges: run `sysctl -w ...=1`\n"), "{report}");
        assert!(report.contains("[+] enforced\n"), "{report}");
    }

    #[test]
    fn a_remark_stands_beside_a_condition_that_holds_and_stops_nothing() {
        let status = Status::new();
        status.remark(Condition::Bound, "2 pods are not bound");
        assert!(status.report().contains("[-] bound: not known yet\n"), "{}", status.report());
        Condition::ALL.into_iter().for_each(|condition| status.holds(condition));
        assert!(status.is_ready());
        assert!(status.report().contains("[+] bound: 2 pods are not bound\n"));
        status.remark(Condition::Bound, "");
        assert!(status.report().contains("[+] bound\n"), "{}", status.report());
    }
}
