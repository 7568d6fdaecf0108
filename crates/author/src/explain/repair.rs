//! The smallest changes that would let a denied connection pass.
//!
//! In: a denied way. Out: one line for each change. Every change was made to a copy of the
//! objects and judged: it does let the connection pass.
//! Never: an opinion whether it should pass.

mod edit;

use policy::secondary::NETWORK;
use policy::{Direction, NetworkPolicy, Peer, Peers, Pod, PodPeer, Rule, Snapshot};

use super::judge::{Judge, Packet, verdict};
use super::places::Place;
use super::report::Verdict;
use super::ways::Way;
use super::why;
use crate::reach::{Reach, rule_ports};
use edit::{Edit, Kind};

/// How many are shown for each direction.
const SHOWN: usize = 3;

/// The nearest repairs of a way that is denied.
pub fn nearest(judge: &Judge<'_>, source: &Place<'_>, to: &Place<'_>, way: &Way) -> Vec<String> {
    let sides = [(Direction::Egress, &way.egress, to), (Direction::Ingress, &way.ingress, source)];
    let denied = |direction, packet: &Packet| {
        verdict(&judge.ports(direction, packet), packet.transport) == Verdict::Denied
    };
    let denied: Vec<_> =
        sides.into_iter().filter(|(direction, packet, _)| denied(*direction, packet)).collect();
    let several = denied.len() > 1;
    let mut lines = Vec::new();
    for (direction, packet, other) in denied {
        if direction == Direction::Ingress && way.is_by_unknown_node {
            lines.push(
                "allow the nodes' addresses by an ipBlock, or let the Service keep the client's \
                 (externalTrafficPolicy: Local)"
                    .to_owned(),
            );
            continue;
        }
        let question = Question { judge, direction, packet, other };
        let prefix = if several { format!("{direction}: ") } else { String::new() };
        lines.extend(question.repairs(way).into_iter().map(|line| format!("{prefix}{line}")));
    }
    lines
}

/// One direction that denies.
struct Question<'q, 'a> {
    judge: &'q Judge<'a>,
    direction: Direction,
    packet: &'q Packet,
    other: &'q Place<'a>,
}

impl<'a> Question<'_, 'a> {
    fn repairs(&self, way: &Way) -> Vec<String> {
        let mut candidates: Vec<Vec<Edit>> = self
            .policies()
            .iter()
            .flat_map(|policy| {
                let rules = policy.rules(self.direction).unwrap_or_default().iter().enumerate();
                let mut all: Vec<Vec<Edit>> =
                    rules.flat_map(|(index, rule)| self.of_rule(policy, index, rule)).collect();
                all.push(vec![self.new_rule(policy)]);
                all
            })
            .collect();
        candidates.sort_by_key(|edits| (edits.len(), edits.iter().map(Edit::kind).max()));
        let mut shown: Vec<(Vec<Kind>, String)> = Vec::new();
        for edits in candidates {
            let kinds: Vec<Kind> = edits.iter().map(Edit::kind).collect();
            if shown.iter().any(|(known, _)| *known == kinds) || !self.helps(&edits, way) {
                continue;
            }
            let text: Vec<String> = edits.iter().map(|one| one.text(self.judge.cluster)).collect();
            shown.push((kinds, text.join(", and ")));
            if shown.len() == SHOWN {
                break;
            }
        }
        shown.into_iter().map(|(_, text)| text).collect()
    }

    /// The policies that isolate the pod.
    fn policies(&self) -> Vec<&'a NetworkPolicy> {
        let Packet { source, destination, .. } = *self.packet;
        match self.judge.reach.side(self.direction, source, destination) {
            crate::reach::Side::Isolated(policies, _) => policies,
            crate::reach::Side::NotIsolated | crate::reach::Side::Exempt => Vec::new(),
        }
    }

    /// The ways to let one rule allow it.
    fn of_rule(&self, policy: &NetworkPolicy, index: usize, rule: &Rule) -> Vec<Vec<Edit>> {
        let (address, peer_address) = self.packet.ends(self.direction);
        let peer = self.judge.reach.owner(peer_address);
        let destination = match self.direction {
            Direction::Egress => peer,
            Direction::Ingress => self.judge.destination(self.direction, address),
        };
        let ports = rule_ports(rule, destination);
        let place =
            edit::RulePlace { policy: policy.key.clone(), direction: self.direction, index };
        let more = match self.packet.transport {
            Some(transport) if !ports.contains(transport) => {
                vec![Edit::Port(place.clone(), transport)]
            }
            None if ports.is_empty() => return Vec::new(),
            Some(_) | None => Vec::new(),
        };
        if self.judge.reach.selects(policy, rule, peer_address, peer) {
            return if more.is_empty() { Vec::new() } else { vec![more] };
        }
        let with_more = |mut edits: Vec<Edit>| {
            edits.extend(more.clone());
            edits
        };
        let peers = match &rule.peers {
            Peers::Anyone => &[][..],
            Peers::Only(peers) => peers,
        };
        let labels = peers.iter().filter_map(|one| match one {
            Peer::Pods(wanted) => peer.and_then(|pod| self.labels(policy, wanted, pod)),
            Peer::IpBlock(_) => None,
        });
        let respelt = peers.iter().filter_map(|one| match one {
            Peer::Pods(wanted) => self.respelt(&place, wanted, peer?),
            Peer::IpBlock(_) => None,
        });
        let added = vec![Edit::Peer(place.clone(), self.as_peer(policy))];
        respelt.chain(labels).chain([added]).map(with_more).collect()
    }

    /// The peer with values that are nearly those of the pod.
    fn respelt(&self, place: &edit::RulePlace, wanted: &PodPeer, pod: &Pod) -> Option<Vec<Edit>> {
        let of_namespace = self.judge.cluster.snapshot.namespace_labels(&pod.key.namespace)?;
        let meant = edit::respelt(wanted, &pod.labels, of_namespace)?;
        Some(vec![Edit::Selector(place.clone(), wanted.clone(), meant)])
    }

    /// The labels that make a pod this peer; `None` where labels cannot.
    fn labels(&self, policy: &NetworkPolicy, wanted: &PodPeer, pod: &Pod) -> Option<Vec<Edit>> {
        let snapshot = &self.judge.cluster.snapshot;
        let mut edits = Vec::new();
        match &wanted.namespaces {
            None if pod.key.namespace != policy.key.namespace => return None,
            None => {}
            Some(selector) => {
                let labels = snapshot.namespace_labels(&pod.key.namespace)?;
                for requirement in why::unmet(selector, labels) {
                    if requirement.key == policy::METADATA_NAME_LABEL {
                        return None;
                    }
                    edits.push(Edit::Namespace(pod.key.namespace.clone(), requirement.clone()));
                }
            }
        }
        for one in why::unmet(&wanted.pods, &pod.labels) {
            // No label puts a pod on another network.
            if one.key == NETWORK {
                return None;
            }
            edits.push(Edit::Pod(pod.key.clone(), one.clone()));
        }
        Some(edits)
    }

    fn new_rule(&self, policy: &NetworkPolicy) -> Edit {
        Edit::Rule(policy.key.clone(), self.direction, self.as_peer(policy), self.packet.transport)
    }

    /// A peer that is the other end alone, or as good as alone.
    fn as_peer(&self, policy: &NetworkPolicy) -> Peer {
        let (_, address) = self.packet.ends(self.direction);
        let is_open = self.other.symbolic && self.other.addresses.contains(&address);
        let snapshot = &self.judge.cluster.snapshot;
        let owner = self.judge.reach.owner(address);
        // No namespaceSelector matches a namespace that is not known, and no selector of this
        // network's policies a pod that is on another one.
        let is_here = |pod: &&Pod| {
            let here = self.judge.cluster.network.as_ref().map(|network| network.key.to_string());
            pod.labels.get(NETWORK) == here.as_deref()
        };
        let is_known = |pod: &&Pod| snapshot.namespace_labels(&pod.key.namespace).is_some();
        match owner.filter(is_known).filter(is_here) {
            Some(pod) => edit::peer_of(pod, &policy.key.namespace),
            None => edit::block_of(address, is_open && self.other.pod.is_none()),
        }
    }

    /// Whether these edits let it pass, and the other side still does what it did.
    fn helps(&self, edits: &[Edit], way: &Way) -> bool {
        if edits.is_empty() {
            return false;
        }
        let mut snapshot: Snapshot = self.judge.cluster.snapshot.clone();
        edits.iter().for_each(|edit| edit.make(&mut snapshot));
        let reach = Reach::new(&snapshot);
        let passes = |direction, packet: &Packet| {
            let side = reach.side(direction, packet.source, packet.destination);
            verdict(&side.ports(), packet.transport) != Verdict::Denied
        };
        let (other_direction, other) = match self.direction {
            Direction::Egress => (Direction::Ingress, &way.ingress),
            Direction::Ingress => (Direction::Egress, &way.egress),
        };
        let before = verdict(&self.judge.ports(other_direction, other), other.transport);
        passes(self.direction, self.packet)
            && (before == Verdict::Denied || passes(other_direction, other))
    }
}
