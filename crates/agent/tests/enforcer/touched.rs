//! Others commit, or touch our table.

use std::time::Duration;

use agent::enforcer::LOOK_EVERY;
use nft::Errno;

use super::bench::{Bench, applied, deleted};
use super::model::Model;
use super::{whole, without};

#[test]
fn a_single_flush_is_restored_at_once_and_the_node_stays_ready() {
    let mut bench = Bench::listed(Model::default());
    bench.others(1005, Model::flush);
    for ms in (100..1005).chain(1030..2000).step_by(10) {
        bench.look(ms);
    }
    bench.run(2000).unwrap();
    let sends = bench.kernel.trace.borrow().sends.clone();
    let restored = sends.into_iter().find(|ms| *ms > 0).unwrap();
    assert!(restored <= 1005 + LOOK_EVERY.as_millis() as u64, "restored at {restored} ms");
    assert_eq!(bench.metric("nftpol_repairs_total"), 1.0);
    assert!(bench.seen.borrow().iter().all(Option::is_none), "{:?}", bench.seen.borrow());
    assert_eq!(bench.table(), whole());
    // What got in meanwhile: all isolated pods are looked at.
    let cleaned = bench.cleaned.borrow();
    assert!(cleaned.last().unwrap().before.is_none());
}

/// A script that flushes must not hold the table open.
#[test]
fn a_small_table_that_is_flushed_again_and_again_is_back_at_once_each_time() {
    let mut bench = Bench::listed(Model::default());
    let expected = [without("web"), whole()];
    for round in 0..40 {
        let (ms, isolates) = (1000 + 500 * round, round % 2 == 1);
        bench.others(ms, Model::flush);
        // New isolation waits no longer.
        bench.event(ms + 1, if isolates { applied("web") } else { deleted("web") });
        let expected = expected[usize::from(isolates)].clone();
        bench.others(ms + 40, move |model| {
            assert_eq!(model.table(), expected.as_ref(), "{ms} ms");
        });
        bench.others(ms + 41, Model::flush);
        bench.event(ms + 42, if isolates { deleted("web") } else { applied("web") });
        bench.event(ms + 60, if isolates { applied("web") } else { deleted("web") });
    }
    bench.look(20_000);
    bench.run(24_000).unwrap();
    assert_eq!(bench.metric("nftpol_repairs_total"), 80.0);
    let seen = bench.seen.borrow().first().cloned().flatten();
    assert!(seen.is_some_and(|problem| problem.contains("again and again")), "not ready");
    assert_eq!(bench.problem(), None, "forgotten after a quiet time");
}

#[test]
fn repairs_of_a_table_that_is_flushed_again_and_again_take_a_twentieth_of_the_time() {
    let mut bench = Bench::listed(Model::default());
    bench.kernel.dump_takes.set(Duration::from_millis(10));
    for ms in (1000..11_000).step_by(30) {
        bench.others(ms, Model::flush);
    }
    for ms in (3000..11_000).step_by(100) {
        bench.look(ms);
    }
    // Events are no way around the pauses.
    for ms in (1000..11_000).step_by(50) {
        bench.event(ms, if ms % 100 == 0 { deleted("web") } else { applied("web") });
    }
    bench.run(14_000).unwrap();
    let repairs = bench.metric("nftpol_repairs_total");
    assert!((45.0..=49.0).contains(&repairs), "{repairs} repairs of 10 ms in 10 s");
    for problem in bench.seen.borrow().iter() {
        let problem = problem.as_deref().unwrap_or("ready");
        assert!(
            problem.starts_with("others change a table of nftpol again and again"),
            "{problem}"
        );
    }
    assert_eq!(bench.problem(), None, "forgotten after a quiet time");
    assert_eq!(bench.table(), whole());
}

/// A look before a sync reads nothing, so that what events change is no repair.
#[test]
fn an_event_after_a_repair_and_a_commit_of_others_is_no_repair() {
    let mut bench = Bench::listed(Model::default());
    bench.others(1000, Model::flush);
    for ms in (1100..1900).step_by(100) {
        bench.others(ms, |model| model.generation += 1);
        bench.event(ms, if ms % 200 == 0 { applied("web") } else { deleted("web") });
    }
    bench.run(2000).unwrap();
    assert_eq!(bench.metric("nftpol_repairs_total"), 1.0);
}

#[test]
fn a_flush_in_the_middle_of_a_sync_is_restored_by_it() {
    let mut bench = Bench::listed(Model::default());
    bench.kernel.send_takes.set(Duration::from_millis(5));
    bench.others(1000, |model| {
        model.flushed_before = Some(model.sent + 1);
    });
    bench.event(1000, deleted("web"));
    bench.run(3000).unwrap();
    assert!(bench.kernel.model.borrow().flushed_before.is_none(), "it was flushed");
    assert_eq!(bench.table(), without("web"));
    assert_eq!(bench.metric("nftpol_syncs_total{result=\"failed\"}"), 0.0);
    assert_eq!(bench.problem(), None);
}

#[test]
fn reading_after_commits_of_others_takes_a_twentieth_of_the_time() {
    let mut bench = Bench::listed(Model::default());
    bench.kernel.dump_takes.set(Duration::from_millis(10));
    for ms in (1000..11_000).step_by(5) {
        bench.others(ms, |model| model.generation += 1);
    }
    bench.run(11_000).unwrap();
    let dumps = bench.kernel.trace.borrow().dumps.iter().filter(|ms| **ms >= 1000).count();
    assert!((40..=50).contains(&dumps), "{dumps} reads of 10 ms in 10 s");
}

/// As when others add a chain to our table and remove it again.
#[test]
fn touches_without_effect_take_a_twentieth_of_the_time_and_are_no_repairs() {
    let mut bench = Bench::listed(Model::default());
    bench.kernel.dump_takes.set(Duration::from_millis(10));
    for ms in (1000..11_000).step_by(20) {
        bench.others(ms, |model| {
            model.touches += 1;
            model.generation += 1;
        });
    }
    bench.run(14_000).unwrap();
    let dumps = bench.kernel.trace.borrow().dumps.iter().filter(|ms| **ms >= 1000).count();
    assert!((40..=50).contains(&dumps), "{dumps} reads of 10 ms in 10 s");
    assert_eq!(bench.metric("nftpol_repairs_total"), 0.0);
    assert_eq!(bench.problem(), None);
}

/// As on a node with a busy kube-proxy.
#[test]
fn a_policy_that_is_tried_again_while_others_commit_is_no_repair() {
    let mut bench = Bench::listed(Model { refuses: Some("tcp dport 81"), ..Model::default() });
    bench.others(1000, |model| model.refuses = None);
    for ms in (1000..62_000).step_by(10) {
        bench.others(ms, |model| model.generation += 1);
    }
    bench.run(62_000).unwrap();
    assert_eq!(bench.table(), whole(), "tried again");
    assert_eq!(bench.metric("nftpol_repairs_total"), 0.0);
}

/// What got in meanwhile is looked for, as after every repair.
#[test]
fn a_flush_after_a_failed_sync_is_a_repair() {
    let mut bench = Bench::listed(Model::default());
    bench.others(1000, |model| {
        model.refuses = Some("delete chain");
        model.errno = Errno::ENOMEM;
    });
    bench.event(1000, deleted("web"));
    bench.others(1005, Model::flush);
    bench.others(1010, |model| model.refuses = None);
    bench.run(2000).unwrap();
    assert_eq!(bench.metric("nftpol_syncs_total{result=\"failed\"}"), 1.0);
    assert_eq!(bench.metric("nftpol_repairs_total"), 1.0);
    assert_eq!(bench.table(), without("web"));
    assert!(bench.cleaned.borrow().last().unwrap().before.is_none());
}
