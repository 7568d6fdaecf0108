//! What the rules of one policy allow.
//!
//! In: one policy, one direction, what port names stand for (ingress).
//! Out: for each rule the conditions under which a packet passes, and the
//! sets that these look into. Peers and ports of different rules never meet.

use policy::{Direction, IpBlock, NetworkPolicy, Peer, Peers, Protocol, Rule};
use ruleset::{AddressTest, Family, Field, Match};

use crate::blocks;
use crate::ports::{self, PortMatch, transport};
use crate::sets::{PodsPeer, SetSource, Sources};
use crate::signature::ResolvedPorts;

/// Ranges of a rule's ipBlocks up to this many are a rule each, more become
/// one interval set.
const MAX_INLINE_RANGES: usize = 3;

/// What one policy allows in one direction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grants {
    /// Conditions, each with the index of the API rule that it comes from.
    pub conditions: Vec<(usize, Vec<Match>)>,
    /// The sets that the conditions look into.
    pub sources: Sources,
}

/// One way in which the peers of a rule match.
enum PeerMatch {
    Anyone,
    Pods(PodsPeer),
    Blocks(Family, AddressTest),
}

/// The grants of a policy. `resolved` is looked at for ingress only: there
/// the destination is the pod itself, for egress it is the peer.
pub fn of(policy: &NetworkPolicy, direction: Direction, resolved: &ResolvedPorts) -> Grants {
    let mut grants = Grants::default();
    for (index, rule) in policy.rules(direction).unwrap_or_default().iter().enumerate() {
        grants.add(policy, direction, resolved, index, rule);
    }
    grants
}

impl Grants {
    fn add(
        &mut self,
        policy: &NetworkPolicy,
        direction: Direction,
        resolved: &ResolvedPorts,
        index: usize,
        rule: &Rule,
    ) {
        let resolve = |name: &str, protocol: Protocol| match direction {
            Direction::Egress => None,
            Direction::Ingress => {
                Some(resolved.get(&(name.to_owned(), protocol)).cloned().unwrap_or_default())
            }
        };
        let ports = ports::matches(&rule.ports, resolve, &mut self.sources);
        if ports.is_empty() {
            return;
        }
        for peer in peers(&rule.peers, &policy.key.namespace, &mut self.sources) {
            for port in &ports {
                self.pair(index, direction, &peer, port);
            }
        }
    }

    /// One peer with one port.
    fn pair(&mut self, index: usize, direction: Direction, peer: &PeerMatch, port: &PortMatch) {
        let field = match direction {
            Direction::Egress => Field::Destination,
            Direction::Ingress => Field::Source,
        };
        let port_match = match port {
            PortMatch::Anything => None,
            PortMatch::Numbers(condition) => Some(condition.clone()),
            PortMatch::Named(name, protocol) => return self.named(index, peer, name, *protocol),
        };
        let mut push = |address: Option<Match>| {
            let condition = address.into_iter().chain(port_match.clone()).collect();
            self.conditions.push((index, condition));
        };
        match peer {
            PeerMatch::Anyone => push(None),
            PeerMatch::Blocks(_, test) => push(Some(address_match(field, test))),
            PeerMatch::Pods(peer) => {
                for family in Family::BOTH {
                    let source = SetSource::Pods(family, peer.clone());
                    let name = source.name();
                    push(Some(Match::Address(field, AddressTest::Set(family, name.clone()))));
                    self.sources.insert(name, source);
                }
            }
        }
    }

    /// Egress to a port name: one set of addresses with ports says which pod
    /// the peer selects and what the name stands for there.
    fn named(&mut self, index: usize, peer: &PeerMatch, name: &str, protocol: Protocol) {
        for family in Family::BOTH {
            let (pods, block) = match peer {
                PeerMatch::Anyone => (None, None),
                PeerMatch::Pods(peer) => (Some(peer.clone()), None),
                PeerMatch::Blocks(of, _) if *of != family => continue,
                PeerMatch::Blocks(_, test) => (None, Some(test)),
            };
            let source = SetSource::NamedPort(family, pods, name.to_owned(), protocol);
            let set = source.name();
            let block = block.map(|test| address_match(Field::Destination, test));
            let port =
                Match::AddressPort(Field::Destination, family, transport(protocol), set.clone());
            self.conditions.push((index, block.into_iter().chain([port]).collect()));
            self.sources.insert(set, source);
        }
    }
}

fn peers(peers: &Peers, namespace: &str, sources: &mut Sources) -> Vec<PeerMatch> {
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
            let source = SetSource::Blocks(family, ranges);
            let name = source.name();
            matches.push(PeerMatch::Blocks(family, AddressTest::Set(family, name.clone())));
            sources.insert(name, source);
        } else {
            let tests = ranges.into_iter().map(AddressTest::In);
            matches.extend(tests.map(|test| PeerMatch::Blocks(family, test)));
        }
    }
    matches
}

/// The match of an address; a range that is the whole family needs no look
/// at the address.
fn address_match(field: Field, test: &AddressTest) -> Match {
    match test {
        AddressTest::In(range) if range.prefix_len() == Some(0) => Match::Family(range.family()),
        test => Match::Address(field, test.clone()),
    }
}
