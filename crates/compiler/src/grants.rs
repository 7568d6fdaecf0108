//! What the rules of one policy allow.
//!
//! In: one policy, one direction, the numbers of port names (ingress).
//! Out: for each rule the conditions under which a packet passes, and the
//! sets that these look into. Never: a peer of one rule with a port of another.

use std::collections::{BTreeMap, BTreeSet};

use policy::{Direction, IpBlock, NetworkPolicy, Peer, Peers, Protocol, Rule};
use ruleset::{AddressTest, Family, Field, Match, Name};

use crate::blocks;
use crate::naming::{Named, Naming};
use crate::ports::{self, PortMatch, transport};
use crate::sets::{PodsPeer, SetSource, Sources};
use crate::signature::ResolvedPorts;

/// Up to this many ranges of a rule's ipBlocks become one rule each. More become
/// one interval set.
const MAX_INLINE_RANGES: usize = 3;

/// A policy with more distinct pod peers than this in one direction gets one set
/// for each port instead of one for each peer. A packet asks the rules one by one.
const MAX_PEER_SETS: usize = 256;

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
pub fn of(
    policy: &NetworkPolicy,
    direction: Direction,
    resolved: &ResolvedPorts,
    naming: &Naming,
) -> Grants {
    let rules = policy.rules(direction).unwrap_or_default();
    let sets = Named { naming, sources: Sources::new(), shared: BTreeSet::new() };
    let mut grants = Making { conditions: Vec::new(), sets };
    let mut together = has_many_peers(rules).then(Together::new);
    for (index, rule) in rules.iter().enumerate() {
        grants.add(policy, direction, resolved, (index, rule), together.as_mut());
    }
    for (port, (index, peers)) in together.into_iter().flatten() {
        for family in Family::BOTH {
            let source = SetSource::AnyOf(family, peers.clone());
            grants.look_up(index, direction, family, source, port.clone());
        }
    }
    let Making { conditions, sets: Named { sources, shared, .. } } = grants;
    Grants { conditions, sources, shared }
}

/// For each match of a port: its peers, and the index of the first rule.
type Together = BTreeMap<Option<Match>, (usize, BTreeSet<PodsPeer>)>;

fn has_many_peers(rules: &[Rule]) -> bool {
    let peers = rules.iter().filter_map(|rule| match &rule.peers {
        Peers::Only(peers) => Some(peers),
        Peers::Anyone => None,
    });
    let pods = peers.flatten().filter_map(|peer| match peer {
        Peer::Pods(pods) => Some(pods),
        Peer::IpBlock(_) => None,
    });
    pods.collect::<BTreeSet<_>>().len() > MAX_PEER_SETS
}

impl Making<'_> {
    fn add(
        &mut self,
        policy: &NetworkPolicy,
        direction: Direction,
        resolved: &ResolvedPorts,
        (index, rule): (usize, &Rule),
        mut together: Option<&mut Together>,
    ) {
        let resolve = |name: &str, protocol: Protocol| match direction {
            Direction::Egress => None,
            Direction::Ingress => {
                Some(resolved.get(&(name.to_owned(), protocol)).cloned().unwrap_or_default())
            }
        };
        let ports = ports::matches(&rule.ports, resolve, &mut self.sets);
        if ports.is_empty() {
            return;
        }
        for peer in peers(&rule.peers, &policy.key.namespace, &mut self.sets) {
            for port in &ports {
                match (&peer, port, &mut together) {
                    (PeerMatch::Pods(_), PortMatch::Named(..), _) | (_, _, None) => {
                        self.pair(index, direction, &peer, port);
                    }
                    (PeerMatch::Pods(peer), port, Some(together)) => {
                        let entry = together.entry(port.condition()).or_default();
                        if entry.1.is_empty() {
                            entry.0 = index;
                        }
                        entry.1.insert(peer.clone());
                    }
                    _ => self.pair(index, direction, &peer, port),
                }
            }
        }
    }

    /// One peer with one port.
    fn pair(&mut self, index: usize, direction: Direction, peer: &PeerMatch, port: &PortMatch) {
        if let PortMatch::Named(name, protocol) = port {
            return self.named(index, peer, name, *protocol);
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

    /// Egress to a port name. One set of addresses with ports holds the pods that
    /// the peer selects and the number that the name has on each.
    fn named(&mut self, index: usize, peer: &PeerMatch, name: &str, protocol: Protocol) {
        for family in Family::BOTH {
            let (pods, block) = match peer {
                PeerMatch::Anyone => (None, None),
                PeerMatch::Pods(peer) => (Some(peer.clone()), None),
                PeerMatch::Blocks(of, _) if *of != family => continue,
                PeerMatch::Blocks(_, test) => (None, Some(test)),
            };
            let source = SetSource::NamedPort(family, pods, name.to_owned(), protocol);
            let set = self.sets.add(source);
            let block = block.map(|test| address_match(Field::Destination, test));
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

#[cfg(test)]
mod tests;
