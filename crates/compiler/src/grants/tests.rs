use std::net::Ipv4Addr;

use policy::spec::{self, Packet, ProtocolPort};
use policy::{
    Labels, NamedPort, ObjectKey, Phase, Pod, PodPeer, Port, PortNumbers, Ports, Requirement,
    Selector, Snapshot,
};
use ruleset::Store;
use ruleset::simulator::{self, Outcome, simulate};

use super::*;
use crate::{Engine, Options};

const PODS: u32 = price::MAX_PEER_SETS as u32 + 40;

fn pod(number: u32) -> Pod {
    let label = ("app".to_owned(), format!("a{number}"));
    Pod {
        key: ObjectKey::new("dev", format!("p{number}")),
        labels: Labels::from([label]),
        node: None,
        addresses: vec![Ipv4Addr::from(0x0a00_0000 + number).into()],
        host_addresses: Vec::new(),
        host_network: false,
        phase: Phase::Running,
        created: 0,
        is_ending: false,
        grace_seconds: 0,
        attachment: policy::Attachment::default(),
        ports: vec![NamedPort { name: "http".to_owned(), protocol: Protocol::Tcp, port: 80 }],
    }
}

fn of_plain(policy: &NetworkPolicy) -> Grants {
    of(policy, Direction::Egress, &ResolvedPorts::new(), &Naming::default(), Form::Plain)
}

/// The first pod lets every other pod in on one of three ports. It may send to each
/// on a range or by a port name.
fn policy() -> NetworkPolicy {
    let rule = |number: u32, numbers| Rule {
        peers: Peers::Only(vec![Peer::Pods(PodPeer {
            namespaces: None,
            pods: Selector::new([Requirement::equals("app", format!("a{number}"))]),
        })]),
        ports: Ports::Only(vec![Port { protocol: Protocol::Tcp, numbers }]),
    };
    let single = |number| PortNumbers::Range(number, number);
    let ingress = (1..PODS).map(|number| rule(number, single(1000 + (number % 3) as u16)));
    let egress = (1..PODS).map(|number| match number % 2 {
        0 => rule(number, PortNumbers::Range(1000, 1001)),
        _ => rule(number, PortNumbers::Named("http".to_owned())),
    });
    NetworkPolicy {
        key: ObjectKey::new("dev", "many"),
        uid: String::new(),
        audit: Default::default(),
        pod_selector: Selector::new([Requirement::equals("app", "a0")]),
        ingress: Some(ingress.collect()),
        egress: Some(egress.collect()),
    }
}

#[test]
fn many_peers_share_the_sets_of_their_ports_and_mean_the_same() {
    let snapshot = Snapshot::new([policy()], (0..PODS).map(pod), []);
    let table = Engine::new(Options::default())
        .update(&snapshot, &policy::NodeNetwork::default())
        .ruleset
        .clone();
    let stores = Family::BOTH.map(Store::Addresses);
    let sets = stores.into_iter().map(|store| table.stored_in(store).count()).sum::<usize>();
    assert_eq!(sets, (3 + 1) * 2, "three ports in, one range out, two families");
    let subject = pod(0).addresses[0];
    for number in 1..PODS {
        let peer = pod(number).addresses[0];
        for (source, destination) in [(subject, peer), (peer, subject)] {
            for port in [80, 1000, 1001, 1002] {
                let transport = ProtocolPort::Port(Protocol::Tcp, port);
                let packet = Packet { source, destination, transport };
                let expected = spec::decide(&snapshot, &packet).passes();
                let packet = simulator::Packet {
                    destination_port: Some(port),
                    ..simulator::Packet::new(source, destination, Protocol::Tcp.number())
                };
                let seen = simulate(&table, &packet).unwrap().outcome == Outcome::Accept;
                assert_eq!(seen, expected, "{packet:?}");
            }
        }
    }
}

/// Otherwise the kernel returns another rule than we sent.
#[test]
fn egress_to_a_port_name_in_all_addresses_of_a_family_is_a_look_up_and_no_more() {
    let port = Port { protocol: Protocol::Tcp, numbers: PortNumbers::Named("http".to_owned()) };
    let anywhere = policy::cidr::parse("::/0").unwrap();
    let rule = Rule {
        peers: Peers::Only(vec![Peer::IpBlock(IpBlock::new(anywhere, []).unwrap())]),
        ports: Ports::Only(vec![port]),
    };
    let policy = NetworkPolicy { ingress: None, egress: Some(vec![rule]), ..policy() };
    let grants = of_plain(&policy);
    let [(0, matches)] = grants.conditions.as_slice() else { panic!("{grants:?}") };
    assert!(matches!(matches[..], [Match::AddressPort(_, Family::V6, ..)]), "{matches:?}");
}

/// A set for each protocol and family, however many names there are.
#[test]
fn a_list_of_port_names_is_one_set() {
    let port =
        |number, protocol| Port { protocol, numbers: PortNumbers::Named(format!("name-{number}")) };
    let ports = (0..100).map(|number| port(number, Protocol::Tcp));
    let ports = ports.chain([port(0, Protocol::Udp)]).collect();
    let rule = Rule { peers: Peers::Anyone, ports: Ports::Only(ports) };
    let policy = NetworkPolicy { ingress: None, egress: Some(vec![rule]), ..policy() };
    let grants = of_plain(&policy);
    assert_eq!((grants.sources.len(), grants.conditions.len()), (4, 4));
}

/// Equal meaning, equal rules.
#[test]
fn ports_that_touch_or_overlap_are_one_range() {
    let range =
        |first, last| Port { protocol: Protocol::Tcp, numbers: PortNumbers::Range(first, last) };
    let of_ports = |ports: Vec<Port>| {
        let rule = Rule { peers: Peers::Anyone, ports: Ports::Only(ports) };
        of_plain(&NetworkPolicy { ingress: None, egress: Some(vec![rule]), ..policy() })
    };
    let singles = of_ports((1..=32_768).rev().map(|port| range(port, port)).collect());
    let overlapping = of_ports(vec![range(20, 32_768), range(1, 30), range(7, 9)]);
    assert_eq!(singles, overlapping);
    assert_eq!((singles.conditions.len(), singles.sources.len()), (1, 0));
}

/// A rule for each pair of peer and range would be four million.
#[test]
fn many_peers_with_many_ranges_are_a_set_of_peers_and_a_set_of_ports() {
    let peer = |number| {
        let pods = Selector::new([Requirement::equals("app", format!("a{number}"))]);
        Peer::Pods(PodPeer { namespaces: None, pods })
    };
    let range = |first: u16| Port {
        protocol: Protocol::Tcp,
        numbers: PortNumbers::Range(first, first + 1),
    };
    let rule = |peers: u16, ranges: u16| Rule {
        peers: Peers::Only((0..peers).map(peer).collect()),
        ports: Ports::Only((0..ranges).map(|number| range(number * 3 + 1)).collect()),
    };
    let of_rule =
        |rule| of_plain(&NetworkPolicy { ingress: None, egress: Some(vec![rule]), ..policy() });
    let grants = of_rule(rule(1_000, 2_000));
    assert_eq!((grants.sources.len(), grants.conditions.len()), (3, 2));
    let grants = of_rule(rule(10, 40));
    assert_eq!((grants.sources.len(), grants.conditions.len()), (20, 800), "few are as before");
    let grants = of_rule(rule(40, 40));
    assert_eq!((grants.sources.len(), grants.conditions.len()), (3, 2), "1,024 rules at most");
}

/// A rule for each would be 1,800, which a packet asks one by one.
#[test]
fn blocks_of_many_rules_share_sets_and_mean_the_same() {
    let block =
        |text: &str| Peer::IpBlock(IpBlock::new(policy::cidr::parse(text).unwrap(), []).unwrap());
    let rule = |net: String, first: u16, last: u16| {
        let numbers = PortNumbers::Range(first, last);
        let ports = Ports::Only(vec![Port { protocol: Protocol::Tcp, numbers }]);
        Rule { peers: Peers::Only(vec![block(&net)]), ports }
    };
    let rules = (0..600u16).flat_map(|number| {
        let [high, low] = number.to_be_bytes();
        [
            rule(format!("172.16.{high}.{low}/32"), number + 1, number + 1),
            rule(format!("172.{}.{low}.0/24", 17 + high), 443, 443),
            rule(format!("172.31.{high}.{low}/32"), 8000, 8001 + number % 2),
        ]
    });
    let policy = NetworkPolicy { egress: None, ingress: Some(rules.collect()), ..policy() };
    let of =
        |form| of(&policy, Direction::Ingress, &ResolvedPorts::new(), &Naming::default(), form);
    let grants = of(Form::Plain);
    assert_eq!(grants, of(Form::Compact));
    assert_eq!((grants.sources.len(), grants.conditions.len()), (3, 4), "neighbours are one range");

    let snapshot = Snapshot::new([policy], [pod(0)], []);
    let mut engine = Engine::new(Options::default());
    let table = engine.update(&snapshot, &policy::NodeNetwork::default()).ruleset.clone();
    let destination = pod(0).addresses[0];
    for source in
        ["172.16.0.7", "172.16.2.87", "172.16.2.88", "172.17.9.9", "172.31.0.1", "172.31.0.2"]
    {
        for port in [8, 88, 443, 600, 8000, 8001, 8002] {
            let source = source.parse().unwrap();
            let transport = ProtocolPort::Port(Protocol::Tcp, port);
            let packet = Packet { source, destination, transport };
            let expected = spec::decide(&snapshot, &packet).passes();
            let packet = simulator::Packet {
                destination_port: Some(port),
                ..simulator::Packet::new(source, destination, Protocol::Tcp.number())
            };
            let seen = simulate(&table, &packet).unwrap().outcome == Outcome::Accept;
            assert_eq!(seen, expected, "{packet:?}");
        }
    }
}
