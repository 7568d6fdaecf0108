//! What the policies of one side say to a packet, rule by rule.
//!
//! In: addresses, and a port or none. Out: a [`report::Side`].
//! Never: an own opinion about what passes: that is [`Reach`]'s.

use std::net::IpAddr;

use compiler::signature::Signature;
use policy::spec::{self, ProtocolPort};
use policy::{Direction, Isolation, NetworkPolicy, Pod, audited, isolation, subjects};

use super::report::{self, Verdict};
use super::why::{self, Other};
use crate::PortSet;
use crate::cluster::Cluster;
use crate::reach::{Reach, Side};

/// Answers for one cluster.
pub struct Judge<'a> {
    /// The objects.
    pub cluster: &'a Cluster,
    /// What may pass.
    pub reach: Reach<'a>,
}

/// What is asked of one side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet {
    /// The source, as this side sees it.
    pub source: IpAddr,
    /// The destination, as this side sees it.
    pub destination: IpAddr,
    /// The port; `None` asks about all.
    pub transport: Option<ProtocolPort>,
}

impl Packet {
    /// The address whose policies are asked, and the other one.
    pub fn ends(&self, direction: Direction) -> (IpAddr, IpAddr) {
        match direction {
            Direction::Egress => (self.source, self.destination),
            Direction::Ingress => (self.destination, self.source),
        }
    }
}

impl<'a> Judge<'a> {
    /// For this cluster.
    pub fn new(cluster: &'a Cluster) -> Self {
        Self { cluster, reach: Reach::new(&cluster.snapshot) }
    }

    /// What one side lets pass.
    pub fn ports(&self, direction: Direction, packet: &Packet) -> PortSet {
        self.reach.side(direction, packet.source, packet.destination).ports()
    }

    /// What one side says.
    pub fn side(&self, direction: Direction, packet: &Packet) -> report::Side {
        let side = self.reach.side(direction, packet.source, packet.destination);
        let ports = side.ports();
        let passes = ports.to_string();
        let verdict = verdict(&ports, packet.transport);
        let (address, other) = packet.ends(direction);
        let plain = |why: String| report::Side {
            verdict,
            why,
            passes: passes.clone(),
            policies: Vec::new(),
            is_isolated: side != Side::NotIsolated,
            chain: None,
            asked: report::Asked(Some(*packet).filter(|_| !self.is_made_up(packet))),
            kernel: None,
        };
        match &side {
            Side::NotIsolated => plain(self.why_not_isolated(direction, packet)),
            Side::Exempt if address == other => plain("a pod always reaches itself".to_owned()),
            Side::Exempt => plain("a pod and its own node always reach each other".to_owned()),
            Side::Isolated(policies, _) => {
                let reports: Vec<_> =
                    policies.iter().map(|policy| self.policy(direction, policy, packet)).collect();
                report::Side {
                    why: self.why_isolated(direction, address, &reports, verdict),
                    policies: reports,
                    chain: self.chain(direction, address),
                    ..plain(String::new())
                }
            }
        }
    }

    /// Whether an end's address is made up, so that no kernel knows it.
    fn is_made_up(&self, packet: &Packet) -> bool {
        let is_symbolic = |address| {
            self.reach.owner(address).is_some_and(|pod| self.cluster.symbolic.contains(&pod.key))
        };
        is_symbolic(packet.source) || is_symbolic(packet.destination)
    }

    fn why_not_isolated(&self, direction: Direction, packet: &Packet) -> String {
        let (address, _) = packet.ends(direction);
        match (self.reach.owner(address), direction) {
            (Some(_), _) => match self.in_audit(direction, packet) {
                Some(audit) => format!("no policy that is enforced isolates it; {audit}"),
                None => "no policy isolates it".to_owned(),
            },
            (None, _) if self.is_node(address) => {
                "it is in the network of a node, and no policy applies to it".to_owned()
            }
            (None, _) => "it is no pod, and no policy applies to it".to_owned(),
        }
    }

    /// What policies in audit would do, if any selects the pod.
    fn in_audit(&self, direction: Direction, packet: &Packet) -> Option<String> {
        let snapshot = &self.cluster.snapshot;
        let (address, _) = packet.ends(direction);
        let policies = match audited(snapshot, &subjects(snapshot, None, address), direction) {
            Isolation::None => return None,
            Isolation::By(_, policies) | Isolation::Shut(policies) => policies,
        };
        let names: Vec<String> = policies.iter().map(|one| one.key.to_string()).collect();
        let names = names.join(", ");
        let would = match packet.transport {
            None => "would isolate it".to_owned(),
            Some(transport) => {
                let Packet { source, destination, .. } = *packet;
                let packet = spec::Packet { source, destination, transport };
                let owners = spec::owners(snapshot);
                let decision = spec::audit_with(snapshot, &owners, None, &packet);
                let side = match direction {
                    Direction::Egress => decision.egress,
                    Direction::Ingress => decision.ingress,
                };
                match side.passes() {
                    true => "would isolate it and allow this".to_owned(),
                    false => "would deny this".to_owned(),
                }
            }
        };
        Some(format!("in audit, {names} {would}"))
    }

    fn why_isolated(
        &self,
        direction: Direction,
        address: IpAddr,
        policies: &[report::Policy],
        verdict: Verdict,
    ) -> String {
        let isolated = match policies {
            [] => "isolated".to_owned(),
            [_] => "isolated by 1 policy".to_owned(),
            _ => format!("isolated by {} policies", policies.len()),
        };
        if self.destination(direction, address).is_none() {
            let by = subjects(&self.cluster.snapshot, None, address);
            let pods: Vec<String> = by.iter().map(|one| one.pod.key.to_string()).collect();
            return match pods.as_slice() {
                [_] => format!("{isolated}; nothing is known of its pod, so nothing passes"),
                _ => format!(
                    "{isolated}; {} report its address, so nothing passes",
                    pods.join(" and ")
                ),
            };
        }
        let rules = policies.iter().map(|policy| policy.rules.len()).sum::<usize>();
        match verdict {
            Verdict::Denied if rules == 0 => {
                let have = if policies.len() == 1 { "has" } else { "have" };
                format!("{isolated}, which {have} no rule for {direction}")
            }
            Verdict::Denied => format!("{isolated}, no rule allows it"),
            Verdict::Allowed | Verdict::Partly => {
                let allowing = policies.iter().flat_map(|policy| {
                    let rules = policy.rules.iter().filter(|rule| rule.allows);
                    rules.map(move |rule| format!("{} {}", policy.name, rule.name))
                });
                let allowing: Vec<String> = allowing.collect();
                let verb = if allowing.len() == 1 { "allows" } else { "allow" };
                format!("{isolated}; {} {verb} it", allowing.join(", "))
            }
        }
    }

    fn policy(
        &self,
        direction: Direction,
        policy: &NetworkPolicy,
        packet: &Packet,
    ) -> report::Policy {
        let place = |field: &str| {
            self.cluster.places.of(&policy.key, field).map(|at| format!("{}:{}", at.file, at.line))
        };
        let (address, peer) = packet.ends(direction);
        let other =
            Other { address: peer, pod: self.reach.owner(peer), on_node: self.is_node(peer) };
        let destination = match direction {
            Direction::Egress => other.pod,
            Direction::Ingress => self.destination(direction, address),
        };
        let rules = policy.rules(direction).unwrap_or_default().iter().enumerate();
        let rules = rules.map(|(index, rule)| {
            let peer = why::peers(self.cluster, &self.reach, policy, rule, other);
            let ports = why::ports(rule, destination, packet.transport);
            report::Rule {
                name: format!("{direction}[{index}]"),
                at: place(&format!("spec.{direction}[{index}]")),
                allows: peer.matches && ports.matches,
                peer,
                ports,
            }
        });
        let rules = rules.collect();
        report::Policy { name: policy.key.to_string(), at: place(""), rules }
    }

    /// The pod whose policies and ports hold for an isolated address; `None` where nothing
    /// passes, because it is not known which pod that is.
    pub fn destination(&self, direction: Direction, address: IpAddr) -> Option<&'a Pod> {
        let snapshot = &self.cluster.snapshot;
        match isolation(snapshot, &subjects(snapshot, None, address), direction) {
            Isolation::By(pod, _) => Some(pod),
            Isolation::None | Isolation::Shut(_) => None,
        }
    }

    /// The chain that judges an address, as the compiler names it.
    fn chain(&self, direction: Direction, address: IpAddr) -> Option<String> {
        let snapshot = &self.cluster.snapshot;
        let by_policies = |mode, pod: &Pod| {
            let policies = snapshot.policies.values().map(|one| &**one);
            Signature::of((direction, mode), pod, policies.filter(|one| snapshot.selects(one, pod)))
        };
        let signature =
            Signature::of_subjects(direction, &subjects(snapshot, None, address), by_policies)?;
        Some(signature.chain_name().to_string())
    }

    /// Whether an address is that of a node, as far as pods tell.
    pub fn is_node(&self, address: IpAddr) -> bool {
        let mut pods = self.cluster.snapshot.pods.values();
        pods.any(|pod| {
            pod.host_addresses.contains(&address)
                || (pod.host_network && pod.addresses.contains(&address))
        })
    }
}

/// The verdict over a set of ports.
pub fn verdict(ports: &PortSet, transport: Option<ProtocolPort>) -> Verdict {
    match transport {
        Some(transport) if ports.contains(transport) => Verdict::Allowed,
        Some(_) => Verdict::Denied,
        None if ports.is_everything() => Verdict::Allowed,
        None if ports.is_empty() => Verdict::Denied,
        None => Verdict::Partly,
    }
}
