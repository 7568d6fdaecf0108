//! What may pass between two addresses, for all pairs of a large cluster.
//!
//! In: a snapshot. Out: the same answers as [`crate::Reach`], held equal by tests.
//! Never: a rule's condition that is judged again for each pair.
//!
//! Addresses that no policy tells apart are of one [`ClassId`]. A question about two
//! classes is answered once.

mod class;
mod matching;

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::ops::Range;

use policy::{
    Direction, Isolation, Labels, NamedPort, NetworkPolicy, ObjectKey, Owners, Pod, PortNumbers,
    Ports, Rule, Snapshot, Subject, all_subjects, isolation, spec,
};

pub use class::{Class, ClassId, Isolated, PolicyRule};

use super::sets::{SetId, Sets};
use crate::reach::rule_ports;

/// Answers for one snapshot.
pub struct Judge<'a> {
    snapshot: &'a Snapshot,
    owners: Owners<'a>,
    subjects: BTreeMap<IpAddr, Vec<Subject<'a>>>,
    policies: Vec<&'a NetworkPolicy>,
    /// Where the rules of each policy are, egress and ingress.
    rules_of: Vec<[Range<usize>; 2]>,
    rules: Vec<PolicyRule<'a>>,
    /// The ports of each rule that names none.
    rule_sets: Vec<Option<SetId>>,
    /// The rules whose selectors match pods of a namespace with these labels.
    selecting: HashMap<(&'a str, &'a Labels), Vec<u64>>,
    /// Lists of named ports, each once.
    port_lists: Vec<&'a [NamedPort]>,
    classes: Vec<Class>,
    class_ids: HashMap<Class, ClassId>,
    addresses: HashMap<IpAddr, ClassId>,
    answers: HashMap<(ClassId, ClassId), SetId>,
}

impl<'a> Judge<'a> {
    /// For a snapshot. Sets of ports are numbered in `sets`, which several may share.
    pub fn new(snapshot: &'a Snapshot, sets: &mut Sets) -> Self {
        let mut judge = Self {
            snapshot,
            owners: spec::owners(snapshot),
            subjects: all_subjects(snapshot, None),
            policies: snapshot.policies.values().map(|one| &**one).collect(),
            rules_of: Vec::new(),
            rules: Vec::new(),
            rule_sets: Vec::new(),
            selecting: HashMap::new(),
            port_lists: Vec::new(),
            classes: Vec::new(),
            class_ids: HashMap::new(),
            addresses: HashMap::new(),
            answers: HashMap::new(),
        };
        for policy in judge.policies.clone() {
            let ranges = Direction::BOTH.map(|direction| judge.add_rules(policy, direction, sets));
            judge.rules_of.push(ranges);
        }
        judge
    }

    fn add_rules(
        &mut self,
        policy: &'a NetworkPolicy,
        direction: Direction,
        sets: &mut Sets,
    ) -> Range<usize> {
        let start = self.rules.len();
        for (index, rule) in policy.rules(direction).unwrap_or_default().iter().enumerate() {
            self.rules.push(PolicyRule { policy, direction, index, rule });
            let fixed = !names_a_port(rule);
            self.rule_sets.push(fixed.then(|| sets.id(rule_ports(rule, None))));
        }
        start..self.rules.len()
    }

    /// The pod that has an address.
    pub fn owner(&self, address: IpAddr) -> Option<&'a Pod> {
        self.owners.owner(address)
    }

    /// The pods whose policies hold for an address.
    pub fn subjects(&self, address: IpAddr) -> &[Subject<'a>] {
        self.subjects.get(&address).map(Vec::as_slice).unwrap_or_default()
    }

    /// All policies, in order.
    pub fn policies(&self) -> &[&'a NetworkPolicy] {
        &self.policies
    }

    /// All rules, in the order of the policies, a policy's egress first.
    pub fn rules(&self) -> &[PolicyRule<'a>] {
        &self.rules
    }

    /// What is known of a class.
    pub fn class(&self, id: ClassId) -> &Class {
        &self.classes[id.index()]
    }

    /// How many classes there are until now.
    pub fn classes(&self) -> usize {
        self.classes.len()
    }

    /// The rules of the policies that isolate a class in a direction.
    pub fn isolating_rules(
        &self,
        class: ClassId,
        direction: Direction,
    ) -> impl Iterator<Item = usize> {
        let policies = match self.class(class).isolated(direction) {
            Isolated::By(policies) => policies.as_slice(),
            Isolated::No | Isolated::Shut(_) => &[],
        };
        let way = usize::from(direction == Direction::Ingress);
        policies.iter().flat_map(move |&policy| self.rules_of[policy][way].clone())
    }

    /// The class of an address.
    pub fn class_of(&mut self, address: IpAddr) -> ClassId {
        if let Some(&known) = self.addresses.get(&address) {
            return known;
        }
        let [egress, ingress] = Direction::BOTH
            .map(|direction| isolation(self.snapshot, self.subjects(address), direction));
        let own_ports = match &ingress {
            Isolation::By(pod, _) => pod.ports.as_slice(),
            Isolation::None | Isolation::Shut(_) => &[],
        };
        let owner = self.owner(address);
        let class = Class {
            egress: self.isolated(&egress),
            ingress: self.isolated(&ingress),
            own_ports: self.port_list(own_ports),
            peer_ports: self.port_list(owner.map(|pod| &*pod.ports).unwrap_or_default()),
            matched: self.matched(address, owner),
        };
        let id = match self.class_ids.get(&class) {
            Some(&id) => id,
            None => {
                let id = ClassId(u32::try_from(self.classes.len()).unwrap_or(u32::MAX));
                self.classes.push(class.clone());
                self.class_ids.insert(class, id);
                id
            }
        };
        self.addresses.insert(address, id);
        id
    }

    fn port_list(&mut self, ports: &'a [NamedPort]) -> usize {
        let known = self.port_lists.iter().position(|one| *one == ports);
        known.unwrap_or_else(|| {
            self.port_lists.push(ports);
            self.port_lists.len() - 1
        })
    }

    fn isolated(&self, isolation: &Isolation<'_>) -> Isolated {
        let places = |policies: &[&NetworkPolicy]| {
            let place = |one: &&NetworkPolicy| {
                self.policies.binary_search_by(|other| other.key.cmp(&one.key)).ok()
            };
            policies.iter().filter_map(place).collect()
        };
        match isolation {
            Isolation::None => Isolated::No,
            Isolation::By(_, policies) => Isolated::By(places(policies)),
            Isolation::Shut(policies) => Isolated::Shut(places(policies)),
        }
    }

    /// What may pass from one address to another of its family.
    pub fn ports(&mut self, sets: &mut Sets, source: IpAddr, destination: IpAddr) -> SetId {
        if source == destination {
            return SetId::EVERYTHING;
        }
        let (from, to) = (self.class_of(source), self.class_of(destination));
        let exempt_egress = self.is_own_node(source, destination);
        let exempt_ingress = self.is_own_node(destination, source);
        match (exempt_egress, exempt_ingress) {
            (false, false) => self.between(sets, from, to),
            (true, true) => SetId::EVERYTHING,
            (true, false) => self.side(sets, Direction::Ingress, to, from),
            (false, true) => self.side(sets, Direction::Egress, from, to),
        }
    }

    /// Whether the second address is that of the node of the pod with the first.
    fn is_own_node(&self, pod: IpAddr, node: IpAddr) -> bool {
        self.owner(node).is_none()
            && self.subjects(pod).iter().any(|one| one.pod.host_addresses.contains(&node))
    }

    /// What may pass from an address of one class to an address of another, or to
    /// another of the same. Neither is the other's node.
    pub fn between(&mut self, sets: &mut Sets, from: ClassId, to: ClassId) -> SetId {
        if let Some(&known) = self.answers.get(&(from, to)) {
            return known;
        }
        let egress = self.side(sets, Direction::Egress, from, to);
        let answer = match egress {
            SetId::NOTHING => egress,
            _ => {
                let ingress = self.side(sets, Direction::Ingress, to, from);
                sets.intersection(egress, ingress)
            }
        };
        self.answers.insert((from, to), answer);
        answer
    }

    /// What the policies of one side let pass.
    pub fn side(
        &self,
        sets: &mut Sets,
        direction: Direction,
        pod: ClassId,
        peer: ClassId,
    ) -> SetId {
        match self.class(pod).isolated(direction) {
            Isolated::No => return SetId::EVERYTHING,
            Isolated::Shut(_) => return SetId::NOTHING,
            Isolated::By(_) => {}
        }
        let mut allowed = SetId::NOTHING;
        for rule in self.isolating_rules(pod, direction) {
            if self.class(peer).is_peer_of(rule) {
                let set = self.rule_set(sets, rule, pod, peer);
                allowed = sets.union(allowed, set);
            }
        }
        allowed
    }

    /// The ports of a rule between a pod and a peer.
    pub fn rule_set(&self, sets: &mut Sets, rule: usize, pod: ClassId, peer: ClassId) -> SetId {
        if let Some(set) = self.rule_sets[rule] {
            return set;
        }
        let PolicyRule { direction, rule, .. } = self.rules[rule];
        let named = match direction {
            Direction::Egress => self.class(peer).peer_ports,
            Direction::Ingress => self.class(pod).own_ports,
        };
        sets.id(rule_ports(rule, Some(&with_ports(self.port_lists[named]))))
    }

    /// The policies by their keys' places, for messages.
    pub fn keys(&self, places: &[usize]) -> Vec<&'a ObjectKey> {
        places.iter().map(|&place| &self.policies[place].key).collect()
    }
}

fn names_a_port(rule: &Rule) -> bool {
    match &rule.ports {
        Ports::All => false,
        Ports::Only(ports) => {
            ports.iter().any(|port| matches!(port.numbers, PortNumbers::Named(_)))
        }
    }
}

/// A pod of which nothing but its ports is known.
fn with_ports(ports: &[NamedPort]) -> Pod {
    let mut pod = policy::Kept::stand_in(ObjectKey::new("", ""), Vec::new());
    pod.ports = ports.to_vec();
    pod
}
