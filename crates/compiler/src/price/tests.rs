//! Quotes of policies that would be too large to compile. That no policy costs more than its
//! quote is a property test (`tests/suite/tests/incremental.rs`).

use policy::{
    IpBlock, ObjectKey, Peer, Peers, PodPeer, Port, PortNumbers, Ports, Protocol, Requirement,
    Selector,
};

use super::*;

fn peer(number: u32) -> Peer {
    let pods = Selector::new([Requirement::equals("app", number.to_string())]);
    Peer::Pods(PodPeer { namespaces: None, pods })
}

fn port(numbers: PortNumbers) -> Port {
    Port { protocol: Protocol::Tcp, numbers }
}

fn quoted(peers: Vec<Peer>, ports: Vec<Port>) -> Quote {
    let rule = Rule { peers: Peers::Only(peers), ports: Ports::Only(ports) };
    let policy = NetworkPolicy {
        key: ObjectKey::new("dev", "web"),
        uid: String::new(),
        audit: Default::default(),
        pod_selector: Selector::everything(),
        ingress: None,
        egress: Some(vec![rule]),
    };
    quote(&policy, Direction::Egress, &ResolvedPorts::new())
}

#[test]
fn a_small_policy_costs_a_set_and_a_rule_for_each_peer_and_family() {
    let ports = vec![port(PortNumbers::Range(80, 80)), port(PortNumbers::Range(443, 443))];
    let quote = quoted((0..3).map(peer).collect(), ports);
    assert_eq!(quote.plain, Amount { sets: 7, rules: 6, elements: 2 });
    assert_eq!(quote.compact, Amount { sets: 3, rules: 2, elements: 5 });
}

/// 5,000 peers with 10,000 ranges would be a hundred million rules.
#[test]
fn a_product_of_peers_and_ranges_is_quoted_in_the_form_that_it_gets() {
    let range = |number: u16| port(PortNumbers::Range(number * 3 + 1, number * 3 + 2));
    let quote = quoted((0..5_000).map(peer).collect(), (0..10_000).map(range).collect());
    assert_eq!(quote.plain, quote.compact);
    assert_eq!(quote.compact, Amount { sets: 3, rules: 2, elements: 25_000 });
}

#[test]
fn blocks_and_port_names_count() {
    let block =
        |net: &str| Peer::IpBlock(IpBlock::new(policy::cidr::parse(net).unwrap(), []).unwrap());
    let name = |name: &str| port(PortNumbers::Named(name.to_owned()));
    let nets = ["10.0.0.0/8", "192.168.0.0/16", "172.16.0.0/12", "198.18.0.0/15", "2001:db8::/32"];
    let quote = quoted(nets.map(block).to_vec(), vec![name("a"), name("b")]);
    assert_eq!(quote.plain, Amount { sets: 3, rules: 4, elements: 4 });
}

/// As rules of their own they would fill the budget of a namespace.
#[test]
fn thousands_of_addresses_with_a_port_each_are_quoted_as_elements() {
    let rules = (0..10_000u16).map(|number| {
        let [high, low] = number.to_be_bytes();
        let net = policy::cidr::parse(&format!("172.16.{high}.{low}/32")).unwrap();
        Rule {
            peers: Peers::Only(vec![Peer::IpBlock(IpBlock::new(net, []).unwrap())]),
            ports: Ports::Only(vec![port(PortNumbers::Range(number + 1, number + 1))]),
        }
    });
    let policy = NetworkPolicy {
        key: ObjectKey::new("dev", "web"),
        uid: String::new(),
        audit: policy::Audit::default(),
        pod_selector: Selector::everything(),
        ingress: Some(rules.collect()),
        egress: None,
    };
    let quote = quote(&policy, Direction::Ingress, &ResolvedPorts::new());
    assert_eq!(quote.compact, Amount { sets: 6, rules: 6, elements: 20_000 });
}
