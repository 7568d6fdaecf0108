//! An address goes to another pod, and the interface of the former one is still there.

use super::*;

fn next() -> Pod {
    Pod { created: 1000, ..pod("next", &["10.0.0.3"]) }
}

fn port_next() -> SeenPort {
    port(4, &[("10.0.0.3", 2000)])
}

const NEXT: &str = "4: dev/next mac 04 10.0.0.3";
const LEFT_OVER: &str = "interface veth3 of no living pod claims the address 10.0.0.3 of pod \
                         dev/next, which interface veth4 of pod dev/next holds";

/// A process that hangs keeps the namespace of a pod that is gone.
#[test]
fn an_interface_that_is_left_over_gives_up_its_address() {
    let mut story = Story::default();
    story.then([port_x(), port_v()], &[&x(), &v()]);
    // It keeps it while the next pod's object does not report the address yet.
    assert_eq!(bound(&story.then([port_x(), port_v(), port_next()], &[&x()])), [X]);
    let last = story.then([port_x(), port_v(), port_next()], &[&x(), &next()]);
    assert_eq!(bound(&last), [X, NEXT]);
    // It is named, for somebody to delete it.
    assert_eq!(findings(&last)[0], LEFT_OVER);
    // It stays so, after a restart, too.
    assert_eq!(bound(&story.then([port_v(), port_next()], &[&next()])), [NEXT]);
    story.restart(&last);
    assert_eq!(bound(&story.then([port_v(), port_next()], &[&next()])), [NEXT]);
    assert_eq!(bound(&story.then([port_next()], &[&next()])), [NEXT]);
}

/// Nobody saw whose each was: neither gets it, until the one that is left over is gone.
#[test]
fn an_interface_that_was_left_over_before_a_restart_contests_the_address() {
    let mut story = Story::default();
    story.then([port_x(), port_v()], &[&x(), &v()]);
    let last = story.then([port_x(), port_v()], &[&x()]);
    story.restart(&last);
    let both = story.then([port_x(), port_v(), port_next()], &[&x(), &next()]);
    assert_eq!(
        bound(&both),
        [&nobodys("next", "10.0.0.3"), X, "3: dev/next mac 00 ", "4: dev/next mac 00 "]
    );
    assert_eq!(bound(&story.then([port_x(), port_next()], &[&x(), &next()])), [X, NEXT]);
}

/// The same for an agent that starts late, on a node that is full of pods.
#[test]
fn an_agent_that_starts_late_binds_all_others() {
    let mut story = Story::default();
    let others: Vec<Pod> =
        (10..250).map(|last| pod(&format!("p{last}"), &[&format!("10.0.0.{last}")])).collect();
    let ports = (10..250).map(|last| port(last, &[(&format!("10.0.0.{last}"), last)]));
    let ports: Vec<SeenPort> = ports.chain([port_v(), port_next()]).collect();
    let next = next();
    let pods: Vec<&Pod> = others.iter().chain([&next]).collect();
    let late = story.then(ports, &pods);
    assert_eq!(late.network.ports.len(), 240 + 3);
    let of_next = |line: &&String| line.contains("dev/next");
    let cut_off = bound(&late);
    let cut_off: Vec<&String> = cut_off.iter().filter(of_next).collect();
    assert_eq!(
        cut_off,
        [&nobodys("next", "10.0.0.3"), "3: dev/next mac 00 ", "4: dev/next mac 00 "]
    );
}

/// The API still has the former pod when its interface is gone and the address is in
/// use again.
#[test]
fn an_interface_that_came_before_its_pod_is_not_taken_for_a_left_over_one() {
    let mut story = Story::default();
    story.then([port_v()], &[&v()]);
    // The next pod's interface passes for the former pod's.
    assert_eq!(bound(&story.then([port_next()], &[&v()])), ["4: dev/v mac 04 10.0.0.3"]);
    for pods in [[&v(), &next()].as_slice(), &[&next()], &[&next()]] {
        assert_eq!(bound(&story.then([port_next()], pods)), [NEXT]);
    }
    // From now on it is the next pod's.
    let claim = port(5, &[("10.0.0.3", 3000)]);
    assert_eq!(bound(&story.then([port_next(), claim], &[&next()])), [NEXT]);
}

/// A sandbox is made again: the pod is the same, and both interfaces live for a moment.
#[test]
fn a_sandbox_that_is_made_again_takes_over() {
    let other = port(4, &[("10.0.0.4", 2000)]);
    let v_after = Pod { addresses: vec![ip("10.0.0.4")], ..v() };
    let mut story = Story::default();
    story.then([port_v()], &[&v()]);
    // With another address: at once.
    let last = story.then([port_v(), other], &[&v_after]);
    assert_eq!(bound(&last), ["4: dev/v mac 04 10.0.0.4"]);
    // With the same address: as soon as the former interface is gone.
    let mut story = Story::default();
    story.then([port_v()], &[&v()]);
    assert_eq!(bound(&story.then([port_v(), port_next()], &[&v()])), [V]);
    assert_eq!(bound(&story.then([port_next()], &[&v()])), ["4: dev/v mac 04 10.0.0.3"]);
}

/// As of a StatefulSet, or the mirror of a static pod: then it is the same pod.
#[test]
fn a_new_pod_of_the_same_name_is_another_one() {
    let mut story = Story::default();
    story.then([port_x(), port_v()], &[&x(), &v()]);
    let next = Pod { created: 1000, ..v() };
    let early = story.then([port_x(), port_v(), port_next()], &[&x(), &next]);
    assert_eq!(bound(&early), [X, V]);
    let found = findings(&early);
    assert!(found[0].ends_with("interface veth3 of no living pod holds"), "{found:?}");
    assert_eq!(
        bound(&story.then([port_x(), port_next()], &[&x(), &next])),
        [X, "4: dev/v mac 04 10.0.0.3"]
    );
}
