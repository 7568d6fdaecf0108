//! A change that ends between two commits, because something else is more urgent.

use std::sync::Arc;
use std::time::{Duration, Instant};

use agent::clock::Clock;
use agent::pipeline::{Pipeline, SyncError};
use compiler::Options;
use nft::Errno;
use policy::{ObjectKey, Snapshot};

use super::model::{Model, snapshot};

/// A clock that stands still, so that nothing takes time.
#[derive(Debug)]
struct Stopped(Instant);

impl Clock for Stopped {
    fn now(&self) -> Instant {
        self.0
    }

    fn sleep(&self, _: Duration) {}
}

fn pipeline(kernel: Model) -> Pipeline<Model> {
    Pipeline::new(kernel, Options::default()).with_clock(Arc::new(Stopped(Instant::now())))
}

fn without(policy: &str) -> Snapshot {
    let mut snapshot = snapshot();
    snapshot.policies.remove(&ObjectKey::new("dev", policy));
    snapshot
}

/// Each change is interrupted as often as possible. The next one starts from what was
/// committed, without a read, and all of them together send what one alone would.
#[test]
fn a_change_continues_from_where_it_was_interrupted() {
    let mut changing = pipeline(Model::default());
    let mut alone = pipeline(Model::default());
    for snapshot in [snapshot(), without("web"), snapshot(), Snapshot::default()] {
        let dumps = changing.sink().dumps;
        let sent = changing.sink().sent;
        let mut interruptions = 0;
        let outcome = loop {
            match changing.sync_until(&snapshot, &mut || true) {
                Ok(outcome) => break outcome,
                Err(failure) => {
                    assert!(failure.is_interrupted(), "{failure}");
                    assert!(matches!(failure.error, SyncError::Interrupted));
                    let committed = failure.committed.unwrap();
                    assert_eq!(Some(&*committed.after), changing.sink().table());
                    assert_eq!(committed.batches, 1);
                    interruptions += 1;
                }
            }
        };
        assert!((1..20).contains(&interruptions), "{interruptions}");
        assert_eq!(changing.sink().sent - sent, interruptions + outcome.batches());
        // At the start each table is read once.
        assert!(changing.sink().dumps - dumps <= 2, "{}", changing.sink().dumps - dumps);
        alone.sync(&snapshot).unwrap();
        assert_eq!(changing.sink().table(), alone.sink().table());
        assert_eq!(Some(&*outcome.after), alone.sink().table());
    }
}

#[test]
fn a_change_in_one_commit_is_never_asked() {
    let mut changing = pipeline(Model::default());
    changing.sync(&snapshot()).unwrap();
    let mut asked = 0;
    let outcome = changing.sync_until(&snapshot(), &mut || {
        asked += 1;
        true
    });
    assert_eq!((outcome.unwrap().batches(), asked), (0, 0));
}

/// An agent that stops between two commits leaves what the next one takes over.
#[test]
fn another_agent_continues_from_a_change_that_was_interrupted() {
    let mut first = pipeline(Model::default());
    first.sync_until(&snapshot(), &mut || true).unwrap_err();
    let kernel = std::mem::take(first.sink());
    let mut second = pipeline(kernel);
    let outcome = second.sync(&snapshot()).unwrap();
    assert_eq!(second.sink().table(), Some(&*outcome.after));
}

/// What others do between the commits is noticed as always.
#[test]
fn a_flush_after_an_interruption_is_repaired() {
    let mut changing = pipeline(Model::default());
    changing.sync(&snapshot()).unwrap();
    changing.sync_until(&without("web"), &mut || true).unwrap_err();
    changing.sink().flush();
    let outcome = changing.sync(&without("web")).unwrap();
    assert!(outcome.was_touched());
    assert_eq!(changing.sink().table(), Some(&*outcome.after));
}

#[test]
fn a_refusal_after_an_interruption_leaves_what_was_committed() {
    let mut changing = pipeline(Model::default());
    changing.sync(&snapshot()).unwrap();
    changing.sync_until(&without("web"), &mut || true).unwrap_err();
    changing.sink().refuses = Some("delete chain");
    changing.sink().errno = Errno::ENOMEM;
    let failure = changing.sync(&without("web")).unwrap_err();
    assert!(!failure.is_interrupted());
    changing.sink().refuses = None;
    let outcome = changing.sync(&without("web")).unwrap();
    assert_eq!(changing.sink().table(), Some(&*outcome.after));
}
