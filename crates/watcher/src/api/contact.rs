//! How the contact with the API server is, for probes and metrics.
//!
//! In: what each watch heard, and how it failed. Out: when something was last heard,
//! and what fails since when. Never: a decision what to do.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::backoff::WORKING;
use super::error::{FailureKind, WatchError};
use crate::Kind;

/// An answer that takes longer is worth a word.
const WAITING: Duration = Duration::from_secs(3);

/// Shared between the watches and those who report.
#[derive(Clone, Debug, Default)]
pub struct Contact(Arc<Mutex<BTreeMap<Kind, State>>>);

#[derive(Clone, Debug, Default)]
struct State {
    heard: Option<Instant>,
    /// When the watch was resumed that is open.
    resumed: Option<Instant>,
    /// Whether it works since it last failed.
    works: bool,
    failing: Option<(Instant, FailureKind, String)>,
    /// What is asked for, and since when.
    asking: Option<(Instant, Asking)>,
}

/// What the API server is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asking {
    /// All objects.
    List,
    /// A watch from a version on.
    Watch,
}

/// A request without an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// Of which kind the objects are.
    pub kind: Kind,
    /// What was asked for.
    pub asking: Asking,
    /// How long ago.
    pub age: Duration,
}

/// `asked to list Pod 12 s ago, and no answer is complete`.
impl fmt::Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, asking, age } = self;
        let what = match asking {
            Asking::List => "list",
            Asking::Watch => "watch",
        };
        write!(f, "asked to {what} {kind} {} s ago, and no answer is complete", age.as_secs())
    }
}

impl State {
    /// A watch that stays open works. One that the server ends at once does not.
    fn settle(&mut self) {
        if self.resumed.is_some_and(|when| when.elapsed() >= WORKING) {
            *self = Self { works: true, failing: None, ..*self };
        }
    }
}

/// What fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failing {
    /// Of which kind the objects are.
    pub kind: Kind,
    /// For how long.
    pub age: Duration,
    /// In which way, as of the last attempt.
    pub failure: FailureKind,
    /// What the last attempt met.
    pub message: String,
}

impl Contact {
    /// The watches of all kinds work.
    pub fn is_complete(&self) -> bool {
        let kinds = self.kinds();
        Kind::ALL.iter().all(|kind| kinds.get(kind).is_some_and(|state| state.works))
    }

    /// How long ago the API server was last heard, by the watch that heard it
    /// least lately. `None`: one has never heard it.
    pub fn age(&self) -> Option<Duration> {
        let kinds = self.kinds();
        let heard = Kind::ALL.iter().map(|kind| kinds.get(kind)?.heard);
        let heard: Option<Vec<Instant>> = heard.collect();
        heard?.into_iter().min().map(|when| when.elapsed())
    }

    /// What fails, longest first.
    pub fn failing(&self) -> Vec<Failing> {
        let kinds = self.kinds();
        let mut all: Vec<Failing> = kinds
            .iter()
            .filter_map(|(kind, state)| {
                let (since, failure, message) = state.failing.clone()?;
                Some(Failing { kind: *kind, age: since.elapsed(), failure, message })
            })
            .collect();
        all.sort_by_key(|failing| std::cmp::Reverse(failing.age));
        all
    }

    /// The request that has waited longest for its answer, if one has for some time.
    pub fn waiting(&self) -> Option<Waiting> {
        let kinds = self.kinds();
        let all = kinds.iter().filter_map(|(kind, state)| {
            let (since, asking) = state.asking?;
            Some(Waiting { kind: *kind, asking, age: since.elapsed() })
        });
        all.max_by_key(|waiting| waiting.age).filter(|waiting| waiting.age >= WAITING)
    }

    /// A request is about to be made.
    pub(super) fn asks(&self, kind: Kind, asking: Asking) {
        self.kinds().entry(kind).or_default().asking = Some((Instant::now(), asking));
    }

    /// Its answer is complete, or it failed.
    pub(super) fn asked(&self, kind: Kind) {
        self.kinds().entry(kind).or_default().asking = None;
    }

    /// The server answered.
    pub(super) fn heard(&self, kind: Kind) {
        self.kinds().entry(kind).or_default().heard = Some(Instant::now());
    }

    /// The server resumes a watch. It may have nothing to tell for a minute.
    pub(super) fn resumed(&self, kind: Kind) {
        self.heard(kind);
        self.kinds().entry(kind).or_default().resumed = Some(Instant::now());
    }

    /// What the server sent can be used.
    pub(super) fn works(&self, kind: Kind) {
        let mut kinds = self.kinds();
        let state = kinds.entry(kind).or_default();
        *state = State { heard: Some(Instant::now()), works: true, failing: None, ..*state };
    }

    /// A request failed, or a watch broke.
    pub(super) fn failed(&self, kind: Kind, error: &WatchError) {
        let mut kinds = self.kinds();
        let state = kinds.entry(kind).or_default();
        state.resumed = None;
        let since = state.failing.as_ref().map_or_else(Instant::now, |failing| failing.0);
        state.works = false;
        state.failing = Some((since, error.failure_kind(), error.to_string()));
    }

    fn kinds(&self) -> MutexGuard<'_, BTreeMap<Kind, State>> {
        let mut kinds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kinds.values_mut().for_each(State::settle);
        kinds
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_request_without_an_answer_is_told_after_a_moment() {
        let contact = Contact::default();
        contact.asks(Kind::Pod, Asking::List);
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(contact.waiting(), None);
        contact.asks(Kind::Namespace, Asking::Watch);
        tokio::time::advance(Duration::from_secs(5)).await;
        let told = contact.waiting().map(|waiting| waiting.to_string());
        let expected = "asked to list Pod 7 s ago, and no answer is complete";
        assert_eq!(told.as_deref(), Some(expected));
        contact.asked(Kind::Pod);
        let told = contact.waiting().map(|waiting| waiting.to_string());
        let expected = "asked to watch Namespace 5 s ago, and no answer is complete";
        assert_eq!(told.as_deref(), Some(expected));
        contact.asked(Kind::Namespace);
        assert_eq!(contact.waiting(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn the_age_is_that_of_the_kind_heard_least_lately_and_failures_have_a_beginning() {
        let contact = Contact::default();
        contact.works(Kind::Pod);
        contact.works(Kind::Namespace);
        assert_eq!((contact.age(), contact.is_complete()), (None, false));
        tokio::time::advance(Duration::from_secs(5)).await;
        contact.works(Kind::NetworkPolicy);
        assert_eq!((contact.age(), contact.is_complete()), (Some(Duration::from_secs(5)), true));
        for seconds in [0, 7] {
            tokio::time::advance(Duration::from_secs(seconds)).await;
            contact.failed(Kind::Pod, &WatchError::broken("watch", Kind::Pod, "x"));
        }
        contact.heard(Kind::Pod);
        let failing = contact.failing();
        assert_eq!((failing.len(), failing[0].age.as_secs()), (1, 7), "an answer is not enough");
        assert!(!contact.is_complete());
        // A watch that is resumed and ends at once is the same failure.
        contact.resumed(Kind::Pod);
        tokio::time::advance(Duration::from_secs(4)).await;
        contact.failed(Kind::Pod, &WatchError::broken("watch", Kind::Pod, "x"));
        assert_eq!(contact.failing()[0].age.as_secs(), 11);
        contact.resumed(Kind::Pod);
        tokio::time::advance(Duration::from_secs(5)).await;
        assert!(contact.failing().is_empty() && contact.is_complete());
        contact.failed(Kind::Pod, &WatchError::broken("watch", Kind::Pod, "x"));
        assert_eq!(contact.failing()[0].age.as_secs(), 0, "another failure");
        contact.works(Kind::Pod);
        assert!(contact.failing().is_empty() && contact.is_complete());
    }
}
