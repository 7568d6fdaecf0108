//! What the CNI plugin announced of interfaces, against what pods write on their ends.

use super::*;
use crate::{
    Announcement, Announcements, AttachmentKey, HostInterface, Placements, PodUid, resolve_placed,
};

/// A node whose CNI plugin speaks to the agent.
struct Story {
    announcements: Announcements,
    placements: Placements,
    before: Claims,
}

impl Story {
    fn new() -> Self {
        Self {
            announcements: Announcements::of("node"),
            placements: Placements::default(),
            before: Claims::default(),
        }
    }

    /// ADD for a pod whose interface on the node has this number.
    fn add(mut self, pod: &Pod, uid: u128, index: u32) -> Self {
        let attachment =
            AttachmentKey { container: format!("c{index}"), interface: "eth0".to_owned() };
        let announcement = Announcement {
            pod: pod.key.clone(),
            uid: PodUid(uid),
            addresses: pod.addresses.iter().copied().collect(),
            interfaces: vec![
                HostInterface { index: BRIDGE, name: "cni0".to_owned() },
                HostInterface { index: InterfaceIndex(index), name: format!("veth{index}") },
            ],
        };
        self.announcements.announce(attachment, announcement);
        self.placements.set(self.announcements.placements());
        self
    }

    fn then(&mut self, ports: impl IntoIterator<Item = SeenPort>, pods: &[&Pod]) -> Resolved {
        let seen = seen(ports);
        self.placements.look(&seen);
        let resolved = resolve_placed(&seen, pods.iter().copied(), &self.placements, &self.before);
        self.before = resolved.claims.clone();
        resolved
    }
}

fn x() -> Pod {
    pod("x", &["10.0.0.2"])
}

fn v() -> Pod {
    pod("v", &["10.0.0.3"])
}

const X: &str = "2: dev/x mac 02 10.0.0.2";
const V: &str = "3: dev/v mac 03 10.0.0.3";

#[test]
fn the_announced_interface_is_bound_before_its_other_end_shows_the_address() {
    let mut story = Story::new().add(&v(), 0, 3);
    assert_eq!(bound(&story.then([port(3, &[])], &[&v()])), [V]);
    assert_eq!(bound(&Story::new().then([port(3, &[])], &[&v()])), [""; 0], "by itself");
}

/// Without the announcement, neither has the address: nobody knows whose it is.
#[test]
fn an_attacker_that_showed_the_address_first_does_not_contest_it() {
    // x's own address is not reported yet, so nothing tells that its namespace is x's.
    let claim = || port(2, &[("10.0.0.3", 100)]);
    let honest = || port(3, &[("10.0.0.3", 900)]);
    let by_itself = Story::new().then([claim(), honest()], &[&v()]);
    assert_eq!(
        bound(&by_itself),
        ["0: dev/v mac 00 10.0.0.3", "2: dev/v mac 00 ", "3: dev/v mac 00 "]
    );
    let mut story = Story::new().add(&v(), 0, 3);
    assert_eq!(bound(&story.then([claim(), honest()], &[&v()])), [V]);
    assert_eq!(bound(&story.then([claim(), port(3, &[])], &[&v()])), [V], "the victim lost it");
}

/// DEL of x failed half way: its interface lives, and has the address that v was given.
#[test]
fn an_address_that_was_given_again_goes_to_the_announced_interface() {
    let old = pod("x", &["10.0.0.3"]);
    let mut story = Story::new();
    let held = story.then([port(2, &[("10.0.0.3", 100)])], &[&old]);
    assert_eq!(bound(&held), ["2: dev/x mac 02 10.0.0.3"]);
    let mut story = Story { before: story.before, ..Story::new() }.add(&v(), 0, 3);
    let ports = || [port(2, &[("10.0.0.3", 100)]), port(3, &[("10.0.0.3", 900)])];
    // The plugin's word takes the address from the former pod's object.
    let former = pod("x", &[]);
    for _ in 0..2 {
        assert_eq!(bound(&story.then(ports(), &[&former, &v()])), [V]);
    }
    // An agent that starts anew knows what the tables bound.
    let mut later = Story { before: story.before.clone(), ..Story::new() };
    assert_eq!(bound(&later.then(ports(), &[&former, &v()])), [V]);
}

#[test]
fn an_interface_with_a_number_that_was_used_before_is_not_the_announced_one() {
    let mut story = Story::new().add(&v(), 0, 3);
    assert_eq!(bound(&story.then([port(3, &[("10.0.0.3", 9)])], &[&v()])), [V]);
    // The victim's sandbox is gone and DEL was lost. An attacker makes an interface with
    // its number and its name; v has another one by now.
    story.then([], &[&v()]);
    let claim = SeenPort { namespace: NetworkNamespace(2), ..port(3, &[("10.0.0.2", 50)]) };
    let resolved = story.then([claim, port(4, &[("10.0.0.3", 90)])], &[&x(), &v()]);
    assert_eq!(bound(&resolved), ["3: dev/x mac 03 10.0.0.2", "4: dev/v mac 04 10.0.0.3"]);
}

#[test]
fn it_says_nothing_of_a_pod_of_the_same_name_or_of_another_pod() {
    let born = |uid: u128| {
        let attachment = crate::Attachment { uid: PodUid(uid), ..crate::Attachment::default() };
        Pod { attachment, ..v() }
    };
    // The interface of the pod of before is left over: DEL was lost.
    let ports = || [port(3, &[]), port(4, &[("10.0.0.3", 90)])];
    for (object, expected) in [
        (born(1), V),
        (born(0), V),
        (born(2), "4: dev/v mac 04 10.0.0.3"),
        (pod("w", &["10.0.0.3"]), "4: dev/w mac 04 10.0.0.3"),
    ] {
        let mut story = Story::new().add(&v(), 1, 3);
        assert_eq!(bound(&story.then(ports(), &[&object])), [expected], "{object:?}");
    }
}

#[test]
fn two_pods_are_bound_as_announced_and_their_later_addresses_stay_their_own() {
    let mut story = Story::new().add(&x(), 0, 2).add(&v(), 0, 3);
    // Each shows the other's address, and x also the bridge's.
    let crossed =
        || [port(2, &[("10.0.0.3", 100), ("10.0.0.1", 110)]), port(3, &[("10.0.0.2", 100)])];
    for _ in 0..2 {
        assert_eq!(bound(&story.then(crossed(), &[&x(), &v()])), [X, V]);
    }
}
