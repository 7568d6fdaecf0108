//! Signatures: pods with one signature share a chain.
//!
//! In: a pod, the policies that select it in one direction.
//! Out: the signature and the name of its chain. A signature is the set of
//! isolating policies and, for ingress, the numbers that the port names in their
//! rules have on this pod. So a chain needs no look-up of the pod's own ports.

use std::collections::{BTreeMap, BTreeSet};

use policy::{
    Direction, Mode, NetworkPolicy, ObjectKey, Pod, PortNumbers, Ports, Protocol, Subject,
};
use ruleset::{Comment, Name};

use crate::names::Content;

/// What determines the rules of a pod's chain.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Signature {
    /// Egress or ingress.
    pub direction: Direction,
    /// The isolating policies.
    pub policies: BTreeSet<ObjectKey>,
    /// Port names of ingress rules, resolved on the pod.
    pub ports: ResolvedPorts,
    /// Nothing is allowed, whatever the rules of the policies say.
    pub is_shut: bool,
    /// Whether what it denies is dropped. In audit, no enforced policy isolates the pod.
    pub mode: Mode,
}

/// Numbers by name and protocol. A name that the pod lacks is not there.
pub type ResolvedPorts = BTreeMap<(String, Protocol), Vec<u16>>;

/// The numbers of a port name. `None`: a set resolves it, as those of other pods.
pub(crate) fn numbers(
    direction: Direction,
    resolved: &ResolvedPorts,
    name: &str,
    protocol: Protocol,
) -> Option<Vec<u16>> {
    match direction {
        Direction::Egress => None,
        Direction::Ingress => {
            Some(resolved.get(&(name.to_owned(), protocol)).cloned().unwrap_or_default())
        }
    }
}

impl Signature {
    /// The signature of a pod by its policies of a mode; `None` if they do not isolate it in
    /// the direction.
    pub fn of<'a>(
        (direction, mode): (Direction, Mode),
        pod: &Pod,
        selecting: impl IntoIterator<Item = &'a NetworkPolicy>,
    ) -> Option<Self> {
        let counts =
            |one: &&NetworkPolicy| one.audit.mode == mode && one.rules(direction).is_some();
        let isolating: Vec<&NetworkPolicy> = selecting.into_iter().filter(counts).collect();
        if isolating.is_empty() {
            return None;
        }
        let ports = match direction {
            Direction::Egress => ResolvedPorts::new(),
            Direction::Ingress if pod.ports.is_empty() => ResolvedPorts::new(),
            Direction::Ingress => isolating
                .iter()
                .flat_map(|policy| port_names(policy))
                .filter(|(name, protocol)| {
                    pod.ports.iter().any(|port| port.name == *name && port.protocol == *protocol)
                })
                .map(|(name, protocol)| {
                    ((name.to_owned(), protocol), pod.named_ports(name, protocol))
                })
                .collect(),
        };
        let policies = isolating.iter().map(|policy| policy.key.clone()).collect();
        Some(Self { direction, policies, ports, is_shut: false, mode })
    }

    /// The signature of an address with these subjects; `None` if none is isolated in the
    /// direction, or would be if policies in audit were enforced. `by_policies` gives that of
    /// one of them (see [`Self::of`]).
    pub fn of_subjects<'a>(
        direction: Direction,
        subjects: &[Subject<'a>],
        by_policies: impl Fn(Mode, &'a Pod) -> Option<Self>,
    ) -> Option<Self> {
        let of = |mode| Self::of_mode((direction, mode), subjects, |pod| by_policies(mode, pod));
        Mode::BOTH.into_iter().find_map(of)
    }

    fn of_mode<'a>(
        (direction, mode): (Direction, Mode),
        subjects: &[Subject<'a>],
        by_policies: impl Fn(&'a Pod) -> Option<Self>,
    ) -> Option<Self> {
        let isolated: Vec<(&Subject<'a>, Option<Self>)> = subjects
            .iter()
            .map(|one| (one, by_policies(one.pod)))
            .filter(|(one, signature)| one.is_shut || signature.is_some())
            .collect();
        let (first, signature) = isolated.first()?;
        let same = |(other, theirs): &(&Subject<'a>, Option<Self>)| {
            let ports = direction == Direction::Egress || other.pod.ports == first.pod.ports;
            !other.is_shut && ports && theirs == signature
        };
        if let (Some(signature), true) = (signature, isolated.iter().all(same)) {
            return Some(signature.clone());
        }
        let policies = isolated.iter().filter_map(|(_, one)| one.as_ref());
        let policies = policies.flat_map(|one| &one.policies).cloned().collect();
        Some(Self { direction, policies, ports: ResolvedPorts::new(), is_shut: true, mode })
    }

    /// The resolved port names that a policy uses.
    pub fn ports_of(&self, policy: &NetworkPolicy) -> ResolvedPorts {
        if self.ports.is_empty() {
            return ResolvedPorts::new();
        }
        let used: BTreeSet<(&str, Protocol)> = port_names(policy).collect();
        let ports = self.ports.iter();
        ports
            .filter(|((name, protocol), _)| used.contains(&(name.as_str(), *protocol)))
            .map(|(name, numbers)| (name.clone(), numbers.clone()))
            .collect()
    }

    /// The name of the chain, which is also its log prefix.
    pub fn chain_name(&self) -> Name {
        let kind = match (self.mode, self.direction) {
            (Mode::Enforce, Direction::Egress) => "e",
            (Mode::Enforce, Direction::Ingress) => "i",
            (Mode::Audit, Direction::Egress) => "audit.e",
            (Mode::Audit, Direction::Ingress) => "audit.i",
        };
        let policies = Content::of(kind)
            .texts(self.policies.iter().flat_map(|key| [key.namespace.as_str(), &key.name]));
        let ports = self.ports.iter().map(|((name, protocol), numbers)| {
            (name, protocol.to_string(), numbers.iter().map(u16::to_string))
        });
        let content = ports.fold(policies, |content, (name, protocol, numbers)| {
            content.text(name).text(&protocol).texts(numbers)
        });
        let content = if self.is_shut { content.text("shut") } else { content };
        content.named(kind, &self.readable())
    }

    /// For people: the isolating policies.
    pub fn comment(&self) -> Comment {
        let policies: Vec<String> = self.policies.iter().map(ToString::to_string).collect();
        let policies = policies.join(", ");
        Comment::new(&match (self.is_shut, self.policies.is_empty()) {
            _ if self.mode == Mode::Audit => {
                format!("{} would be isolated by {policies}: drops nothing", self.direction)
            }
            (false, _) => format!("{} isolated by {policies}", self.direction),
            (true, true) => format!("{} shut: no pod's object is known", self.direction),
            (true, false) => {
                format!("{} shut: pods share an address; isolated by {policies}", self.direction)
            }
        })
    }

    fn readable(&self) -> String {
        match (self.policies.first(), self.policies.len()) {
            _ if self.is_shut => "shut".to_owned(),
            (Some(only), 1) => only.to_string(),
            (Some(first), count) => format!("{}/{count}-policies", first.namespace),
            (None, _) => String::new(),
        }
    }
}

fn port_names(policy: &NetworkPolicy) -> impl Iterator<Item = (&str, Protocol)> {
    let rules = policy.ingress.iter().flatten();
    rules
        .filter_map(|rule| match &rule.ports {
            Ports::Only(ports) => Some(ports),
            Ports::All => None,
        })
        .flatten()
        .filter_map(|port| match &port.numbers {
            PortNumbers::Named(name) => Some((name.as_str(), port.protocol)),
            _ => None,
        })
}
