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

use crate::price::{Amount, Form, Quote};

/// How much a table may hold because of policies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budgets {
    /// Because of all policies.
    pub node: Amount,
    /// Because of the policies of one namespace.
    pub namespace: Amount,
}

/// The node's is ten times what the cluster of `cargo xtask bench` takes: 10,000 pods, 250
/// of them local, 1,000 policies: 1,792 sets, 4,797 rules, 33,225 elements. A namespace
/// has a quarter of it: more than twice what that whole cluster takes.
impl Default for Budgets {
    fn default() -> Self {
        Self {
            node: Amount { sets: 20_000, rules: 50_000, elements: 400_000 },
            namespace: Amount { sets: 5_000, rules: 12_500, elements: 100_000 },
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
fn level(mut demands: Vec<u64>, room: u64) -> u64 {
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
        assert_eq!(decided(&[("a", quote(60, 5)), ("b", quote(41, 5))]), (Form::Compact, "".into()));
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
        let allowed = |demands: &[u64]| {
            allowed(demands.iter().map(|demand| rules(*demand)), &budgets).rules
        };
        assert_eq!(allowed(&[10, 20, 60]), 60);
        assert_eq!(allowed(&[10, 20, 60, 60]), 35);
        assert_eq!(allowed(&[10, 60, 60, 60]), 30);
        assert_eq!(allowed(&[60; 200]), 0);
    }
}
