//! Mistakes in the table that the compiler makes.

use std::net::IpAddr;
use std::sync::Arc;

use ruleset::{
    AddressRange, AddressTest, Element, Family, Field, Finish, Match, Name, PortRange, Rule,
    Ruleset, Set, Store, Transport, Verdict,
};

use super::Mistake;

const fn mistake(
    name: &'static str,
    line: &'static str,
    plant: fn(&mut Ruleset) -> Option<()>,
) -> Mistake<Ruleset> {
    Mistake { name, line, plant }
}

pub const MISTAKES: &[Mistake<Ruleset>] = &[
    mistake("established flows are judged again", "26", |table| {
        forget(table, "forward", |one| matches!(one, Match::CtState(_)))
    }),
    mistake("related packets are judged", "10", |table| {
        forget(table, "forward", |one| matches!(one, Match::CtState(states) if states.related))
    }),
    mistake("redirects pass in known flows", "40", |table| {
        forget(table, "forward", |one| matches!(one, Match::IcmpType(5)))
    }),
    mistake("redirects of IPv6 pass in known flows", "40", |table| {
        forget(
            table,
            "six",
            |one| matches!(one, Match::Icmpv6Type(set) if set.as_str() == "redirects"),
        )
    }),
    mistake("redirects are asked for after related flows have passed", "40", |table| {
        let rules = chain(table, "forward")?;
        let at = |wanted: fn(&Match) -> bool| {
            rules.iter().position(|rule| rule.matches.iter().any(wanted))
        };
        let redirect = at(|one| matches!(one, Match::IcmpType(5)))?;
        let related = at(|one| matches!(one, Match::CtState(states) if states.related))?;
        rules.swap(redirect, related);
        Some(())
    }),
    mistake("router advertisements pass as neighbour discovery", "40", |table| {
        add(table, "nd", Element::Icmpv6Type(134))
    }),
    mistake("SCTP may be picked up from its middle", "32", |table| {
        forget(table, "forward", |one| matches!(one, Match::NotInit))
    }),
    mistake("a flow may be picked up from its middle", "32", |table| {
        forget(table, "forward", |one| matches!(one, Match::NotOpening))
    }),
    mistake("a pod isolated for ingress alone may pick up a flow", "32", |table| {
        forget(table, "midflow", |one| looks_at(one, Field::Source, "isolated.i4"))
    }),
    mistake("broadcast and multicast frames pass", "29", |table| {
        forget(table, "forward", |one| matches!(one, Match::NotToHost))
    }),
    mistake("the edges are open", "29", |table| chain(table, "edges")?.pop().map(|_| ())),
    mistake("neighbour discovery is dropped", "10", |table| {
        forget(table, "six", is_hop_limit)?;
        forget(table, "edges", is_hop_limit)
    }),
    mistake("neighbour advertisements are dropped", "10", |table| {
        let types = &mut table.sets.get_mut("nd")?.elements;
        types.remove(&Element::Icmpv6Type(136)).map(|_| ())
    }),
    mistake("neighbour discovery passes with any hop limit", "10", |table| {
        let rules = chain(table, "six")?;
        let is_it = |rule: &&mut Rule| rule.matches.iter().any(is_hop_limit);
        rules.iter_mut().find(is_it)?.matches.retain(|one| !is_hop_limit(one));
        Some(())
    }),
    mistake("every ICMPv6 passes", "10", |table| {
        chain(table, "six")?.insert(0, Rule::new([Match::Protocol(58)], Verdict::Accept));
        Some(())
    }),
    mistake("every ping of IPv4 passes", "10", |table| {
        chain(table, "forward")?.insert(0, Rule::new([Match::Protocol(1)], Verdict::Accept));
        Some(())
    }),
    mistake("listener discovery is dropped", "29", |table| {
        forget(table, "edges", |one| matches!(one, Match::Icmpv6Type(set) if set.as_str() == "mld"))
    }),
    mistake("packets to link-local addresses pass", "29", |table| {
        forget(table, "six", |one| in_range(one, Field::Destination, "fe80::1"))
    }),
    mistake("packets from link-local addresses pass", "29", |table| {
        forget(table, "six", |one| in_range(one, Field::Source, "fe80::1"))
    }),
    mistake("IPv6 multicast passes", "29", |table| {
        forget(table, "six", |one| in_range(one, Field::Destination, "ff02::1"))
    }),
    mistake("IPv4 multicast passes", "29", |table| {
        forget(table, "forward", |one| in_range(one, Field::Destination, "224.0.0.1"))
    }),
    mistake("packets to the broadcast address pass", "29", |table| {
        forget(table, "forward", |one| in_range(one, Field::Destination, "255.255.255.255"))
    }),
    mistake("multicast is one bit short", "29", |table| {
        edit(table, "forward", |one| {
            in_range(one, Field::Destination, "224.0.0.1").then(|| {
                let range = AddressRange::new(ip("224.0.0.0"), ip("231.255.255.255"));
                range.map(|range| *one = Match::Address(Field::Destination, AddressTest::In(range)))
            })?
        })
    }),
    mistake("an isolated pod's IPv4 address is not in the set", "DESIGN", |table| {
        remove(table, "isolated.i4", Element::Address(ip("10.0.0.2")))
    }),
    mistake("an isolated pod's IPv6 address is not in the set", "18", |table| {
        remove(table, "isolated.e6", Element::Address(ip("fd00::1")))
    }),
    mistake("a pod that no policy selects is isolated", "1", |table| {
        add(table, "isolated.i4", Element::Address(ip("10.0.0.6")))
    }),
    mistake("a pod of another node is isolated", "DESIGN", |table| {
        add(table, "isolated.e6", Element::Address(ip("fd00::4")))
    }),
    mistake("a pod has the chain of another", "DESIGN", |table| {
        let map = &mut table.maps.get_mut("ingress4")?.entries;
        let other = map.get(&ip("10.0.0.1"))?.clone();
        map.insert(ip("10.0.0.7"), other).map(|_| ())
    }),
    mistake("a pod has no chain", "DESIGN", |table| {
        table.maps.get_mut("egress6")?.entries.remove(&ip("fd00::7")).map(|_| ())
    }),
    mistake("a packet passes when no chain is found for its pod", "DESIGN", |table| {
        table.maps.get_mut("ingress4")?.entries.remove(&ip("10.0.0.2"))?;
        chain(table, "ingress4")?.pop().map(|_| ())
    }),
    mistake("allowed egress is accepted and skips ingress", "25", |table| {
        let rule = chain(table, "e.shop/cart.")?.first_mut()?;
        rule.finish = Some(Finish::Verdict(Verdict::Accept));
        Some(())
    }),
    mistake("egress is a goto instead of a jump", "25", |table| {
        let is_egress = |rule: &&mut Rule| rule.target().is_some_and(|to| to.as_str() == "egress4");
        let rule = chain(table, "forward")?.iter_mut().find(is_egress)?;
        rule.finish = Some(Finish::Verdict(Verdict::Goto(name("egress4"))));
        Some(())
    }),
    mistake("ingress is judged first and then accepted", "25", |table| {
        let rules = chain(table, "forward")?;
        let at = |to: &str| {
            rules.iter().position(|rule| rule.target().is_some_and(|name| name.as_str() == to))
        };
        let (egress, ingress) = (at("egress4")?, at("ingress4")?);
        rules.swap(egress, ingress);
        Some(())
    }),
    mistake("the drop is before the last policy", "25", |table| {
        let rules = chain(table, "i.dev/2-policies.")?;
        let drop = rules.pop()?;
        let last = rules.iter().rposition(|rule| by_policy(rule, "dev/sctp"))?;
        rules.insert(last, drop);
        Some(())
    }),
    mistake("the drop at the end is missing", "4", |table| {
        chain(table, "i.dev/2-policies.")?.pop().map(|_| ())
    }),
    mistake("a pod does not reach itself", "24", |table| {
        remove(table, "self4", Element::AddressPair(ip("10.0.0.2"), ip("10.0.0.2")))
    }),
    mistake("a pod does not reach itself over IPv6", "24", |table| {
        forget(table, "ingress6", |one| matches!(one, Match::AddressPair(..)))
    }),
    mistake("another pod counts as the pod itself", "24", |table| {
        add(table, "self4", Element::AddressPair(ip("10.0.0.6"), ip("10.0.0.2")))
    }),
    mistake("an except is ignored", "17", |table| {
        edit(table, "i.dev/web.", |one| {
            in_range(one, Field::Source, "203.0.113.1").then(|| {
                let range = AddressRange::new(ip("203.0.113.0"), ip("203.0.113.255"));
                range.map(|range| *one = Match::Address(Field::Source, AddressTest::In(range)))
            })?
        })
    }),
    mistake("a block ends one address early", "ipBlock", |table| {
        edit(table, "i.dev/web.", |one| {
            in_range(one, Field::Source, "198.18.10.1").then(|| {
                let range = AddressRange::new(ip("198.18.10.0"), ip("198.18.10.254"));
                range.map(|range| *one = Match::Address(Field::Source, AddressTest::In(range)))
            })?
        })
    }),
    mistake("a peer's IPv6 addresses are forgotten", "23", |table| {
        let is_v6 = |one: &Match| matches!(one, Match::Address(Field::Source, test) if test.family() == Family::V6);
        forget(table, "i.shop/cart.", is_v6)
    }),
    mistake("0.0.0.0/0 includes IPv6", "18", |table| {
        edit_rule(table, "e.dev/web.", |rule| {
            let found = rule.matches.iter().position(|one| *one == Match::Family(Family::V4))?;
            rule.matches.remove(found);
            Some(())
        })
    }),
    mistake("UDP is taken for TCP", "7", |table| {
        let udp = |element: &Element| matches!(element, Element::ProtocolPort(Transport::Udp, _));
        let ports = table.stored_in(Store::Ports).find(|(.., set)| set.elements.iter().any(udp));
        let name = ports?.0.clone();
        let elements = &mut table.sets.get_mut(&name)?.elements;
        let Some(&Element::ProtocolPort(_, port)) = elements.iter().find(|one| udp(one)) else {
            return None;
        };
        elements.remove(&Element::ProtocolPort(Transport::Udp, port));
        elements.insert(Element::ProtocolPort(Transport::Tcp, port));
        Some(())
    }),
    mistake("TCP is taken for UDP", "3", |table| {
        swap_transport(table, Transport::Tcp, Transport::Udp)
    }),
    mistake("ports of one rule go with peers of another", "8", |table| {
        edit(table, "i.dev/web.", |one| {
            let is = matches!(one, Match::Ports(_));
            is.then(|| *one = Match::Port(Transport::Tcp, PortRange(80, 90)))
        })
    }),
    mistake("endPort is left out", "9", |table| {
        edit(table, "i.dev/web.", |one| {
            let is = *one == Match::Port(Transport::Tcp, PortRange(80, 90));
            is.then(|| *one = Match::Port(Transport::Tcp, PortRange(80, 89)))
        })
    }),
    mistake("port is left out of its range", "9", |table| {
        edit(table, "i.dev/web.", |one| {
            let is = *one == Match::Port(Transport::Tcp, PortRange(80, 90));
            is.then(|| *one = Match::Port(Transport::Tcp, PortRange(81, 90)))
        })
    }),
    mistake("a port is not checked", "6", |table| {
        edit_rule(table, "i.dev/web.", |rule| {
            let found = rule.matches.iter().position(|one| matches!(one, Match::Port(..)))?;
            rule.matches.remove(found);
            Some(())
        })
    }),
    mistake("no ports means TCP alone", "6", |table| {
        edit_rule(table, "e.shop/cart.", |rule| {
            let empty = rule.matches.is_empty() && rule.allows();
            empty.then(|| rule.matches.push(Match::Protocol(6)))
        })
    }),
    mistake("a port without a number allows every protocol", "6", |table| {
        edit_rule(table, "i.shop/cart.", |rule| {
            let found = rule.matches.iter().position(|one| *one == Match::Protocol(6))?;
            rule.matches.remove(found);
            Some(())
        })
    }),
    mistake("SCTP alone does not isolate TCP", "9", |table| {
        let all_tcp = Rule::new([Match::Protocol(6)], Verdict::Accept);
        chain(table, "i.dev/2-policies.")?.insert(0, all_tcp);
        Some(())
    }),
    mistake("a peer that selects nobody allows anyone", "13", |table| {
        let empty: Vec<Name> = table
            .sets
            .iter()
            .filter(|(name, set)| set.elements.is_empty() && name.as_str().starts_with("p4."))
            .map(|(name, _)| name.clone())
            .collect();
        edit_rule(table, "i.dev/2-policies.", |rule| {
            let of_nobody = |one: &Match| matches!(one, Match::Address(_, AddressTest::Set(_, set)) if empty.contains(set));
            let found = rule.matches.iter().position(of_nobody)?;
            rule.matches.remove(found);
            Some(())
        })
    }),
    mistake("an empty rule allows nothing", "4", |table| {
        let rules = chain(table, "e.shop/cart.")?;
        let found = rules.iter().position(|rule| rule.matches.is_empty() && rule.allows())?;
        rules.remove(found);
        Some(())
    }),
    mistake("a port name means another pod's number", "14", |table| {
        edit(table, "i.dev/web.", |one| {
            let is = *one == Match::Port(Transport::Tcp, PortRange(80, 80));
            is.then(|| *one = Match::Port(Transport::Tcp, PortRange(9090, 9090)))
        })
    }),
    mistake("a peer's named port has another number", "14", |table| {
        let set = set_with(table, "n4.", &Element::AddressPort(ip("10.0.0.4"), 9090))?;
        set.elements.remove(&Element::AddressPort(ip("10.0.0.4"), 9090));
        set.elements.insert(Element::AddressPort(ip("10.0.0.4"), 8080));
        Some(())
    }),
    mistake("egress to a port name allows its number everywhere", "15", |table| {
        edit(table, "e.dev/cache.", |one| {
            let is = matches!(one, Match::AddressPort(_, Family::V4, ..));
            is.then(|| *one = Match::Port(Transport::Tcp, PortRange(8081, 8081)))
        })
    }),
    mistake("a pod that ended is still a peer", "22", |table| {
        insert_beside(table, "10.0.0.4", "10.0.0.5")
    }),
    mistake("a pod on the node's network is a peer", "20", |table| {
        insert_beside(table, "10.0.0.4", "192.168.0.2")
    }),
    mistake("a peer's address is missing", "DESIGN", |table| {
        let set = set_with(table, "p4.", &Element::Address(ip("10.0.0.4")))?;
        set.elements.remove(&Element::Address(ip("10.0.0.4"))).map(|_| ())
    }),
    mistake("source and destination are swapped", "DESIGN", |table| {
        edit(table, "i.dev/web.", |one| match one {
            Match::Address(field @ Field::Source, _) => {
                *field = Field::Destination;
                Some(())
            }
            _ => None,
        })
    }),
    mistake("strangers are dropped", "DESIGN", |table| {
        chain(table, "unknown")?.push(Rule::new([], Verdict::Drop));
        Some(())
    }),
    mistake("IPv6 is not judged", "18", |table| {
        forget(table, "forward", |one| *one == Match::Family(Family::V6))
    }),
    mistake("ingress of IPv4 is not judged", "DESIGN", |table| {
        forget(table, "forward", |one| looks_at(one, Field::Destination, "isolated.i4"))
    }),
    mistake("there is no base chain", "DESIGN", |table| {
        Arc::make_mut(table.chains.get_mut("forward")?).base.take().map(|_| ())
    }),
];

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address literal")
}

fn name(text: &str) -> Name {
    Name::new(text).expect("a name literal")
}

/// The rules of the chain whose name starts with this.
fn chain<'a>(table: &'a mut Ruleset, start: &str) -> Option<&'a mut Vec<Rule>> {
    let name = table.chains.keys().find(|name| name.as_str().starts_with(start)).cloned()?;
    table.chains.get_mut(&name).map(|chain| &mut Arc::make_mut(chain).rules)
}

/// Changes the first match that allows the change.
fn edit(
    table: &mut Ruleset,
    start: &str,
    mut change: impl FnMut(&mut Match) -> Option<()>,
) -> Option<()> {
    chain(table, start)?.iter_mut().flat_map(|rule| &mut rule.matches).find_map(&mut change)
}

/// Changes the first rule that allows the change.
fn edit_rule(
    table: &mut Ruleset,
    start: &str,
    mut change: impl FnMut(&mut Rule) -> Option<()>,
) -> Option<()> {
    chain(table, start)?.iter_mut().find_map(&mut change)
}

/// Removes all rules that have such a match.
fn forget(table: &mut Ruleset, start: &str, wrong: impl Fn(&Match) -> bool) -> Option<()> {
    let rules = chain(table, start)?;
    let before = rules.len();
    rules.retain(|rule| !rule.matches.iter().any(&wrong));
    (rules.len() < before).then_some(())
}

/// Only neighbour discovery asks for one.
fn is_hop_limit(one: &Match) -> bool {
    matches!(one, Match::HopLimit(_))
}

fn looks_at(one: &Match, field: Field, set: &str) -> bool {
    matches!(one, Match::Address(of, AddressTest::Set(_, name)) if *of == field && name.as_str() == set)
}

fn in_range(one: &Match, field: Field, address: &str) -> bool {
    matches!(one, Match::Address(of, AddressTest::In(range)) if *of == field && range.contains(ip(address)))
}

fn by_policy(rule: &Rule, policy: &str) -> bool {
    rule.comment.as_ref().is_some_and(|comment| comment.as_str().starts_with(policy))
}

fn remove(table: &mut Ruleset, set: &str, element: Element) -> Option<()> {
    table.sets.get_mut(set)?.elements.remove(&element).map(|_| ())
}

fn add(table: &mut Ruleset, set: &str, element: Element) -> Option<()> {
    table.sets.get_mut(set)?.elements.insert(element).is_none().then_some(())
}

/// The first set whose name starts with this and which contains the element.
fn set_with<'a>(table: &'a mut Ruleset, start: &str, element: &Element) -> Option<&'a mut Set> {
    let is =
        |name: &Name, set: &Set| name.as_str().starts_with(start) && set.elements.contains(element);
    let name = table.sets.iter().find(|(name, set)| is(name, set))?.0.clone();
    table.sets.get_mut(&name)
}

/// Adds an address to the peer sets that contain another address.
fn insert_beside(table: &mut Ruleset, beside: &str, address: &str) -> Option<()> {
    let set = set_with(table, "p4.", &Element::Address(ip(beside)))?;
    set.elements.insert(Element::Address(ip(address))).is_none().then_some(())
}

fn swap_transport(table: &mut Ruleset, from: Transport, to: Transport) -> Option<()> {
    edit(table, "i.dev/web.", |one| match one {
        Match::Port(transport, _) if *transport == from => {
            *transport = to;
            Some(())
        }
        _ => None,
    })
}
