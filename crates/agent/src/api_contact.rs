//! What to say of the contact with the API server.
//!
//! In: how the watches fail, and since when. Out: the condition `api`, and whether a
//! failure is worth a line in the log now.
//! Never: fifty lines a minute while the API server is away.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use watcher::Kind;
use watcher::api::{Contact, Failing, FailureKind};

use crate::status::{Condition, Status};

/// How long after its beginning a failure is logged again.
const MINUTE: Duration = Duration::from_secs(60);
const LOGGED_AGAIN: [Duration; 3] =
    [MINUTE, Duration::from_secs(5 * 60), Duration::from_secs(15 * 60)];
/// ... and later on.
const LOGGED_EVERY: Duration = Duration::from_secs(60 * 60);
/// Failures with a longer time between them have nothing to do with each other. A
/// server may ask for a pause of a minute and a half.
const APART: Duration = Duration::from_secs(120);
/// A server that restarts is away for less.
const AWAY: Duration = Duration::from_secs(60);
/// A token that is just renewed may be refused once.
const REFUSED: Duration = Duration::from_secs(5);

/// When a failure is worth a line in the log: at once, after a minute, after five
/// and fifteen, then every hour.
#[derive(Debug, Default)]
pub struct FailureLog(BTreeMap<(Kind, FailureKind), Series>);

#[derive(Debug)]
struct Series {
    first: Instant,
    last: Instant,
    next: Duration,
}

impl FailureLog {
    /// A failure happened now. Returns for how long it has, if that is worth a line.
    pub fn failed(&mut self, kind: Kind, failure: FailureKind, now: Instant) -> Option<Duration> {
        let new = Series { first: now, last: now, next: Duration::ZERO };
        let series = self.0.entry((kind, failure)).or_insert(new);
        if now.saturating_duration_since(series.last) > APART {
            *series = Series { first: now, last: now, next: Duration::ZERO };
        }
        series.last = now;
        let age = now.saturating_duration_since(series.first);
        if age < series.next {
            return None;
        }
        let later = LOGGED_AGAIN.into_iter().find(|later| *later > age);
        series.next = later.unwrap_or(age + LOGGED_EVERY);
        Some(age)
    }
}

/// Keeps the condition.
#[derive(Debug, Default)]
pub struct ContactReport {
    /// When the failure began, as people write it.
    since: Option<String>,
}

impl ContactReport {
    /// Updates the condition. `time`: the present time, as people write it.
    pub fn report(&mut self, contact: &Contact, status: &Status, time: impl FnOnce() -> String) {
        let failing = contact.failing();
        let Some(worst) = worst(&failing) else {
            return self.works(contact, status);
        };
        let since = self.since.get_or_insert_with(time);
        let waiting = contact.waiting().map(|waiting| format!("; {waiting}")).unwrap_or_default();
        let text = format!("since {since}: {}{waiting}; the rules stay as they are", worst.message);
        match failing.iter().any(is_long) {
            true => status.fails_quietly(Condition::Api, text),
            false => status.remark(Condition::Api, text),
        }
    }

    fn works(&mut self, contact: &Contact, status: &Status) {
        let waiting = contact.waiting().map(|waiting| waiting.to_string());
        if !contact.is_complete() {
            let waiting = waiting.map(|waiting| format!(": {waiting}")).unwrap_or_default();
            let problem = format!("waiting for the API server{waiting}");
            return status.fails_quietly(Condition::Api, problem);
        }
        if let Some(since) = self.since.take() {
            tracing::info!("the API server answers again; it did not since {since}");
        }
        status.remark(Condition::Api, waiting.unwrap_or_default());
        status.holds(Condition::Api);
    }
}

/// The failure that a person has to know of first.
fn worst(failing: &[Failing]) -> Option<&Failing> {
    failing.iter().min_by_key(|one| (rank(one.failure), one.kind))
}

fn rank(failure: FailureKind) -> u8 {
    match failure {
        FailureKind::OtherCluster => 0,
        FailureKind::Forbidden => 1,
        FailureKind::Contradicted => 2,
        FailureKind::Connection | FailureKind::Decode | FailureKind::Other => 3,
        FailureKind::Expired | FailureKind::WentBack => 4,
    }
}

/// Whether it will not pass by itself in a moment.
fn is_long(failing: &Failing) -> bool {
    let patience = match failing.failure {
        FailureKind::OtherCluster | FailureKind::Contradicted => Duration::ZERO,
        FailureKind::Forbidden => REFUSED,
        FailureKind::Connection
        | FailureKind::Decode
        | FailureKind::Other
        | FailureKind::Expired
        | FailureKind::WentBack => AWAY,
    };
    failing.age >= patience
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_logged_at_once_then_ever_less() {
        let (mut log, start) = (FailureLog::default(), Instant::now());
        let mut at = |seconds: u64| {
            let now = start + Duration::from_secs(seconds);
            log.failed(Kind::Pod, FailureKind::Connection, now).map(|age| age.as_secs())
        };
        let logged: Vec<u64> = (0..3 * 60 * 60).step_by(4).filter_map(&mut at).collect();
        assert_eq!(logged, [0, 60, 300, 900, 4500, 8100]);
        assert_eq!(at(3 * 60 * 60 + 100), None, "a pause that the server asked for");
        assert_eq!(at(3 * 60 * 60 + 300), Some(0), "another one");
    }

    #[test]
    fn what_will_not_pass_by_itself_is_a_problem() {
        let failing = |failure, seconds| Failing {
            kind: Kind::Pod,
            age: Duration::from_secs(seconds),
            failure,
            message: String::new(),
        };
        for (failure, seconds) in [
            (FailureKind::OtherCluster, 0),
            (FailureKind::Forbidden, 5),
            (FailureKind::Connection, 60),
        ] {
            assert!(is_long(&failing(failure, seconds)), "{failure:?}");
            let earlier = seconds.checked_sub(1).map(|seconds| failing(failure, seconds));
            assert!(!earlier.is_some_and(|earlier| is_long(&earlier)), "{failure:?}");
        }
        let all = [failing(FailureKind::Connection, 90), failing(FailureKind::Forbidden, 1)];
        assert_eq!(worst(&all).map(|one| one.failure), Some(FailureKind::Forbidden));
    }

    #[test]
    fn the_condition_waits_for_the_first_answers() {
        let status = Status::new();
        ContactReport::default().report(&Contact::default(), &status, String::new);
        assert!(status.report().contains("[-] api: waiting for the API server\n"));
    }
}
