use super::*;
use crate::{Namespace, Selector};

const HOUR: i64 = 3600;
/// A day in 2026.
const START: i64 = 1_795_996_800;

fn policy(name: &str, written: Switch) -> NetworkPolicy {
    NetworkPolicy {
        pod_selector: Selector::everything(),
        audit: crate::Audit::written(written),
        ..NetworkPolicy::shut(ObjectKey::new("shop", name))
    }
}

fn objects(policies: &[(&str, Switch)], namespace: Switch) -> Snapshot {
    let namespace = Namespace { switch: namespace, ..Namespace::synthesised("shop") };
    let policies = policies.iter().map(|(name, written)| policy(name, *written));
    Snapshot::new(policies, [], [namespace])
}

fn until(at: i64) -> Switch {
    Switch { mode: None, until: Some(at) }
}

fn always(mode: Mode) -> Switch {
    Switch { mode: Some(mode), until: None }
}

fn at(wall: i64, steady: i64) -> Now {
    let steady = Duration::from_secs(steady.try_into().expect("a time after the start"));
    Now { wall_seconds: START + wall, steady }
}

fn audited(modes: &Modes) -> Vec<&str> {
    let policies = modes.policies().values();
    let audited = policies.filter(|policy| policy.audit.mode == Mode::Audit);
    audited.map(|policy| policy.key.name.as_str()).collect()
}

#[test]
fn an_end_is_the_earlier_of_what_the_clock_says_and_what_it_said() {
    let objects = objects(&[("p", until(START + HOUR))], Switch::default());
    let begun = || {
        let mut modes = Modes::of(Mode::Enforce);
        assert!(modes.follow(&objects, at(0, 5)));
        assert_eq!(audited(&modes), ["p"]);
        modes
    };
    let mut modes = begun();
    assert!(!modes.pass(at(HOUR - 1, 5 + HOUR - 1)));
    assert!(modes.pass(at(HOUR, 5 + HOUR - 1)), "the clock runs fast");
    assert_eq!(audited(&modes), Vec::<&str>::new());
    assert!(!modes.pass(at(-HOUR, 6 + HOUR)), "over is over, whatever the clock says then");
    assert!(!modes.follow(&objects, at(-HOUR, 6 + HOUR)));
    let mut modes = begun();
    assert!(!modes.pass(at(-9 * HOUR, 4 + HOUR)), "set back");
    assert!(modes.pass(at(-8 * HOUR, 5 + HOUR)), "an hour has passed all the same");
}

#[test]
fn an_end_that_is_too_far_away_opens_nothing_until_it_is_near() {
    let far = i64::try_from(LONGEST.as_secs()).expect("seconds");
    let objects = objects(&[("p", until(START + far + 1))], Switch::default());
    let mut modes = Modes::of(Mode::Enforce);
    modes.follow(&objects, at(0, 0));
    assert_eq!(audited(&modes), Vec::<&str>::new());
    assert_eq!(modes.ends().map(|(_, _, end)| end).collect::<Vec<_>>(), [End::TooFar]);
    assert!(modes.pass(at(1, 1)), "a clock that was wrong at boot is set");
    assert_eq!(audited(&modes), ["p"]);
}

#[test]
fn a_namespace_speaks_for_policies_that_say_nothing() {
    let policies = [("says", always(Mode::Enforce)), ("silent", Switch::default())];
    let mut modes = Modes::of(Mode::Enforce);
    modes.follow(&objects(&policies, Switch::default()), at(0, 0));
    assert_eq!(audited(&modes), Vec::<&str>::new());
    assert!(modes.follow(&objects(&policies, always(Mode::Audit)), at(1, 1)));
    assert_eq!(audited(&modes), ["silent"]);
    assert_eq!(modes.of_namespace("shop"), Mode::Audit);
    assert!(modes.follow(&objects(&policies, until(START + HOUR)), at(2, 2)));
    assert_eq!(audited(&modes), ["says", "silent"], "in an emergency all are");
    assert!(modes.pass(at(HOUR, HOUR)));
    assert_eq!(audited(&modes), Vec::<&str>::new());
}

#[test]
fn a_node_in_audit_enforces_what_says_so() {
    let policies = [("says", always(Mode::Enforce)), ("silent", Switch::default())];
    let mut modes = Modes::of(Mode::Audit);
    modes.follow(&objects(&policies, Switch::default()), at(0, 0));
    assert_eq!(audited(&modes), ["silent"]);
    modes.follow(&objects(&policies, always(Mode::Enforce)), at(0, 0));
    assert_eq!(audited(&modes), Vec::<&str>::new());
}

/// Whatever came before, the present objects tell, but for ends that came.
#[test]
fn a_policy_that_goes_and_comes_is_as_new() {
    let with = objects(&[("p", until(START + HOUR)), ("q", Switch::default())], Switch::default());
    let without = objects(&[("q", Switch::default())], Switch::default());
    let mut modes = Modes::of(Mode::Enforce);
    modes.follow(&with, at(0, 0));
    modes.follow(&without, at(1, 1));
    assert_eq!((modes.policies().len(), modes.ends().count()), (1, 0));
    modes.follow(&with, at(2 * HOUR, 2 * HOUR));
    assert_eq!(audited(&modes), Vec::<&str>::new());
    let later = objects(&[("p", until(START + 3 * HOUR))], Switch::default());
    modes.follow(&later, at(2 * HOUR, 2 * HOUR));
    assert_eq!(audited(&modes), ["p"], "another end is another switch");
    assert_eq!(with_modes(&later, Mode::Enforce, at(4 * HOUR, 0)).policies, {
        modes.pass(at(4 * HOUR, 4 * HOUR));
        modes.policies().clone()
    });
}

/// Who shows the ends asks often, and there can be thousands.
#[test]
fn each_change_of_the_ends_is_counted_and_nothing_else() {
    let mut modes = Modes::of(Mode::Enforce);
    let mut seen = modes.changes();
    let mut changed = |modes: &Modes| {
        let before = std::mem::replace(&mut seen, modes.changes());
        before != modes.changes()
    };
    let with = objects(&[("p", until(START + HOUR)), ("q", Switch::default())], Switch::default());
    modes.follow(&with, at(0, 0));
    assert!(changed(&modes), "it begins");
    modes.pass(at(1, 1));
    modes.follow(&objects(&[("p", until(START + HOUR))], Switch::default()), at(2, 2));
    assert!(!changed(&modes), "time, and a policy without an end");
    modes.pass(at(HOUR, HOUR));
    assert!(changed(&modes), "it is over");
    modes.follow(&objects(&[("p", until(START + 2 * HOUR))], Switch::default()), at(HOUR, HOUR));
    assert!(changed(&modes), "another end");
    modes.follow(&Snapshot::default(), at(HOUR, HOUR));
    assert!(changed(&modes), "no end");
}
