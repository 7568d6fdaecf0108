//! What the policies of each namespace cost this node, and who finds no room.
//!
//! In: chains as they come and go, with the policies of their signatures. Out: the
//! decisions of [`budget`], at the cost of the namespaces that changed. A policy that
//! finds no room is charged, too: so decisions depend on the present objects alone.

use std::collections::{BTreeMap, BTreeSet};

use policy::ObjectKey;
use ruleset::Name;

use super::chains::GrantsKey;
use crate::budget::{self, Budgets, Decision};
use crate::price::{self, Amount, Form, Quote};
use crate::signature::Signature;
use crate::{ClusterIndex, Usage};

/// The accounts of all namespaces.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// What each filled chain was charged for.
    charged: BTreeMap<Name, Vec<GrantsKey>>,
    /// What each part of chains costs, and how many chains have it.
    parts: BTreeMap<GrantsKey, (Quote, usize)>,
    accounts: BTreeMap<String, Account>,
    /// Namespaces that were charged or paid back since the last decision.
    dirty: BTreeSet<String>,
    /// What all namespaces ask of the node.
    demand: Amount,
    /// What each may take; `None` before the first decision.
    allowed: Option<Amount>,
}

/// A namespace with a policy that isolates a local pod.
#[derive(Debug, Default)]
struct Account {
    policies: BTreeMap<String, Quote>,
    /// How many parts of chains each policy has.
    parts: BTreeMap<String, usize>,
    sum: Quote,
    /// What it asks of the node, as of the last decision.
    demand: Amount,
    decision: Decision,
}

impl Ledger {
    /// A chain is about to be filled. Before, all that are were paid back: a part costs the
    /// same in all chains.
    pub fn charge(&mut self, chain: &Name, signature: &Signature, cluster: &ClusterIndex) {
        let mut charged = Vec::new();
        for key in signature.policies.iter().filter(|_| !signature.is_shut) {
            let Some(policy) = cluster.snapshot().policies.get(key) else { continue };
            let part = (key.clone(), signature.direction, signature.ports_of(policy));
            let quote = || price::quote(policy, part.1, &part.2);
            let (quote, chains) = self.parts.entry(part.clone()).or_insert_with(|| (quote(), 0));
            *chains += 1;
            let quote = marginal(quote, *chains);
            let account = self.accounts.entry(key.namespace.clone()).or_default();
            account.add(&key.name, quote);
            self.dirty.insert(key.namespace.clone());
            charged.push(part);
        }
        self.charged.insert(chain.clone(), charged);
    }

    /// A chain goes, or is about to be filled.
    pub fn pay_back(&mut self, chain: &Name) {
        for part in self.charged.remove(chain).unwrap_or_default() {
            let Some((quote, chains)) = self.parts.get_mut(&part) else { continue };
            let quote = marginal(quote, *chains);
            *chains -= 1;
            if *chains == 0 {
                self.parts.remove(&part);
            }
            let ObjectKey { namespace, name } = part.0;
            let Some(account) = self.accounts.get_mut(&namespace) else { continue };
            account.subtract(&name, quote);
            self.dirty.insert(namespace);
        }
    }

    /// Decides about namespaces that changed. Returns the policies that are compiled in
    /// another way now.
    pub fn decide(&mut self, budgets: &Budgets) -> BTreeSet<ObjectKey> {
        let dirty = std::mem::take(&mut self.dirty);
        for namespace in &dirty {
            let Some(account) = self.accounts.get_mut(namespace) else { continue };
            self.demand -= account.demand;
            account.demand = budget::demand(&account.sum, budgets);
            self.demand += account.demand;
        }
        let allowed = match self.demand.fits(&budgets.node) {
            true => budgets.namespace,
            false => budget::allowed(self.accounts.values().map(|one| one.demand), budgets),
        };
        let is_same = self.allowed.replace(allowed) == Some(allowed);
        let mut changed = BTreeSet::new();
        for (namespace, account) in &mut self.accounts {
            if is_same && !dirty.contains(namespace) {
                continue;
            }
            let decision = budget::decide(&account.policies, &account.sum, &allowed);
            let before = std::mem::replace(&mut account.decision, decision);
            changed.extend(account.differing(&before).map(|name| ObjectKey::new(namespace, name)));
        }
        self.accounts.retain(|namespace, account| {
            !dirty.contains(namespace) || !account.policies.is_empty()
        });
        changed
    }

    /// What a chain was charged for, without policies that find no room.
    pub fn admitted(&self, chain: &Name) -> Vec<GrantsKey> {
        let parts = self.charged.get(chain).into_iter().flatten();
        parts.filter(|part| !self.is_beyond(&part.0)).cloned().collect()
    }

    /// As long as all sets together have no more elements of pods than this, no namespace
    /// is over its budget because of them, nor is the node.
    pub fn harmless(&self, budgets: &Budgets) -> u64 {
        let used = self.accounts.values().map(|account| account.decision.used.elements);
        let least = budgets.namespace.elements.min(budgets.node.elements);
        least.saturating_sub(used.max().unwrap_or_default())
    }

    /// The chains that were charged.
    pub fn chains(&self) -> impl Iterator<Item = &Name> {
        self.charged.keys()
    }

    /// How many elements a namespace may have because of pods.
    pub fn left(&self, namespace: &str, budgets: &Budgets) -> u64 {
        let used = self.accounts.get(namespace).map_or(0, |one| one.decision.used.elements);
        budgets.namespace.elements.saturating_sub(used)
    }

    /// The form of a namespace's policies.
    pub fn form(&self, namespace: &str) -> Form {
        self.accounts.get(namespace).map_or(Form::Plain, |account| account.decision.form)
    }

    /// Whether a policy found no room.
    pub fn is_beyond(&self, policy: &ObjectKey) -> bool {
        let account = self.accounts.get(&policy.namespace);
        account.is_some_and(|account| account.decision.beyond.contains(&policy.name))
    }

    /// The policies that found no room.
    pub fn beyond(&self) -> BTreeSet<ObjectKey> {
        let accounts = self.accounts.iter();
        let all = accounts.flat_map(|(namespace, account)| {
            let names = account.decision.beyond.iter();
            names.map(move |name| ObjectKey::new(namespace, name))
        });
        all.collect()
    }

    /// What is used of the budgets.
    pub fn usage(&self) -> Usage {
        let used = || self.accounts.values().map(|account| account.decision.used);
        Usage { node: used().sum(), namespace: used().fold(Amount::default(), Amount::max) }
    }
}

impl Account {
    fn add(&mut self, policy: &str, quote: Quote) {
        *self.policies.entry(policy.to_owned()).or_default() += quote;
        *self.parts.entry(policy.to_owned()).or_default() += 1;
        self.sum += quote;
    }

    fn subtract(&mut self, policy: &str, quote: Quote) {
        self.sum -= quote;
        if let Some(sum) = self.policies.get_mut(policy) {
            *sum -= quote;
        }
        match self.parts.get_mut(policy) {
            Some(parts) if *parts > 1 => *parts -= 1,
            _ => {
                self.parts.remove(policy);
                self.policies.remove(policy);
            }
        }
    }

    /// The names of policies about which another decision was made before.
    fn differing<'a>(&'a self, before: &'a Decision) -> impl Iterator<Item = &'a String> {
        let is_other_form = before.form != self.decision.form;
        let all = self.policies.keys().filter(move |_| is_other_form);
        all.chain(before.beyond.symmetric_difference(&self.decision.beyond))
    }
}

/// What a part costs in one more chain: its sets are there after the first.
fn marginal(quote: &Quote, chains: usize) -> Quote {
    match chains {
        1 => *quote,
        _ => Quote { plain: quote.plain.rules_only(), compact: quote.compact.rules_only() },
    }
}
