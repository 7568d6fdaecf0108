//! What the rules of one policy allow.
//!
//! In: one policy, one direction, the numbers of port names (ingress).
//! Out: for each rule the conditions under which a packet passes, and the
//! sets that these look into. Never: a peer of one rule with a port of another.

use std::collections::BTreeSet;
use std::sync::Arc;

use policy::{Direction, IpBlock, NetworkPolicy, Peer, Peers, Ports, Protocol, Rule};
use ruleset::{AddressTest, Family, Field, Match, Name};

use crate::blocks;
use crate::naming::{Named, Naming};
use crate::ports::{self, PortMatch, transport};
use crate::price::{self, Form};
use crate::sets::{NamedPorts, PodsPeer, SetSource, Sources};
use crate::signature::{self, ResolvedPorts};
use together::Together;

/// Up to this many ranges of a rule's ipBlocks become one rule each. More become
/// one interval set.
pub(crate) const MAX_INLINE_RANGES: usize = 3;

/// What one policy allows in one direction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grants {
    /// Conditions, each with the index of the API rule that it comes from.
    pub conditions: Vec<(usize, Vec<Match>)>,
    /// The sets that the conditions look into.
    pub sources: Sources,
    /// Names that two of these sets would have. Then only one is there, and the grants
    /// must be made again with other names.
    pub shared: BTreeSet<Name>,
}

/// Grants while they are made.
struct Making<'n> {
    form: Form,
    conditions: Vec<(usize, Vec<Match>)>,
    sets: Named<'n>,
}

/// One alternative of a rule's peers.
enum PeerMatch {
    Anyone,
    Pods(PodsPeer),
    Blocks(Family, AddressTest),
}

/// The grants of a policy. `resolved` matters for ingress only, where the
/// destination is the pod itself. For egress the destination is the peer.
///
/// A policy for which the plain form is too large has the compact one in any case.
pub fn of(
    policy: &NetworkPolicy,
    direction: Direction,
    resolved: &ResolvedPorts,
    naming: &Naming,
    form: Form,
) -> Grants {
    let rules = policy.rules(direction).unwrap_or_default();
    let form = price::form(rules, direction, resolved, form);
    let sets = Named { naming, sources: Sources::new(), shared: BTreeSet::new() };
    let mut grants = Making { form, conditions: Vec::new(), sets };
    let mut together = Together::default();
    for (index, rule) in rules.iter().enumerate() {
        grants.add(policy, direction, resolved, (index, rule), &mut together);
    }
    together.finish(direction, &mut grants);
    let Making { conditions, sets: Named { sources, shared, .. }, .. } = grants;
    Grants { conditions, sources, shared }
}

impl Making<'_> {
    fn add(
        &mut self,
        policy: &NetworkPolicy,
        direction: Direction,
        resolved: &ResolvedPorts,
        (index, rule): (usize, &Rule),
        together: &mut Together,
    ) {
        let ports = match &rule.ports {
            Ports::All => vec![PortMatch::Anything],
            Ports::Only(ports) => {
                let resolve =
                    |name: &str, protocol| signature::numbers(direction, resolved, name, protocol);
                ports::resolved(ports, resolve).matches(self.form, &mut self.sets)
            }
        };
        if ports.is_empty() {
            return;
        }
        for peer in peers(&rule.peers, &policy.key.namespace, &mut self.sets) {
            for port in &ports {
                if !(self.form == Form::Compact && together.take(index, &peer, port)) {
                    self.pair(index, direction, &peer, port);
                }
            }
        }
    }

    /// Any of many peers with one port. A single peer is as in the plain form.
    fn many(
        &mut self,
        index: usize,
        direction: Direction,
        peers: Arc<BTreeSet<PodsPeer>>,
        port: PortMatch,
    ) {
        if let PortMatch::Named(protocol, names) = port {
            return self.named(index, Some((*peers).clone()), &[], protocol, &names);
        }
        for family in Family::BOTH {
            let source = match (peers.first(), peers.len()) {
                (Some(peer), 1) => SetSource::Pods(family, peer.clone()),
                _ => SetSource::AnyOf(family, Arc::clone(&peers)),
            };
            self.look_up(index, direction, family, source, port.condition());
        }
    }

    /// One peer with one port.
    fn pair(&mut self, index: usize, direction: Direction, peer: &PeerMatch, port: &PortMatch) {
        if let PortMatch::Named(protocol, names) = port {
            let (pods, block) = match peer {
                PeerMatch::Anyone => (None, vec![]),
                PeerMatch::Pods(peer) => (Some([peer.clone()].into()), vec![]),
                PeerMatch::Blocks(family, test) => (None, vec![(*family, test)]),
            };
            return self.named(index, pods, &block, *protocol, names);
        }
        let port = port.condition();
        match peer {
            PeerMatch::Anyone => self.conditions.push((index, port.into_iter().collect())),
            PeerMatch::Blocks(_, test) => {
                let address = address_match(field(direction), test);
                self.conditions.push((index, [address].into_iter().chain(port).collect()));
            }
            PeerMatch::Pods(peer) => {
                for family in Family::BOTH {
                    let source = SetSource::Pods(family, peer.clone());
                    self.look_up(index, direction, family, source, port.clone());
                }
            }
        }
    }

    /// A set of peers with one port.
    fn look_up(
        &mut self,
        index: usize,
        direction: Direction,
        family: Family,
        source: SetSource,
        port: Option<Match>,
    ) {
        let name = self.sets.add(source);
        let address = Match::Address(field(direction), AddressTest::Set(family, name));
        self.conditions.push((index, [address].into_iter().chain(port).collect()));
    }

    /// Egress to port names. One set of addresses with ports holds the pods that the
    /// peers select and the numbers that the names have on each. `block`: only addresses
    /// of this family that it matches.
    fn named(
        &mut self,
        index: usize,
        peers: Option<BTreeSet<PodsPeer>>,
        block: &[(Family, &AddressTest)],
        protocol: Protocol,
        names: &BTreeSet<String>,
    ) {
        let ports = Arc::new(NamedPorts { peers, names: names.clone(), protocol });
        for family in Family::BOTH {
            let of_family = block.iter().find(|(of, _)| *of == family);
            if of_family.is_none() && !block.is_empty() {
                continue;
            }
            let set = self.sets.add(SetSource::NamedPorts(family, Arc::clone(&ports)));
            let block = of_family.map(|(_, test)| address_match(Field::Destination, test));
            // The set implies the family.
            let block = block.filter(|test| !matches!(test, Match::Family(_)));
            let port = Match::AddressPort(Field::Destination, family, transport(protocol), set);
            self.conditions.push((index, block.into_iter().chain([port]).collect()));
        }
    }
}

/// The field with the peer's address.
fn field(direction: Direction) -> Field {
    match direction {
        Direction::Egress => Field::Destination,
        Direction::Ingress => Field::Source,
    }
}

fn peers(peers: &Peers, namespace: &str, sets: &mut Named<'_>) -> Vec<PeerMatch> {
    let Peers::Only(list) = peers else { return vec![PeerMatch::Anyone] };
    let mut matches = Vec::new();
    let mut ip_blocks: Vec<&IpBlock> = Vec::new();
    for peer in list {
        match peer {
            Peer::Pods(peer) => matches.push(PeerMatch::Pods(PodsPeer::new(peer, namespace))),
            Peer::IpBlock(block) => ip_blocks.push(block),
        }
    }
    for family in Family::BOTH {
        let ranges = blocks::ranges(family, ip_blocks.iter().copied());
        if ranges.len() > MAX_INLINE_RANGES {
            let name = sets.add(SetSource::Blocks(family, ranges));
            matches.push(PeerMatch::Blocks(family, AddressTest::Set(family, name)));
        } else {
            let tests = ranges.into_iter().map(AddressTest::In);
            matches.extend(tests.map(|test| PeerMatch::Blocks(family, test)));
        }
    }
    matches
}

/// The match of an address. A range that is the whole family matches on the
/// family alone.
fn address_match(field: Field, test: &AddressTest) -> Match {
    match test {
        AddressTest::In(range) if range.prefix_len() == Some(0) => Match::Family(range.family()),
        test => Match::Address(field, test.clone()),
    }
}

mod together;

#[cfg(test)]
mod tests;
