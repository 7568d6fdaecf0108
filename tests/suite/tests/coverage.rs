//! The policies in `fixtures/packets` contain every field in every form. No packet
//! would ever test a form that is listed here and missing there.

use anyhow::Result;
use policy::{Direction, NetworkPolicy, Operator, Peer, Peers, PortNumbers, Ports, Protocol, Rule};
use samples::fixtures;
use samples::objects;
use samples::testbed_spec::Network;

/// Forms that only the YAML text shows, because they mean the same as another form.
const WRITTEN: [&str; 9] = [
    "policyTypes: []",
    "ingress: []",
    "egress: []",
    "from: []",
    "ports: []",
    "    - {}\n",
    "  - {}\n",
    "endPort:",
    "matchLabels:",
];

#[test]
fn the_fixtures_cover_every_field() -> Result<()> {
    let text: String =
        fixtures::files("packets")?.into_iter().map(|(_, text)| text + "---\n").collect();
    for written in WRITTEN {
        assert!(text.contains(written), "no fixture has {written:?}");
    }
    let spec = fixtures::town(Network::Bridge, &["node-1"]);
    let snapshot = objects::snapshot(&spec, &text)?;
    let policies: Vec<&NetworkPolicy> = snapshot.policies.values().map(|one| &**one).collect();
    assert!(policies.len() >= 20, "only {} policies", policies.len());
    for (name, found) in covered(&policies) {
        assert!(found, "no fixture has {name}");
    }
    Ok(())
}

type Found = Vec<(String, bool)>;

fn covered(policies: &[&NetworkPolicy]) -> Found {
    let mut found = Vec::new();
    let mut all = Vec::new();
    for direction in Direction::BOTH {
        let rules: Vec<&Rule> =
            policies.iter().filter_map(|one| one.rules(direction)).flatten().collect();
        let named = |(name, there)| (format!("{direction} {name}"), there);
        found.extend(peers_covered(&rules).into_iter().map(named));
        all.extend(rules);
    }
    found.extend(ports_covered(&all));
    found.extend(operators_covered(policies, &all));
    found
}

fn peers_covered(rules: &[&Rule]) -> Found {
    let peers: Vec<&Peer> = rules.iter().flat_map(|rule| peers(rule)).collect();
    let pods = |with_namespaces: bool, with_pods: bool| {
        peers.iter().any(|peer| match peer {
            Peer::Pods(pods) => {
                pods.namespaces.is_some() == with_namespaces
                    && pods.pods.is_everything() != with_pods
            }
            Peer::IpBlock(_) => false,
        })
    };
    let mut found = vec![
        ("anyone".to_owned(), rules.iter().any(|rule| rule.peers == Peers::Anyone)),
        ("all ports".to_owned(), rules.iter().any(|rule| rule.ports == Ports::All)),
        ("podSelector".to_owned(), pods(false, true)),
        ("podSelector {}".to_owned(), pods(false, false)),
        ("namespaceSelector".to_owned(), pods(true, false)),
        ("both selectors".to_owned(), pods(true, true)),
    ];
    for v6 in [false, true] {
        let mut blocks = peers.iter().filter_map(|peer| block(peer, v6)).peekable();
        found.push((format!("ipBlock, IPv6: {v6}"), blocks.peek().is_some()));
        let except = blocks.any(|block| !block.except().is_empty());
        found.push((format!("except, IPv6: {v6}"), except));
    }
    found
}

fn ports_covered(rules: &[&Rule]) -> Found {
    type Form = fn(&PortNumbers) -> bool;
    let forms: [(&str, Form); 4] = [
        ("every port of a protocol", |numbers| *numbers == PortNumbers::All),
        ("one port", |numbers| matches!(numbers, PortNumbers::Range(a, b) if a == b)),
        ("a range", |numbers| matches!(numbers, PortNumbers::Range(a, b) if a < b)),
        ("a name", |numbers| matches!(numbers, PortNumbers::Named(_))),
    ];
    let ports: Vec<&policy::Port> = rules.iter().flat_map(|rule| ports(rule)).collect();
    let mut found: Found = forms
        .map(|(name, form)| (name.to_owned(), ports.iter().any(|port| form(&port.numbers))))
        .into();
    for protocol in [Protocol::Tcp, Protocol::Udp, Protocol::Sctp] {
        found.push((protocol.to_string(), ports.iter().any(|port| port.protocol == protocol)));
    }
    found
}

/// Every operator, whether a policy or a peer uses it in its selector.
fn operators_covered(policies: &[&NetworkPolicy], rules: &[&Rule]) -> Found {
    let of_peers = rules.iter().flat_map(|rule| peers(rule)).flat_map(|peer| match peer {
        Peer::Pods(pods) => vec![Some(&pods.pods), pods.namespaces.as_ref()],
        Peer::IpBlock(_) => Vec::new(),
    });
    let selectors = policies.iter().map(|one| &one.pod_selector).chain(of_peers.flatten());
    let operators: Vec<&Operator> = selectors
        .flat_map(|selector| selector.requirements())
        .map(|requirement| &requirement.operator)
        .collect();
    type OfOperator = fn(&Operator) -> bool;
    let kinds: [(&str, OfOperator); 5] = [
        ("In one", |one| matches!(one, Operator::In(values) if values.len() == 1)),
        ("In several", |one| matches!(one, Operator::In(values) if values.len() > 1)),
        ("NotIn", |one| matches!(one, Operator::NotIn(_))),
        ("Exists", |one| *one == Operator::Exists),
        ("DoesNotExist", |one| *one == Operator::DoesNotExist),
    ];
    kinds.map(|(name, is)| (name.to_owned(), operators.iter().any(|one| is(one)))).into()
}

fn peers(rule: &Rule) -> &[Peer] {
    match &rule.peers {
        Peers::Anyone => &[],
        Peers::Only(peers) => peers,
    }
}

fn ports(rule: &Rule) -> &[policy::Port] {
    match &rule.ports {
        Ports::All => &[],
        Ports::Only(ports) => ports,
    }
}

fn block(peer: &Peer, v6: bool) -> Option<&policy::IpBlock> {
    match peer {
        Peer::IpBlock(block) if block.cidr().addr().is_ipv6() == v6 => Some(block),
        _ => None,
    }
}
