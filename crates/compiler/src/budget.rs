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

/// The sets of pods that policies look into, or would.
#[derive(Debug)]
pub struct Crowd<'a> {
    /// The elements of each set, and how many namespaces have policies that look into it.
    pub sets: BTreeMap<&'a Name, (u64, u64)>,
    /// By namespace the sets of each policy.
    pub policies: BTreeMap<&'a str, BTreeMap<&'a str, BTreeSet<&'a Name>>>,
}

/// The policies whose sets of pods have too many elements, by namespace. `left`: how many
/// elements a namespace has left for them.
///
/// A set counts once in a namespace. Against the budget of the node, namespaces that
/// share one pay for it together. Policies with few elements come first.
pub fn crowded(
    crowd: &Crowd<'_>,
    budgets: &Budgets,
    left: impl Fn(&str) -> u64,
) -> BTreeMap<String, BTreeSet<String>> {
    let of = |name: &Name| crowd.sets.get(name).copied().unwrap_or_default();
    let weigh = |sets: &BTreeSet<&Name>| {
        let weights = sets.iter().map(|name| of(name));
        weights.fold((0, 0), |(all, shares), (elements, namespaces)| {
            (all + elements, shares + share(elements, namespaces))
        })
    };
    let whole = crowd.policies.iter().map(|(namespace, policies)| {
        let sets: BTreeSet<&Name> = policies.values().flatten().copied().collect();
        (*namespace, weigh(&sets))
    });
    let whole: Vec<(&str, (u64, u64))> = whole.collect();
    let shares = whole.iter().map(|(_, (_, share))| *share).collect();
    let level = level(shares, budgets.node.elements.saturating_mul(SHARES));
    let mut beyond = BTreeMap::new();
    for (namespace, (all, share_of_all)) in whole {
        let (room, policies) = (left(namespace), &crowd.policies[namespace]);
        if all <= room && share_of_all <= level {
            continue;
        }
        let mut sorted: Vec<(u64, &str)> =
            policies.iter().map(|(name, sets)| (weigh(sets).0, *name)).collect();
        sorted.sort_unstable();
        let (mut seen, mut used, mut shares) = (BTreeSet::new(), 0, 0);
        let mut names = BTreeSet::new();
        for (_, name) in sorted {
            let new: BTreeSet<&Name> = policies[name].difference(&seen).copied().collect();
            let (more, more_shares) = weigh(&new);
            if used + more > room || shares + more_shares > level {
                names.insert(name.to_owned());
                continue;
            }
            (used, shares) = (used + more, shares + more_shares);
            seen.extend(new);
        }
        beyond.insert(namespace.to_owned(), names);
    }
    beyond
}

/// Parts of an element that namespaces share.
const SHARES: u64 = 1_000;

fn share(elements: u64, namespaces: u64) -> u64 {
    elements.saturating_mul(SHARES) / namespaces.max(1)
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
