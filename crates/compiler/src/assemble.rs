//! All pieces together.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use policy::spec::RuleRef;
use policy::{Diagnostic, Direction, NetworkPolicy, ObjectKey, Pod, Snapshot};
use ruleset::{Element, Family, Match, Name, Ruleset};

use crate::grants::{self, Grants};
use crate::sets::Sources;
use crate::signature::{ResolvedPorts, Signature};
use crate::{Cluster, Options, chain, diagnose, scaffold};

/// What compiling gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compiled {
    /// The table.
    pub ruleset: Ruleset,
    /// What people should know about their objects.
    pub diagnostics: Vec<Diagnostic>,
    /// The signature behind each signature chain.
    pub signatures: BTreeMap<Name, Signature>,
    /// The API rules behind each signature chain's first rules, in order.
    pub rule_sources: BTreeMap<Name, Vec<Vec<RuleRef>>>,
    /// The policies whose rules look into each set.
    pub set_users: BTreeMap<Name, BTreeSet<ObjectKey>>,
}

/// Compiles a snapshot.
pub fn compile(snapshot: &Snapshot, options: &Options) -> Compiled {
    let cluster = Cluster::new(snapshot);
    let local = isolated_pods(&cluster, options);
    let mut work = Assembly {
        cluster: &cluster,
        options,
        out: Compiled::of_nothing(options),
        sources: Sources::new(),
        grants: BTreeMap::new(),
    };
    scaffold::shut_edges(&mut work.out.ruleset, !local.is_empty());
    for (pod, signature) in local {
        work.add_pod(pod, signature);
    }
    work.fill_sets();
    work.diagnose();
    work.out
}

/// Local pods and the signature of each isolated direction. A pod counts
/// before its address is reported: its link-local one works already.
fn isolated_pods<'a>(cluster: &'a Cluster, options: &Options) -> Vec<(&'a Pod, Signature)> {
    let node = options.node.as_deref();
    cluster
        .local(node)
        .flat_map(|pod| {
            let policies: Vec<_> = cluster.policies_of(pod).collect();
            Direction::BOTH.into_iter().filter_map(move |direction| {
                Some((pod, Signature::of(direction, pod, policies.iter().copied())?))
            })
        })
        .collect()
}

struct Assembly<'a> {
    cluster: &'a Cluster,
    options: &'a Options,
    out: Compiled,
    sources: Sources,
    grants: BTreeMap<(ObjectKey, Direction, ResolvedPorts), Arc<Grants>>,
}

impl Assembly<'_> {
    fn add_pod(&mut self, pod: &Pod, signature: Signature) {
        let addresses: Vec<IpAddr> = self.cluster.addresses_of(pod).collect();
        if addresses.is_empty() {
            return;
        }
        let direction = signature.direction;
        let chain = signature.chain_name();
        if !self.out.signatures.contains_key(&chain) {
            self.add_chain(&chain, &signature);
            self.out.signatures.insert(chain.clone(), signature);
        }
        for address in addresses {
            let family = Family::of(address);
            self.add_element(&scaffold::isolated_set(direction, family), Element::Address(address));
            self.add_element(&scaffold::self_set(family), Element::AddressPair(address, address));
            if let Some(map) = self.out.ruleset.maps.get_mut(&scaffold::dispatch(direction, family))
            {
                map.entries.insert(address, chain.clone());
            }
        }
    }

    fn add_element(&mut self, set: &Name, element: Element) {
        if let Some(set) = self.out.ruleset.sets.get_mut(set) {
            set.elements.insert(element);
        }
    }

    fn add_chain(&mut self, name: &Name, signature: &Signature) {
        let snapshot = self.cluster.snapshot();
        let policies: Vec<(&ObjectKey, Arc<Grants>)> = signature
            .policies
            .iter()
            .filter(|key| !self.options.set_aside.contains(key))
            .filter_map(|key| Some((key, snapshot.policies.get(key)?)))
            .map(|(key, policy)| (key, self.grants(policy, signature)))
            .collect();
        let allowing = policies.iter().map(|(key, grants)| (*key, &**grants));
        let comment = signature.comment();
        let built = chain::of(name, signature.direction, comment, allowing, self.options.log);
        self.out.ruleset.chains.insert(name.clone(), built.chain.into());
        self.out.rule_sources.insert(name.clone(), built.sources);
    }

    /// The grants of a policy, worked out once for all signatures in which
    /// its port names stand for the same.
    fn grants(&mut self, policy: &NetworkPolicy, signature: &Signature) -> Arc<Grants> {
        let direction = signature.direction;
        let resolved = signature.ports_of(policy);
        let key = (policy.key.clone(), direction, resolved);
        if let Some(known) = self.grants.get(&key) {
            return Arc::clone(known);
        }
        let (_, _, resolved) = &key;
        let grants = Arc::new(grants::of(policy, direction, resolved));
        for (set, source) in &grants.sources {
            self.out.set_users.entry(set.clone()).or_default().insert(policy.key.clone());
            self.sources.insert(set.clone(), source.clone());
        }
        self.grants.insert(key, Arc::clone(&grants));
        grants
    }

    /// Once for each policy, in however many signatures it is.
    fn diagnose(&mut self) {
        let signatures = self.out.signatures.values();
        let ingress = signatures.filter(|signature| signature.direction == Direction::Ingress);
        let keys: BTreeSet<&ObjectKey> =
            ingress.flat_map(|signature| &signature.policies).collect();
        let policies = &self.cluster.snapshot().policies;
        let found = keys
            .into_iter()
            .filter(|key| !self.options.set_aside.contains(*key))
            .filter_map(|key| policies.get(key))
            .flat_map(|policy| diagnose::port_names_of_nobody(policy, self.cluster));
        self.out.diagnostics = found.collect();
    }

    fn fill_sets(&mut self) {
        for (name, source) in &self.sources {
            self.out.ruleset.sets.insert(name.clone(), source.set(self.cluster));
        }
    }
}

impl Compiled {
    /// What compiling a snapshot without objects gives.
    pub(crate) fn of_nothing(options: &Options) -> Self {
        Self {
            ruleset: scaffold::of(false, options.log.is_some()),
            diagnostics: Vec::new(),
            signatures: BTreeMap::new(),
            rule_sources: BTreeMap::new(),
            set_users: BTreeMap::new(),
        }
    }

    /// The policies to set aside when the kernel refuses something about this
    /// object, or about a chain that stands in for it while the table changes
    /// (its name ends in that of the object): those behind the rule with these
    /// matches if they are given and known, else those behind the whole set or
    /// chain. None for what every table has.
    pub fn policies_behind(&self, object: &Name, rule: Option<&[Match]>) -> BTreeSet<ObjectKey> {
        let stands_for = |name: &&Name| object.as_str().ends_with(&format!(".{name}"));
        let object = match self.signatures.contains_key(object) {
            true => object,
            false => self.signatures.keys().find(stands_for).unwrap_or(object),
        };
        let by_rule = rule.and_then(|matches| {
            let chain = self.ruleset.chains.get(object)?;
            let place = chain.rules.iter().position(|rule| rule.matches == matches)?;
            self.rule_sources.get(object)?.get(place)
        });
        if let Some(sources) = by_rule {
            return sources.iter().map(|source| source.policy.clone()).collect();
        }
        if let Some(signature) = self.signatures.get(object) {
            return signature.policies.clone();
        }
        self.set_users.get(object).cloned().unwrap_or_default()
    }
}
