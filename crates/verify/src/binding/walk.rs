//! Sends one packet through the chains of a hook.
//!
//! In: a ruleset, a hook, a packet. Out: the outcome, and the rule that decides.
//! Never: `ruleset::simulator`'s code. This is a second opinion on the same data,
//! and tests compare the two. It follows the kernel (`nft_do_chain`,
//! net/netfilter/nf_tables_core.c).

use std::net::IpAddr;

use ruleset::simulator::{Content, CtState, Outcome, Packet, RulePosition, Tag};
use ruleset::{
    AddressTest, Element, EtherType, Family, Finish, FlowSide, Hook, InterfaceField, Key,
    KeyAddress, KeyFields, MacField, Match, Name, PortRange, Rule, Ruleset, Set, SetType,
    TableFamily, Transport, Verdict,
};

use super::looks::{self, Parts};
use crate::error::{MAX_LEVELS, VerifyError};

/// What happens to a packet.
pub(crate) struct Met<'a> {
    pub outcome: Outcome,
    /// The rule that decides. `None`: the packet leaves the base chains.
    pub decided: Option<(&'a Name, usize)>,
    /// What the rules looked at. Packets that agree in these parts fare alike.
    pub looked: Parts,
}

/// How a chain ends.
enum End<'a> {
    Accepted(&'a Name, usize),
    Dropped(&'a Name, usize),
    Returned,
}

/// A hook of a ruleset to send packets through.
pub(crate) struct Walk<'a> {
    ruleset: &'a Ruleset,
    bases: Vec<&'a Name>,
}

impl<'a> Walk<'a> {
    pub fn new(ruleset: &'a Ruleset, hook: Hook) -> Self {
        Self { ruleset, bases: bases(ruleset, hook) }
    }

    /// Sends a packet through the base chains, in the order of priority.
    pub fn send(&self, packet: &Packet) -> Result<Met<'a>, VerifyError> {
        let mut met = Met { outcome: Outcome::Accept, decided: None, looked: Parts::default() };
        if self.ruleset.family == TableFamily::Inet && packet.frame.content != Content::Ip {
            return Ok(met);
        }
        for name in &self.bases {
            match self.chain(name, packet, 0, &mut met.looked)? {
                End::Dropped(name, rule) => {
                    return Ok(Met { outcome: Outcome::Drop, decided: Some((name, rule)), ..met });
                }
                End::Accepted(name, rule) => met.decided = Some((name, rule)),
                End::Returned => met.decided = None,
            }
        }
        Ok(met)
    }

    fn chain(
        &self,
        name: &'a Name,
        packet: &Packet,
        level: u8,
        looked: &mut Parts,
    ) -> Result<End<'a>, VerifyError> {
        let Some(chain) = self.ruleset.chains.get(name) else { return Ok(End::Returned) };
        for (index, rule) in chain.rules.iter().enumerate() {
            let at = || RulePosition { chain: name.clone(), rule: index };
            if !self.holds(rule, packet, at, looked)? {
                continue;
            }
            let (to, back) = match &rule.finish {
                None => continue,
                Some(Finish::Verdict(Verdict::Accept)) => return Ok(End::Accepted(name, index)),
                Some(Finish::Verdict(Verdict::Drop)) => return Ok(End::Dropped(name, index)),
                Some(Finish::Verdict(Verdict::Return)) => return Ok(End::Returned),
                Some(Finish::Verdict(Verdict::Jump(to))) => (to, true),
                Some(Finish::Verdict(Verdict::Goto(to))) => (to, false),
                Some(Finish::Dispatch(field, family, map)) => {
                    let known = self.ruleset.maps.get(map).filter(|map| map.family == *family);
                    let map = known.ok_or_else(|| unknown(at(), map))?;
                    if !is(packet, *family) {
                        continue;
                    }
                    looked.insert(looks::end(*field));
                    match map.entries.get(&field.of(packet.source, packet.destination)) {
                        Some(to) => (to, false),
                        None => continue,
                    }
                }
            };
            if !self.ruleset.chains.contains_key(to) {
                return Err(VerifyError::UnknownChain { at: at(), chain: to.clone() });
            }
            if level + 1 >= MAX_LEVELS {
                return Err(VerifyError::TooDeep { at: at() });
            }
            match self.chain(to, packet, level + 1, looked)? {
                End::Returned if back => {}
                end => return Ok(end),
            }
        }
        Ok(End::Returned)
    }

    /// Whether a rule's matches hold.
    fn holds(
        &self,
        rule: &Rule,
        packet: &Packet,
        at: impl Fn() -> RulePosition,
        looked: &mut Parts,
    ) -> Result<bool, VerifyError> {
        if rule.log.is_some() && rule.finish.is_some() {
            return Err(VerifyError::LimitedVerdict { at: at() });
        }
        for condition in &rule.matches {
            let applies = condition.family().is_none_or(|family| is(packet, family))
                && condition.protocol().is_none_or(|number| has_protocol(packet, number));
            if applies {
                looked.extend(looks::parts_of(condition));
            }
            let held = match test(condition, packet) {
                Test::Known(held) => held,
                Test::In(name, types, element) => {
                    let set = self.ruleset.sets.get(name);
                    let set = set.filter(|set| types.contains(&set.set_type));
                    let set = set.ok_or_else(|| unknown(at(), name))?;
                    element.is_some_and(|element| has(set, &element))
                }
            };
            if !held {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// The base chains of a hook, in the order in which a packet passes them.
pub(crate) fn bases(ruleset: &Ruleset, hook: Hook) -> Vec<&Name> {
    let chains = ruleset.chains.iter();
    let of_hook = chains.filter_map(|(name, chain)| {
        chain.base.filter(|base| base.hook == hook).map(|base| (base.priority, name))
    });
    let mut bases: Vec<(i32, &Name)> = of_hook.collect();
    bases.sort_unstable();
    bases.into_iter().map(|(_, name)| name).collect()
}

fn unknown(at: RulePosition, name: &Name) -> VerifyError {
    VerifyError::UnknownSet { at, name: name.clone() }
}

fn has(set: &Set, element: &Element) -> bool {
    let Element::Address(address) = element else { return set.elements.contains(element) };
    set.elements.contains(element)
        || set
            .elements
            .iter()
            .any(|one| matches!(one, Element::Range(range) if range.contains(*address)))
}

/// What a match asks.
enum Test<'a> {
    Known(bool),
    /// Whether a set of one of these types has this. `None`: the packet lacks it.
    In(&'a Name, [SetType; 2], Option<Element>),
}

fn test<'a>(condition: &'a Match, packet: &Packet) -> Test<'a> {
    let frame = &packet.frame;
    let address = |field: ruleset::Field| field.of(packet.source, packet.destination);
    let one = |set, of, element| Test::In(set, [of; 2], element);
    Test::Known(match condition {
        Match::CtState(states) => match packet.ct {
            CtState::New => false,
            CtState::Established => states.established,
            CtState::Related => states.related,
        },
        Match::CtTranslated => is_ip(packet) && packet.translated,
        Match::SourceIsLocal => is_ip(packet) && packet.source_is_local,
        Match::NotToHost => !packet.to_host,
        Match::Family(family) => is(packet, *family),
        Match::HopLimit(hops) => is(packet, Family::V6) && packet.hop_limit == *hops,
        Match::Protocol(number) => has_protocol(packet, *number),
        Match::NotProtocol(number) => is_ip(packet) && packet.protocol != *number,
        Match::NotOpening => {
            is_ip(packet)
                && packet.protocol == Transport::Tcp.number()
                && packet.tcp_flags.is_some_and(|flags| !flags.open())
        }
        Match::NotInit => {
            is_ip(packet)
                && packet.protocol == Transport::Sctp.number()
                && packet.sctp_chunk.is_some_and(|chunk| chunk != Match::SCTP_INIT)
        }
        Match::IcmpType(number) => {
            is(packet, Family::V4)
                && packet.protocol == Match::ICMP
                && packet.icmp_type == Some(*number)
        }
        Match::EtherType(of) => frame.tag.is_none() && carries(packet, *of),
        Match::PriorityTag(tag_type) => frame.tag == Some(Tag { tag_type: *tag_type, vlan: 0 }),
        Match::Address(field, AddressTest::In(range)) => {
            is_ip(packet) && range.contains(address(*field))
        }
        Match::Port(transport, PortRange(first, last)) => {
            port(packet, *transport).is_some_and(|port| (*first..=*last).contains(&port))
        }
        Match::SourcePort(transport, port) => {
            has_protocol(packet, transport.number()) && packet.source_port == Some(*port)
        }
        Match::Address(field, AddressTest::Set(family, set)) => {
            let element = is(packet, *family).then(|| Element::Address(address(*field)));
            let types = [SetType::Address(*family), SetType::AddressRange(*family)];
            return Test::In(set, types, element);
        }
        Match::Ports(set) => {
            let found = Transport::ALL.into_iter().find_map(|transport| {
                Some(Element::ProtocolPort(transport, port(packet, transport)?))
            });
            return one(set, SetType::ProtocolPort, found);
        }
        Match::AddressPort(field, family, transport, set) => {
            let port = port(packet, *transport).filter(|_| is(packet, *family));
            let element = port.map(|port| Element::AddressPort(address(*field), port));
            return one(set, SetType::AddressPort(*family), element);
        }
        Match::AddressPair(family, set) => {
            let pair = Element::AddressPair(packet.source, packet.destination);
            let element = is(packet, *family).then_some(pair);
            return one(set, SetType::AddressPair(*family), element);
        }
        Match::FlowSource(side, family, set) => {
            let [original, reply] = packet.flow;
            let of_flow = match side {
                FlowSide::Original => original,
                FlowSide::Reply => reply,
            };
            let pair = of_flow.map(|other| Element::AddressPair(packet.source, other));
            return one(set, SetType::AddressPair(*family), pair.filter(|_| is(packet, *family)));
        }
        Match::FlowOpener(family, set) => {
            let [opener, _] = packet.flow;
            let element = opener.map(Element::Address).filter(|_| is(packet, *family));
            return one(set, SetType::Address(*family), element);
        }
        Match::Icmpv6Type(set) => {
            let applies = is(packet, Family::V6) && packet.protocol == Match::ICMPV6;
            let number = packet.icmpv6_type.filter(|_| applies);
            return one(set, SetType::Icmpv6Type, number.map(Element::Icmpv6Type));
        }
        Match::Key(fields, set) => return one(set, fields.set_type(), key(fields, packet)),
    })
}

fn is_ip(packet: &Packet) -> bool {
    packet.frame.content == Content::Ip
}

fn is(packet: &Packet, family: Family) -> bool {
    is_ip(packet) && packet.family() == family
}

fn has_protocol(packet: &Packet, number: u8) -> bool {
    is_ip(packet) && packet.protocol == number
}

fn carries(packet: &Packet, of: EtherType) -> bool {
    match (of, packet.frame.content) {
        (EtherType::Ipv4, Content::Ip) => packet.family() == Family::V4,
        (EtherType::Ipv6, Content::Ip) => packet.family() == Family::V6,
        (EtherType::Arp, content) => matches!(content, Content::Arp(_)),
        (EtherType::Ipv4 | EtherType::Ipv6, Content::Arp(_) | Content::Other) => false,
    }
}

fn port(packet: &Packet, transport: Transport) -> Option<u16> {
    let applies = is_ip(packet) && packet.protocol == transport.number();
    packet.destination_port.filter(|_| applies)
}

/// The element that a packet asks for. `None` if the packet lacks one of the fields.
fn key(fields: &KeyFields, packet: &Packet) -> Option<Element> {
    let frame = &packet.frame;
    let arp = match frame.content {
        Content::Arp(arp) => Some(arp),
        Content::Ip | Content::Other => None,
    };
    let interface = fields.interface.map(|of| match of {
        InterfaceField::In => frame.in_interface,
        InterfaceField::Out => frame.out_interface,
    });
    let mac = match fields.mac {
        None => None,
        Some(MacField::Source) => Some(frame.source_mac),
        Some(MacField::Destination) => Some(frame.destination_mac),
        Some(MacField::ArpSender) => Some(arp?.sender_mac),
    };
    let of = |family, address| is(packet, family).then_some(address);
    let address = match fields.address {
        None => None,
        Some(KeyAddress::Source(family)) => Some(of(family, packet.source)?),
        Some(KeyAddress::Destination(family)) => Some(of(family, packet.destination)?),
        Some(KeyAddress::ArpSender) => Some(IpAddr::V4(arp?.sender)),
        Some(KeyAddress::Target) => Some(IpAddr::V6(packet.target.filter(|_| is_ip(packet))?)),
    };
    Some(fields.element(Key { interface, mac, address }))
}
