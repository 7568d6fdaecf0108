//! What must not stop the changes of all: memory that one policy takes, and
//! refusals that are never equal.

use std::collections::BTreeSet;
use std::sync::Arc;

use agent::pipeline::{Pipeline, SyncError};
use nft::{Errno, SendError};
use policy::{NetworkPolicy, ObjectKey, PortNumbers, Ports, Protocol, Snapshot};

use super::model::{Model, passes, snapshot};
use super::refusals::{AT_MOST, SEVERAL, hog, pipeline, refusing_web, web, with_hog};

/// How many syncs fail before one succeeds, and the policies set aside by it.
fn failures(pipeline: &mut Pipeline<Model>, cluster: &Snapshot) -> (usize, BTreeSet<ObjectKey>) {
    for failed in 0..10 * AT_MOST {
        match pipeline.sync(cluster) {
            Ok(outcome) => return (failed, outcome.set_aside),
            Err(failure) => assert!(matches!(failure.error, SyncError::Send(_)), "{failure}"),
        }
    }
    unreachable!("it never ends")
}

/// Without memory the kernel answers for the batch and not for an operation,
/// and the socket for neither.
#[test]
fn the_policy_that_takes_the_memory_is_set_aside() {
    let answers: [fn() -> SendError; 2] =
        [|| SendError::RefusedWhole(Errno::ENOMEM), || SendError::Io(Errno::ENOBUFS.into())];
    for no_room in answers {
        let mut fresh = pipeline(Model { room: Some(20), no_room, ..Model::default() });
        assert_eq!(failures(&mut fresh, &with_hog(50)), (SEVERAL - 1, BTreeSet::from([hog()])));
        let table = fresh.sink().table().unwrap();
        assert!(passes(table, "10.0.0.2", 80), "the others are enforced");

        let mut flushed = pipeline(Model { no_room, ..Model::default() });
        flushed.sync(&with_hog(50)).unwrap();
        flushed.sink().flush();
        flushed.sink().room = Some(20);
        assert_eq!(failures(&mut flushed, &with_hog(50)), (SEVERAL - 1, BTreeSet::from([hog()])));
    }
}

#[test]
fn a_short_lack_of_memory_sets_nobody_aside() {
    let mut pipeline = pipeline(Model { room: Some(20), ..Model::default() });
    for _ in 1..SEVERAL {
        let failure = pipeline.sync(&with_hog(50)).unwrap_err();
        assert_eq!(failure.set_aside, BTreeSet::new());
    }
    pipeline.sink().room = None;
    assert_eq!(failures(&mut pipeline, &with_hog(50)), (0, BTreeSet::new()));
}

/// A rebuild needs memory, too: for two tables at once.
#[test]
fn the_policy_that_takes_the_memory_does_not_stop_a_rebuild() {
    let mut pipeline = pipeline(Model { room: Some(40), ..Model::default() });
    for _ in 1..SEVERAL {
        pipeline.replace(&with_hog(50)).unwrap_err();
    }
    let outcome = pipeline.replace(&with_hog(50)).unwrap();
    assert_eq!(outcome.set_aside, BTreeSet::from([hog()]));
}

/// Each time twice as many are set aside.
#[test]
fn many_policies_that_take_the_memory_together_are_set_aside() {
    let mut cluster = with_hog(3);
    for number in 0..30 {
        let mut policy = NetworkPolicy::clone(&with_hog(10 + number).policies[&hog()]);
        policy.key.name = format!("hog-{number}");
        cluster.policies.insert(policy.key.clone(), Arc::new(policy));
    }
    let mut pipeline = pipeline(Model { room: Some(30), ..Model::default() });
    let (failed, set_aside) = failures(&mut pipeline, &cluster);
    assert!(failed <= 6 * SEVERAL, "{failed}");
    assert!(!set_aside.contains(&web()), "{set_aside:?}");
}

/// The batch that finds no memory holds no policy: addresses of the pods.
#[test]
fn memory_that_an_earlier_batch_took_is_found_in_the_table() {
    let mut pipeline = pipeline(Model::default());
    pipeline.sync(&with_hog(50)).unwrap();
    let gone = snapshot().pods.keys().next().cloned().unwrap();
    let mut fewer = with_hog(50);
    fewer.pods.remove(&gone);
    pipeline.sync(&fewer).unwrap();
    pipeline.sink().refuses = Some("add element inet nftpol isolated");
    pipeline.sink().errno = Errno::ENOMEM;
    for failed in 1..AT_MOST {
        let failure = pipeline.sync(&with_hog(50)).unwrap_err();
        assert_eq!(failure.set_aside, BTreeSet::new(), "{failed}");
    }
    let failure = pipeline.sync(&with_hog(50)).unwrap_err();
    assert_eq!(failure.set_aside, BTreeSet::from([hog()]));
}

#[test]
fn the_policy_that_takes_the_memory_is_set_aside_at_once_when_it_is_tried_again() {
    let mut pipeline = pipeline(Model { room: Some(20), ..Model::default() });
    failures(&mut pipeline, &with_hog(50));
    assert_eq!(failures(&mut pipeline, &with_hog(51)), (0, BTreeSet::from([hog()])));
}

/// What is set aside after several refusals was counted: not again each minute,
/// or each time that its tenant edits it.
#[test]
fn a_policy_that_is_tried_again_is_set_aside_at_its_first_refusal() {
    for (errno, failed) in [(Errno::ENOMEM, SEVERAL - 1), (Errno::EBUSY, 2 * SEVERAL - 1)] {
        let mut pipeline = pipeline(refusing_web(errno));
        for _ in 0..failed {
            pipeline.sync(&snapshot()).unwrap_err();
        }
        pipeline.sync(&snapshot()).unwrap();
        assert_eq!(
            failures(&mut pipeline, &edited(1)),
            (0, BTreeSet::from([web()])),
            "{errno}, at the next edit"
        );
        pipeline.sink().refuses = None;
        assert_eq!(failures(&mut pipeline, &edited(2)), (0, BTreeSet::new()), "{errno}");
        pipeline.sink().refuses = Some("tcp dport 81");
        let failure = pipeline.sync(&edited(3)).unwrap_err();
        assert_eq!(failure.set_aside, BTreeSet::new(), "{errno}, after it was accepted");
    }
}

/// The cluster where the policy `web` allows another port.
fn edited(edit: u16) -> Snapshot {
    let mut cluster = snapshot();
    let policy = Arc::make_mut(cluster.policies.get_mut(&web()).unwrap());
    let rule = policy.ingress.as_mut().unwrap().first_mut().unwrap();
    let numbers = PortNumbers::Range(2000 + edit, 2000 + edit);
    rule.ports = Ports::Only(vec![policy::Port { protocol: Protocol::Tcp, numbers }]);
    cluster
}

/// The name of a set follows its elements.
#[test]
fn a_tenant_who_edits_a_policy_all_the_time_does_not_keep_the_count_low() {
    let mut pipeline = refusing_hog();
    for edit in 1..SEVERAL {
        let failure = pipeline.sync(&with_hog(10 + edit as u8)).unwrap_err();
        assert_eq!(failure.set_aside, BTreeSet::new());
    }
    assert_eq!(failures(&mut pipeline, &with_hog(99)), (0, BTreeSet::from([hog()])));
}

fn refusing_hog() -> Pipeline<Model> {
    let refuses = Some("198.51.2.0");
    pipeline(Model { refuses, errno: Errno::ENOMEM, ..Model::default() })
}

/// A policy with another name each time is another policy.
#[test]
fn refusals_that_are_never_equal_have_an_end() {
    for errno in [Errno::ENOMEM, Errno::EBUSY] {
        let mut pipeline = pipeline(refusing_web(errno));
        let renamed = |number: usize| {
            let mut cluster = edited(number as u16);
            let mut policy = NetworkPolicy::clone(&cluster.policies.remove(&web()).unwrap());
            policy.key.name = format!("web-{number}");
            cluster.policies.insert(policy.key.clone(), Arc::new(policy));
            cluster
        };
        for number in 1..AT_MOST {
            let failure = pipeline.sync(&renamed(number)).unwrap_err();
            assert_eq!(failure.set_aside, BTreeSet::new(), "{errno}, {number}");
        }
        let last = BTreeSet::from([ObjectKey::new("dev", format!("web-{AT_MOST}"))]);
        assert_eq!(failures(&mut pipeline, &renamed(AT_MOST)), (0, last), "{errno}");
    }
}

/// What was in the way of the first rebuild may be gone.
#[test]
fn a_rebuild_is_asked_for_again_after_a_while() {
    let mut pipeline = pipeline(Model::default());
    pipeline.sync(&snapshot()).unwrap();
    pipeline.sink().in_use = Some("delete chain");
    let asked: Vec<usize> = (1..=130)
        .filter(|_| {
            let failure = pipeline.sync(&Snapshot::default()).unwrap_err();
            matches!(failure.error, SyncError::KeepsRefusing(_))
        })
        .collect();
    assert_eq!(asked, [5, 65, 125]);
}

/// As where kube-proxy commits without a pause: each refusal comes after a
/// commit of others.
#[test]
fn a_policy_that_the_kernel_refuses_is_found_among_endless_commits_of_others() {
    let busy = |model| Model { others: 1000, ..model };
    let mut refusing = pipeline(busy(refusing_web(Errno::EINVAL)));
    assert_eq!(failures(&mut refusing, &snapshot()), (0, BTreeSet::from([web()])));
    let table = refusing.sink().table().unwrap();
    assert!(passes(table, "10.0.0.2", 80), "the others are enforced");
    // An object that is missing can be the doing of others.
    let mut missing = pipeline(busy(refusing_web(Errno::ENOENT)));
    let failure = missing.sync(&snapshot()).unwrap_err();
    assert_eq!(failure.set_aside, BTreeSet::new());
}
