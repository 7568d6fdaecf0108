//! The table of one place.
//!
//! In: the cluster, and what a change may have affected. Out: the table, with the
//! chains and sets that the isolated pods of this node need.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use policy::{Direction, Mode, ObjectKey, Pod, Subject, subject_of};
use ruleset::{Element, Family, Name};

use super::chains::Chains;
use super::in_use::SetsInUse;
use super::{Impact, Input, Touched};
use crate::naming::Naming;
use crate::scaffold::audit::{self, Audits};
use crate::sets::Sources;
use crate::signature::Signature;
use crate::{ClusterIndex, Compiled, Options, Place, Usage, scaffold};

/// The table of a place, and what it is made of.
#[derive(Debug)]
pub(super) struct Output {
    pub compiled: Compiled,
    chains: Chains,
    sets: SetsInUse,
    /// Pods of this node that are isolated, with or without an address.
    isolated: BTreeSet<ObjectKey>,
    /// The chain of each direction in which an address is isolated.
    addresses: BTreeMap<IpAddr, Judges>,
    /// How many of these chains are in audit.
    audited: usize,
    /// The only pod whose policies count, in its own namespace.
    pod: Option<ObjectKey>,
    /// The directions in which that pod is isolated.
    directions: BTreeSet<Direction>,
}

/// The chains of an address, and what each of them does.
type Judges = Vec<(Judge, Name)>;
type Judge = (Direction, Mode);

/// Who is isolated in a direction.
#[derive(Clone, Copy)]
pub(super) struct Isolated<'a> {
    pods: &'a BTreeSet<ObjectKey>,
    addresses: &'a BTreeMap<IpAddr, Judges>,
}

impl Isolated<'_> {
    /// Whether a pod of this node is, with or without an address.
    pub fn is_any(self) -> bool {
        !self.pods.is_empty()
    }

    /// Whether this pod is.
    pub fn has_pod(self, pod: &ObjectKey) -> bool {
        self.pods.contains(pod)
    }

    /// Whether this address is.
    pub fn has_address(self, address: IpAddr) -> bool {
        let judges = self.addresses.get(&address);
        judges.is_some_and(|all| all.iter().any(|((_, mode), _)| *mode == Mode::Enforce))
    }
}

impl Output {
    /// The table of a place without a pod.
    pub fn new(place: &Place, options: &Options, naming: Naming) -> Self {
        Self {
            compiled: Compiled::of_nothing(place, options),
            chains: Chains::default(),
            sets: SetsInUse::named(naming),
            isolated: BTreeSet::new(),
            addresses: BTreeMap::new(),
            audited: 0,
            pod: place.pod.clone(),
            directions: BTreeSet::new(),
        }
    }

    /// Whether this policy judges the ingress of a local pod.
    pub fn judges_ingress_by(&self, policy: &ObjectKey) -> bool {
        self.chains.has_ingress(policy)
    }

    /// Whether a policy finds no room in the budgets.
    pub fn is_beyond(&self, policy: &ObjectKey) -> bool {
        self.chains.is_beyond(policy)
    }

    /// What is used of the budgets.
    pub fn usage(&self) -> Usage {
        self.chains.usage()
    }

    /// What each set in use represents.
    pub fn set_sources(&self) -> &Sources {
        self.sets.sources()
    }

    /// The policies for which that answer changed since the last call.
    pub fn take_news(&mut self) -> BTreeSet<ObjectKey> {
        self.chains.take_news()
    }

    /// The isolated pods and addresses, whether an address is audited, and the table to
    /// write to.
    pub fn parts(&mut self) -> (Isolated<'_>, bool, &mut Compiled) {
        let isolated = Isolated { pods: &self.isolated, addresses: &self.addresses };
        (isolated, self.audited > 0, &mut self.compiled)
    }

    /// The directions in which the only pod is isolated, and the table to write to.
    pub fn inside_parts(&mut self) -> (&BTreeSet<Direction>, &mut Compiled) {
        (&self.directions, &mut self.compiled)
    }

    /// These addresses are about to change their owners.
    pub fn leave(&mut self, touched: &Touched, cluster: &ClusterIndex) {
        self.chains.leave(touched, cluster);
    }

    /// Recompiles what a change may have affected.
    pub fn update(&mut self, input: Input<'_>, impact: &Impact) {
        let Impact { touched, pods, addresses, policies } = impact;
        self.sets.follow(touched, input.cluster, &mut self.compiled.ruleset);
        self.chains.join(touched, input.cluster);
        let was_shut = !self.isolated.is_empty();
        let stale = self.chains.of_policies(policies);
        for chain in &stale {
            self.chains.empty(chain, &mut self.sets, &mut self.compiled);
        }
        let gone = addresses.iter().filter_map(|one| Some((*one, self.addresses.remove(one)?)));
        let gone: Vec<(IpAddr, Judges)> = gone.collect();
        for (address, judges) in &gone {
            self.remove_elements(*address, judges);
        }
        let only = self.pod.clone();
        let mut known = Known::new(input, only.as_ref());
        for key in pods.iter().filter(|key| only.as_ref().is_none_or(|only| only == *key)) {
            match known.is_isolated(key) {
                true => drop(self.isolated.insert(key.clone())),
                false => drop(self.isolated.remove(key)),
            }
        }
        let mut to_fill = stale;
        for address in addresses {
            to_fill.extend(self.isolate(*address, &mut known));
        }
        // After the new users, so that a chain that is still used is kept.
        for (_, chain) in gone.iter().flat_map(|(_, judges)| judges) {
            self.chains.release(chain, &mut self.sets, &mut self.compiled);
        }
        self.chains.refill(to_fill, input, &mut self.sets, &mut self.compiled);
        self.sets.remove_idle(&mut self.compiled.ruleset);
        while self.sets.rename() {
            self.chains.fill_all(input, &mut self.sets, &mut self.compiled);
            // Sets that had one name were counted as one.
            self.chains.refill(BTreeSet::new(), input, &mut self.sets, &mut self.compiled);
            self.sets.remove_idle(&mut self.compiled.ruleset);
        }
        if let Some(only) = &only {
            self.directions = known.directions(only);
            let is_shut = !self.isolated.is_empty();
            if was_shut != is_shut {
                scaffold::shut_edges(&mut self.compiled.ruleset, is_shut);
            }
        }
    }

    /// Adds an address to the table if it is isolated. Returns its chains that have no
    /// rules yet.
    fn isolate(&mut self, address: IpAddr, known: &mut Known<'_>) -> Vec<Name> {
        let mut judges = Judges::new();
        for signature in known.of_address(address) {
            let judge = (signature.direction, signature.mode);
            let chain = signature.chain_name();
            if signature.mode == Mode::Audit {
                let audits = Audits { has_log: known.input.options.log.is_some() };
                audit::add_sets(&mut self.compiled.ruleset, audits);
                self.audited += 1;
            }
            self.chains.acquire(&chain, signature, &mut self.compiled);
            judges.push((judge, chain));
        }
        let chains = judges.iter().map(|(_, chain)| chain);
        let to_fill = chains.filter(|chain| !self.chains.is_filled(chain)).cloned().collect();
        if !judges.is_empty() {
            self.add_elements(address, &judges);
            self.addresses.insert(address, judges);
        }
        to_fill
    }

    fn add_elements(&mut self, address: IpAddr, judges: &Judges) {
        let (ruleset, family) = (&mut self.compiled.ruleset, Family::of(address));
        for (judge, chain) in judges {
            for (name, element) in elements(*judge, address) {
                if let Some(set) = ruleset.sets.get_mut(&name) {
                    set.elements.insert(element);
                }
            }
            if let Some(map) = ruleset.maps.get_mut(&dispatch(*judge, family)) {
                map.entries.insert(address, chain.clone());
            }
        }
    }

    fn remove_elements(&mut self, address: IpAddr, judges: &Judges) {
        let (ruleset, family) = (&mut self.compiled.ruleset, Family::of(address));
        for (judge, _) in judges {
            self.audited -= usize::from(judge.1 == Mode::Audit);
            for (name, element) in elements(*judge, address) {
                if let Some(set) = ruleset.sets.get_mut(&name) {
                    set.elements.remove(&element);
                }
            }
            if let Some(map) = ruleset.maps.get_mut(&dispatch(*judge, family)) {
                map.entries.remove(&address);
            }
        }
    }
}

/// What is worked out once for each pod, however many addresses it has.
struct Known<'a> {
    input: Input<'a>,
    /// The only pod whose policies count, if not all of the node do.
    only: Option<&'a ObjectKey>,
    /// Of each pod, by its place in memory.
    signatures: BTreeMap<*const Pod, ByPolicies>,
}

/// The signatures of a pod, in each direction, by its policies of each mode.
type ByPolicies = [[Option<Signature>; 2]; 2];

impl<'a> Known<'a> {
    fn new(input: Input<'a>, only: Option<&'a ObjectKey>) -> Self {
        Self { input, only, signatures: BTreeMap::new() }
    }

    fn of_pod(&mut self, pod: &'a Pod) -> &ByPolicies {
        self.signatures.entry(pod).or_insert_with(|| {
            let policies = self.input.cluster.policies_of(pod).filter(|_| pod.is_subject());
            let policies: Vec<_> = policies.collect();
            Mode::BOTH.map(|mode| {
                let of =
                    |direction| Signature::of((direction, mode), pod, policies.iter().copied());
                Direction::BOTH.map(of)
            })
        })
    }

    /// Whether a pod with this key is isolated in a direction.
    fn is_isolated(&mut self, key: &ObjectKey) -> bool {
        let Input { cluster, options } = self.input;
        let pods = match self.only {
            None => cluster.pods_with(key, options.node.as_deref()),
            Some(_) => self.subject(key).into_iter().collect(),
        };
        let mut pods = pods.into_iter();
        let enforced = Mode::Enforce as usize;
        pods.any(|one| one.is_shut || self.of_pod(one.pod)[enforced].iter().any(Option::is_some))
    }

    /// The directions in which a pod is isolated.
    fn directions(&mut self, key: &ObjectKey) -> BTreeSet<Direction> {
        let Some(subject) = self.subject(key) else { return BTreeSet::new() };
        let signatures = self.of_pod(subject.pod)[Mode::Enforce as usize].iter().flatten();
        signatures.map(|signature| signature.direction).collect()
    }

    fn subject(&self, key: &ObjectKey) -> Option<Subject<'a>> {
        let Input { cluster, options } = self.input;
        subject_of(cluster.snapshot(), options.node.as_deref(), key)
    }

    /// Of each direction in which an address is isolated or audited. In a pod's own
    /// namespace nothing is audited: nobody reads there what is told.
    fn of_address(&mut self, address: IpAddr) -> Vec<Signature> {
        let Input { cluster, options } = self.input;
        let subjects = match self.only {
            None => cluster.subjects(address, options.node.as_deref()),
            Some(key) => {
                let subject = self.subject(key).into_iter();
                subject.filter(|one| one.pod.addresses.contains(&address)).collect()
            }
        };
        for subject in &subjects {
            self.of_pod(subject.pod);
        }
        let (signatures, is_inside) = (&self.signatures, self.only.is_some());
        let directions = Direction::BOTH.into_iter().enumerate();
        let of_subjects = directions.filter_map(|(at, direction)| {
            let by_policies = |mode: Mode, pod: &'a Pod| {
                if is_inside && mode == Mode::Audit {
                    return None;
                }
                signatures.get(&std::ptr::from_ref(pod))?[mode as usize][at].clone()
            };
            Signature::of_subjects(direction, &subjects, by_policies)
        });
        of_subjects.collect()
    }
}

/// The set elements of an address that is isolated or audited in a direction.
fn elements((direction, mode): Judge, address: IpAddr) -> Vec<(Name, Element)> {
    let family = Family::of(address);
    let itself = (scaffold::self_set(family), Element::AddressPair(address, address));
    match mode {
        Mode::Enforce => {
            vec![(scaffold::isolated_set(direction, family), Element::Address(address)), itself]
        }
        Mode::Audit => vec![itself],
    }
}

/// The map from an address to its chain.
fn dispatch((direction, mode): Judge, family: Family) -> Name {
    match mode {
        Mode::Enforce => scaffold::dispatch(direction, family),
        Mode::Audit => audit::dispatch(direction, family),
    }
}
