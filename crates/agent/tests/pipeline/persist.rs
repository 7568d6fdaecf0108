//! Commands that run once try again while the kernel refuses.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use agent::clock::Clock;
use agent::pipeline::{Pipeline, SyncError};
use compiler::Options;
use nft::{Errno, SendError};
use policy::{ObjectKey, Snapshot};

use super::model::{Model, passes, snapshot};

/// A clock that only sleeping moves.
#[derive(Debug)]
struct Sleeper {
    start: Instant,
    pauses: Mutex<Vec<Duration>>,
}

impl Default for Sleeper {
    fn default() -> Self {
        Self { start: Instant::now(), pauses: Mutex::default() }
    }
}

impl Clock for Sleeper {
    fn now(&self) -> Instant {
        self.start + self.pauses.lock().unwrap().iter().sum::<Duration>()
    }

    fn sleep(&self, time: Duration) {
        if !time.is_zero() {
            self.pauses.lock().unwrap().push(time);
        }
    }
}

fn pipeline(model: Model) -> (Pipeline<Model>, Arc<Sleeper>) {
    let clock = Arc::<Sleeper>::default();
    let pipeline = Pipeline::new(model, Options::default());
    (pipeline.with_clock(Arc::clone(&clock) as _), clock)
}

/// On an empty kernel nothing is isolated until the first change succeeds.
#[test]
fn a_policy_that_meets_the_same_refusal_again_and_again_does_not_stop_the_others() {
    for errno in [Errno::ENOMEM, Errno::EBUSY] {
        let model = Model { refuses: Some("tcp dport 81"), errno, ..Model::default() };
        let (mut pipeline, clock) = pipeline(model);
        let outcome = pipeline.sync_persistently(&snapshot()).unwrap();
        assert_eq!(outcome.set_aside, BTreeSet::from([ObjectKey::new("dev", "web")]), "{errno}");
        let table = pipeline.sink().table().unwrap();
        let seen = [("10.0.0.1", 80), ("10.0.0.2", 80), ("10.0.0.2", 81)]
            .map(|(pod, port)| passes(table, pod, port));
        assert_eq!(seen, [false, true, false], "{errno}");
        assert_eq!(pipeline.sink().tables.len(), 1, "{errno}");
        let took: Duration = clock.pauses.lock().unwrap().iter().sum();
        assert!(took < Duration::from_secs(6), "{errno}: {took:?}");
    }
}

#[test]
fn a_change_that_is_refused_for_good_ends_with_its_error() {
    let refuses = Some("add set inet nftpol self4");
    let model = Model { refuses, errno: Errno::ENOMEM, ..Model::default() };
    let (mut pipeline, clock) = pipeline(model);
    let failure = pipeline.sync_persistently(&snapshot()).unwrap_err();
    assert!(matches!(failure.error, SyncError::Send(SendError::Refused(_))), "{failure}");
    let pauses: Vec<u128> = clock.pauses.lock().unwrap().iter().map(Duration::as_millis).collect();
    assert_eq!(pauses[..7], [20, 40, 80, 160, 320, 640, 1000]);
    assert_eq!((pauses.len(), pauses.last()), (19, Some(&1000)));
}

/// As when a chain of others uses one of ours.
#[test]
fn a_change_that_the_table_is_in_the_way_of_builds_it_again() {
    let (mut pipeline, clock) = pipeline(Model::default());
    pipeline.sync(&snapshot()).unwrap();
    let sent = pipeline.sink().sent;
    pipeline.sink().in_use = Some("delete chain");
    let outcome = pipeline.sync_persistently(&Snapshot::default()).unwrap();
    let kernel = pipeline.sink();
    assert_eq!(kernel.table(), Some(&*outcome.after));
    assert_eq!((kernel.tables.len(), outcome.batches()), (1, kernel.sent - sent));
    assert_eq!(clock.pauses.lock().unwrap().len(), 4, "built again after the fifth refusal");
}

#[test]
fn what_is_no_refusal_is_tried_once() {
    // Others commit before each batch, so that a refusal may be due to them.
    let refuses = Some("add set inet nftpol self4");
    let model = Model { refuses, errno: Errno::EBUSY, others: 1000, ..Model::default() };
    let (mut pipeline, clock) = pipeline(model);
    let failure = pipeline.sync_persistently(&snapshot()).unwrap_err();
    assert!(matches!(failure.error, SyncError::TooManyRaces), "{failure}");
    assert!(clock.pauses.lock().unwrap().is_empty());
}
