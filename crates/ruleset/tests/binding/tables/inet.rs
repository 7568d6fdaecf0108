//! The table `inet nftpol`.

use std::collections::BTreeSet;

use super::*;

/// The table `inet nftpol`.
pub fn inet(node: &Node) -> Ruleset {
    let mut table = Ruleset::new(name("nftpol"));
    let interface = (true, false, None);
    for (family, address) in [(Family::V4, KeyAddressType::V4), (Family::V6, KeyAddressType::V6)] {
        let keys = node.ports.iter().flat_map(|port| {
            port.keys(family, if port.is_bridged { BRIDGE } else { port.index }, None)
        });
        let set = format!("own{}", digit(family));
        add_keys(&mut table, &set, (true, false, Some(address)), keys);
    }
    add_addresses(&mut table, "owned", &node.addresses(|_| true));
    add_keys(&mut table, "ports", interface, node.indices(|_| true));
    let guarded = node.indices(|port| !port.is_bridged && port.is_isolated);
    add_keys(&mut table, "guarded", interface, guarded);
    let mut podside = node.indices(|_| true);
    podside.extend(node.ports.iter().any(|port| port.is_bridged).then_some(Key {
        interface: Some(BRIDGE),
        mac: None,
        address: None,
    }));
    add_keys(&mut table, "podside", interface, podside);
    let none = BTreeSet::new();
    let nodes = if node.tunnels.is_empty() { &none } else { &node.nodes };
    add_addresses(&mut table, "nodes", nodes);
    add_types(&mut table, &[("mld-or-ns", &[130, 131, 132, 143, 135]), ("routers", &[134, 137])]);
    bind(&mut table);
    tunnels(&mut table, node, !nodes.is_empty());
    masqueraded(&mut table, node);
    forward(&mut table, node);
    table
}

fn bind(table: &mut Ruleset) {
    let own =
        |family| by(IN, None, Some(KeyAddress::Source(family)), &format!("own{}", digit(family)));
    let ports = || by(IN, None, None, "ports");
    let rules = vec![
        accept([own(Family::V4), Match::NotProtocol(Match::ICMP)]),
        accept([own(Family::V6), Match::NotProtocol(Match::ICMPV6)]),
        goto([], "bind.other"),
    ];
    add_base(table, "bind", Hook::Prerouting, -310, rules);
    let other = vec![
        goto([own(Family::V4)], "bind.icmp"),
        goto([own(Family::V6)], "bind.icmp"),
        drop([source(Family::V4, "owned4")]),
        drop([source(Family::V6, "owned6")]),
        goto([ports()], "bind.stranger"),
    ];
    add_chain(table, "bind.other", other);
    let stranger = vec![accept([from_nobody(), types("mld-or-ns")]), drop([])];
    add_chain(table, "bind.stranger", stranger);
    let icmp = vec![drop([Match::IcmpType(5)]), drop([types("routers")])];
    add_chain(table, "bind.icmp", icmp);
}

fn tunnels(table: &mut Ruleset, node: &Node, are_nodes_known: bool) {
    let tunnel = |port: &u16| Match::Port(Transport::Udp, PortRange(*port, *port));
    let some = || node.tunnels.iter();
    let from_pod = || drop([by(IN, None, None, "podside")]);
    let tunnelled = match are_nodes_known {
        _ if node.tunnels.is_empty() => vec![],
        true => vec![
            from_pod(),
            accept([source(Family::V4, "nodes4")]),
            accept([source(Family::V6, "nodes6")]),
            drop([]),
        ],
        false => vec![from_pod()],
    };
    add_chain(table, "tunnelled", tunnelled);
    let mut leaving =
        vec![back([source(Family::V4, "nodes4")]), back([source(Family::V6, "nodes6")])];
    leaving.extend(some().map(|port| drop([tunnel(port)])));
    add_chain(table, "tunnels", if node.tunnels.is_empty() { vec![] } else { leaving });
    if !node.tunnels.is_empty() {
        let rules = some().map(|port| goto([tunnel(port)], "tunnelled")).collect();
        add_base(table, "input", Hook::Input, -1, rules);
    }
}

fn masqueraded(table: &mut Ruleset, node: &Node) {
    if node.tunnels.is_empty() || node.ports.is_empty() {
        return;
    }
    let into =
        |port: &u16| goto([Match::Port(Transport::Udp, PortRange(*port, *port))], "masqueraded.to");
    let rules = node.tunnels.iter().map(into).collect();
    add_base(table, "masqueraded", Hook::Postrouting, 110, rules);
    let own = |family| {
        by(OUT, None, Some(KeyAddress::Destination(family)), &format!("own{}", digit(family)))
    };
    let set = |word, family| format!("{word}{}", digit(family));
    let by_pod = |family| {
        let opener = Match::FlowOpener(family, name(&set("openers", family)));
        goto([opener], "masqueraded.to.pod")
    };
    add_chain(table, "masqueraded.to", Family::BOTH.map(by_pod).into());
    let of_node = |family| drop([source(family, &set("nodes", family))]);
    let to = vec![
        accept([own(Family::V4)]),
        accept([own(Family::V6)]),
        of_node(Family::V4),
        of_node(Family::V6),
    ];
    add_chain(table, "masqueraded.to.pod", to);
    add_addresses(table, "openers", &node.addresses(|_| true));
}

fn forward(table: &mut Ruleset, node: &Node) {
    let states = |established, related| Match::CtState(CtStates { established, related });
    let mut isolated = node.addresses(|port| port.is_isolated);
    isolated.retain(IpAddr::is_ipv4);
    let elements = |some: &BTreeSet<IpAddr>| -> Vec<Element> {
        some.iter().filter(|address| address.is_ipv4()).copied().map(Element::Address).collect()
    };
    add_set(table, "isolated.i4", SetType::Address(Family::V4), elements(&isolated));
    add_set(table, "p4", SetType::Address(Family::V4), elements(&node.friends));
    let entries = isolated.iter().map(|address| (*address, name("i.some"))).collect();
    let map = VerdictMap { family: Family::V4, comment: None, entries };
    table.maps.insert(name("ingress4"), map);
    add_chain(table, "i.some", vec![accept([source(Family::V4, "p4")]), drop([])]);
    let look_up = Finish::Dispatch(Field::Destination, Family::V4, name("ingress4"));
    let look_up = Rule { matches: vec![], log: None, finish: Some(look_up), comment: None };
    add_chain(table, "ingress4", vec![look_up, drop([])]);
    let own = |family| {
        by(OUT, None, Some(KeyAddress::Destination(family)), &format!("own{}", digit(family)))
    };
    let strays = vec![
        back([own(Family::V4)]),
        back([own(Family::V6)]),
        drop([by(OUT, None, None, "guarded")]),
    ];
    add_chain(table, "strays", strays);
    let rules = vec![
        accept([states(true, false)]),
        drop([Match::IcmpType(5)]),
        accept([states(false, true)]),
        jump([destination(Family::V4, "nodes4")], "tunnels"),
        jump([destination(Family::V6, "nodes6")], "tunnels"),
        jump([destination(Family::V4, "isolated.i4")], "ingress4"),
        jump([], "strays"),
    ];
    add_base(table, "forward", Hook::Forward, -1, rules);
}
