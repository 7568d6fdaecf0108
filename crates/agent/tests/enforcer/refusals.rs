//! The loop beside a kernel that refuses.

use nft::Errno;

use super::bench::{Bench, applied, deleted};
use super::model::Model;
use super::{whole, without};

#[test]
fn a_policy_that_the_kernel_refuses_is_tried_again_after_a_minute() {
    let mut bench = Bench::listed(Model { refuses: Some("tcp dport 81"), ..Model::default() });
    bench.others(1000, |model| model.refuses = None);
    bench.run(59_000).unwrap();
    let refused = "nftpol_broken_policies{reason=\"refused_by_kernel\"}";
    assert_eq!(bench.metric(refused), 1.0);
    assert_eq!(bench.problem(), None, "all else is enforced");

    let mut bench = Bench::listed(Model { refuses: Some("tcp dport 81"), ..Model::default() });
    bench.others(1000, |model| model.refuses = None);
    bench.run(61_000).unwrap();
    assert_eq!(bench.metric(refused), 0.0);
    assert_eq!(bench.table(), whole());
}

#[test]
fn a_shortage_keeps_the_policy_and_ends_by_itself() {
    let mut bench = Bench::listed(Model::default());
    bench.event(0, deleted("web"));
    bench.others(1000, |model| {
        model.refuses = Some("tcp dport 81");
        model.errno = Errno::ENOMEM;
    });
    bench.event(1000, applied("web"));
    bench.look(1030);
    bench.others(1050, |model| model.refuses = None);
    bench.run(3000).unwrap();
    assert!(bench.seen.borrow()[0].is_some(), "not ready meanwhile");
    assert_eq!(bench.problem(), None);
    assert_eq!(bench.metric("nftpol_broken_policies{reason=\"refused_by_kernel\"}"), 0.0);
    assert_eq!(bench.table(), whole());
}

/// The policy that takes what there is must not stop the changes of others,
/// however often they come.
#[test]
fn events_of_others_are_acted_on_at_once_while_a_policy_is_set_aside() {
    for (errno, failures) in [(Errno::ENOMEM, 4.0), (Errno::EBUSY, 9.0)] {
        let model = Model { refuses: Some("tcp dport 81"), errno, ..Model::default() };
        let mut bench = Bench::listed(model);
        for ms in (15_000..25_000).step_by(100) {
            bench.event(ms, if ms % 200 == 0 { deleted("db") } else { applied("db") });
            bench.look(ms + 50);
        }
        bench.run(26_000).unwrap();
        assert_eq!(bench.metric("nftpol_syncs_total{result=\"failed\"}"), failures, "{errno}");
        assert!(bench.seen.borrow().iter().all(Option::is_none), "{:?}", bench.seen.borrow());
        assert_eq!(bench.metric("nftpol_broken_policies{reason=\"refused_by_kernel\"}"), 1.0);
    }
}

#[test]
fn a_refusal_that_no_policy_is_behind_makes_the_table_be_built_again() {
    let mut bench = Bench::listed(Model::default());
    bench.others(1000, |model| model.in_use = Some("delete chain"));
    bench.event(1000, deleted("web"));
    bench.look(1200);
    bench.run(3000).unwrap();
    assert!(bench.seen.borrow()[0].as_ref().is_some_and(|problem| problem.contains("busy")));
    assert_eq!(bench.metric("nftpol_replacements_total"), 1.0);
    assert_eq!(bench.metric("nftpol_syncs_total{result=\"failed\"}"), 4.0);
    assert_eq!(bench.table(), without("web"));
    assert_eq!(bench.problem(), None);
}

#[test]
fn a_table_that_cannot_be_built_again_stays_not_ready_and_is_tried_rarely() {
    let model = Model { refuses: Some("midflow"), errno: Errno::EBUSY, ..Model::default() };
    let mut bench = Bench::listed(model);
    bench.run(20_000).unwrap();
    assert_eq!(bench.metric("nftpol_replacements_total"), 1.0);
    let problem = bench.problem().unwrap();
    assert!(problem.contains("building the table again did not help"), "{problem}");
    let last: Vec<u64> = bench.gaps().into_iter().rev().take(5).collect();
    assert_eq!(last, [1000; 5]);
}

#[test]
fn a_rebuild_that_failed_by_accident_is_tried_again_after_a_minute() {
    let mut bench = Bench::listed(Model::default());
    bench.others(1000, |model| {
        model.in_use = Some("delete chain");
        model.refuses = Some("nftpol-0");
        model.errno = Errno::EBUSY;
    });
    bench.others(10_000, |model| model.refuses = None);
    bench.event(1000, deleted("web"));
    bench.look(59_000);
    bench.run(63_000).unwrap();
    assert!(bench.seen.borrow()[0].is_some());
    assert_eq!(bench.metric("nftpol_replacements_total"), 2.0);
    assert_eq!((bench.problem(), bench.table()), (None, without("web")));
}
