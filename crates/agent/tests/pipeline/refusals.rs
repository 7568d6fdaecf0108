//! What the pipeline does when the kernel refuses, by reason.

use std::collections::BTreeSet;
use std::sync::Arc;

use agent::pipeline::{Pipeline, SyncError, SyncFailed};
use compiler::Options;
use nft::{Errno, SendError};
use policy::{IpBlock, NetworkPolicy, ObjectKey, Peer, Peers, Ports, Rule, Snapshot};

use super::model::{Model, snapshot};

const SHORTAGES: [Errno; 7] = [
    Errno::ENOMEM,
    Errno::ENOBUFS,
    Errno::ENFILE,
    Errno::EMFILE,
    Errno::ENOSPC,
    Errno::EINTR,
    Errno::EAGAIN,
];
const ABOUT_THE_RULE: [Errno; 10] = [
    Errno::EINVAL,
    Errno::ERANGE,
    Errno::E2BIG,
    Errno::EMSGSIZE,
    Errno::EOVERFLOW,
    Errno::EOPNOTSUPP,
    Errno::ENOENT,
    Errno::EAFNOSUPPORT,
    Errno::EPROTONOSUPPORT,
    Errno::ELOOP,
];
/// As many as make more happen than another try.
pub const SEVERAL: usize = 5;
/// As many as make more happen even if they differ.
pub const AT_MOST: usize = 20;

pub fn web() -> ObjectKey {
    ObjectKey::new("dev", "web")
}

pub fn hog() -> ObjectKey {
    ObjectKey::new("dev", "hog")
}

/// The cluster with one more policy, whose set holds this many ranges.
pub fn with_hog(ranges: u8) -> Snapshot {
    let mut cluster = snapshot();
    let mut policy = NetworkPolicy::clone(&cluster.policies[&web()]);
    policy.key = hog();
    let block = |number| {
        let network = format!("198.51.{}.0/24", 2 * number).parse().unwrap();
        Peer::IpBlock(IpBlock::new(network, []).unwrap())
    };
    let peers = Peers::Only((0..ranges).map(block).collect());
    policy.ingress = Some(vec![Rule { peers, ports: Ports::All }]);
    cluster.policies.insert(hog(), Arc::new(policy));
    cluster
}

pub fn pipeline(model: Model) -> Pipeline<Model> {
    Pipeline::new(model, Options::default())
}

pub fn refusing_web(errno: Errno) -> Model {
    Model { refuses: Some("tcp dport 81"), errno, ..Model::default() }
}

fn is_refused(failure: &SyncFailed) -> bool {
    matches!(failure.error, SyncError::Send(SendError::Refused(_)))
}

#[test]
fn an_error_about_a_rule_sets_its_policy_aside_at_once() {
    for errno in ABOUT_THE_RULE {
        let outcome = pipeline(refusing_web(errno)).sync(&snapshot()).unwrap();
        assert_eq!(outcome.set_aside, BTreeSet::from([web()]), "{errno}");
    }
}

#[test]
fn a_shortage_keeps_the_old_rules_and_blames_nobody() {
    for errno in SHORTAGES {
        let mut pipeline = pipeline(Model::default());
        let before = pipeline.sync(&Snapshot::default()).unwrap().after;
        pipeline.sink().refuses = Some("tcp dport 81");
        pipeline.sink().errno = errno;
        for _ in 1..SEVERAL {
            let failure = pipeline.sync(&snapshot()).unwrap_err();
            assert!(is_refused(&failure), "{failure}");
            assert_eq!(failure.set_aside, BTreeSet::new(), "{errno}");
            let kernel = pipeline.sink();
            let isolated =
                compiler::scaffold::isolated_set(policy::Direction::Ingress, ruleset::Family::V4);
            let table = kernel.table().unwrap();
            assert_eq!(table.sets[&isolated], before.sets[&isolated], "{errno}");
        }
        pipeline.sink().refuses = None;
        let outcome = pipeline.sync(&snapshot()).unwrap();
        assert_eq!(outcome.set_aside, BTreeSet::new(), "{errno}");
    }
}

/// The batch goes on after the set is refused, and its rule does not find it.
#[test]
fn a_rule_whose_set_met_a_shortage_is_nobody_s_fault() {
    for errno in SHORTAGES.into_iter().chain([Errno::EBUSY]) {
        let mut pipeline = pipeline(refusing_web(Errno::ENOENT));
        pipeline.sink().also_refuses = Some(("add set inet nftpol self4", errno));
        for _ in 1..SEVERAL {
            let failure = pipeline.sync(&snapshot()).unwrap_err();
            assert_eq!(failure.set_aside, BTreeSet::new(), "{errno}");
        }
    }
}

/// The kernel turns ENOTEMPTY, its word for ranges that overlap, into EEXIST.
#[test]
fn elements_that_overlap_set_their_policy_aside_at_once() {
    let cluster = with_hog(9);
    let model = Model { refuses: Some("198.51.2.0"), errno: Errno::EEXIST, ..Model::default() };
    let outcome = pipeline(model).sync(&cluster).unwrap();
    assert_eq!(outcome.set_aside, BTreeSet::from([hog()]));
}

/// A policy that takes more memory than there is must not stop the others.
#[test]
fn a_shortage_that_only_one_policy_meets_again_and_again_sets_it_aside() {
    let mut pipeline = pipeline(refusing_web(Errno::ENOMEM));
    for _ in 1..SEVERAL {
        assert!(is_refused(&pipeline.sync(&snapshot()).unwrap_err()));
    }
    let outcome = pipeline.sync(&snapshot()).unwrap();
    assert_eq!(outcome.set_aside, BTreeSet::from([web()]));
}

#[test]
fn a_shortage_that_meets_one_policy_and_then_another_blames_neither() {
    let mut pipeline = pipeline(refusing_web(Errno::ENOMEM));
    for attempt in 1..AT_MOST {
        let part = if attempt % 2 == 0 { "tcp dport 81" } else { "add set inet nftpol self4" };
        pipeline.sink().refuses = Some(part);
        let failure = pipeline.sync(&snapshot()).unwrap_err();
        assert!(is_refused(&failure), "{failure}");
        assert_eq!(failure.set_aside, BTreeSet::new());
    }
}

#[test]
fn a_shortage_without_a_policy_never_builds_the_table_again() {
    let model = Model {
        refuses: Some("add set inet nftpol self4"),
        errno: Errno::ENOMEM,
        ..Model::default()
    };
    let mut pipeline = pipeline(model);
    for _ in 0..4 * SEVERAL {
        let failure = pipeline.sync(&snapshot()).unwrap_err();
        assert!(is_refused(&failure), "{failure}");
    }
}

/// This happens when a chain of others uses one of ours.
#[test]
fn a_refusal_without_a_policy_asks_for_another_table_after_a_few() {
    let mut pipeline = pipeline(Model::default());
    pipeline.sync(&snapshot()).unwrap();
    pipeline.sink().in_use = Some("delete chain");
    for _ in 1..SEVERAL {
        let failure = pipeline.sync(&Snapshot::default()).unwrap_err();
        assert!(is_refused(&failure), "{failure}");
    }
    let failure = pipeline.sync(&Snapshot::default()).unwrap_err();
    assert!(matches!(failure.error, SyncError::KeepsRefusing(_)), "{failure}");
    // If that had not helped:
    let failure = pipeline.sync(&Snapshot::default()).unwrap_err();
    assert!(matches!(failure.error, SyncError::RebuildDidNotHelp(_)), "{failure}");
    let outcome = pipeline.replace(&Snapshot::default()).unwrap();
    assert_eq!(pipeline.sink().table(), Some(&*outcome.after));
    assert_eq!(pipeline.sink().tables.len(), 1);
}

/// EBUSY of a chain means that the chain is in use. No policy causes that.
#[test]
fn a_state_error_builds_the_table_again_before_it_blames_a_policy() {
    let mut pipeline = pipeline(refusing_web(Errno::EBUSY));
    let mut errors = Vec::new();
    let outcome = loop {
        match pipeline.sync(&snapshot()) {
            Ok(outcome) => break outcome,
            Err(failure) => errors.push(failure.error),
        }
    };
    assert_eq!(errors.len(), 2 * SEVERAL - 1);
    let asked = errors.iter().position(|one| matches!(one, SyncError::KeepsRefusing(_)));
    assert_eq!(asked, Some(SEVERAL - 1));
    assert_eq!(outcome.set_aside, BTreeSet::from([web()]));
}

#[test]
fn a_failure_tells_what_was_committed_before_it() {
    let mut pipeline = pipeline(Model::default());
    let first = pipeline.sync(&snapshot()).unwrap();
    // The isolated addresses go in the first batches, the chains in the last.
    pipeline.sink().refuses = Some("delete chain");
    pipeline.sink().errno = Errno::EBUSY;
    let sent = pipeline.sink().sent;
    let failure = pipeline.sync(&Snapshot::default()).unwrap_err();
    let committed = failure.committed.unwrap();
    assert_eq!(committed.before.as_deref(), Some(&*first.after));
    assert_eq!(Some(&*committed.after), pipeline.sink().table());
    assert_eq!(committed.batches, pipeline.sink().sent - sent);
    assert!(committed.operations > 0);
    // Each batch is reported once.
    let (sent, failure) = (pipeline.sink().sent, pipeline.sync(&Snapshot::default()).unwrap_err());
    let told = failure.committed.map_or(0, |committed| committed.batches);
    assert_eq!(told, pipeline.sink().sent - sent);
    pipeline.sink().refuses = None;
    let (sent, last) = (pipeline.sink().sent, pipeline.sync(&Snapshot::default()).unwrap());
    assert_eq!(last.before.as_deref(), Some(&*first.after));
    assert_eq!(last.batches(), pipeline.sink().sent - sent);
}

#[test]
fn a_rebuild_that_fails_tells_what_was_committed_before_it() {
    let mut pipeline = pipeline(Model::default());
    pipeline.sync(&Snapshot::default()).unwrap();
    pipeline.sink().refuses = Some("add chain inet nftpol ");
    pipeline.sink().errno = Errno::EBUSY;
    let failure = pipeline.replace(&snapshot()).unwrap_err();
    assert!(matches!(failure.error, SyncError::RebuildDidNotHelp(_)), "{failure}");
    let committed = failure.committed.unwrap();
    assert_eq!(committed.before, None);
    let expected = pipeline.compile(&snapshot()).ruleset;
    assert_eq!(committed.after, Arc::new(expected), "the stand-in enforces it");
}

#[test]
fn a_failure_after_which_others_change_the_table_does_not_hide_that() {
    let mut pipeline = pipeline(Model::default());
    let first = pipeline.sync(&snapshot()).unwrap();
    pipeline.sink().refuses = Some("delete chain");
    pipeline.sink().errno = Errno::EBUSY;
    let failure = pipeline.sync(&Snapshot::default()).unwrap_err();
    assert_eq!(failure.committed.unwrap().before.as_deref(), Some(&*first.after));
    // Commits elsewhere are no change of our table.
    pipeline.sink().generation += 1;
    pipeline.sync(&Snapshot::default()).unwrap_err();
    pipeline.sink().flush();
    pipeline.sink().refuses = Some("jump egress4");
    let failure = pipeline.sync(&snapshot()).unwrap_err();
    assert_eq!(failure.committed.unwrap().before, None, "it is not known what got in");
    pipeline.sink().refuses = None;
    let outcome = pipeline.sync(&snapshot()).unwrap();
    assert!(outcome.was_touched() && outcome.restored().next().is_some());
}
