//! How long an interface counts.

use super::*;
use crate::{Mac, SeenPort};

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn attachment(container: &str) -> AttachmentKey {
    AttachmentKey { container: container.to_owned(), interface: "eth0".to_owned() }
}

fn said(name: &str, address: &str, interfaces: &[(u32, &str)]) -> Announcement {
    let interface = |&(index, name): &(u32, &str)| HostInterface {
        index: InterfaceIndex(index),
        name: name.to_owned(),
    };
    Announcement {
        pod: ObjectKey::new("shop", name),
        uid: PodUid(0),
        addresses: [ip(address)].into(),
        interfaces: interfaces.iter().map(interface).collect(),
    }
}

fn port(index: u32, name: &str, namespace: i32) -> SeenPort {
    SeenPort {
        index: InterfaceIndex(index),
        name: name.to_owned(),
        namespace: NetworkNamespace(namespace),
        bridge: None,
        is_uplink: false,
        mac: Mac::NONE,
        addresses: Vec::new(),
        elsewhere: Vec::new(),
    }
}

fn seen(ports: &[SeenPort]) -> Seen {
    Seen { ports: ports.to_vec(), ..Seen::default() }
}

/// `4: web 10.0.0.5`
fn there(placements: &Placements) -> Vec<String> {
    let line = |(index, place): (InterfaceIndex, &Placement)| {
        let addresses: Vec<String> = place.addresses.iter().map(ToString::to_string).collect();
        format!("{}: {} {}", index.0, place.pod.name, addresses.join(","))
    };
    placements.there().map(line).collect()
}

#[test]
fn the_interface_counts_from_the_look_that_shows_it_until_one_that_does_not() {
    let mut places = Places::default();
    // A bridge leads nowhere, so only the other one counts.
    places.announce(&attachment("c1"), &said("web", "10.0.0.5", &[(3, "cni0"), (4, "veth4")]));
    let mut placements = Placements::default();
    placements.set(places.all());
    assert_eq!(there(&placements), [""; 0], "no look yet");
    placements.look(&seen(&[]));
    assert_eq!(there(&placements), [""; 0], "a look of before");
    placements.look(&seen(&[port(4, "veth4", 7)]));
    assert_eq!(there(&placements), ["4: web 10.0.0.5"]);
    placements.set(places.all());
    assert_eq!(there(&placements), ["4: web 10.0.0.5"], "another one was announced, say");
    placements.look(&seen(&[]));
    assert_eq!(there(&placements), [""; 0]);
    placements.look(&seen(&[port(4, "veth4", 7)]));
    assert_eq!(there(&placements), [""; 0], "it was gone: this is another one");
}

#[test]
fn another_interface_with_its_number_or_name_is_not_it() {
    for (other, why) in [
        (port(4, "veth9", 7), "its number"),
        (port(9, "veth4", 7), "its name"),
        (port(4, "veth4", 8), "both, and it leads elsewhere"),
    ] {
        let mut places = Places::default();
        places.announce(&attachment("c1"), &said("web", "10.0.0.5", &[(4, "veth4")]));
        let mut placements = Placements::default();
        placements.set(places.all());
        placements.look(&seen(&[port(4, "veth4", 7)]));
        placements.look(&seen(&[other]));
        assert_eq!(there(&placements), [""; 0], "{why}");
    }
}

#[test]
fn of_two_that_lead_to_pods_none_is_believed() {
    let mut places = Places::default();
    places.announce(&attachment("c1"), &said("web", "10.0.0.5", &[(4, "a"), (5, "b")]));
    let mut placements = Placements::default();
    placements.set(places.all());
    placements.look(&seen(&[port(4, "a", 7), port(5, "b", 8)]));
    assert_eq!(there(&placements), [""; 0]);
}

#[test]
fn it_ends_with_the_attachment_with_gc_and_with_its_address() {
    let begin = || {
        let mut places = Places::default();
        places.announce(&attachment("c1"), &said("web", "10.0.0.5", &[(4, "veth4")]));
        places.announce(&attachment("c2"), &said("db", "10.0.0.6", &[(5, "veth5")]));
        places
    };
    let names = |places: &Places| -> Vec<String> {
        places.all().into_iter().map(|place| place.pod.name).collect()
    };
    let mut places = begin();
    assert!(places.withdraw(&attachment("c1")) && !places.withdraw(&attachment("c1")));
    assert_eq!(names(&places), ["db"]);
    let mut places = begin();
    assert!(places.keep_only(&[attachment("c1")].into()));
    assert_eq!(names(&places), ["web"]);
    let mut places = begin();
    places.announce(&attachment("c3"), &said("new", "10.0.0.5", &[(6, "veth6")]));
    assert_eq!(names(&places), ["db", "new"], "DEL of the first was lost");
    let mut places = begin();
    places.announce(&attachment("c4"), &said("web", "10.0.0.7", &[]));
    assert_eq!(names(&places), ["db"], "the sandbox was made again, and nothing is known of it");
}

#[test]
fn without_an_object_it_is_forgotten_in_the_end() {
    let mut places = Places::default();
    places.announce(&attachment("c1"), &said("web", "10.0.0.5", &[(4, "veth4")]));
    places.look(&OrdMap::new(), Duration::ZERO);
    places.look(&OrdMap::new(), UNKNOWN_KEPT_FOR / 2);
    assert_eq!(places.all().len(), 1);
    places.look(&OrdMap::new(), UNKNOWN_KEPT_FOR);
    assert!(places.all().is_empty() && places.missing.len() <= 1);
}
