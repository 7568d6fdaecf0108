//! The loop that enforces, with a kernel in memory and a clock of its own.
//!
//! No test here waits: minutes of the loop pass in milliseconds.

#![expect(clippy::unwrap_used, reason = "what cannot be fails the test")]

mod bench;
mod binding;
mod budget;
mod kept;
mod kernel;
#[path = "../pipeline/model.rs"]
mod model;
mod own_node;
mod touched;

use std::time::Duration;

use agent::enforcer::{COALESCE, ThreadDied};
use compiler::Engine;
use nft::Errno;
use policy::Snapshot;
use ruleset::Ruleset;
use watcher::Kind;

use bench::{Bench, applied, deleted, list};
use model::{Model, snapshot};

/// An operation of a table's first batch that does not depend on a policy.
const NO_POLICY: Option<&str> = Some("add set inet nftpol self4");

fn expected(snapshot: &Snapshot) -> Ruleset {
    Engine::new(compiler::Options::default())
        .update(snapshot, &policy::NodeNetwork::default())
        .ruleset
        .clone()
}

fn whole() -> Option<Ruleset> {
    Some(expected(&snapshot()))
}

fn without(policy: &str) -> Option<Ruleset> {
    let mut snapshot = snapshot();
    snapshot.policies.remove(&policy::ObjectKey::new("dev", policy));
    Some(expected(&snapshot))
}

#[test]
fn nothing_is_touched_before_every_kind_was_listed() {
    let mut bench = Bench::new(Model::default());
    bench.event(0, list(Kind::NetworkPolicy));
    bench.event(1000, list(Kind::Pod));
    bench.event(5000, list(Kind::Namespace));
    bench.run(6000).unwrap();
    assert_eq!(bench.kernel.trace.borrow().sends.first(), Some(&5000));
    assert_eq!(bench.table(), whole());
    assert_eq!(bench.problem(), None);
}

#[test]
fn events_that_follow_an_attempt_are_acted_on_together() {
    let mut bench = Bench::listed(Model::default());
    bench.event(100, deleted("web"));
    bench.event(101, deleted("db"));
    bench.event(102, applied("web"));
    bench.run(1000).unwrap();
    assert_eq!(bench.metric("nftpol_syncs_total{result=\"ok\"}"), 3.0);
    let sends = bench.kernel.trace.borrow().sends.clone();
    let later: Vec<u64> = sends.into_iter().filter(|ms| *ms > 0).collect();
    let together = 100 + COALESCE.as_millis() as u64;
    assert!(later.iter().all(|ms| [100, together].contains(ms)), "{later:?}");
    assert_eq!(bench.table(), without("db"));
}

#[test]
fn the_pause_after_failures_grows_to_a_second_and_events_do_not_shorten_it() {
    let model = Model { refuses: NO_POLICY, errno: Errno::ENOMEM, ..Model::default() };
    let mut bench = Bench::listed(model);
    for ms in (0..4000).step_by(31) {
        bench.event(ms, if ms % 2 == 0 { deleted("web") } else { applied("web") });
    }
    bench.look(3999);
    bench.others(4000, |model| model.refuses = None);
    bench.run(6000).unwrap();
    let gaps: Vec<u64> = bench.gaps().into_iter().take(8).collect();
    assert_eq!(gaps, [20, 40, 80, 160, 320, 640, 1000, 1000]);
    let problem = bench.seen.borrow().first().cloned().flatten().unwrap();
    assert!(problem.contains("Out of memory"), "{problem}");
    assert_eq!(bench.problem(), None);
    assert!(bench.table().is_some());
}

#[test]
fn a_success_makes_the_next_pause_short_again() {
    let model = Model { refuses: NO_POLICY, errno: Errno::ENOMEM, ..Model::default() };
    let mut bench = Bench::listed(model);
    bench.others(2000, |model| model.refuses = None);
    bench.others(4000, |model| {
        model.refuses = Some("chain");
        model.errno = Errno::ENOMEM;
    });
    bench.event(4000, deleted("web"));
    bench.run(4030).unwrap();
    assert_eq!(bench.metric("nftpol_syncs_total{result=\"failed\"}"), 9.0, "{:?}", bench.gaps());
}

#[test]
fn an_end_in_the_middle_of_a_sync_leaves_it_complete() {
    let mut bench = Bench::listed(Model::default());
    bench.kernel.send_takes.set(Duration::from_millis(50));
    bench.run(10).unwrap();
    let trace = bench.kernel.trace.borrow();
    assert!(trace.sends.len() > 1 && bench.ms() > 50, "it ended during the sync");
    assert_eq!(bench.table(), whole());
}

/// A policy comes while two others are taken away. It is in force one commit later, and
/// what is not urgent follows.
#[test]
fn what_isolates_a_pod_goes_between_the_commits_of_another_change() {
    let mut bench = Bench::listed(Model::default());
    bench.others(1000, {
        let takes = std::rc::Rc::clone(&bench.kernel.send_takes);
        move |_| takes.set(Duration::from_millis(50))
    });
    bench.event(1000, deleted("web"));
    bench.event(1010, deleted("db"));
    bench.event(1020, applied("web"));
    bench.run(3000).unwrap();
    assert_eq!(bench.metric("nftpol_syncs_total{result=\"interrupted\"}"), 1.0);
    assert_eq!(bench.metric("nftpol_syncs_total{result=\"failed\"}"), 0.0);
    assert_eq!(bench.table(), without("db"));
    let cleaned = bench.cleaned.borrow();
    // What was committed before the interruption, and then the rest.
    let last: Vec<_> = cleaned.iter().rev().take(2).collect();
    assert_eq!(last[1].before.as_deref(), whole().as_ref());
    assert!(!isolates(&last[1].after) && isolates(&last[0].after), "the gate went and came");
    let trace = bench.kernel.trace.borrow();
    assert!(trace.dumps.iter().all(|ms| *ms == 0), "read again: {:?}", trace.dumps);
    let sent = bench.kernel.model.borrow().sent;
    assert_eq!(bench.metric("nftpol_batches_total"), sent as f64);
}

/// What comes meanwhile and is not urgent waits, and is not lost.
#[test]
fn what_is_not_urgent_waits_for_the_end_of_a_change() {
    let mut bench = Bench::listed(Model::default());
    bench.kernel.send_takes.set(Duration::from_millis(50));
    bench.event(10, applied("web"));
    bench.event(20, deleted("db"));
    bench.run(3000).unwrap();
    assert_eq!(bench.metric("nftpol_syncs_total{result=\"interrupted\"}"), 0.0);
    assert_eq!(bench.metric("nftpol_syncs_total{result=\"ok\"}"), 2.0);
    assert_eq!(bench.table(), without("db"));
}

fn isolates(table: &Ruleset) -> bool {
    !model::passes(table, "10.0.0.1", 82)
}

/// Connections, counts and problems follow what was committed, not only what
/// was finished.
#[test]
fn a_sync_that_fails_on_the_way_is_followed_up() {
    let mut bench = Bench::listed(Model::default());
    bench.others(1000, |model| {
        model.refuses = Some("delete chain");
        model.errno = Errno::ENOMEM;
    });
    bench.event(1000, deleted("web"));
    bench.run(1010).unwrap();
    assert!(bench.problem().is_some());
    let cleaned = bench.cleaned.borrow();
    let last = cleaned.last().unwrap();
    assert_eq!(last.before.as_deref(), whole().as_ref());
    assert_eq!(Some(&*last.after), bench.table().as_ref());
    assert_ne!(Some(&*last.after), whole().as_ref(), "a part was committed");
    let sent = bench.kernel.model.borrow().sent;
    assert_eq!(bench.metric("nftpol_batches_total"), sent as f64);
}

#[test]
fn a_thread_that_dies_ends_the_loop_with_its_name_and_the_rules_stay() {
    let mut bench = Bench::listed(Model::default());
    bench.die(500);
    assert_eq!(bench.run(60_000), Err(ThreadDied("remote")));
    assert_eq!((bench.ms(), bench.table()), (500, whole()));

    let mut bench = Bench::listed(Model::default());
    let is_alive = std::rc::Rc::clone(&bench.cleanup_is_alive);
    bench.others(500, move |_| is_alive.set(false));
    assert_eq!(bench.run(60_000), Err(ThreadDied("conntrack")));
    assert!(bench.ms() <= 3000, "{} ms", bench.ms());
    assert_eq!(bench.table(), whole());
}
