use nft::Tuple;
use policy::{
    IpBlock, Namespace, NetworkPolicy, ObjectKey, Peer, Peers, Port, PortNumbers, Ports, Protocol,
    Rule, Selector, cidr,
};
use policy::{Phase, Pod, Snapshot};

use super::*;

const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMP: u8 = 1;
const SCTP: u8 = 132;

/// Pods 10.0.0.1 and fd00::1 of this node accept TCP 80 and UDP 80 from
/// 10.0.0.0/29. They may send anything to 10.0.0.0/29.
fn table() -> Ruleset {
    let block = |text: &str| Peer::IpBlock(IpBlock::new(cidr::parse(text).unwrap(), []).unwrap());
    let peers = || Peers::Only(vec![block("10.0.0.0/29")]);
    let port = |protocol| Port { protocol, numbers: PortNumbers::Range(80, 80) };
    let ports = Ports::Only(vec![port(Protocol::Tcp), port(Protocol::Udp)]);
    let policy = NetworkPolicy {
        key: ObjectKey::new("dev", "p"),
        uid: String::new(),
        audit: Default::default(),
        pod_selector: Selector::everything(),
        ingress: Some(vec![Rule { peers: peers(), ports }]),
        egress: Some(vec![Rule { peers: peers(), ports: Ports::All }]),
    };
    let pod = Pod {
        key: ObjectKey::new("dev", "pod"),
        labels: policy::Labels::new(),
        node: Some("node".to_owned()),
        addresses: vec![ip("10.0.0.1"), ip("fd00::1")],
        host_addresses: Vec::new(),
        host_network: false,
        phase: Phase::Running,
        created: 0,
        is_ending: false,
        grace_seconds: 0,
        attachment: policy::Attachment::default(),
        ports: Vec::new(),
    };
    let snapshot = Snapshot::new([policy], [pod], [Namespace::synthesised("dev")]);
    let mut engine = compiler::Engine::new(compiler::Options::default());
    engine.update(&snapshot, &policy::NodeNetwork::default()).ruleset.clone()
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn tuple(protocol: u8, from: (&str, u16), to: (&str, u16)) -> Tuple {
    let transport = TupleId::Ports { source: from.1, destination: to.1 };
    Tuple { source: ip(from.0), destination: ip(to.0), protocol, transport }
}

fn flow(protocol: u8, from: (&str, u16), to: (&str, u16)) -> Flow {
    translated(protocol, from, to, to)
}

/// A flow that is sent to `to` and translated to `behind`.
fn translated(protocol: u8, from: (&str, u16), to: (&str, u16), behind: (&str, u16)) -> Flow {
    let (original, reply) = (tuple(protocol, from, to), tuple(protocol, behind, from));
    Flow { original, reply, zone: 0, id: 1, master: None }
}

fn icmp(protocol: u8, from: &str, to: &str, icmp_type: u8) -> Flow {
    let transport = TupleId::Icmp { icmp_type, code: 0, id: 1 };
    let tuple =
        |from: &str, to: &str| Tuple { source: ip(from), destination: ip(to), protocol, transport };
    Flow { original: tuple(from, to), reply: tuple(to, from), zone: 0, id: 1, master: None }
}

fn denied(flow: &Flow, master: Option<&Flow>) -> bool {
    let table = table();
    let node = [ip("192.168.0.1"), ip("fe80::99")].into();
    Judge::new(&table, &node).denies(flow, master).unwrap()
}

#[test]
fn a_flow_is_judged_as_its_first_packet_at_the_forward_hook() {
    let (pod, peer, stranger) = ("10.0.0.1", ("10.0.0.2", 1000), ("203.0.113.5", 1000));
    let service = ("10.96.0.10", 443);
    let masqueraded = Flow {
        reply: tuple(TCP, ("10.0.0.2", 80), ("192.168.0.1", 1000)),
        ..flow(TCP, (pod, 1000), ("10.0.0.2", 80))
    };
    let cases = [
        ("to an open port", flow(TCP, peer, (pod, 80)), false),
        ("to a closed port", flow(TCP, peer, (pod, 81)), true),
        ("from a stranger", flow(UDP, stranger, (pod, 80)), true),
        ("another protocol", flow(SCTP, peer, (pod, 80)), true),
        ("to a peer", flow(TCP, (pod, 1000), ("10.0.0.2", 9)), false),
        ("to a stranger", flow(TCP, (pod, 1000), ("203.0.113.5", 80)), true),
        ("through a Service, open", translated(TCP, peer, service, (pod, 80)), false),
        ("through a Service, closed", translated(TCP, peer, service, (pod, 443)), true),
        ("to a Service of a peer", translated(TCP, (pod, 1000), service, ("10.0.0.2", 9)), false),
        ("to a Service outside", translated(TCP, (pod, 1000), service, ("203.0.113.5", 80)), true),
        ("to itself through a Service", translated(TCP, (pod, 1000), service, (pod, 9)), false),
        ("to a peer, masqueraded", masqueraded, false),
        ("echo to a peer", icmp(ICMP, pod, "10.0.0.2", 8), false),
        ("echo from a peer", icmp(ICMP, "10.0.0.2", pod, 8), true),
        ("IPv6", flow(UDP, ("fd00::2", 1), ("fd00::1", 80)), true),
        ("IPv6 echo", icmp(Packet::ICMPV6, "fd00::2", "fd00::1", 128), true),
    ];
    for (case, flow, expected) in cases {
        assert_eq!(denied(&flow, None), expected, "{case}");
    }
}

#[test]
fn what_does_not_cross_the_forward_hook_or_is_of_no_isolated_pod_is_left_alone() {
    let pod = ("10.0.0.1", 9);
    let service = ("10.96.0.10", 443);
    for (case, flow) in [
        ("from the node", flow(TCP, ("192.168.0.1", 1000), pod)),
        ("to the node", flow(TCP, pod, ("192.168.0.1", 53))),
        ("from the node through a Service", translated(TCP, ("192.168.0.1", 1), service, pod)),
        ("from localhost to a NodePort", translated(TCP, ("127.0.0.7", 1), ("127.0.0.1", 2), pod)),
        ("to the node through a Service", translated(TCP, pod, service, ("192.168.0.1", 53))),
        ("from the node's link", flow(UDP, ("fe80::99", 1), ("fd00::1", 2))),
        ("of others", flow(TCP, ("10.0.0.3", 1000), ("203.0.113.5", 80))),
    ] {
        assert!(!denied(&flow, None), "{case}");
    }
}

#[test]
fn what_is_link_local_is_shut_while_a_pod_is_isolated() {
    assert!(denied(&flow(UDP, ("fe80::1", 1), ("fe80::2", 2)), None));
}

#[test]
fn an_expected_flow_is_judged_by_the_one_that_announced_it() {
    let data = flow(TCP, ("10.0.0.1", 20), ("203.0.113.5", 1001));
    assert!(denied(&data, None), "by itself");
    let open = flow(TCP, ("10.0.0.2", 1000), ("10.0.0.1", 80));
    assert!(!denied(&data, Some(&open)));
    let closed = flow(TCP, ("10.0.0.2", 1000), ("10.0.0.1", 21));
    assert!(denied(&data, Some(&closed)));
}

fn forged(flow: &Flow, forgeable: &str) -> bool {
    let table = table();
    let node = [ip("192.168.0.1")].into();
    Judge::new(&table, &node).may_be_forged(flow, &[ip(forgeable)].into()).unwrap()
}

/// The packet "from" the pod was sent by its destination, to answer it.
#[test]
fn a_flow_that_makes_an_answer_of_what_is_denied_may_be_forged() {
    let (pod, accomplice) = (("10.0.0.1", 81), ("10.0.0.2", 5000));
    assert!(forged(&flow(UDP, pod, accomplice), "10.0.0.1"));
    assert!(forged(&translated(UDP, pod, ("10.96.0.10", 53), accomplice), "10.0.0.1"));
    assert!(forged(&icmp(ICMP, "10.0.0.1", "10.0.0.2", 8), "10.0.0.1"));
    // Here the pod is the accomplice, which may not send to the other one.
    assert!(forged(&flow(UDP, ("10.9.0.9", 81), ("10.0.0.1", 5000)), "10.9.0.9"));
}

#[test]
fn flows_that_give_a_forger_nothing_are_left_alone() {
    let (pod, peer) = (("10.0.0.1", 81), ("10.0.0.2", 5000));
    assert!(!forged(&flow(TCP, pod, peer), "10.0.0.1"), "its next packet makes no entry");
    assert!(!forged(&flow(SCTP, pod, peer), "10.0.0.1"), "its next packet makes no entry");
    assert!(!forged(&flow(UDP, pod, peer), "10.0.0.2"), "nobody could forge the source");
    assert!(!forged(&flow(UDP, ("10.0.0.1", 80), peer), "10.0.0.1"), "the other way is allowed");
    let others = flow(UDP, ("10.0.0.3", 81), peer);
    assert!(!forged(&others, "10.0.0.3"), "no isolated pod is at an end");
    let node = flow(UDP, pod, ("192.168.0.1", 53));
    assert!(!forged(&node, "10.0.0.1"), "the node is no pod");
    let announced = Flow { master: Some(tuple(TCP, pod, peer)), ..flow(UDP, pod, peer) };
    assert!(!forged(&announced, "10.0.0.1"), "the flow that announced it is judged");
}
