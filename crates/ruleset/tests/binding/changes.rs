//! Packets while the tables change.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::{Just, ProptestConfig, Strategy, prop_assert, prop_oneof, proptest};
use ruleset::plan::{Budget, plan, plan_within};
use ruleset::simulator::{Outcome, Packet};
use ruleset::{Op, Ruleset, Transport, text};

use crate::random::{NODES, any_change, any_node, any_sent, changed};
use crate::tables::{self, Node, Port, ip};
use crate::way::{End, History, Sent};

/// The states of both tables while one node becomes the other. A bridge that gains
/// something changes last, one that only loses changes first. So a new address of an
/// isolated pod is judged by `inet` before it is heard at its port, and until it is not.
fn history(before: &Node, after: &Node, budget: Budget) -> History {
    let bridged = |node: &Node| -> BTreeSet<(u32, IpAddr)> {
        let ports = node.ports.iter().filter(|port| port.is_bridged);
        let owned = |port: &Port| port.addresses.iter().map(|one| (port.index, *one)).collect();
        ports.flat_map(|port| -> Vec<_> { owned(port) }).collect()
    };
    let bridge_first = bridged(after).is_subset(&bridged(before));
    let mut history = History::of(before);
    let mut change = |bridge: bool| {
        let History { inet, bridge: frames } = &mut history;
        let (changing, still, make): (_, _, fn(&Node) -> Ruleset) = match bridge {
            true => (frames, inet, tables::bridge),
            false => (inet, frames, tables::inet),
        };
        let (old, new) = (make(before), make(after));
        // Where no pod is bridged, there is no such table.
        let old = (!old.chains.is_empty()).then_some(&old);
        let steps: Vec<Ruleset> = match new.chains.is_empty() {
            true => vec![new],
            false => {
                let mut state = old.cloned().unwrap_or_else(|| Ruleset::of(new.id()));
                let batches = plan_within(old, &new, budget).unwrap();
                let apply = |batch: &ruleset::Batch| {
                    state.apply(batch).unwrap();
                    state.clone()
                };
                batches.iter().map(apply).collect()
            }
        };
        for step in steps {
            changing.push(step);
            still.extend(still.last().cloned());
        }
    };
    change(bridge_first);
    change(!bridge_first);
    history
}

/// How much a batch may hold: one operation, a few, or everything.
fn any_budget() -> impl Strategy<Value = Budget> {
    let few = (5..100_u64).prop_map(|many| Budget::of(Duration::from_micros(many)));
    prop_oneof![Just(Budget::SMALLEST), few, Just(Budget::default())]
}

fn ends(history: &History) -> [History; 2] {
    let end = |one: fn(&[Ruleset]) -> Option<&Ruleset>| History {
        inet: one(&history.inet).cloned().into_iter().collect(),
        bridge: one(&history.bridge).cloned().into_iter().collect(),
    };
    [end(<[_]>::first), end(<[_]>::last)]
}

/// The outcome in both ends of a history, if it is the same.
fn agreed(history: &History, sent: &Sent) -> Option<Outcome> {
    let [before, after] = ends(history).map(|end| {
        let possible = end.outcomes(sent, 0);
        if possible.always(Outcome::Accept) { Outcome::Accept } else { Outcome::Drop }
    });
    (before == after).then_some(before)
}

fn is_bound(node: &Node, end: End) -> bool {
    let (End::Bridged(index) | End::Routed(index)) = end else { return true };
    node.ports.iter().any(|port| port.index == index)
}

/// Whether the node routes to where the packet goes: an address of a pod is behind the
/// pod's port.
fn is_routed(sent: &Sent, nodes: [&Node; 2]) -> bool {
    let owners = || {
        let ports = nodes.into_iter().flat_map(|node| &node.ports);
        ports.filter(|port| port.addresses.contains(&sent.packet.destination))
    };
    let end = |port: &Port| match port.is_bridged {
        true => End::Bridged(port.index),
        false => End::Routed(port.index),
    };
    owners().next().is_none() || owners().any(|port| end(port) == sent.to)
}

/// Whether both ends of the packet can change whose they are, or are one pod that
/// changes. The packet asks for each at another moment, so it can combine the two.
fn combines(sent: &Sent, before: &Node, after: &Node) -> bool {
    let owner = |node: &Node, address: IpAddr| {
        let owner = node.ports.iter().find(|port| port.addresses.contains(&address));
        (owner.map(|port| port.index), node.nodes.contains(&address))
    };
    let changes = |address| owner(before, address) != owner(after, address);
    sent.from == sent.to || changes(sent.packet.source) && changes(sent.packet.destination)
}

/// Whether a frame goes from a port that leaves to one that comes at once, and is not for
/// the pod there: a bridge floods what is for nobody it knows. The frame asks for each
/// port at another moment, so it can find the sender still held to what is for the
/// receiver, and the receiver already there.
fn is_flooded_past(sent: &Sent, before: &Node, after: &Node) -> bool {
    let (End::Bridged(_), End::Bridged(to)) = (sent.from, sent.to) else { return false };
    let leaves = is_bound(before, sent.from) && !is_bound(after, sent.from);
    let comes = !is_bound(before, sent.to) && is_bound(after, sent.to);
    let Packet { destination, frame, .. } = sent.packet;
    let is_for = |port: &Port| {
        port.index == to
            && port.mac == frame.destination_mac
            && port.addresses.contains(&destination)
    };
    leaves && comes && !after.ports.iter().any(is_for)
}

/// What is for the receiver arrives.
#[test]
fn what_is_flooded_from_a_port_that_leaves_to_one_that_comes_at_once_can_be_lost() {
    let another = Port {
        mac: [2, 0, 0, 0, 0, 9],
        addresses: [ip("10.0.0.9")].into(),
        is_isolated: false,
        ..bound(9, true)
    };
    let before = Node { ports: vec![bound(7, true)], ..Node::default() };
    let after = Node { ports: vec![another.clone()], ..Node::default() };
    let mut packet = Packet::to_port(ip("10.0.0.7"), ip("10.0.0.9"), Transport::Udp, 81);
    (packet.frame.source_mac, packet.frame.destination_mac) = (bound(7, true).mac, another.mac);
    let sent = |packet| Sent { from: End::Bridged(7), to: End::Bridged(9), packet };
    let (to_pod, flooded) = (sent(packet), sent(Packet { destination: ip("10.0.0.8"), ..packet }));
    let history = history(&before, &after, Budget::default());
    assert!(history.outcomes(&to_pod, 1).always(Outcome::Accept));
    assert!(!is_flooded_past(&to_pod, &before, &after));
    assert!(history.outcomes(&flooded, 1).drop.is_some());
    assert!(is_flooded_past(&flooded, &before, &after));
}

/// It finds that the receiver is one, and misses the sender.
#[test]
fn what_one_node_tunnels_to_another_through_this_one_is_lost_when_both_leave_at_once() {
    let node = |nodes: &[&str]| Node {
        tunnels: [8472].into(),
        nodes: nodes.iter().map(|address| ip(address)).collect(),
        ..Node::default()
    };
    let packet = Packet::to_port(ip(NODES[0]), ip(NODES[1]), Transport::Udp, 8472);
    let sent = Sent { from: End::Routed(1), to: End::Routed(1), packet };
    let third = "192.0.2.3";
    let [all, one, none] =
        [node(&[NODES[0], NODES[1], third]), node(&[NODES[0], third]), node(&[third])];
    assert!(history(&all, &none, Budget::default()).outcomes(&sent, 1).drop.is_some());
    // Not when one leaves, when both come, or when the tunnel goes.
    assert!(history(&all, &one, Budget::default()).outcomes(&sent, 1).always(Outcome::Accept));
    assert!(history(&none, &all, Budget::default()).outcomes(&sent, 1).always(Outcome::Accept));
    let no_tunnel = Node { tunnels: BTreeSet::new(), ..none };
    assert!(
        history(&all, &no_tunnel, Budget::default()).outcomes(&sent, 1).always(Outcome::Accept)
    );
}

/// The batches that turn one node's table into another's, in nft's words.
fn batches(make: fn(&Node) -> Ruleset, before: &Node, after: &Node) -> Vec<String> {
    let (old, new) = (make(before), make(after));
    let line = |op: &Op| text::op(&new.id(), op).replace(&format!(" {}", new.id()), "");
    let planned = plan(Some(&old), &new).unwrap();
    planned.iter().map(|batch| batch.ops.iter().map(line).collect::<Vec<_>>().join("; ")).collect()
}

fn bound(index: u32, is_bridged: bool) -> Port {
    Port {
        index,
        is_bridged,
        mac: [2, 0, 0, 0, 0, 7],
        addresses: [ip("10.0.0.7"), ip("fd00::7")].into(),
        is_isolated: true,
    }
}

/// Isolated first, then heard and allowed to speak, then held to that.
#[test]
fn a_port_comes_in_this_order() {
    let other = Port { index: 9, addresses: [ip("10.0.0.9")].into(), ..bound(9, false) };
    let tunnels: BTreeSet<u16> = [8472].into();
    let before = Node { ports: vec![other.clone()], tunnels: tunnels.clone(), ..Node::default() };
    let after = Node { ports: vec![other, bound(7, false)], tunnels, ..Node::default() };
    let come = [
        "add element ingress4 { 10.0.0.7 : goto i.some }; \
         add element isolated.i4 { 10.0.0.7 }; \
         add element openers4 { 10.0.0.7 }; add element openers6 { fd00::7 }",
        "add element own4 { 7 . 10.0.0.7 }; add element own6 { 7 . fd00::7 }",
        "add element ports { 7 }",
        "add element guarded { 7 }; add element owned4 { 10.0.0.7 }; \
         add element owned6 { fd00::7 }; add element podside { 7 }",
    ];
    assert_eq!(batches(tables::inet, &before, &after), come);
    let go = [
        "delete element guarded { 7 }; delete element owned4 { 10.0.0.7 }; \
         delete element owned6 { fd00::7 }; delete element podside { 7 }",
        "delete element ports { 7 }",
        "delete element own4 { 7 . 10.0.0.7 }; delete element own6 { 7 . fd00::7 }",
        "delete element isolated.i4 { 10.0.0.7 }; \
         delete element openers4 { 10.0.0.7 }; delete element openers6 { fd00::7 }",
        "delete element ingress4 { 10.0.0.7 }",
    ];
    assert_eq!(batches(tables::inet, &after, &before), go);
}

#[test]
fn a_bridged_port_goes_in_this_order() {
    let other =
        Port { mac: [2, 0, 0, 0, 0, 9], addresses: [ip("10.0.0.9")].into(), ..bound(9, true) };
    let before = Node { ports: vec![other.clone(), bound(7, true)], ..Node::default() };
    let after = Node { ports: vec![other], ..Node::default() };
    // ICMPv6 of an own address is judged further, so that its set is no mere accept.
    let own6 = "delete element own6 { 7 . 02:00:00:00:00:07 . fd00::7 }";
    let target = "0xfd000000000000000000000000000007";
    let go = [
        &format!(
            "delete element macs {{ 02:00:00:00:00:07 }}; \
                  delete element owned-targets {{ {target} }}; \
                  delete element owned4 {{ 10.0.0.7 }}; delete element owned6 {{ fd00::7 }}"
        ),
        "delete element guarded { 7 }; delete element ports { 7 }",
        own6,
        &format!(
            "delete element own4 {{ 7 . 02:00:00:00:00:07 . 10.0.0.7 }}; \
                  delete element speakers {{ 7 . 02:00:00:00:00:07 }}; \
                  delete element targets {{ 7 . 02:00:00:00:00:07 . {target} }}"
        ),
    ];
    assert_eq!(batches(tables::bridge, &before, &after), go);
}

/// The hook comes when the nodes are known, and goes before they are forgotten.
#[test]
fn a_tunnel_comes_and_goes_with_a_hook() {
    let nodes = [ip(NODES[0])].into();
    let none = Node { nodes, ..Node::default() };
    let some = Node { tunnels: [8472].into(), ..none.clone() };
    let come = batches(tables::inet, &none, &some);
    let position = |batches: &[String], part: &str| {
        batches.iter().position(|batch| batch.contains(part)).unwrap()
    };
    let order = ["add element nodes4", "add chain input", "add rule tunnels"];
    let order = order.map(|part| position(&come, part));
    assert!(order.is_sorted() && order[0] < order[1], "{come:#?}");
    let go = batches(tables::inet, &some, &none);
    let order = ["flush chain tunnels", "delete chain input", "delete element nodes4"];
    let order = order.map(|part| position(&go, part));
    assert!(order[0] < order[1] && order[1] < order[2], "{go:#?}");
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        max_shrink_iters: 300,
        ..ProptestConfig::with_cases(60)
    })]

    /// What one change leaves as it is, is so all the time.
    #[test]
    fn one_change_is_exact(
        (one, other) in (any_node(), any_node()),
        change in any_change(),
        sent in vec(any_sent(), 100),
        budget in any_budget(),
    ) {
        let after = changed(&one, &other, change);
        let history = history(&one, &after, budget);
        let known = |sent: &&Sent| {
            is_routed(sent, [&one, &after]) && !combines(sent, &one, &after)
        };
        for sent in sent.iter().filter(known) {
            let Some(outcome) = agreed(&history, sent) else { continue };
            let possible = history.outcomes(sent, 1);
            // A port that is not bound may say anything anyway.
            let is_free = is_bound(&one, sent.from) != is_bound(&after, sent.from);
            prop_assert!(
                possible.always(outcome) || (outcome == Outcome::Drop && is_free),
                "{sent:?}\n{one:?}\n{after:?}\n accept {}\n drop {}",
                possible.accept.map(|witness| witness.to_string()).unwrap_or_default(),
                possible.drop.map(|witness| witness.to_string()).unwrap_or_default(),
            );
        }
    }

    /// Whatever changes at once, but for policies, tunnels and nodes: a packet that
    /// passes before and after passes all the time.
    #[test]
    fn no_change_of_bindings_loses_a_packet(
        (one, mut other) in (any_node(), any_node()),
        sent in vec(any_sent(), 100),
        budget in any_budget(),
    ) {
        other.friends.clone_from(&one.friends);
        other.tunnels.clone_from(&one.tunnels);
        other.nodes.clone_from(&one.nodes);
        for port in &mut other.ports {
            let before = one.ports.iter().find(|before| before.index == port.index);
            port.is_isolated = before.is_some_and(|before| before.is_isolated);
        }
        let history = history(&one, &other, budget);
        for sent in sent.iter().filter(|sent| !is_flooded_past(sent, &one, &other)) {
            if agreed(&history, sent) == Some(Outcome::Accept) {
                let possible = history.outcomes(sent, 1);
                prop_assert!(
                    possible.always(Outcome::Accept),
                    "{sent:?}\n{one:?}\n{other:?}\n {}",
                    possible.drop.map(|witness| witness.to_string()).unwrap_or_default(),
                );
            }
        }
    }
}
