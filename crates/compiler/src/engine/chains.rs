//! The chains of isolated pods. A chain exists as long as a pod uses it.
//!
//! In: the signatures of pods, acquired and released. Out: their chains, with the
//! rules of their policies. A chain in turn acquires and releases the sets that
//! its rules look into.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use policy::{Direction, NetworkPolicy, ObjectKey};
use ruleset::Name;

use super::in_use::SetsInUse;
use super::ledger::Ledger;
use super::members::Members;
use super::{Input, Touched};
use crate::grants::{self, Grants};
use crate::naming::Naming;
use crate::sets::Sources;
use crate::signature::{ResolvedPorts, Signature};
use crate::{ClusterIndex, Compiled, Usage, chain};

/// What the grants of a policy depend on, beside the policy.
pub(super) type GrantsKey = (ObjectKey, Direction, ResolvedPorts);

/// Chains in use.
#[derive(Debug, Default)]
pub(super) struct Chains {
    /// How many addresses use each chain.
    users: BTreeMap<Name, usize>,
    /// The grants that each filled chain consists of.
    parts: BTreeMap<Name, Vec<GrantsKey>>,
    /// The grants in use, and how many chains use each.
    grants: BTreeMap<GrantsKey, (Arc<Grants>, usize)>,
    /// The chains of each policy and direction.
    of_policy: BTreeMap<(ObjectKey, Direction), BTreeSet<Name>>,
    /// Policies that got their first ingress chain or lost their last, or found no room,
    /// or did again.
    news: BTreeSet<ObjectKey>,
    ledger: Ledger,
    /// `Some` while a namespace could be over its budget of elements.
    members: Option<Members>,
    /// Whether other policies than before may find no room.
    is_untold: bool,
}

impl Chains {
    /// The chains that have one of these policies in their signature.
    pub fn of_policies(&self, policies: &BTreeSet<ObjectKey>) -> BTreeSet<Name> {
        let keys = policies.iter();
        let both = keys.flat_map(|key| Direction::BOTH.map(|direction| (key.clone(), direction)));
        both.filter_map(|key| self.of_policy.get(&key)).flatten().cloned().collect()
    }

    /// Whether there is an ingress chain with this policy in its signature.
    pub fn has_ingress(&self, policy: &ObjectKey) -> bool {
        self.of_policy.contains_key(&(policy.clone(), Direction::Ingress))
    }

    /// The policies that got their first ingress chain, or lost their last, or for which
    /// the budgets decide in another way, since the last call.
    pub fn take_news(&mut self) -> BTreeSet<ObjectKey> {
        std::mem::take(&mut self.news)
    }

    /// Whether a policy finds no room in the budgets.
    pub fn is_beyond(&self, policy: &ObjectKey) -> bool {
        let crowded = self.members.as_ref().is_some_and(|members| members.is_beyond(policy));
        crowded || self.ledger.is_beyond(policy)
    }

    /// These addresses are about to change their owners.
    pub fn leave(&mut self, touched: &Touched, cluster: &ClusterIndex) {
        if let Some(members) = &mut self.members {
            members.leave(touched, cluster);
        }
    }

    /// These addresses have other owners now.
    pub fn join(&mut self, touched: &Touched, cluster: &ClusterIndex) {
        if let Some(members) = &mut self.members {
            members.join(touched, cluster);
        }
    }

    /// What is used of the budgets.
    pub fn usage(&self) -> Usage {
        self.ledger.usage()
    }

    /// Decides which policies find room, and fills these chains and those that change by
    /// that.
    pub fn refill(
        &mut self,
        to_fill: BTreeSet<Name>,
        input: Input<'_>,
        sets: &mut SetsInUse,
        out: &mut Compiled,
    ) {
        let mut to_fill = self.charge(to_fill, input, sets, out);
        let harmless = self.ledger.harmless(&input.options.budgets);
        if self.members.is_some() {
            let changed = self.crowd(&to_fill, input, sets);
            to_fill = self.and_of(to_fill, changed, sets, out);
        }
        sets.limit(self.members.is_none().then_some(harmless));
        for chain in &to_fill {
            self.fill(chain, input, sets, out);
        }
        sets.limit(None);
        if self.members.is_none() && sets.exceed(harmless) {
            self.members = Some(Members::default());
            let all = self.ledger.chains().cloned().collect();
            let changed = self.crowd(&all, input, sets);
            for chain in self.and_of(BTreeSet::new(), changed, sets, out) {
                self.fill(&chain, input, sets, out);
            }
        }
        sets.remove_idle(&mut out.ruleset);
        sets.complete(input.cluster, out);
        if self.members.as_ref().is_some_and(|members| members.elements() <= harmless) {
            self.members = None;
            self.is_untold = true;
        }
        if std::mem::take(&mut self.is_untold) {
            self.tell_beyond(out);
        }
    }

    /// By rules, sets, and elements of their own. Returns the chains to fill.
    fn charge(
        &mut self,
        to_fill: BTreeSet<Name>,
        input: Input<'_>,
        sets: &mut SetsInUse,
        out: &mut Compiled,
    ) -> BTreeSet<Name> {
        for chain in &to_fill {
            self.ledger.pay_back(chain);
        }
        for chain in &to_fill {
            if let Some(signature) = out.signatures.get(chain) {
                self.ledger.charge(chain, signature, input.cluster);
            }
        }
        let changed = self.ledger.decide(&input.options.budgets);
        self.and_of(to_fill, changed, sets, out)
    }

    /// By elements of pods, once these chains are filled. Returns the policies about which
    /// it decides in another way.
    fn crowd(
        &mut self,
        to_fill: &BTreeSet<Name>,
        input: Input<'_>,
        sets: &SetsInUse,
    ) -> BTreeSet<ObjectKey> {
        let Some(mut members) = self.members.take() else { return BTreeSet::new() };
        let naming = Naming::default();
        let are_own_names = *sets.naming() == naming;
        let policies = &input.cluster.snapshot().policies;
        for chain in to_fill {
            members.pay_back(chain);
        }
        for chain in to_fill {
            let sources = |part: &GrantsKey| {
                let known = self.grants.get(part).filter(|_| are_own_names);
                match (known, policies.get(&part.0)) {
                    (Some((grants, _)), _) => grants.sources.clone(),
                    (None, Some(policy)) => {
                        let form = self.ledger.form(&part.0.namespace);
                        grants::of(policy, part.1, &part.2, &naming, form).sources
                    }
                    (None, None) => Sources::new(),
                }
            };
            let mut parts = self.ledger.admitted(chain);
            parts.retain(|part| !input.options.set_aside.contains(&part.0));
            members.charge(chain, parts, sources, input.cluster);
        }
        let budgets = &input.options.budgets;
        let changed = members.decide(budgets, |namespace| self.ledger.left(namespace, budgets));
        self.members = Some(members);
        changed
    }

    /// These chains, and those of these policies, which are emptied.
    fn and_of(
        &mut self,
        chains: BTreeSet<Name>,
        policies: BTreeSet<ObjectKey>,
        sets: &mut SetsInUse,
        out: &mut Compiled,
    ) -> BTreeSet<Name> {
        let more = self.of_policies(&policies);
        self.is_untold |= !policies.is_empty();
        self.news.extend(policies);
        for chain in more.iter().filter(|chain| !chains.contains(*chain)) {
            self.empty(chain, sets, out);
        }
        chains.into_iter().chain(more).collect()
    }

    fn tell_beyond(&self, out: &mut Compiled) {
        let crowded = self.members.iter().flat_map(Members::beyond);
        let beyond: BTreeSet<ObjectKey> = self.ledger.beyond().into_iter().chain(crowded).collect();
        if *out.over_budget != beyond {
            out.over_budget = Arc::new(beyond);
        }
    }

    /// Whether a chain has its rules.
    pub fn is_filled(&self, name: &Name) -> bool {
        self.parts.contains_key(name)
    }

    /// Adds a user of a chain.
    pub fn acquire(&mut self, name: &Name, signature: Signature, out: &mut Compiled) {
        let users = self.users.entry(name.clone()).or_default();
        *users += 1;
        if *users > 1 {
            return;
        }
        for policy in &signature.policies {
            let key = (policy.clone(), signature.direction);
            let chains = self.of_policy.entry(key).or_default();
            chains.insert(name.clone());
            if signature.direction == Direction::Ingress && chains.len() == 1 {
                self.news.insert(policy.clone());
            }
        }
        out.signatures.insert(name.clone(), Arc::new(signature));
    }

    /// Removes a user of a chain. The last one removes the chain.
    pub fn release(&mut self, name: &Name, sets: &mut SetsInUse, out: &mut Compiled) {
        match self.users.get_mut(name) {
            Some(users) if *users > 1 => return *users -= 1,
            _ => drop(self.users.remove(name)),
        }
        self.empty(name, sets, out);
        self.ledger.pay_back(name);
        if let Some(members) = &mut self.members {
            members.pay_back(name);
        }
        out.ruleset.chains.remove(name);
        out.rule_sources.remove(name);
        let Some(signature) = out.signatures.remove(name) else { return };
        for policy in &signature.policies {
            let key = (policy.clone(), signature.direction);
            let Some(chains) = self.of_policy.get_mut(&key) else { continue };
            chains.remove(name);
            if chains.is_empty() {
                self.of_policy.remove(&key);
                if signature.direction == Direction::Ingress {
                    self.news.insert(policy.clone());
                }
            }
        }
    }

    /// Releases the grants of a chain. Its rules stay until it is filled.
    pub fn empty(&mut self, name: &Name, sets: &mut SetsInUse, out: &mut Compiled) {
        for key in self.parts.remove(name).unwrap_or_default() {
            match self.grants.get_mut(&key) {
                Some((_, users)) if *users > 1 => *users -= 1,
                _ => {
                    if let Some((grants, _)) = self.grants.remove(&key) {
                        for set in grants.sources.keys() {
                            sets.release(set, &key.0, out);
                        }
                    }
                }
            }
        }
    }

    /// Writes the rules of a chain in use from the present policies of its
    /// signature.
    pub fn fill(
        &mut self,
        name: &Name,
        input: Input<'_>,
        sets: &mut SetsInUse,
        out: &mut Compiled,
    ) {
        self.empty(name, sets, out);
        let Some(signature) = out.signatures.get(name).cloned() else { return };
        let mut parts = Vec::new();
        let mut policies = Vec::new();
        let allows =
            |key: &&ObjectKey| !signature.is_shut && !input.options.set_aside.contains(*key);
        for key in signature.policies.iter().filter(allows) {
            if self.is_beyond(key) {
                continue;
            }
            let Some(policy) = input.cluster.snapshot().policies.get(key) else { continue };
            let part = (key.clone(), signature.direction, signature.ports_of(policy));
            policies.push((key, self.grants(&part, policy, input.cluster, sets, out)));
            parts.push(part);
        }
        let allowing = policies.iter().map(|(key, grants)| (*key, &**grants));
        let built = chain::of(name, &signature, allowing, input.options.log);
        out.ruleset.chains.insert(name.clone(), Arc::new(built.chain));
        out.rule_sources.insert(name.clone(), Arc::new(built.sources));
        self.parts.insert(name.clone(), parts);
    }

    /// Writes the rules of all chains, because sets have other names.
    pub fn fill_all(&mut self, input: Input<'_>, sets: &mut SetsInUse, out: &mut Compiled) {
        let chains: Vec<Name> = self.parts.keys().cloned().collect();
        for chain in &chains {
            self.empty(chain, sets, out);
        }
        for chain in &chains {
            self.fill(chain, input, sets, out);
        }
    }

    fn grants(
        &mut self,
        key: &GrantsKey,
        policy: &NetworkPolicy,
        cluster: &ClusterIndex,
        sets: &mut SetsInUse,
        out: &mut Compiled,
    ) -> Arc<Grants> {
        if let Some((grants, users)) = self.grants.get_mut(key) {
            *users += 1;
            return Arc::clone(grants);
        }
        let form = self.ledger.form(&key.0.namespace);
        let grants = Arc::new(grants::of(policy, key.1, &key.2, sets.naming(), form));
        grants.shared.iter().for_each(|name| sets.share(name));
        for (set, source) in &grants.sources {
            sets.acquire(set, source, &key.0, cluster, out);
        }
        self.grants.insert(key.clone(), (Arc::clone(&grants), 1));
        grants
    }
}
