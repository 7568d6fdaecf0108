use super::*;

const MS: Duration = Duration::from_millis(1);

/// A schedule whose first look is over, without anything missing.
fn looked_once(now: Instant) -> Schedule {
    let mut schedule = Schedule::default();
    assert_eq!(schedule.step(now), Step::Look(Scope::Everything));
    schedule.begins();
    schedule.looked(Scope::Everything, now, now, false);
    schedule
}

fn step_after(schedule: &Schedule, now: Instant) -> (Scope, Duration) {
    match schedule.step(now) {
        Step::Look(scope) => (scope, Duration::ZERO),
        Step::Wait(time) => match schedule.step(now + time) {
            Step::Look(scope) => (scope, time),
            Step::Wait(more) => panic!("waits {time:?} for nothing, and then {more:?}"),
        },
    }
}

#[test]
fn everything_is_looked_at_every_few_seconds() {
    let now = Instant::now();
    let mut schedule = looked_once(now);
    assert_eq!(step_after(&schedule, now), (Scope::Everything, FULL_EVERY));
    schedule.looked(Scope::Everything, now + FULL_EVERY, now + FULL_EVERY + 9 * MS, false);
    let expected = (Scope::Everything, FULL_EVERY + 9 * MS);
    assert_eq!(step_after(&schedule, now + FULL_EVERY), expected);
}

#[test]
fn links_that_changed_are_looked_at_when_they_settled() {
    let now = Instant::now();
    let mut schedule = looked_once(now);
    schedule.event(now);
    schedule.event(now + MS);
    assert_eq!(step_after(&schedule, now), (Scope::Links, SETTLE), "from the first event on");
    let start = now + SETTLE;
    schedule.begins();
    schedule.event(start + MS); // during the look
    schedule.looked(Scope::Links, start, start + 2 * MS, false);
    let after = step_after(&schedule, start + 2 * MS);
    assert_eq!(after, (Scope::Links, 9 * 2 * MS), "a tenth of the time");
}

#[test]
fn a_pods_address_without_port_is_looked_for_ever_more_rarely() {
    let mut now = Instant::now();
    let mut schedule = looked_once(now);
    schedule.wanted(now, true);
    let mut pauses = Vec::new();
    for _ in 0..8 {
        let (scope, pause) = step_after(&schedule, now);
        assert_eq!(scope, Scope::Missing);
        pauses.push(pause.as_millis());
        now += pause;
        schedule.looked(scope, now, now, true);
    }
    assert_eq!(pauses, [0, 20, 40, 80, 160, 320, 640, 1000]);
    schedule.wanted(now, true);
    assert_eq!(schedule.step(now), Step::Look(Scope::Missing), "another pod came");
    schedule.looked(Scope::Missing, now, now, false);
    assert_eq!(step_after(&schedule, now).0, Scope::Everything, "found");
}

/// The address that was there is no more.
#[test]
fn what_any_look_misses_is_looked_for() {
    let now = Instant::now();
    let mut schedule = looked_once(now);
    schedule.looked(Scope::Links, now, now, true);
    assert_eq!(step_after(&schedule, now), (Scope::Missing, FIRST_RETRY));
    schedule.looked(Scope::Everything, now, now, true);
    assert_eq!(step_after(&schedule, now), (Scope::Missing, FIRST_RETRY), "as planned");
}

#[test]
fn slow_namespaces_are_looked_at_a_tenth_of_the_time() {
    let now = Instant::now();
    let mut schedule = looked_once(now);
    schedule.wanted(now, true);
    schedule.looked(Scope::Missing, now, now + 100 * MS, true);
    assert_eq!(step_after(&schedule, now + 100 * MS), (Scope::Missing, 900 * MS));
    schedule.wanted(now, false);
    schedule.looked(Scope::Everything, now, now + 1000 * MS, false);
    assert_eq!(step_after(&schedule, now + 1000 * MS), (Scope::Everything, 9000 * MS));
}

#[test]
fn after_a_failure_everything_is_looked_at_again() {
    let mut now = Instant::now();
    let mut schedule = looked_once(now);
    schedule.event(now);
    schedule.wanted(now, true);
    let mut pauses = Vec::new();
    for _ in 0..7 {
        schedule.failed(now);
        let (scope, pause) = step_after(&schedule, now);
        assert_eq!(scope, Scope::Everything);
        pauses.push(pause.as_millis());
        now += pause;
    }
    assert_eq!(pauses, [20, 40, 80, 160, 320, 640, 1000]);
    schedule.looked(Scope::Everything, now, now, false);
    schedule.failed(now);
    assert_eq!(step_after(&schedule, now), (Scope::Everything, FIRST_RETRY));
}
