//! What is kept, and until when.

use super::*;
use crate::{Labels, Mac, Phase};

const SECOND: Duration = Duration::from_secs(1);

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn pod(name: &str, node: &str, address: &str) -> Pod {
    Pod {
        key: ObjectKey::new("dev", name),
        labels: Labels::new(),
        node: Some(node.to_owned()),
        addresses: address.split_whitespace().map(ip).collect(),
        host_addresses: Vec::new(),
        host_network: false,
        phase: Phase::Running,
        created: 0,
        is_ending: false,
        grace_seconds: 30,
        attachment: crate::Attachment::default(),
        ports: Vec::new(),
    }
}

/// Interfaces, each with its addresses.
fn network(addresses: &[&str]) -> NodeNetwork {
    let port = |(index, addresses): (u32, &&str)| {
        let port = BoundPort {
            pod: ObjectKey::new("dev", "any"),
            bridge: None,
            mac: Mac::NONE,
            addresses: addresses.split_whitespace().map(ip).collect(),
        };
        (InterfaceIndex(index), port)
    };
    NodeNetwork { ports: (1..).zip(addresses).map(port).collect(), ..NodeNetwork::default() }
}

/// A keeper of node `a`, and the objects that it knows.
struct Bench {
    keeper: Keeper,
    objects: Snapshot,
    network: NodeNetwork,
    now: Duration,
}

impl Bench {
    fn with(pods: impl IntoIterator<Item = Pod>) -> Self {
        let network = NodeNetwork::default();
        let (keeper, objects) = (Keeper::of("a"), Snapshot::default());
        let mut bench = Self { keeper, objects, network, now: Duration::ZERO };
        bench.change(|objects| *objects = Snapshot::new([], pods, []));
        bench
    }

    fn change(&mut self, change: impl FnOnce(&mut Snapshot)) {
        let before = self.objects.clone();
        change(&mut self.objects);
        self.keeper.follow(&before, &self.objects);
    }

    fn set(&mut self, pod: Pod) {
        self.change(|objects| drop(objects.pods.insert(pod.key.clone(), Arc::new(pod))));
    }

    fn delete(&mut self, name: &str) {
        self.change(|objects| drop(objects.pods.remove(&ObjectKey::new("dev", name))));
    }

    /// The node's interfaces, each with its address.
    fn bind(&mut self, addresses: &[&str]) {
        self.network = network(addresses);
        self.look();
    }

    fn look(&mut self) {
        self.keeper.look(Some(&self.network), self.now);
    }

    fn after(&mut self, time: Duration) {
        self.now += time;
        self.look();
    }

    fn kept(&self) -> Vec<String> {
        self.keeper.kept().keys().map(ToString::to_string).collect()
    }
}

#[test]
fn a_pod_deleted_by_force_is_kept_until_its_interface_is_gone() {
    let mut bench = Bench::with([pod("v", "a", "10.0.0.1 fd00::1")]);
    bench.bind(&["10.0.0.1", "fd00::1"]);
    let v = Arc::clone(&bench.objects.pods[&ObjectKey::new("dev", "v")]);
    bench.delete("v");
    assert_eq!(bench.kept(), ["10.0.0.1", "fd00::1"]);
    assert!(bench.keeper.kept().values().all(|kept| kept.why == KeptFor::Running));
    let [bound] = &bench.keeper.pods()[..] else { panic!("one pod to bind") };
    assert!(Arc::ptr_eq(bound, &v), "it is the last object");
    bench.after(100 * UNKNOWN_KEPT_FOR);
    assert_eq!(bench.kept(), ["10.0.0.1", "fd00::1"], "no time ends what lives");
    bench.bind(&["fd00::1"]);
    assert_eq!(bench.kept(), ["fd00::1"]);
    assert_eq!(bench.keeper.pods()[0].addresses, [ip("fd00::1")]);
    bench.bind(&[]);
    assert_eq!(bench.kept(), [""; 0]);
}

#[test]
fn a_pod_whose_interface_went_before_its_object_is_not_kept() {
    let mut bench = Bench::with([pod("v", "a", "10.0.0.1")]);
    bench.bind(&["10.0.0.1"]);
    bench.bind(&[]);
    bench.delete("v");
    assert_eq!(bench.kept(), [""; 0]);
}

#[test]
fn without_a_look_nothing_is_known_to_be_gone() {
    let mut bench = Bench::with([pod("v", "a", "10.0.0.1")]);
    bench.delete("v");
    bench.keeper.look(None, bench.now);
    bench.keeper.look(None, bench.now + 60 * SECOND);
    assert_eq!(bench.kept(), ["10.0.0.1"]);
}

#[test]
fn where_no_interface_is_known_time_ends_it_and_so_does_a_younger_pod_of_any_node() {
    let long = Pod { grace_seconds: 3600, ..pod("long", "a", "10.0.0.2") };
    let taken = pod("taken", "a", "10.0.0.3");
    let mut bench = Bench::with([pod("v", "a", "10.0.0.1"), long, taken]);
    bench.look();
    for name in ["v", "long", "taken"] {
        bench.delete(name);
    }
    bench.look();
    bench.set(pod("elder", "b", "10.0.0.3"));
    assert_eq!(bench.kept(), ["10.0.0.1", "10.0.0.2", "10.0.0.3"]);
    bench.set(Pod { created: 1, ..pod("younger", "b", "10.0.0.3") });
    assert_eq!(bench.kept(), ["10.0.0.1", "10.0.0.2"]);
    bench.after(30 * SECOND + UNKNOWN_KEPT_FOR - SECOND);
    assert_eq!(bench.kept(), ["10.0.0.1", "10.0.0.2"]);
    bench.after(SECOND);
    assert_eq!(bench.kept(), ["10.0.0.2"]);
    bench.after(3570 * SECOND);
    assert_eq!(bench.kept(), [""; 0]);
}

#[test]
fn no_pod_of_another_node_takes_an_address_from_an_interface_that_lives() {
    let mut bench = Bench::with([pod("v", "a", "10.0.0.1")]);
    bench.bind(&["10.0.0.1"]);
    bench.delete("v");
    bench.set(Pod { created: 9, ..pod("liar", "b", "10.0.0.1") });
    let nowhere = Pod { node: None, created: 9, ..pod("nowhere", "", "10.0.0.1") };
    bench.set(nowhere);
    bench.set(Pod { host_network: true, ..pod("host", "a", "10.0.0.1") });
    bench.set(Pod { phase: Phase::Failed, ..pod("failed", "a", "10.0.0.1") });
    assert_eq!(bench.kept(), ["10.0.0.1"]);
    bench.set(pod("heir", "a", "10.0.0.1"));
    assert_eq!(bench.kept(), [""; 0], "a pod of this node has it");
}

#[test]
fn an_address_that_goes_from_a_living_pod_is_kept() {
    let gone = |pod: Pod| Pod { addresses: Vec::new(), ..pod };
    let failed = |pod: Pod| Pod { phase: Phase::Failed, ..pod };
    let elsewhere = |pod: Pod| Pod { node: Some("b".to_owned()), ..pod };
    let nowhere = |pod: Pod| Pod { node: None, ..pod };
    let changes: [fn(Pod) -> Pod; 4] = [gone, failed, elsewhere, nowhere];
    for change in changes {
        let v = || pod("v", "a", "10.0.0.1");
        let mut bench = Bench::with([v()]);
        bench.bind(&["10.0.0.1"]);
        bench.set(change(v()));
        assert_eq!(bench.kept(), ["10.0.0.1"]);
        let [kept] = &bench.keeper.pods()[..] else { panic!("one pod to bind") };
        assert_eq!(**kept, v(), "as it was while it counted");
        bench.set(v());
        assert_eq!(bench.kept(), [""; 0], "it counts again");
    }
}

#[test]
fn a_pod_of_another_node_or_of_the_nodes_network_is_never_kept() {
    let host = Pod { host_network: true, ..pod("host", "a", "192.0.2.1") };
    let ended = Pod { phase: Phase::Succeeded, ..pod("ended", "a", "10.0.0.3") };
    let mut bench = Bench::with([pod("far", "b", "10.0.0.2"), host, ended]);
    bench.change(|objects| objects.pods.clear());
    assert_eq!(bench.kept(), [""; 0]);
}

/// The deletion is not told, because the watch broke. The next list lacks the pod.
#[test]
fn a_pod_that_a_list_lacks_is_kept_too() {
    let mut bench = Bench::with([pod("v", "a", "10.0.0.1"), pod("w", "a", "10.0.0.2")]);
    bench.bind(&["10.0.0.1", "10.0.0.2"]);
    bench.change(|objects| *objects = Snapshot::new([], [pod("w", "a", "10.0.0.2")], []));
    assert_eq!(bench.kept(), ["10.0.0.1"]);
}

/// A StatefulSet makes the same name again, and the old containers run on.
#[test]
fn the_next_pod_of_the_same_name_has_another_address() {
    let mut bench = Bench::with([pod("db-0", "a", "10.0.0.1")]);
    bench.bind(&["10.0.0.1"]);
    bench.set(Pod { created: 1, ..pod("db-0", "a", "10.0.0.2") });
    assert_eq!(bench.kept(), ["10.0.0.1"]);
    assert_eq!(bench.keeper.pods()[0].created, 0);
}

#[test]
fn of_two_pods_that_shared_an_address_the_one_that_was_not_ending_is_kept() {
    let ending = Pod { is_ending: true, created: 9, ..pod("ending", "a", "10.0.0.1") };
    let mut bench = Bench::with([pod("v", "a", "10.0.0.1"), ending]);
    bench.delete("ending");
    assert_eq!(bench.kept(), [""; 0], "the other one still reports it");
    let ending = Pod { is_ending: true, created: 9, ..pod("ending", "a", "10.0.0.1") };
    bench.set(ending);
    bench.change(|objects| objects.pods.clear());
    assert_eq!(bench.keeper.pods()[0].key.name, "v");
}

#[test]
fn what_the_kernel_isolated_at_start_stays_shut() {
    let isolated = BTreeSet::from([ip("10.0.0.1"), ip("10.0.0.2"), ip("10.0.0.3"), ip("10.0.0.4")]);
    let mut bench = Bench::with([pod("v", "a", "10.0.0.1")]);
    let bound = network(&["10.0.0.1", "10.0.0.2", "10.0.0.4"]);
    assert!(bench.keeper.begin(&isolated, &bound));
    assert_eq!(bench.kept(), ["10.0.0.2", "10.0.0.3", "10.0.0.4"], "v is named");
    assert!(bench.keeper.kept().values().all(|kept| kept.is_shut()));
    assert_eq!(bench.keeper.pods().len(), 3);
    bench.bind(&["10.0.0.1", "10.0.0.2"]);
    assert_eq!(bench.kept(), ["10.0.0.2", "10.0.0.3"], "the interface of the last is gone");
    bench.after(UNKNOWN_KEPT_FOR);
    assert_eq!(bench.kept(), ["10.0.0.2"], "that of the middle one never was known");
    bench.set(pod("late", "a", "10.0.0.2"));
    assert_eq!(bench.kept(), [""; 0], "its object came late");
}

#[test]
fn what_was_kept_of_an_unreadable_pod_ends_when_it_is_read_as_no_pod_of_ours() {
    let mut bench = Bench::with([]);
    let keys = ["host", "far", "ours", "bound"];
    for (index, name) in keys.into_iter().enumerate() {
        let address = ip(&format!("10.0.0.{}", index + 1));
        let stand_in = Kept::stand_in(ObjectKey::new("dev", name), vec![address]);
        assert!(bench.keeper.unreadable(&Arc::new(stand_in)));
    }
    bench.bind(&["10.0.0.4"]);
    let host = Pod { host_network: true, ..pod("host", "a", "10.0.0.1") };
    assert!(bench.keeper.readable(&host));
    assert!(!bench.keeper.readable(&host), "once");
    assert!(bench.keeper.readable(&pod("far", "b", "10.0.0.2")));
    assert!(!bench.keeper.readable(&pod("ours", "a", "10.0.0.9")), "it may still have it");
    assert!(!bench.keeper.readable(&pod("bound", "b", "10.0.0.4")), "somebody has it here");
    assert_eq!(bench.kept(), ["10.0.0.3", "10.0.0.4"]);
}

/// So the binding finds one pod behind it, and both addresses stay bound.
#[test]
fn addresses_of_one_interface_are_one_pods_after_a_restart() {
    let mut bench = Bench::with([]);
    let isolated = BTreeSet::from([ip("10.0.0.1"), ip("fd00::1")]);
    bench.keeper.begin(&isolated, &network(&["10.0.0.1 fd00::1"]));
    let [pod] = &bench.keeper.pods()[..] else { panic!("one pod to bind") };
    assert_eq!(pod.addresses, [ip("10.0.0.1"), ip("fd00::1")]);
    assert_eq!(bench.kept(), ["10.0.0.1", "fd00::1"]);
}

mod policies;
