//! Warnings about port names, and their cost.

use std::net::Ipv4Addr;
use std::sync::Arc;

use policy::{Labels, NamedPort, Peers, Phase, Port, Requirement, Rule, Selector};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::work::looks;
use crate::{Engine, Options};

fn pod(number: u8, port: &str) -> Pod {
    Pod {
        key: ObjectKey::new("dev", format!("p{number}")),
        labels: Labels::new(),
        node: None,
        addresses: vec![Ipv4Addr::new(10, 0, 0, number).into()],
        host_addresses: Vec::new(),
        host_network: false,
        phase: Phase::Running,
        created: 0,
        is_ending: false,
        grace_seconds: 0,
        attachment: policy::Attachment::default(),
        ports: vec![NamedPort { name: port.to_owned(), protocol: Protocol::Tcp, port: 80 }],
    }
}

fn policy(name: &str, port: &str) -> NetworkPolicy {
    let numbers = PortNumbers::Named(port.to_owned());
    let ports = Ports::Only(vec![Port { protocol: Protocol::Tcp, numbers }]);
    NetworkPolicy {
        key: ObjectKey::new("dev", name),
        uid: String::new(),
        audit: Default::default(),
        pod_selector: Selector::everything(),
        ingress: Some(vec![Rule { peers: Peers::Anyone, ports }]),
        egress: None,
    }
}

/// Each of the three pods has its own chain. Two of them lack the name.
#[test]
fn a_port_name_that_no_selected_pod_has_is_said_once() {
    let policies = [policy("one", "http"), policy("two", "htpp"), policy("three", "dns")];
    let pods = [pod(1, "http"), pod(2, "dns"), pod(3, "other")];
    let mut engine = Engine::new(Options::default());
    let compiled =
        engine.update(&Snapshot::new(policies, pods, []), &policy::NodeNetwork::default());
    let said: Vec<String> = compiled.diagnostics.iter().map(ToString::to_string).collect();
    assert_eq!(
        said,
        ["warning: NetworkPolicy dev/two: spec.ingress[0].ports: no pod that the policy \
          selects has a port named htpp/TCP: it allows nothing"]
    );
}

/// Pods with one common label and one label each of their own. Half have `http`.
fn crowd(count: u32) -> impl Iterator<Item = Pod> {
    (0..count).map(|number| {
        let mut one = pod(0, if number % 2 == 0 { "http" } else { "dns" });
        one.key.name = format!("p{number}");
        one.labels = [("app", "web".to_owned()), ("own", number.to_string())]
            .map(|(key, value)| (key.to_owned(), value))
            .into();
        one.addresses = vec![Ipv4Addr::from_bits(0x0a00_0000 + number).into()];
        one.node = Some(if number == 0 { "here" } else { "there" }.to_owned());
        one
    })
}

/// The cost when a pod changes its port, moves, disappears and comes back: a pod of
/// another node, and the pod of this node.
fn cost(pods: u32) -> Vec<usize> {
    let policies = (0..50).map(|number| {
        let name = ["http", "htpp", "other"][number % 3];
        let selector = Selector::new([Requirement::equals("app", "web")]);
        NetworkPolicy { pod_selector: selector, ..policy(&format!("q{number}"), name) }
    });
    let mut snapshot = Snapshot::new(policies, crowd(pods), []);
    let mut engine = Engine::new(Options { node: Some("here".to_owned()), ..Options::default() });
    engine.update(&snapshot, &policy::NodeNetwork::default());
    let mut costs = Vec::new();
    for name in ["p1", "p0"] {
        let key = ObjectKey::new("dev", name);
        let first = snapshot.pods[&key].clone();
        let changed = |change: fn(&mut Pod)| {
            let mut pod = (*first).clone();
            change(&mut pod);
            Some(Arc::new(pod))
        };
        let steps = [
            changed(|pod| pod.ports[0].name = "other".to_owned()),
            changed(|pod| pod.addresses = vec![Ipv4Addr::new(10, 9, 9, 9).into()]),
            None,
            Some(Arc::clone(&first)),
        ];
        for step in steps {
            match step {
                Some(pod) => drop(snapshot.pods.insert(key.clone(), pod)),
                None => drop(snapshot.pods.remove(&key)),
            }
            costs.push(looks(|| {
                engine.update(&snapshot, &policy::NodeNetwork::default());
            }));
        }
    }
    costs
}

/// With twenty times the pods, only the depth of an ordered set grows.
#[test]
fn an_event_does_not_cost_the_pods_of_its_namespace() {
    for (index, (small, large)) in cost(100).into_iter().zip(cost(2_000)).enumerate() {
        assert!(small >= 50, "step {index}: only {small} looks were counted");
        assert!(large <= small * 3 / 2, "step {index}: {small} looks, then {large}");
    }
}

/// Sets or deletes a pod or a policy, by number. A pod has a label, perhaps a port,
/// and may have ended.
#[derive(Clone, Debug)]
enum Step {
    Pod(u8, Option<(&'static str, Option<&'static str>, Phase)>),
    Policy(u8, Option<(Option<&'static str>, &'static str)>),
}

fn step() -> impl Strategy<Value = Step> {
    let label = || select(vec!["a", "b"]);
    let port = || select(vec!["http", "dns"]);
    let phase = select(vec![Phase::Running, Phase::Running, Phase::Succeeded]);
    let pod = option::weighted(0.8, (label(), option::of(port()), phase));
    let policy = option::weighted(0.8, (option::of(label()), port()));
    prop_oneof![
        3 => (0u8..4, pod).prop_map(|(number, pod)| Step::Pod(number, pod)),
        1 => (0u8..3, policy).prop_map(|(number, policy)| Step::Policy(number, policy)),
    ]
}

impl Step {
    fn apply(&self, snapshot: &mut Snapshot) {
        match self {
            Self::Pod(number, None) => {
                snapshot.pods.remove(&pod(*number, "").key);
            }
            Self::Pod(number, Some((label, port, phase))) => {
                let mut changed = pod(*number, port.unwrap_or_default());
                changed.ports.truncate(usize::from(port.is_some()));
                changed.labels = [("app".to_owned(), (*label).to_owned())].into();
                changed.phase = *phase;
                snapshot.pods.insert(changed.key.clone(), Arc::new(changed));
            }
            Self::Policy(number, None) => {
                snapshot.policies.remove(&ObjectKey::new("dev", format!("q{number}")));
            }
            Self::Policy(number, Some((label, port))) => {
                let mut changed = policy(&format!("q{number}"), port);
                let requirement = label.map(|label| Requirement::equals("app", label));
                changed.pod_selector = Selector::new(requirement);
                snapshot.policies.insert(changed.key.clone(), Arc::new(changed));
            }
        }
    }
}

proptest! {
    #[test]
    fn counts_that_are_kept_are_those_that_are_made_anew(steps in vec(step(), 1..30)) {
        let mut snapshot = Snapshot::default();
        let mut engine = Engine::new(Options::default());
        for step in steps {
            step.apply(&mut snapshot);
            let kept = engine.update(&snapshot, &policy::NodeNetwork::default()).diagnostics.clone();
            let anew = Engine::new(Options::default()).update(&snapshot, &policy::NodeNetwork::default()).diagnostics.clone();
            prop_assert_eq!(kept, anew, "{:?}", step);
        }
    }
}
