//! The frames to compare.
//!
//! In: the ruleset and the node's tunnels. Out: all frames that rules or specification
//! can distinguish, each with the codes of the packets to compare in it.
//! Never: addresses.
//!
//! Whether a packet was translated is a part of the frame. It matters for few codes:
//! those of tunnels, where the specification asks, and those that a rule which asks
//! matches. A packet with another code meets the same rules translated or not, so it
//! is compared once. The source port is a part of the frame, too: one that rules or
//! specification know is compared with the codes of its protocol.

use std::collections::BTreeSet;

use policy::{NodeNetwork, Tunnel};
use ruleset::simulator::{CtState, Packet};
use ruleset::{Element, Family, Finish, Hook, Match, Name, PortRange, Rule, Ruleset, Transport};

use crate::binding::bases;
use crate::expected::{NEIGHBOUR_HOP_LIMIT, tunnels};
use crate::ranges::Ranges;
use crate::space::{self, FlowSource, Frame};

/// All frames of a family at a hook.
pub(crate) fn frames_at(
    hook: Hook,
    family: Family,
    ruleset: &Ruleset,
    network: &NodeNetwork,
) -> Vec<(Frame, Ranges)> {
    // The usual hop limit represents all that no rule mentions.
    let mut hop_limits = vec![Packet::HOP_LIMIT];
    if family == Family::V6 {
        let rules = ruleset.chains.values().flat_map(|chain| &chain.rules);
        let mentioned = rules.flat_map(|rule| &rule.matches).filter_map(|one| match one {
            Match::HopLimit(hops) => Some(*hops),
            Match::CtState(_)
            | Match::CtTranslated
            | Match::SourceIsLocal
            | Match::NotToHost
            | Match::Family(_)
            | Match::Protocol(_)
            | Match::NotOpening
            | Match::Address(..)
            | Match::Port(..)
            | Match::Ports(_)
            | Match::SourcePort(..)
            | Match::AddressPort(..)
            | Match::AddressPair(..)
            | Match::FlowSource(..)
            | Match::FlowOpener(..)
            | Match::Icmpv6Type(_)
            | Match::Key(..)
            | Match::EtherType(_)
            | Match::PriorityTag(_)
            | Match::NotProtocol(_)
            | Match::IcmpType(_)
            | Match::NotInit => None,
        });
        let mentioned: BTreeSet<u8> = mentioned.chain([NEIGHBOUR_HOP_LIMIT]).collect();
        hop_limits = (0..=u8::MAX).filter(|hops| !mentioned.contains(hops)).take(1).collect();
        if !mentioned.contains(&Packet::HOP_LIMIT) {
            hop_limits = vec![Packet::HOP_LIMIT];
        }
        hop_limits.extend(mentioned);
    }
    let translated = of_translated(hook, family, ruleset, network);
    let mut groups = vec![(false, None, space::codes(family)), (true, None, translated.clone())];
    for (transport, port) in source_ports(hook, ruleset, network) {
        let codes = space::protocol(family, transport.number());
        groups.push((true, Some(port), codes.intersect(&translated)));
        groups.push((false, Some(port), codes));
    }
    let sources = of_sources(hook, ruleset, network);
    let mut frames = Vec::new();
    for (hop_limit, source_is_local) in
        hop_limits.into_iter().flat_map(|hops| sources.iter().map(move |local| (hops, *local)))
    {
        for &(translated, source_port, ref codes) in &groups {
            let frame = |ct, to_host, [original, reply]: [FlowSource; 2]| {
                let frame = Frame {
                    family,
                    ct,
                    translated,
                    source_is_local,
                    source_port,
                    original,
                    reply,
                    to_host,
                    hop_limit,
                    exit: 0,
                };
                (frame, codes.clone())
            };
            let all = |ct, to_host| {
                let sources = flow_sources(hook, family, ruleset, ct);
                sources.into_iter().map(move |sources| frame(ct, to_host, sources))
            };
            frames.extend(all(CtState::New, true));
            for ct in [CtState::Established, CtState::Related] {
                frames.extend([true, false].into_iter().flat_map(|to_host| all(ct, to_host)));
            }
            frames.extend(all(CtState::New, false));
        }
    }
    frames
}

/// Whether sources are addresses of the node: where the specification asks, on the node's
/// output hook, and where rules do.
fn of_sources(hook: Hook, ruleset: &Ruleset, network: &NodeNetwork) -> Vec<bool> {
    let is_nodes_output = hook == Hook::Output && network.inside.is_none();
    let mut rules = rules_at(hook, ruleset, None).into_iter();
    let is_asked = rules.any(|rule| rule.matches.contains(&Match::SourceIsLocal));
    if is_nodes_output || is_asked { vec![false, true] } else { vec![false] }
}

/// The source ports that somebody asks for.
fn source_ports(
    hook: Hook,
    ruleset: &Ruleset,
    network: &NodeNetwork,
) -> BTreeSet<(Transport, u16)> {
    let asked = rules_at(hook, ruleset, None).into_iter().flat_map(|rule| &rule.matches);
    let asked = asked.filter_map(|condition| match condition {
        Match::SourcePort(transport, port) => Some((*transport, *port)),
        _ => None,
    });
    let of_tunnels = network.tunnels.keys().filter_map(|tunnel| match *tunnel {
        Tunnel::Udp(port) => Some((Transport::Udp, port)),
        Tunnel::Protocol(_) => None,
    });
    asked.chain(of_tunnels).collect()
}

/// The sources of the flows to try. They matter where rules ask, and for what is about
/// a known flow.
fn flow_sources(
    hook: Hook,
    family: Family,
    ruleset: &Ruleset,
    ct: CtState,
) -> Vec<[FlowSource; 2]> {
    let mut asked = ct == CtState::Related;
    let mut sources = vec![FlowSource::Own, FlowSource::Nobody];
    for condition in rules_at(hook, ruleset, Some(ct)).iter().flat_map(|rule| &rule.matches) {
        let Match::FlowSource(_, _, set) = condition else { continue };
        asked = true;
        let elements = ruleset.sets.get(set).into_iter().flat_map(|set| &set.elements);
        sources.extend(elements.filter_map(|element| match element {
            Element::AddressPair(one, other) if one != other => {
                space::of_family(family, *other).map(FlowSource::Other)
            }
            _ => None,
        }));
    }
    if !asked {
        return vec![[FlowSource::Nobody; 2]];
    }
    sources.sort_unstable();
    sources.dedup();
    let each = |original: &FlowSource| {
        let original = *original;
        sources.iter().map(move |reply| [original, *reply]).collect::<Vec<_>>()
    };
    sources.iter().flat_map(each).collect()
}

/// The codes for which it matters whether a packet was translated.
fn of_translated(hook: Hook, family: Family, ruleset: &Ruleset, network: &NodeNetwork) -> Ranges {
    let asking = rules_at(hook, ruleset, None)
        .into_iter()
        .filter(|rule| rule.matches.contains(&Match::CtTranslated));
    let codes = asking.map(|rule| of_rule(family, rule)).chain([tunnels(family, network)]);
    Ranges::union_of(&codes.collect::<Vec<_>>())
}

/// All codes that a rule can match, and maybe others.
fn of_rule(family: Family, rule: &Rule) -> Ranges {
    let all = space::codes(family);
    rule.matches.iter().fold(all, |codes, condition| match condition {
        Match::Protocol(number) => codes.intersect(&space::protocol(family, *number)),
        Match::SourcePort(transport, _) => {
            codes.intersect(&space::protocol(family, transport.number()))
        }
        Match::Port(transport, PortRange(first, last)) => {
            codes.intersect(&space::ports(space::protocol_of(*transport), *first, *last))
        }
        _ => codes,
    })
}

/// The rules that packets of a hook can reach, those of one state if it is
/// given.
fn rules_at(hook: Hook, ruleset: &Ruleset, state: Option<CtState>) -> Vec<&Rule> {
    let can_hold = |one: &Match| match (one, state) {
        (Match::CtState(states), Some(CtState::Established)) => states.established,
        (Match::CtState(states), Some(CtState::Related)) => states.related,
        (Match::CtState(_), Some(CtState::New)) => false,
        (_, _) => true,
    };
    let mut waiting = bases(ruleset, hook);
    let mut seen: BTreeSet<&Name> = waiting.iter().copied().collect();
    let mut rules = Vec::new();
    while let Some(chain) = waiting.pop().and_then(|name| ruleset.chains.get(name)) {
        for rule in chain.rules.iter().filter(|rule| rule.matches.iter().all(can_hold)) {
            rules.push(rule);
            let mut next: Vec<&Name> = rule.target().into_iter().collect();
            if let Some(Finish::Dispatch(_, _, name)) = &rule.finish {
                next.extend(
                    ruleset.maps.get(name).into_iter().flat_map(|map| map.entries.values()),
                );
            }
            waiting.extend(next.into_iter().filter(|name| seen.insert(name)));
        }
    }
    rules
}
