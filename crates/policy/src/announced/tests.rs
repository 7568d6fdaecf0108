//! From ADD to the object's own word, and what can go wrong between.

use crate::{BoundPort, InterfaceIndex, Labels, Mac, Phase};

use super::*;

const NODE: &str = "node-1";

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn key(name: &str) -> ObjectKey {
    ObjectKey::new("shop", name)
}

fn pod(name: &str, addresses: &[&str]) -> Pod {
    Pod {
        key: key(name),
        labels: Labels::new(),
        node: Some(NODE.to_owned()),
        addresses: addresses.iter().map(|text| ip(text)).collect(),
        host_addresses: Vec::new(),
        host_network: false,
        phase: Phase::Pending,
        created: 0,
        is_ending: false,
        grace_seconds: 0,
        attachment: crate::Attachment::default(),
        ports: Vec::new(),
    }
}

fn objects(pods: &[Pod]) -> OrdMap<ObjectKey, Arc<Pod>> {
    pods.iter().map(|pod| (pod.key.clone(), Arc::new(pod.clone()))).collect()
}

fn attachment(container: &str) -> AttachmentKey {
    AttachmentKey { container: container.to_owned(), interface: "eth0".to_owned() }
}

fn said(name: &str, uid: u128, address: &str) -> Announcement {
    let (pod, uid, addresses) = (key(name), PodUid(uid), [ip(address)].into());
    Announcement { pod, uid, addresses, interfaces: Vec::new() }
}

/// One of a StatefulSet's, which all have the same name.
fn born(uid: u128, addresses: &[&str]) -> Pod {
    let attachment = crate::Attachment { uid: PodUid(uid), ..crate::Attachment::default() };
    Pod { attachment, ..pod("db-0", addresses) }
}

fn announced(pods: &[Pod], all: &[(&str, &str, &str)]) -> Announcements {
    let mut announcements = Announcements::of(NODE);
    announcements.follow(&objects(pods));
    for (container, name, address) in all {
        announcements.announce(attachment(container), said(name, 0, address));
    }
    announcements
}

/// Who has what: `name=address ...`, and what is shut: `!address`.
fn state(announcements: &Announcements) -> String {
    let mut pods = announcements.objects.clone();
    announcements.apply(&mut pods);
    let of = |pod: &Arc<Pod>| {
        let addresses: Vec<String> = pod.addresses.iter().map(ToString::to_string).collect();
        format!("{}={}", pod.key.name, addresses.join(","))
    };
    let shut = announcements.shut();
    let shut = shut.iter().map(|(address, _)| format!("!{address}"));
    pods.values().map(of).chain(shut).collect::<Vec<_>>().join(" ")
}

#[test]
fn the_plugin_speaks_until_the_object_does() {
    let mut one = announced(&[pod("web", &[])], &[("c1", "web", "10.0.0.5")]);
    assert_eq!(state(&one), "web=10.0.0.5");
    one.follow(&objects(&[pod("web", &["10.0.0.5"])]));
    assert_eq!((state(&one).as_str(), one.all.len()), ("web=10.0.0.5", 0), "superseded");
    one.follow(&objects(&[pod("web", &["10.0.0.6"])]));
    assert_eq!(state(&one), "web=10.0.0.6", "the object alone");
}

#[test]
fn a_pod_that_nobody_knows_yet_is_shut() {
    let mut one = announced(&[], &[("c1", "web", "10.0.0.5")]);
    assert_eq!(state(&one), "!10.0.0.5");
    one.follow(&objects(&[Pod { node: Some("node-2".to_owned()), ..pod("web", &[]) }]));
    assert_eq!(state(&one), "web= !10.0.0.5", "an object of another node, of before");
    one.follow(&objects(&[Pod { phase: Phase::Failed, ..pod("web", &["10.0.0.9"]) }]));
    assert_eq!(state(&one), "web=10.0.0.9 !10.0.0.5", "one that ended");
    one.follow(&objects(&[pod("web", &[])]));
    assert_eq!(state(&one), "web=10.0.0.5");
}

/// After a start of the node, objects report the addresses of before.
#[test]
fn what_objects_say_of_before_does_not_count() {
    let stale = [pod("web", &["10.0.0.5"]), pod("db", &["10.0.0.6"])];
    let mut both = announced(&stale, &[("c1", "web", "10.0.0.6"), ("c2", "db", "10.0.0.5")]);
    assert_eq!(state(&both), "db=10.0.0.5 web=10.0.0.6", "they changed places");
    both.follow(&objects(&[pod("web", &["10.0.0.6"]), pod("db", &["10.0.0.6"])]));
    assert_eq!(state(&both), "db=10.0.0.5 web=10.0.0.6", "one has reported");
    both.follow(&objects(&[pod("web", &["10.0.0.6"]), pod("db", &["10.0.0.5"])]));
    assert_eq!((state(&both).as_str(), both.all.len()), ("db=10.0.0.5 web=10.0.0.6", 0));
}

#[test]
fn an_address_is_one_pods_and_an_interface_has_one_sandbox() {
    let pods = [pod("web", &[]), pod("db", &[])];
    let one = announced(&pods, &[("c1", "web", "10.0.0.5"), ("c2", "db", "10.0.0.5")]);
    assert_eq!(state(&one), "db=10.0.0.5 web=", "DEL of the first was lost");
    let again = announced(&pods, &[("c1", "web", "10.0.0.5"), ("c2", "web", "10.0.0.7")]);
    assert_eq!(state(&again), "db= web=10.0.0.7", "the sandbox was made again");
}

#[test]
fn it_ends_with_del_with_gc_and_with_the_interface() {
    let pods = [pod("web", &[]), pod("db", &[])];
    let all = [("c1", "web", "10.0.0.5"), ("c2", "db", "10.0.0.6")];
    let mut one = announced(&pods, &all);
    assert!(one.withdraw(&attachment("c1")) && !one.withdraw(&attachment("c1")));
    assert_eq!(state(&one), "db=10.0.0.6 web=");
    let mut one = announced(&pods, &all);
    assert!(one.keep_only(&[attachment("c1")].into()));
    assert_eq!(state(&one), "db= web=10.0.0.5");

    let mut one = announced(&pods[..1], &all);
    let port = BoundPort {
        pod: key("web"),
        bridge: None,
        mac: Mac::NONE,
        addresses: [ip("10.0.0.5"), ip("10.0.0.6")].into(),
    };
    let bound =
        NodeNetwork { ports: OrdMap::unit(InterfaceIndex(4), port), ..NodeNetwork::default() };
    let hours = |hours: u64| Duration::from_secs(hours * 3600);
    assert!(!one.look(Some(&bound), hours(0)) && !one.look(None, hours(9)));
    assert_eq!(state(&one), "web=10.0.0.5 !10.0.0.6", "their interfaces live");
    assert!(one.look(Some(&NodeNetwork::default()), hours(10)));
    assert_eq!(state(&one), "web=", "DEL was lost, and the interface is gone");

    let mut one = announced(&pods[..1], &all);
    assert!(!one.look(None, hours(0)));
    assert!(one.look(None, hours(1)), "nobody knows the pod, and nothing binds it");
    assert_eq!(state(&one), "web=10.0.0.5");
}

/// A StatefulSet's pod is made again under its name before the watch tells of it: the labels
/// of the former one say nothing of it.
#[test]
fn a_pod_of_the_same_name_is_not_the_one_of_before() {
    let mut one = Announcements::of(NODE);
    one.follow(&objects(&[born(1, &["10.0.0.5"])]));
    one.announce(attachment("c2"), said("db-0", 2, "10.0.0.6"));
    assert_eq!(state(&one), "db-0=10.0.0.5 !10.0.0.6", "the object is the former pod's");
    one.follow(&objects(&[]));
    assert_eq!(state(&one), "!10.0.0.6");
    one.follow(&objects(&[born(2, &[])]));
    assert_eq!(state(&one), "db-0=10.0.0.6");
    one.follow(&objects(&[born(2, &["10.0.0.6"])]));
    assert_eq!((state(&one).as_str(), one.all.len()), ("db-0=10.0.0.6", 0));
}

/// Where addresses are sticky, the new pod has the address that the former object reports.
#[test]
fn the_former_object_does_not_speak_for_an_address_that_was_given_again() {
    let mut one = Announcements::of(NODE);
    one.follow(&objects(&[born(1, &["10.0.0.5"])]));
    one.announce(attachment("c2"), said("db-0", 2, "10.0.0.5"));
    assert_eq!(state(&one), "db-0= !10.0.0.5");
    one.follow(&objects(&[born(1, &["10.0.0.5", "fd00::5"])]));
    assert_eq!(state(&one), "db-0=fd00::5 !10.0.0.5", "its last words");
    one.follow(&objects(&[born(2, &[])]));
    assert_eq!(state(&one), "db-0=10.0.0.5");
}

#[test]
fn where_no_uid_is_told_or_the_uid_is_a_mirrors_the_name_decides() {
    let mirror = crate::Attachment { is_mirror: true, ..born(1, &[]).attachment };
    for (told, object) in
        [(0, born(1, &[])), (2, born(0, &[])), (2, Pod { attachment: mirror, ..born(1, &[]) })]
    {
        let mut one = Announcements::of(NODE);
        one.follow(&objects(&[object]));
        one.announce(attachment("c2"), said("db-0", told, "10.0.0.6"));
        assert_eq!(state(&one), "db-0=10.0.0.6");
    }
}
