//! What follows from looks, without a kernel.

use std::sync::{Mutex, PoisonError};

use policy::{InterfaceIndex, Labels, Mac, ObjectKey, Phase, Seen, SeenAddress, SeenPort};

use super::*;

/// A view that the test changes.
#[derive(Clone, Default)]
struct View(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    latest: Option<Arc<Look>>,
    wanted: Vec<BTreeSet<IpAddr>>,
    problem: Option<String>,
}

impl View {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Each port has this address: by index.
    fn shows(&self, ports: &[u32]) {
        let port = |index: &u32| SeenPort {
            index: InterfaceIndex(*index),
            name: format!("veth{index}"),
            namespace: policy::NetworkNamespace(index.cast_signed()),
            bridge: None,
            is_uplink: false,
            mac: Mac([2, 0, 0, 0, 0, 1]),
            addresses: vec![SeenAddress { address: ip(), created: (*index).into() }],
            elsewhere: Vec::new(),
        };
        let seen = Seen { ports: ports.iter().map(port).collect(), ..Seen::default() };
        self.state().latest = Some(Arc::new(Look { seen, ..Look::default() }));
    }
}

impl NodeView for View {
    fn latest(&self) -> Option<Arc<Look>> {
        self.state().latest.clone()
    }

    fn want(&self, pods: Vec<BTreeSet<IpAddr>>) {
        self.state().wanted = pods;
    }

    fn problem(&self) -> Option<String> {
        self.state().problem.clone()
    }

    fn is_alive(&self) -> bool {
        true
    }
}

fn ip() -> IpAddr {
    IpAddr::from([10, 0, 0, 1])
}

fn pod() -> Arc<Pod> {
    Arc::new(Pod {
        key: ObjectKey::new("dev", "web"),
        labels: Labels::default(),
        node: None,
        addresses: vec![ip()],
        host_addresses: Vec::new(),
        host_network: false,
        phase: Phase::Running,
        created: 0,
        is_ending: false,
        grace_seconds: 0,
        attachment: policy::Attachment::default(),
        ports: Vec::new(),
    })
}

fn owners(interfaces: &NodeInterfaces) -> Vec<u32> {
    let network = interfaces.network().unwrap();
    network.ports.keys().map(|index| index.0).collect()
}

#[test]
fn a_pod_is_bound_whichever_comes_first_the_interface_or_the_object() {
    for interface_first in [true, false] {
        let view = View::default();
        let mut interfaces =
            NodeInterfaces::new(Given::default()).with_view(Box::new(view.clone()));
        assert_eq!(interfaces.look().unwrap_err(), "they were not looked at yet");
        assert!(interfaces.network().is_none());
        if interface_first {
            view.shows(&[7]);
            interfaces.look().unwrap();
            assert_eq!(owners(&interfaces), [0; 0]);
            interfaces.pods(vec![pod()]);
        } else {
            view.shows(&[]);
            interfaces.pods(vec![pod()]);
            interfaces.look().unwrap();
            assert_eq!(interfaces.findings().len(), 1, "{:?}", interfaces.findings());
            view.shows(&[7]);
        }
        interfaces.look().unwrap();
        assert_eq!(owners(&interfaces), [7]);
        assert_eq!(view.state().wanted, [BTreeSet::from([ip()])]);
        interfaces.pods(Vec::new());
        interfaces.look().unwrap();
        assert_eq!(owners(&interfaces), [0; 0], "the pod is gone");
    }
}

/// As after a restart of the agent: the earlier one knew who had the address.
#[test]
fn who_had_an_address_before_keeps_it() {
    let view = View::default();
    view.shows(&[7, 9]);
    let mut interfaces = NodeInterfaces::new(Given::default()).with_view(Box::new(view));
    let claim = policy::Claim { addresses: [ip()].into(), ..policy::Claim::default() };
    interfaces.remember(Claims([(InterfaceIndex(9), claim)].into()), OrdSet::new());
    interfaces.pods(vec![pod()]);
    interfaces.look().unwrap();
    assert_eq!(owners(&interfaces), [9]);
}

#[test]
fn while_the_interfaces_cannot_be_listed_what_was_seen_stays() {
    let view = View::default();
    view.shows(&[7]);
    let mut interfaces = NodeInterfaces::new(Given::default()).with_view(Box::new(view.clone()));
    interfaces.pods(vec![pod()]);
    interfaces.look().unwrap();
    view.state().problem = Some("no netlink".to_owned());
    assert_eq!(interfaces.look().unwrap_err(), "no netlink");
    assert_eq!(owners(&interfaces), [7]);
}
