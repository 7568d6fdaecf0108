//! All pieces together.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use policy::spec::RuleRef;
use policy::{Diagnostic, Direction, ObjectKey, Pod, Severity, Snapshot};
use ruleset::{Element, Family, Match, Name, Ruleset};

use crate::grants::{self, Grants};
use crate::sets::Sources;
use crate::signature::{ResolvedPorts, Signature};
use crate::{Cluster, Options, chain, scaffold};

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
        out: Compiled {
            ruleset: scaffold::of(!local.is_empty(), options.log.is_some()),
            diagnostics: shared_addresses(&cluster),
            signatures: BTreeMap::new(),
            rule_sources: BTreeMap::new(),
            set_users: BTreeMap::new(),
        },
        sources: Sources::new(),
    };
    for (pod, signature) in local {
        work.add_pod(pod, signature);
    }
    work.fill_sets();
    work.out
}

/// Local pods with an address, and the signature of each isolated direction.
fn isolated_pods<'a>(cluster: &Cluster<'a>, options: &Options) -> Vec<(&'a Pod, Signature)> {
    let node = options.node.as_deref();
    cluster
        .local(node)
        .filter(|pod| cluster.owners().addresses_of(pod).next().is_some())
        .flat_map(|pod| {
            let policies: Vec<_> = cluster.policies_of(pod).collect();
            Direction::BOTH.into_iter().filter_map(move |direction| {
                Some((pod, Signature::of(direction, pod, policies.iter().copied())?))
            })
        })
        .collect()
}

struct Assembly<'c, 'a> {
    cluster: &'c Cluster<'a>,
    options: &'c Options,
    out: Compiled,
    sources: Sources,
}

impl Assembly<'_, '_> {
    fn add_pod(&mut self, pod: &Pod, signature: Signature) {
        let direction = signature.direction;
        let chain = signature.chain_name();
        if !self.out.signatures.contains_key(&chain) {
            self.add_chain(&chain, &signature);
            self.out.signatures.insert(chain.clone(), signature);
        }
        let addresses: Vec<IpAddr> = self.cluster.owners().addresses_of(pod).collect();
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
        let policies: Vec<(&ObjectKey, Grants)> = signature
            .policies
            .iter()
            .filter(|key| !self.options.set_aside.contains(key))
            .filter_map(|key| Some((key, self.cluster.snapshot().policies.get(key)?)))
            .map(|(key, policy)| (key, self.grants(policy, signature)))
            .collect();
        let allowing = policies.iter().map(|(key, grants)| (*key, grants));
        let built =
            chain::of(name, signature.direction, signature.comment(), allowing, self.options.log);
        for (key, grants) in &policies {
            for set in grants.sources.keys() {
                self.out.set_users.entry(set.clone()).or_default().insert((*key).clone());
            }
        }
        self.sources.extend(policies.into_iter().flat_map(|(_, grants)| grants.sources));
        self.out.ruleset.chains.insert(name.clone(), built.chain);
        self.out.rule_sources.insert(name.clone(), built.sources);
    }

    fn grants(&self, policy: &policy::NetworkPolicy, signature: &Signature) -> Grants {
        let nothing = ResolvedPorts::new();
        match signature.direction {
            Direction::Egress => grants::of(policy, Direction::Egress, &nothing),
            Direction::Ingress => grants::of(policy, Direction::Ingress, &signature.ports),
        }
    }

    fn fill_sets(&mut self) {
        for (name, source) in &self.sources {
            self.out.ruleset.sets.insert(name.clone(), source.set(self.cluster));
        }
    }
}

impl Compiled {
    /// The policies to set aside when the kernel refuses something about this
    /// object: those behind the rule with these matches if they are given and
    /// known, else those behind the whole set or chain. None for what every
    /// table has.
    pub fn policies_behind(&self, object: &Name, rule: Option<&[Match]>) -> BTreeSet<ObjectKey> {
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

/// Pods that report an address which a newer pod has.
fn shared_addresses(cluster: &Cluster<'_>) -> Vec<Diagnostic> {
    let pods = cluster.pods();
    pods.flat_map(|pod| pod.addresses.iter().map(move |address| (pod, *address)))
        .filter_map(|(pod, address)| {
            let owner = cluster.owners().owner(address).filter(|owner| owner.key != pod.key)?;
            Some(Diagnostic {
                severity: Severity::Warning,
                kind: "Pod",
                object: pod.key.clone(),
                field: "status.podIPs".to_owned(),
                message: format!(
                    "address {address} belongs to the newer pod {}; here it counts for nothing",
                    owner.key
                ),
            })
        })
        .collect()
}
