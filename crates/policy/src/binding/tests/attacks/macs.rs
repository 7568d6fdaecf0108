//! What `x` does to `v`'s MAC.

use super::*;

/// The agent knows from the kernel alone who had it. The copy is older.
#[test]
fn a_mac_that_a_neighbour_copied_stays_after_a_restart() {
    let copy = || SeenPort { mac: mac(3), ..port_x() };
    let shut = "2: dev/x mac 00 10.0.0.2";
    for (early, after) in [(vec![port_x(), port_v()], X), (vec![port_v()], shut)] {
        let mut story = Story::default();
        let first = story.then(early, &[&x(), &v()]);
        story.restart(&first);
        for pods in [vec![x(), v()], vec![x()], vec![x(), v()]] {
            let pods: Vec<&Pod> = pods.iter().collect();
            let resolved = story.then([copy(), port_v()], &pods);
            let expected = [after, V];
            assert_eq!(bound(&resolved), expected[..pods.len()]);
        }
    }
}

/// Its pod is not known for a moment. Nobody takes its MAC meanwhile.
#[test]
fn a_mac_stays_while_its_pod_is_not_known() {
    let with_mac = |last| SeenPort { mac: mac(last), ..port_x() };
    let mut story = Story::default();
    assert_eq!(bound(&story.then([with_mac(3)], &[&x()])), ["2: dev/x mac 03 10.0.0.2"]);
    let both = || [with_mac(3), port_v()];
    assert_eq!(bound(&story.then(both(), &[&v()])), ["3: dev/v mac 00 10.0.0.3"]);
    let expected = ["2: dev/x mac 03 10.0.0.2", "3: dev/v mac 00 10.0.0.3"];
    assert_eq!(bound(&story.then(both(), &[&v(), &x()])), expected);
}

/// It copies the MAC of a neighbour that is not known yet and not bound.
#[test]
fn a_mac_is_the_ones_that_was_seen_with_it_first_though_its_pod_is_not_known_yet() {
    let copy = || SeenPort { mac: mac(3), ..port_x() };
    let shut = "2: dev/x mac 00 10.0.0.2";
    let finding = |of| {
        format!(
            "interface veth2 of pod dev/x claims the MAC 02:00:00:00:00:03, which interface veth3 \
             of {of} had first; nothing that it sends passes"
        )
    };
    // Both were seen before, or the neighbour arrives with the copy.
    for before in [vec![port_x(), port_v()], vec![port_x()]] {
        let mut story = Story::default();
        story.then(before, &[]);
        let early = story.then([copy(), port_v()], &[&x()]);
        assert_eq!(bound(&early), [shut]);
        assert!(findings(&early).contains(&finding("an unknown pod")), "{:?}", early.findings);
        let both = story.then([copy(), port_v()], &[&x(), &v()]);
        assert_eq!(bound(&both), [shut, V]);
        assert_eq!(findings(&both), [finding("pod dev/v")]);
        story.restart(&both);
        assert_eq!(bound(&story.then([copy(), port_v()], &[&x(), &v()])), [shut, V]);
        // Its own MAC again.
        assert_eq!(bound(&story.then([port_x(), port_v()], &[&x(), &v()])), [X, V]);
    }
}

/// An interface that no pod reports, made with the MAC of a pod to come.
#[test]
fn a_mac_that_an_unknown_interface_was_made_with_is_not_kept_from_its_pod() {
    let squatter = SeenPort { mac: mac(3), ..port(2, &[]) };
    let mut story = Story::default();
    story.then([squatter.clone()], &[]);
    assert_eq!(bound(&story.then([squatter, port_v()], &[&v()])), [V]);
}

/// A CNI plugin can set it after the interface was made.
#[test]
fn a_mac_that_changed_before_its_pod_is_known_is_the_present_one() {
    let mut story = Story::default();
    story.then([SeenPort { mac: mac(9), ..port_v() }], &[]);
    assert_eq!(bound(&story.then([port_v()], &[&v()])), [V]);
}

/// As long as its bridge has it, it has none.
#[test]
fn a_mac_that_the_bridge_has_for_a_moment_is_not_forgotten() {
    let at = |last, ports: [SeenPort; 2], before: &Claims| {
        let mut seen = seen(ports);
        seen.bridges[0].mac = mac(last);
        resolve(&seen, [&x(), &v()], before)
    };
    let first = resolve(&seen([port_v()]), [&v()], &Claims::default());
    let copy = || SeenPort { mac: mac(3), ..port_x() };
    let shut = "2: dev/x mac 00 10.0.0.2";
    let taken = at(3, [copy(), port_v()], &first.claims);
    assert_eq!(bound(&taken), [shut, "3: dev/v mac 00 10.0.0.3"]);
    assert_eq!(bound(&at(1, [copy(), port_v()], &taken.claims)), [shut, V]);
}

#[test]
fn a_mac_changed_to_a_neighbours_or_the_bridges_or_any_stays_what_it_was() {
    let with_mac = |last| SeenPort { mac: mac(last), ..port_x() };
    let cases = [
        (
            3,
            "interface veth2 of pod dev/x claims the MAC 02:00:00:00:00:03, which interface veth3 \
             of pod dev/v had first; it stays bound to its former MAC",
        ),
        (
            1,
            "interface veth2 of pod dev/x claims the MAC 02:00:00:00:00:01, which is its \
             bridge's; it stays bound to its former MAC",
        ),
        (
            9,
            "pod dev/x, interface veth2: its MAC changed to 02:00:00:00:00:09; it stays bound to \
             02:00:00:00:00:02",
        ),
    ];
    for (last, expected) in cases {
        let mut story = Story::default();
        let first = story.then([port_x(), port_v()], &[&x(), &v()]);
        for _ in 0..2 {
            let resolved = story.then([with_mac(last), port_v()], &[&x(), &v()]);
            assert_eq!(bound(&resolved), [X, V]);
            assert_eq!(findings(&resolved), [expected]);
            story.restart(&first);
        }
    }
}

#[test]
fn a_port_that_never_had_its_mac_alone_has_none() {
    let with_mac = |last| SeenPort { mac: mac(last), ..port_x() };
    let shut = "2: dev/x mac 00 10.0.0.2";
    let mut story = Story::default();
    let bridges = story.then([with_mac(1), port_v()], &[&x(), &v()]);
    assert_eq!(bound(&bridges), [shut, V]);
    let expected = "interface veth2 of pod dev/x claims the MAC 02:00:00:00:00:01, which is its \
                    bridge's; nothing that it sends passes";
    assert_eq!(findings(&bridges), [expected]);
    // It gets one as soon as it has one alone.
    assert_eq!(bound(&story.then([port_x(), port_v()], &[&x(), &v()])), [X, V]);
    // The victim was bound before.
    let mut story = Story::default();
    story.then([port_v()], &[&v()]);
    assert_eq!(bound(&story.then([with_mac(3), port_v()], &[&x(), &v()])), [shut, V]);
    // On another bridge, or routed, a MAC is another's.
    let routed = SeenPort { bridge: None, ..with_mac(3) };
    let resolved = Story::default().then([routed, port_v()], &[&x(), &v()]);
    assert_eq!(bound(&resolved), ["2: dev/x mac 03 10.0.0.2", V]);
}
