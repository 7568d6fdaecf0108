//! Whether one packet can combine two changed things within one direction. The
//! other direction does not matter here.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::delta::{Delta, Switch};
use crate::{Family, Name, Rule, Ruleset};

/// Whether a set that changes for one address is used by a chain that changes, or
/// by one that another address switches from or to. This is never so when one pod
/// changes: the set changes for the pod's own address, and a pod's packets to
/// itself pass anyway. Nor when one policy changes: that adds sets and leaves the
/// elements of the old ones as they are.
pub(super) fn exists(delta: &Delta<'_>) -> bool {
    if delta.allowing.is_empty() || (delta.refills.is_empty() && delta.switches.is_empty()) {
        return false;
    }
    let changed: BTreeMap<&Name, BTreeSet<IpAddr>> = delta
        .allowing
        .iter()
        .map(|(&name, change)| {
            let elements = change.added.iter().chain(&change.removed);
            (name, elements.flat_map(|element| element.addresses()).collect())
        })
        .collect();
    let refilled = delta.refills.iter().any(|name| {
        looked_up(delta.old, name)
            .chain(looked_up(delta.new, name))
            .any(|set| changed.contains_key(set))
    });
    refilled || switched(delta, &changed)
}

fn switched(delta: &Delta<'_>, changed: &BTreeMap<&Name, BTreeSet<IpAddr>>) -> bool {
    let mut known: BTreeMap<(Option<&Name>, Option<&Name>), BTreeSet<&Name>> = BTreeMap::new();
    delta.switches.iter().any(|switch| {
        let sets = known.entry((switch.from, switch.to)).or_insert_with(|| {
            let from = switch.from.into_iter().flat_map(|name| looked_up(delta.old, name));
            let to = switch.to.into_iter().flat_map(|name| looked_up(delta.new, name));
            from.chain(to).filter(|set| changed.contains_key(set)).collect()
        });
        sets.iter().any(|set| changed.get(set).is_some_and(|some| meets(switch, some)))
    })
}

fn meets(switch: &Switch<'_>, changed: &BTreeSet<IpAddr>) -> bool {
    changed.iter().any(|&address| Family::of(address) == switch.family && address != switch.address)
}

fn looked_up<'a>(ruleset: &'a Ruleset, chain: &Name) -> impl Iterator<Item = &'a Name> + use<'a> {
    let rules = ruleset.chains.get(chain).into_iter().flat_map(|chain| &chain.rules);
    rules.flat_map(Rule::lookups)
}
