//! Warnings about port names, and what they cost.

use std::net::Ipv4Addr;
use std::sync::Arc;

use policy::{Labels, NamedPort, Peers, Phase, Port, Requirement, Rule, Selector};

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
        ports: vec![NamedPort { name: port.to_owned(), protocol: Protocol::Tcp, port: 80 }],
    }
}

fn policy(name: &str, port: &str) -> NetworkPolicy {
    let numbers = PortNumbers::Named(port.to_owned());
    let ports = Ports::Only(vec![Port { protocol: Protocol::Tcp, numbers }]);
    NetworkPolicy {
        key: ObjectKey::new("dev", name),
        uid: String::new(),
        pod_selector: Selector::everything(),
        ingress: Some(vec![Rule { peers: Peers::Anyone, ports }]),
        egress: None,
    }
}

/// The three pods have chains of their own, and two have not the name.
#[test]
fn a_port_name_that_no_selected_pod_has_is_said_once() {
    let policies = [policy("one", "http"), policy("two", "htpp"), policy("three", "dns")];
    let pods = [pod(1, "http"), pod(2, "dns"), pod(3, "other")];
    let mut engine = Engine::new(Options::default());
    let compiled = engine.update(&Snapshot::new(policies, pods, []));
    let said: Vec<String> = compiled.diagnostics.iter().map(ToString::to_string).collect();
    assert_eq!(
        said,
        ["warning: NetworkPolicy dev/two: spec.ingress[0].ports: no pod that the policy \
          selects has a port named htpp/TCP: it allows nothing"]
    );
}

/// Pods that all have one label and each one of its own; half have `http`.
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

/// What is looked at when a pod changes its port, moves, goes and comes back:
/// a pod of another node, and the one of this node.
fn cost(pods: u32) -> Vec<usize> {
    let policies = (0..50).map(|number| {
        let name = ["http", "htpp", "other"][number % 3];
        let selector = Selector::new([Requirement::equals("app", "web")]);
        NetworkPolicy { pod_selector: selector, ..policy(&format!("q{number}"), name) }
    });
    let mut snapshot = Snapshot::new(policies, crowd(pods), []);
    let mut engine = Engine::new(Options { node: Some("here".to_owned()), ..Options::default() });
    engine.update(&snapshot);
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
                engine.update(&snapshot);
            }));
        }
    }
    costs
}

/// Twenty times the pods; what grows is the depth of an ordered set.
#[test]
fn an_event_does_not_cost_the_pods_of_its_namespace() {
    for (index, (small, large)) in cost(100).into_iter().zip(cost(2_000)).enumerate() {
        assert!(small >= 50, "step {index}: nothing was counted but {small} looks");
        assert!(large <= small * 3 / 2, "step {index}: {small} looks, then {large}");
    }
}

/// Each step against a policy that is counted anew.
#[test]
fn counts_that_are_kept_are_those_that_are_made_anew() {
    let mut snapshot = Snapshot::new([policy("one", "http"), policy("two", "dns")], crowd(4), []);
    let mut engine = Engine::new(Options::default());
    engine.update(&snapshot);
    for (step, (name, port)) in
        [("p0", "dns"), ("p2", "dns"), ("p2", "http"), ("p1", "http"), ("p3", "none"), ("p0", "x")]
            .into_iter()
            .enumerate()
    {
        let key = ObjectKey::new("dev", name);
        let mut pod = (*snapshot.pods[&key]).clone();
        pod.ports[0].name = port.to_owned();
        snapshot.pods.insert(key, Arc::new(pod));
        let kept = engine.update(&snapshot).diagnostics.clone();
        let anew = Engine::new(Options::default()).update(&snapshot).diagnostics.clone();
        assert_eq!(kept, anew, "step {step}");
    }
}
