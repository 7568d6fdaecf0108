//! Changes that once let a denied packet pass or dropped an allowed one.
//!
//! Each case is a cluster before, a cluster after, and a packet whose fate is the
//! same at every moment of the change.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use compiler::Options;
use policy::spec::{self, ProtocolPort};
use policy::{NodeNetwork, Protocol, Snapshot, UnknownPods, cidr, pod_ranges};
use ruleset::plan::plan;
use ruleset::simulator::{self, possible_outcomes};
use ruleset::{Ruleset, text};
use samples::from_scratch::compiled_on;
use samples::judge::NodeVerdict;
use watcher::Store;
use watcher::files::{self, Validation};

/// One pod per line: `name address app=...`. Policies are YAML specs by name.
struct DevObjects<'a> {
    team: &'a str,
    pods: &'a [(&'a str, &'a str, &'a str)],
    policies: BTreeMap<&'a str, &'a str>,
}

impl DevObjects<'_> {
    fn snapshot(&self) -> Result<Snapshot> {
        let mut text = format!(
            "apiVersion: v1\nkind: Namespace\nmetadata: {{name: dev, labels: {{team: {}}}}}\n",
            self.team
        );
        for (name, address, app) in self.pods {
            text += &format!(
                "---\napiVersion: v1\nkind: Pod\n\
                 metadata: {{name: {name}, namespace: dev, labels: {{app: {app}}}}}\n\
                 spec: {{containers: [{{name: c, image: i, ports: [{{name: http, containerPort: 81}}]}}]}}\n\
                 status: {{phase: Running, podIP: {address}}}\n"
            );
        }
        for (name, spec) in &self.policies {
            text += &format!(
                "---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\n\
                 metadata: {{name: {name}, namespace: dev}}\nspec: {spec}\n"
            );
        }
        let loaded = files::parse("cluster", &text, Validation::Strict);
        ensure!(!loaded.has_errors(), "{:#?}", loaded.findings);
        let store: Store = loaded.objects.into_iter().collect();
        Ok(store.snapshot().clone())
    }
}

/// TCP from `10.0.0.1` to `10.0.0.2`.
fn check(before: &DevObjects<'_>, after: &DevObjects<'_>, port: u16) -> Result<()> {
    check_on(&NodeNetwork::default(), before, after, port)
}

fn check_on(
    network: &NodeNetwork,
    before: &DevObjects<'_>,
    after: &DevObjects<'_>,
    port: u16,
) -> Result<()> {
    let (before, after) = (before.snapshot()?, after.snapshot()?);
    let packet = spec::Packet {
        source: "10.0.0.1".parse()?,
        destination: "10.0.0.2".parse()?,
        transport: ProtocolPort::Port(Protocol::Tcp, port),
    };
    let [passes, passes_after] = [&before, &after].map(|snapshot| {
        NodeVerdict::on(network, snapshot, &spec::owners(snapshot), None, &packet).passes()
    });
    ensure!(passes == passes_after, "the packet's fate differs before and after");
    let table = |snapshot| compiled_on(snapshot, network, &Options::default()).ruleset;
    let (old, new) = (table(&before), table(&after));
    let mut states: Vec<Ruleset> = vec![old.clone()];
    let mut said = String::new();
    for batch in plan(Some(&old), &new)? {
        let mut next = states[states.len() - 1].clone();
        next.apply(&batch)?;
        states.push(next);
        let ops = batch.ops.iter().map(|op| text::op(&new.id(), op) + "\n");
        said += &format!("--\n{}", ops.collect::<String>());
    }
    let packet = simulator::Packet {
        destination_port: Some(port),
        ..simulator::Packet::new(packet.source, packet.destination, Protocol::Tcp.number())
    };
    let possible = possible_outcomes(&states, &packet)?;
    let wrong = if passes { possible.drop } else { possible.accept };
    match wrong {
        Some(witness) => anyhow::bail!("passes must be {passes}, but: {witness}\n{said}"),
        None => Ok(()),
    }
}

/// Egress to team=new becomes allowed, ingress from team=old becomes denied.
#[test]
fn a_namespace_is_relabelled() -> Result<()> {
    let policies = BTreeMap::from([
        (
            "in",
            "{podSelector: {matchLabels: {app: b}}, policyTypes: [Ingress], \
             ingress: [{from: [{namespaceSelector: {matchLabels: {team: old}}}]}]}",
        ),
        (
            "out",
            "{podSelector: {matchLabels: {app: a}}, policyTypes: [Egress], \
             egress: [{to: [{namespaceSelector: {matchLabels: {team: new}}}]}]}",
        ),
    ]);
    let pods = &[("a", "10.0.0.1", "a"), ("b", "10.0.0.2", "b")];
    let cluster = |team| DevObjects { team, pods, policies: policies.clone() };
    check(&cluster("old"), &cluster("new"), 80)
}

const EGRESS_OF_X: &str = "{podSelector: {matchLabels: {app: x}}, policyTypes: [Egress], \
                           egress: [{ports: [{port: 80}]}]}";
const EGRESS_OF_Z: &str = "{podSelector: {matchLabels: {app: z}}, policyTypes: [Egress], \
                           egress: [{ports: [{port: 81}]}]}";

/// The pod's egress loses one port and gains another. The pod leaves one peer set and
/// enters another, which only egress uses.
#[test]
fn a_pod_is_relabelled_and_enters_a_set_that_others_send_to() -> Result<()> {
    let policies = BTreeMap::from([
        ("out-x", EGRESS_OF_X),
        ("out-z", EGRESS_OF_Z),
        (
            "in-q",
            "{podSelector: {matchLabels: {app: q}}, \
             ingress: [{from: [{podSelector: {matchLabels: {app: x}}}]}]}",
        ),
        (
            "out-r",
            "{podSelector: {matchLabels: {app: r}}, policyTypes: [Egress], \
             egress: [{to: [{podSelector: {matchLabels: {app: z}}}]}]}",
        ),
    ]);
    let before = &[("p", "10.0.0.1", "x"), ("q", "10.0.0.2", "q"), ("r", "10.0.0.3", "r")];
    let after = &[("p", "10.0.0.1", "z"), ("q", "10.0.0.2", "q"), ("r", "10.0.0.3", "r")];
    let cluster = |pods| DevObjects { team: "t", pods, policies: policies.clone() };
    check(&cluster(before), &cluster(after), 81)
}

/// The other side lets the pod in by either label, but by the second on one port
/// only.
#[test]
fn a_pod_is_relabelled_and_is_let_in_on_fewer_ports() -> Result<()> {
    let policies = BTreeMap::from([
        ("out-x", EGRESS_OF_X),
        ("out-z", EGRESS_OF_Z),
        (
            "in-q",
            "{podSelector: {matchLabels: {app: q}}, ingress: [\
             {from: [{podSelector: {matchLabels: {app: x}}}]}, \
             {from: [{podSelector: {matchLabels: {app: z}}}], ports: [{port: 80}]}]}",
        ),
    ]);
    let before = &[("p", "10.0.0.1", "x"), ("q", "10.0.0.2", "q")];
    let after = &[("p", "10.0.0.1", "z"), ("q", "10.0.0.2", "q")];
    let cluster = |pods| DevObjects { team: "t", pods, policies: policies.clone() };
    check(&cluster(before), &cluster(after), 81)
}

/// A port name gives pods other chains, so map entries switch while the rules of the
/// egress chain change.
#[test]
fn a_policy_gets_a_port_name_and_loses_its_egress() -> Result<()> {
    let pods = &[("p", "10.0.0.1", "p"), ("q", "10.0.0.2", "q")];
    let cluster = |spec| DevObjects { team: "t", pods, policies: BTreeMap::from([("x", spec)]) };
    let before = cluster(
        "{podSelector: {}, policyTypes: [Ingress, Egress], \
         ingress: [{ports: [{port: 80}]}], egress: [{}]}",
    );
    let after = cluster(
        "{podSelector: {}, policyTypes: [Ingress, Egress], \
         ingress: [{ports: [{port: http}]}], egress: []}",
    );
    check(&before, &after, 81)
}

/// The set that the pod leaves also serves the egress of others, which only becomes
/// narrower.
#[test]
fn a_pod_is_relabelled_and_is_let_in_by_either_label() -> Result<()> {
    let policies = BTreeMap::from([
        (
            "in-q",
            "{podSelector: {matchLabels: {app: q}}, ingress: [\
             {from: [{podSelector: {matchLabels: {app: x}}}]}, \
             {from: [{podSelector: {matchLabels: {app: z}}}]}]}",
        ),
        (
            "out-r",
            "{podSelector: {matchLabels: {app: r}}, policyTypes: [Egress], \
             egress: [{to: [{podSelector: {matchLabels: {app: x}}}]}]}",
        ),
    ]);
    let before = &[("p", "10.0.0.1", "x"), ("q", "10.0.0.2", "q"), ("r", "10.0.0.3", "r")];
    let after = &[("p", "10.0.0.1", "z"), ("q", "10.0.0.2", "q"), ("r", "10.0.0.3", "r")];
    let cluster = |pods| DevObjects { team: "t", pods, policies: policies.clone() };
    check(&cluster(before), &cluster(after), 80)
}

/// Where an address that no object names is shut.
fn shut() -> NodeNetwork {
    NodeNetwork {
        pod_ranges: pod_ranges(cidr::parse("10.0.0.0/24")),
        unknown_pods: UnknownPods::Closed,
        ..NodeNetwork::default()
    }
}

const FROM_X_TO_Q: &str = "{podSelector: {matchLabels: {app: q}}, \
                           ingress: [{from: [{podSelector: {matchLabels: {app: x}}}]}]}";

/// The server was somewhere else while it let the client in.
#[test]
fn a_server_gets_an_unknown_address_and_its_client_is_relabelled() -> Result<()> {
    let policies = BTreeMap::from([("in-q", FROM_X_TO_Q)]);
    let before = &[("p", "10.0.0.1", "x"), ("q", "10.0.0.3", "q")];
    let after = &[("p", "10.0.0.1", "z"), ("q", "10.0.0.2", "q")];
    let cluster = |pods| DevObjects { team: "t", pods, policies: policies.clone() };
    check_on(&shut(), &cluster(before), &cluster(after), 80)
}

/// When the server lets the client in, it is somewhere else.
#[test]
fn a_server_leaves_an_address_to_nobody_and_its_client_is_relabelled() -> Result<()> {
    let policies = BTreeMap::from([("in-q", FROM_X_TO_Q)]);
    let before = &[("p", "10.0.0.1", "z"), ("q", "10.0.0.2", "q")];
    let after = &[("p", "10.0.0.1", "x"), ("q", "10.0.0.3", "q")];
    let cluster = |pods| DevObjects { team: "t", pods, policies: policies.clone() };
    check_on(&shut(), &cluster(before), &cluster(after), 80)
}

/// The server's former address is a peer's, and then a stranger's.
#[test]
fn a_server_gives_its_address_to_a_pod_that_it_does_not_let_in() -> Result<()> {
    let of_own = "{podSelector: {matchLabels: {app: q}}, \
                  ingress: [{from: [{podSelector: {matchLabels: {app: q}}}]}]}";
    let policies = BTreeMap::from([("in-q", of_own)]);
    let before = &[("q", "10.0.0.1", "q")];
    let after = &[("p", "10.0.0.1", "z"), ("q", "10.0.0.2", "q")];
    let cluster = |pods| DevObjects { team: "t", pods, policies: policies.clone() };
    check_on(&shut(), &cluster(before), &cluster(after), 80)
}
