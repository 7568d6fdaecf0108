//! When it is time to look.

use std::time::Duration;

use nft::links::{LinkEvent, LinkEvents};

use crate::bed::{Namespace, on_node};

const SOON: Duration = Duration::from_secs(5);
const NOW: Duration = Duration::from_millis(30);

/// Waits until nothing happens any more: a link that goes up tells of it several
/// times.
fn settled(events: &mut LinkEvents) {
    while events.wait(Duration::from_millis(300)).expect("wait") != LinkEvent::Timeout {}
}

#[test]
fn each_change_of_the_nodes_links_is_told() {
    on_node(|node| {
        let pod = Namespace::pod();
        node.ip("link add br0 type bridge\nlink set br0 up");
        let mut events = LinkEvents::open().expect("open");
        assert_eq!(events.wait(NOW).expect("wait"), LinkEvent::Timeout);
        let changes = [
            &*format!("link add port type veth peer name eth0 netns {}", pod.path),
            "link set port up",
            "link set port master br0",
            "link set port nomaster",
            "link set port down",
            "link set port name other",
            "link add vx type vxlan id 1 dstport 8472",
            "addr add 10.0.0.1/24 dev br0",
            "addr add fd00::1/64 dev br0 nodad",
            "addr del fd00::1/64 dev br0",
            "link set br0 address 02:00:00:00:00:01",
            "link delete other",
        ];
        for change in changes {
            node.ip(change);
            assert_eq!(events.wait(SOON).expect("wait"), LinkEvent::Changed, "{change}");
            settled(&mut events);
        }
    });
}

#[test]
fn a_pod_that_ends_is_told() {
    on_node(|node| {
        let pod = Namespace::pod();
        pod.wire(node, "port", &["10.0.0.2/24"]);
        let mut events = LinkEvents::open().expect("open");
        settled(&mut events);
        drop(pod);
        assert_eq!(events.wait(SOON).expect("wait"), LinkEvent::Changed);
    });
}

/// More events than the socket holds.
#[test]
fn events_that_were_lost_are_told() {
    on_node(|node| {
        let mut events = LinkEvents::open().expect("open");
        node.ip("link add br0 type bridge\nlink set br0 up");
        let change = "link set br0 alias one\nlink set br0 alias two\n";
        node.ip(&change.repeat(5000));
        assert_eq!(events.wait(SOON).expect("wait"), LinkEvent::Overrun);
        settled(&mut events);
        node.ip("link delete br0");
        assert_eq!(events.wait(SOON).expect("wait"), LinkEvent::Changed);
    });
}
