//! A change that ends between two commits, because something else is more urgent.

use agent::pipeline::{Pipeline, SyncError};
use compiler::Options;
use nft::Errno;
use policy::{ObjectKey, Snapshot};

use super::model::{Model, snapshot};

fn without(policy: &str) -> Snapshot {
    let mut snapshot = snapshot();
    snapshot.policies.remove(&ObjectKey::new("dev", policy));
    snapshot
}

/// Each change is interrupted as often as possible. The next one starts from what was
/// committed, without a read, and all of them together send what one alone would.
#[test]
fn a_change_continues_from_where_it_was_interrupted() {
    let mut pipeline = Pipeline::new(Model::default(), Options::default());
    let mut alone = Pipeline::new(Model::default(), Options::default());
    for snapshot in [snapshot(), without("web"), snapshot(), Snapshot::default()] {
        let dumps = pipeline.sink().dumps;
        let sent = pipeline.sink().sent;
        let mut interruptions = 0;
        let outcome = loop {
            match pipeline.sync_until(&snapshot, &mut || true) {
                Ok(outcome) => break outcome,
                Err(failure) => {
                    assert!(failure.is_interrupted(), "{failure}");
                    assert!(matches!(failure.error, SyncError::Interrupted));
                    let committed = failure.committed.unwrap();
                    assert_eq!(Some(&*committed.after), pipeline.sink().table());
                    assert_eq!(committed.batches, 1);
                    interruptions += 1;
                }
            }
        };
        assert!((1..20).contains(&interruptions), "{interruptions}");
        assert_eq!(pipeline.sink().sent - sent, interruptions + outcome.batches());
        // At the start each table is read once.
        assert!(pipeline.sink().dumps - dumps <= 2, "{}", pipeline.sink().dumps - dumps);
        alone.sync(&snapshot).unwrap();
        assert_eq!(pipeline.sink().table(), alone.sink().table());
        assert_eq!(Some(&*outcome.after), alone.sink().table());
    }
}

#[test]
fn a_change_in_one_commit_is_never_asked() {
    let mut pipeline = Pipeline::new(Model::default(), Options::default());
    pipeline.sync(&snapshot()).unwrap();
    let mut asked = 0;
    let outcome = pipeline.sync_until(&snapshot(), &mut || {
        asked += 1;
        true
    });
    assert_eq!((outcome.unwrap().batches(), asked), (0, 0));
}

/// An agent that stops between two commits leaves what the next one takes over.
#[test]
fn another_agent_continues_from_a_change_that_was_interrupted() {
    let mut first = Pipeline::new(Model::default(), Options::default());
    first.sync_until(&snapshot(), &mut || true).unwrap_err();
    let kernel = std::mem::take(first.sink());
    let mut second = Pipeline::new(kernel, Options::default());
    let outcome = second.sync(&snapshot()).unwrap();
    assert_eq!(second.sink().table(), Some(&*outcome.after));
}

/// What others do between the commits is noticed as always.
#[test]
fn a_flush_after_an_interruption_is_repaired() {
    let mut pipeline = Pipeline::new(Model::default(), Options::default());
    pipeline.sync(&snapshot()).unwrap();
    pipeline.sync_until(&without("web"), &mut || true).unwrap_err();
    pipeline.sink().flush();
    let outcome = pipeline.sync(&without("web")).unwrap();
    assert!(outcome.was_touched());
    assert_eq!(pipeline.sink().table(), Some(&*outcome.after));
}

#[test]
fn a_refusal_after_an_interruption_leaves_what_was_committed() {
    let mut pipeline = Pipeline::new(Model::default(), Options::default());
    pipeline.sync(&snapshot()).unwrap();
    pipeline.sync_until(&without("web"), &mut || true).unwrap_err();
    pipeline.sink().refuses = Some("delete chain");
    pipeline.sink().errno = Errno::ENOMEM;
    let failure = pipeline.sync(&without("web")).unwrap_err();
    assert!(!failure.is_interrupted());
    pipeline.sink().refuses = None;
    let outcome = pipeline.sync(&without("web")).unwrap();
    assert_eq!(pipeline.sink().table(), Some(&*outcome.after));
}
