//! Which packets a rule matches.
//!
//! In: a rule, a frame, and packets whose outer ends are alike for this rule.
//! Out: the inner addresses and codes that the rule matches.
//! Never: a match that is not listed here. A new one does not compile.

use std::rc::Rc;

use ruleset::simulator::CtState;
use ruleset::{EtherType, Family, Field, FlowSide, Match, PortRange, Rule};

use crate::packet_set::PacketSet;
use crate::ranges::Ranges;
use crate::region::{Region, Slab};
use crate::sets::{Sets, UnknownSet, slabs};
use crate::space::{self, FlowSource, Frame};

/// The frame, and which end of the packets is the outer one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View {
    pub frame: Frame,
    /// The end whose addresses are [`PacketSet::outer`].
    pub outer: Field,
}

/// The inner addresses and codes that pass the matches so far.
struct Constraints {
    addresses: Ranges,
    codes: Ranges,
    /// From sets that hold both.
    pairs: Option<Rc<Region>>,
}

/// Splits packets so that the rules cannot distinguish outer addresses within a
/// part. A set with errors is reported later, by [`matching`].
pub(crate) fn split_by_outer<'a>(
    sets: &Sets<'a>,
    view: View,
    rules: &'a [Rule],
    part: PacketSet,
) -> Vec<PacketSet> {
    // A single outer address needs no split.
    if part.outer.only().is_some() {
        return vec![part];
    }
    let mut parts = vec![part];
    for condition in rules.iter().flat_map(|rule| &rule.matches) {
        for addresses in distinguished(sets, view, condition) {
            let split = |part: &PacketSet| [part.of(true, &addresses), part.but(true, &addresses)];
            parts = parts.iter().flat_map(split).flatten().collect();
        }
    }
    parts
}

/// The groups of outer addresses that a match distinguishes from all others.
fn distinguished<'a>(sets: &Sets<'a>, view: View, condition: &'a Match) -> Vec<Ranges> {
    let family = view.frame.family;
    match condition {
        Match::CtState(_)
        | Match::CtTranslated
        | Match::SourceIsLocal
        | Match::NotToHost
        | Match::Family(_)
        | Match::HopLimit(_)
        | Match::Protocol(_)
        | Match::NotOpening
        | Match::Port(..)
        | Match::Ports(_)
        | Match::SourcePort(..)
        | Match::Icmpv6Type(_)
        | Match::Key(..)
        | Match::EtherType(_)
        | Match::PriorityTag(_)
        | Match::NotProtocol(_)
        | Match::IcmpType(_)
        | Match::NotInit
        | Match::FlowOpener(..) => Vec::new(),
        // A packet of the frame is an end of its flow, or has one other end.
        Match::FlowSource(side, of, set) => match (*of == family, view.outer) {
            (true, Field::Source) => sets
                .flow_sources(set, *of, frame_side(view.frame, *side))
                .map_or(vec![], |sources| vec![(*sources).clone()]),
            (true, Field::Destination) | (false, _) => Vec::new(),
        },
        Match::Address(field, test) => match *field == view.outer && test.family() == family {
            true => sets.addresses(test).map_or(vec![], |set| vec![(*set).clone()]),
            false => Vec::new(),
        },
        Match::AddressPort(field, of, transport, set) => {
            match *field == view.outer && *of == family {
                true => sets
                    .address_ports(set, *of, *transport)
                    .map_or(vec![], |region| each(&region.addresses())),
                false => Vec::new(),
            }
        }
        Match::AddressPair(of, set) => match *of == family {
            true => sets
                .partners(set, *of, view.outer)
                .map_or(vec![], |known| known.keys().map(|key| Ranges::single(*key)).collect()),
            false => Vec::new(),
        },
    }
}

/// Each number as a range of its own. For sets of single addresses only.
fn each(addresses: &Ranges) -> Vec<Ranges> {
    addresses.iter().flat_map(|(first, last)| (first..=last).map(Ranges::single)).collect()
}

/// The inner addresses and codes that the rule matches, for packets whose outer
/// ends are alike. It may hold more than the region of `part`.
pub(crate) fn matching<'a>(
    sets: &Sets<'a>,
    view: View,
    rule: &'a Rule,
    part: &PacketSet,
) -> Result<Vec<Slab>, UnknownSet> {
    let Some(outer) = part.outer.first() else { return Ok(Vec::new()) };
    let (addresses, codes) = sets.everything(view.frame.family);
    let mut constraints =
        Constraints { addresses: addresses.clone(), codes: codes.clone(), pairs: None };
    for condition in &rule.matches {
        if !narrow(sets, view, condition, outer, &mut constraints)? {
            return Ok(Vec::new());
        }
    }
    let all = slabs(&constraints.addresses, &constraints.codes);
    Ok(match constraints.pairs {
        None => all,
        Some(pairs) => pairs.intersect(&Region::of(all)).slabs().to_vec(),
    })
}

/// Applies a match to the constraints. False if nothing matches any more.
fn narrow<'a>(
    sets: &Sets<'a>,
    View { frame, outer: outer_field }: View,
    condition: &'a Match,
    outer: u128,
    constraints: &mut Constraints,
) -> Result<bool, UnknownSet> {
    let family = frame.family;
    let no_codes = match condition {
        Match::CtState(states) => {
            return Ok(match frame.ct {
                CtState::New => false,
                CtState::Established => states.established,
                CtState::Related => states.related,
            });
        }
        Match::CtTranslated => return Ok(frame.translated),
        Match::SourceIsLocal => return Ok(frame.source_is_local),
        Match::NotToHost => return Ok(!frame.to_host),
        Match::Family(of) => return Ok(*of == family),
        Match::HopLimit(hops) => return Ok(family == Family::V6 && *hops == frame.hop_limit),
        Match::Protocol(number) => constraints.only_codes(&space::protocol(family, *number)),
        Match::NotOpening => constraints.only_codes(&space::tcp_midflow()),
        Match::NotInit => constraints.only_codes(&space::sctp_midflow()),
        Match::NotProtocol(number) => {
            let others = space::codes(family).subtract(&space::protocol(family, *number));
            constraints.only_codes(&others)
        }
        Match::IcmpType(number) => {
            // IPv6 has no such codes: there it is another protocol.
            let types = space::icmp_types([*number]);
            constraints.only_codes(&if family == Family::V4 { types } else { Ranges::empty() })
        }
        Match::Port(transport, PortRange(first, last)) => {
            constraints.only_codes(&space::ports(space::protocol_of(*transport), *first, *last))
        }
        Match::Ports(set) => constraints.only_codes(&sets.protocol_ports(set)?),
        Match::SourcePort(_, port) if frame.source_port != Some(*port) => return Ok(false),
        Match::SourcePort(transport, _) => {
            constraints.only_codes(&space::ports(space::protocol_of(*transport), 0, u16::MAX))
        }
        Match::Icmpv6Type(set) => {
            // IPv4 has no such codes: there it is another protocol.
            let types = sets.icmpv6_types(set)?;
            constraints.only_codes(&if family == Family::V6 { types } else { Ranges::empty() })
        }
        Match::Address(field, test) => {
            let addresses = sets.addresses(test)?;
            if test.family() != family {
                return Ok(false);
            }
            if *field == outer_field {
                return Ok(addresses.contains(outer));
            }
            constraints.only_addresses(&addresses)
        }
        Match::AddressPort(field, of, transport, set) => {
            let both = sets.address_ports(set, *of, *transport)?;
            if *of != family {
                return Ok(false);
            }
            match *field == outer_field {
                true => constraints.only_codes(&both.codes_of(outer)),
                false => constraints.only_pairs(&both),
            }
        }
        Match::AddressPair(of, set) => {
            let partners = sets.partners(set, *of, outer_field)?;
            if *of != family {
                return Ok(false);
            }
            constraints.only_addresses(partners.get(&outer).unwrap_or(&Ranges::empty()))
        }
        Match::FlowSource(side, of, set) => {
            let sources = sets.flow_sources(set, *of, frame_side(frame, *side))?;
            if *of != family {
                return Ok(false);
            }
            if outer_field == Field::Source {
                return Ok(sources.contains(outer));
            }
            constraints.only_addresses(&sources)
        }
        // No rule of this hook needs to know it.
        Match::FlowOpener(_, set) => return Err(UnknownSet::of(set)),
        Match::Key(fields, set) => return sets.exits.answer(frame.exit, fields, set),
        // This hook sees IP packets only, behind their tags.
        Match::EtherType(EtherType::Ipv4) => return Ok(family == Family::V4),
        Match::EtherType(EtherType::Ipv6) => return Ok(family == Family::V6),
        Match::EtherType(EtherType::Arp) | Match::PriorityTag(_) => return Ok(false),
    };
    Ok(!no_codes)
}

/// The source of a side of the packets' flow.
const fn frame_side(frame: Frame, side: FlowSide) -> FlowSource {
    match side {
        FlowSide::Original => frame.original,
        FlowSide::Reply => frame.reply,
    }
}

/// Each returns whether nothing is left.
impl Constraints {
    fn only_codes(&mut self, codes: &Ranges) -> bool {
        self.codes = self.codes.intersect(codes);
        self.codes.is_empty()
    }

    fn only_addresses(&mut self, addresses: &Ranges) -> bool {
        self.addresses = self.addresses.intersect(addresses);
        self.addresses.is_empty()
    }

    fn only_pairs(&mut self, pairs: &Rc<Region>) -> bool {
        let both = match &self.pairs {
            None => Rc::clone(pairs),
            Some(before) => Rc::new(before.intersect(pairs)),
        };
        let nothing = both.is_empty();
        self.pairs = Some(both);
        nothing
    }
}
