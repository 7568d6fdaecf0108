//! How much of a table the policies of a namespace may take.
//!
//! In: what each policy costs, by namespace; the budgets. Out: the form of each namespace's
//! policies, and those that find no room. Never: an earlier decision, or the order in which
//! objects came.
//!
//! A namespace that fits has the plain form. One that does not has the compact form. If
//! that does not fit either, its cheapest policies come first, and those that find no room
//! isolate and allow nothing. So what a tenant adds never takes the place of what others
//! have, as long as the node has room. If it has not, the largest namespaces shrink to one
//! and the same level, and smaller ones lose nothing.

use std::collections::{BTreeMap, BTreeSet};

use ruleset::Name;

use crate::price::{Amount, Form, Quote};

/// How much a table may hold because of policies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budgets {
    /// Because of all policies.
    pub node: Amount,
    /// Because of the policies of one namespace.
    pub namespace: Amount,
}

/// The node's is more than ten times what the cluster of `cargo xtask bench` takes: 10,000
/// pods, 250 of them local, 1,000 policies: 1,792 sets, 4,797 rules, 33,225 elements. A
/// namespace has more than twice what that whole cluster takes. A set of every address of
/// a dual-stack cluster of 150,000 pods, the largest that Kubernetes supports, is within it
/// (<https://kubernetes.io/docs/setup/best-practices/cluster-large/>, v1.36).
impl Default for Budgets {
    fn default() -> Self {
        Self {
            node: Amount { sets: 20_000, rules: 50_000, elements: 800_000 },
            namespace: Amount { sets: 5_000, rules: 12_500, elements: 320_000 },
        }
    }
}

/// What a namespace gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The form of its policies.
    pub form: Form,
    /// The names of policies that find no room.
    pub beyond: BTreeSet<String>,
    /// What the others take at most.
    pub used: Amount,
}

/// A namespace without a policy.
impl Default for Decision {
    fn default() -> Self {
        Self { form: Form::Plain, beyond: BTreeSet::new(), used: Amount::default() }
    }
}

/// What a namespace gets, whose policies cost this, `sum` together.
pub fn decide(policies: &BTreeMap<String, Quote>, sum: &Quote, allowed: &Amount) -> Decision {
    for form in [Form::Plain, Form::Compact] {
        if sum.amount(form).fits(allowed) {
            return Decision { form, beyond: BTreeSet::new(), used: sum.amount(form) };
        }
    }
    let mut sorted: Vec<(u64, &String, Amount)> = policies
        .iter()
        .map(|(name, quote)| (weight(&quote.compact, allowed), name, quote.compact))
        .collect();
    sorted.sort_unstable_by_key(|(weight, name, _)| (*weight, *name));
    let (mut beyond, mut used) = (BTreeSet::new(), Amount::default());
    for (_, name, amount) in sorted {
        match (used + amount).fits(allowed) {
            true => used += amount,
            false => drop(beyond.insert(name.clone())),
        }
    }
    Decision { form: Form::Compact, beyond, used }
}

/// What a namespace asks of the node.
pub fn demand(sum: &Quote, budgets: &Budgets) -> Amount {
    match sum.plain.fits(&budgets.namespace) {
        true => sum.plain,
        false => sum.compact.min(budgets.namespace),
    }
}

/// How much each namespace may take, whose demands are these. Those that ask for no more
/// get what they ask for.
pub fn allowed(demands: impl Iterator<Item = Amount> + Clone, budgets: &Budgets) -> Amount {
    let level = |node: u64, namespace: u64, of: fn(&Amount) -> u64| {
        level(demands.clone().map(|amount| of(&amount)).collect(), node).min(namespace)
    };
    let Budgets { node, namespace } = budgets;
    Amount {
        sets: level(node.sets, namespace.sets, |amount| amount.sets),
        rules: level(node.rules, namespace.rules, |amount| amount.rules),
        elements: level(node.elements, namespace.elements, |amount| amount.elements),
    }
}

/// The highest level at which the demands, cut down to it, fit together.
pub fn level(mut demands: Vec<u64>, room: u64) -> u64 {
    demands.sort_unstable();
    let mut left = room;
    for (place, demand) in demands.iter().enumerate() {
        let share = left / (demands.len() - place) as u64;
        if *demand > share {
            return share;
        }
        left -= demand;
    }
    u64::MAX
}

/// What a set of pods weighs for one of the namespaces whose policies look into it. A set
/// counts once in a namespace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Weight {
    /// Its elements, against the budget of the namespace.
    pub elements: u64,
    /// Its part of them, against the budget of the node: the namespaces pay for it together.
    pub share: u64,
}

impl Weight {
    /// Of a set with this many elements that is used in this many namespaces.
    #[must_use]
    pub fn new(elements: u64, namespaces: usize) -> Self {
        let share = elements.saturating_mul(SHARES) / (namespaces as u64).max(1);
        Self { elements, share }
    }

    /// Whether there is room for it.
    #[must_use]
    pub fn fits(&self, room: &Self) -> bool {
        self.elements <= room.elements && self.share <= room.share
    }
}

impl std::ops::AddAssign for Weight {
    fn add_assign(&mut self, other: Self) {
        self.elements += other.elements;
        self.share += other.share;
    }
}

impl std::ops::SubAssign for Weight {
    fn sub_assign(&mut self, other: Self) {
        self.elements = self.elements.saturating_sub(other.elements);
        self.share = self.share.saturating_sub(other.share);
    }
}

/// The share of sets of pods that each namespace may have, whose shares are these, `sum`
/// together.
pub fn highest_share(sum: u64, shares: impl Iterator<Item = u64>, budgets: &Budgets) -> u64 {
    let room = budgets.node.elements.saturating_mul(SHARES);
    if sum <= room { u64::MAX } else { level(shares.collect(), room) }
}

/// The policies of one namespace whose sets of pods find no room. Those with few elements
/// come first.
pub fn crowded(
    policies: &BTreeMap<&str, BTreeSet<&Name>>,
    of: impl Fn(&Name) -> Weight,
    room: &Weight,
) -> BTreeSet<String> {
    let weigh = |sets: &BTreeSet<&Name>| {
        let mut sum = Weight::default();
        sets.iter().for_each(|name| sum += of(name));
        sum
    };
    let mut sorted: Vec<(u64, &str)> =
        policies.iter().map(|(name, sets)| (weigh(sets).elements, *name)).collect();
    sorted.sort_unstable();
    let (mut seen, mut used, mut beyond) = (BTreeSet::new(), Weight::default(), BTreeSet::new());
    for (_, name) in sorted {
        let new: BTreeSet<&Name> = policies[name].difference(&seen).copied().collect();
        let mut with = used;
        with += weigh(&new);
        if with.fits(room) {
            used = with;
            seen.extend(new);
        } else {
            beyond.insert(name.to_owned());
        }
    }
    beyond
}

/// Parts of an element that namespaces share.
const SHARES: u64 = 1_000;

/// The largest part that an amount takes of another one, in millionths.
fn weight(amount: &Amount, of: &Amount) -> u64 {
    let part = |amount: u64, of: u64| amount.saturating_mul(1_000_000) / of.max(1);
    part(amount.sets, of.sets)
        .max(part(amount.rules, of.rules))
        .max(part(amount.elements, of.elements))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(rules: u64) -> Amount {
        Amount { rules, ..Amount::default() }
    }

    fn quote(plain: u64, compact: u64) -> Quote {
        Quote { plain: rules(plain), compact: rules(compact) }
    }

    /// The form, and who finds no room among 100 rules.
    fn decided(policies: &[(&str, Quote)]) -> (Form, String) {
        let policies: BTreeMap<String, Quote> =
            policies.iter().map(|(name, quote)| ((*name).to_owned(), *quote)).collect();
        let sum = Quote {
            plain: policies.values().map(|quote| quote.plain).sum(),
            compact: policies.values().map(|quote| quote.compact).sum(),
        };
        let decision = decide(&policies, &sum, &rules(100));
        assert!(decision.used.fits(&rules(100)));
        (decision.form, Vec::from_iter(decision.beyond).join(" "))
    }

    #[test]
    fn a_cheaper_form_comes_before_setting_aside() {
        assert_eq!(decided(&[("a", quote(60, 5)), ("b", quote(40, 5))]), (Form::Plain, "".into()));
        assert_eq!(
            decided(&[("a", quote(60, 5)), ("b", quote(41, 5))]),
            (Form::Compact, "".into())
        );
    }

    #[test]
    fn the_greedy_policy_finds_no_room_whatever_its_name() {
        for greedy in ["a", "z"] {
            let policies = [(greedy, quote(900, 90)), ("m", quote(9, 9)), ("n", quote(9, 9))];
            assert_eq!(decided(&policies), (Form::Compact, greedy.to_owned()));
        }
    }

    #[test]
    fn of_equal_policies_the_first_by_name_find_room() {
        let policies = [("a", quote(40, 40)), ("b", quote(40, 40)), ("c", quote(40, 40))];
        assert_eq!(decided(&policies), (Form::Compact, "c".to_owned()));
    }

    #[test]
    fn the_largest_namespaces_shrink_to_one_level() {
        let budgets = Budgets { node: rules(100), namespace: rules(60) };
        let allowed =
            |demands: &[u64]| allowed(demands.iter().map(|demand| rules(*demand)), &budgets).rules;
        assert_eq!(allowed(&[10, 20, 60]), 60);
        assert_eq!(allowed(&[10, 20, 60, 60]), 35);
        assert_eq!(allowed(&[10, 60, 60, 60]), 30);
        assert_eq!(allowed(&[60; 200]), 0);
    }
}
