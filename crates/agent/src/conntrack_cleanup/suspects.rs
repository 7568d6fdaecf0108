//! Finds the flows that may be denied now and were allowed before.
//!
//! In: two tables. Out: a small set of addresses; each such flow has at least
//! one of them. Never: a missed flow; a verdict, which is the judge's job.
//!
//! If the new table drops a packet and the old one did not, the chain of an
//! isolated local address drops it. There are three cases. The address was not
//! isolated before. Or its old chain allowed the packet by a rule that the new
//! chain lacks. Or the old chain allowed it by an element that a set has lost;
//! then the address of that element is an end of the packet. The rest of the
//! table changes only with its version, except `edges`, which closes link-local
//! addresses while a pod is isolated.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use compiler::Layout;
use imbl::ordmap::DiffItem;
use policy::Direction;
use ruleset::{
    AddressTest, Chain, Element, Family, Finish, Match, Name, PortRange, Rule, Ruleset, SetType,
    Verdict,
};

/// At most this many rules that a chain lost are compared with each of its
/// present rules, to find one that allows as much. With more, all users of the
/// chain are suspects.
const MAX_COMPARED: usize = 64;

/// If at most this many sets changed, and lost at most this many addresses, nobody
/// asks which pods use these sets.
const FEW_SETS: usize = 256;
const FEW_ADDRESSES: usize = 16;

/// Flows to be judged: those with one of these ends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Suspects {
    /// Either end: the first packet's source, or its destination after
    /// translation.
    pub addresses: BTreeSet<IpAddr>,
    /// Whether flows with an IPv6 link-local address are suspects, too.
    pub link_local: bool,
    /// The first packet's source, which others could forge until now.
    pub forgeable: BTreeSet<IpAddr>,
}

impl Suspects {
    /// Whether no flow is.
    pub fn is_empty(&self) -> bool {
        self.addresses.is_empty() && !self.link_local && self.forgeable.is_empty()
    }

    /// Whether a flow with these ends is one.
    pub fn touches(&self, source: IpAddr, destination: IpAddr) -> bool {
        self.addresses.contains(&source)
            || self.addresses.contains(&destination)
            || self.forgeable.contains(&source)
            || (self.link_local && (is_link_local(source) || is_link_local(destination)))
    }

    /// Adds others.
    pub fn merge(&mut self, other: Self) {
        self.addresses.extend(other.addresses);
        self.link_local |= other.link_local;
        self.forgeable.extend(other.forgeable);
    }

    fn everybody(after: Layout<'_>) -> Self {
        let isolated =
            Layout::sides().flat_map(|(direction, family)| after.isolated(direction, family));
        Self {
            addresses: isolated.collect(),
            link_local: after.shuts_edges(),
            forgeable: BTreeSet::new(),
        }
    }
}

/// Whether an address is IPv6 link-local. No table knows which pod has it.
pub(super) fn is_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local())
}

/// The suspects of a change from one table to another. Without a table before,
/// as at start, all isolated local addresses.
pub fn suspects(before: Option<&Ruleset>, after: &Ruleset) -> Suspects {
    if let Some(found) = before.and_then(|before| of_few_elements(before, after)) {
        return found;
    }
    let layout = Layout::of(after);
    let Some(before) = before.filter(|before| layout.same_frame(Layout::of(before))) else {
        return Suspects::everybody(layout);
    };
    let earlier = Layout::of(before);
    let mut found = Suspects {
        addresses: BTreeSet::new(),
        link_local: layout.shuts_edges() && !layout.same_edges(earlier),
        forgeable: BTreeSet::new(),
    };
    let losing: BTreeSet<&Name> = before.losing(after).collect();
    if losing.is_empty() && layout.same_pods(earlier) {
        return found;
    }
    let mut users: BTreeMap<&Name, BTreeSet<IpAddr>> = BTreeMap::new();
    for side in Layout::sides() {
        for ((from, to), addresses) in moves(earlier, layout, side, &mut found) {
            match loss((before, from), (after, to), &losing) {
                Loss::Rules => found.addresses.extend(addresses),
                Loss::Sets(sets) => sets.into_iter().for_each(|set| {
                    users.entry(set).or_default().extend(&addresses);
                }),
            }
        }
    }
    for (set, users) in users {
        let lost = lost_elements(before, after, set);
        found.addresses.extend(fewer(&lost, users));
    }
    found
}

/// The suspects if all that differs is a few elements of sets, as when pods of other
/// nodes come and go; else `None`. Costs with those elements, whatever the number of
/// pods of this node.
fn of_few_elements(before: &Ruleset, after: &Ruleset) -> Option<Suspects> {
    let (earlier, layout) = (Layout::of(before), Layout::of(after));
    if !layout.same_pods(earlier) {
        return None;
    }
    let changed = before.sets.diff(&after.sets).map(|change| match change {
        DiffItem::Add(name, _) | DiffItem::Remove(name, _) => name,
        DiffItem::Update { new: (name, _), .. } => name,
    });
    let mut found = Suspects::default();
    let changed = layout.of_pods_alone(changed.take(FEW_SETS + 1))?;
    for set in &changed {
        found.addresses.extend(lost_elements(before, after, set)?);
    }
    let are_few = changed.len() <= FEW_SETS && found.addresses.len() <= FEW_ADDRESSES;
    are_few.then_some(found)
}

/// Pairs of chains, before and after, with the isolated addresses that had the
/// first and have the second. An address that was not isolated is added to
/// `found`.
fn moves<'a>(
    before: Layout<'a>,
    after: Layout<'a>,
    (direction, family): (Direction, Family),
    found: &mut Suspects,
) -> BTreeMap<(&'a Name, &'a Name), Vec<IpAddr>> {
    let mut moves: BTreeMap<_, Vec<IpAddr>> = BTreeMap::new();
    for address in after.isolated(direction, family) {
        let from = before.judged_by(address, direction);
        let to = after.judged_by(address, direction);
        match (before.isolates(address, direction), from, to) {
            (true, Some(from), Some(to)) => moves.entry((from, to)).or_default().push(address),
            // All of its packets were dropped.
            (true, None, _) => {}
            _ => {
                found.addresses.insert(address);
            }
        }
    }
    moves
}

/// What one chain allowed and the next one does not.
enum Loss<'a> {
    /// Rules: which packets is not known.
    Rules,
    /// The elements that these sets lost.
    Sets(BTreeSet<&'a Name>),
}

fn loss<'a>(
    (before, from): (&'a Ruleset, &Name),
    (after, to): (&'a Ruleset, &Name),
    losing: &BTreeSet<&'a Name>,
) -> Loss<'a> {
    let chains = (before.chains.get(from), after.chains.get(to));
    let (Some(from), Some(to)) = chains else { return Loss::Rules };
    let has_lost = |set: &&Name| losing.contains(*set);
    if Arc::ptr_eq(from, to) && is_of_allowing(from) {
        if losing.is_empty() {
            return Loss::Sets(BTreeSet::new());
        }
        let sets = from.rules.iter().flat_map(Rule::lookups);
        return Loss::Sets(sets.filter(has_lost).collect());
    }
    let (Some(from), Some(to)) = (allowed(from), allowed(to)) else { return Loss::Rules };
    let gone: Vec<&Allowed<'_>> = from.keys().filter(|one| !to.contains_key(*one)).collect();
    let covered = |one: &Allowed<'_>| to.keys().any(|other| covers(other, one));
    if gone.len() > MAX_COMPARED || !gone.into_iter().all(covered) {
        return Loss::Rules;
    }
    Loss::Sets(from.into_values().flat_map(Rule::lookups).filter(has_lost).collect())
}

/// The packets that a rule allows, and its verdict.
type Allowed<'a> = (&'a [Match], &'a Finish);

/// Whether a rule allows all that another does, with the same sets.
fn covers((matches, finish): &Allowed<'_>, (narrower, its_finish): &Allowed<'_>) -> bool {
    finish == its_finish
        && matches.iter().all(|wide| narrower.iter().any(|narrow| implies(narrow, wide)))
}

/// Whether each packet that meets the first condition meets the second.
fn implies(narrow: &Match, wide: &Match) -> bool {
    match (narrow, wide) {
        (
            Match::Port(transport, PortRange(first, last)),
            Match::Port(other, PortRange(from, to)),
        ) => transport == other && from <= first && last <= to,
        (
            Match::Address(field, AddressTest::In(range)),
            Match::Address(other, AddressTest::In(around)),
        ) => field == other && around.contains(range.first()) && around.contains(range.last()),
        _ => narrow == wide,
    }
}

/// What a chain allows; `None` if it is not [`is_of_allowing`].
fn allowed(chain: &Chain) -> Option<BTreeMap<Allowed<'_>, &Rule>> {
    is_of_allowing(chain).then(|| {
        let allowing = chain.rules.iter().filter(|rule| rule.allows());
        let allowing = allowing.filter_map(|rule| Some((rule, rule.finish.as_ref()?)));
        allowing.map(|(rule, finish)| ((rule.matches.as_slice(), finish), rule)).collect()
    })
}

/// Whether a chain is a list of what is allowed, before a drop of all else.
fn is_of_allowing(chain: &Chain) -> bool {
    let Some((last, rules)) = chain.rules.split_last() else { return false };
    let drop = last.matches.is_empty() && last.finish == Some(Finish::Verdict(Verdict::Drop));
    drop && rules.iter().all(|rule| rule.allows() || rule.finish.is_none())
}

/// The addresses that left a set. Each flow that was allowed by these elements
/// has one of them. `None` where elements are not single addresses.
fn lost_elements(before: &Ruleset, after: &Ruleset, set: &Name) -> Option<BTreeSet<IpAddr>> {
    let (old, new) = (before.sets.get(set)?, after.sets.get(set)?);
    match old.set_type {
        SetType::Address(_) | SetType::AddressPort(_) | SetType::AddressPair(_) => {
            Some(old.lost(new).flat_map(Element::addresses).collect())
        }
        _ => None,
    }
}

/// The smaller of two sets. Each suspect flow has an end in both.
fn fewer(lost: &Option<BTreeSet<IpAddr>>, users: BTreeSet<IpAddr>) -> BTreeSet<IpAddr> {
    match lost {
        Some(lost) if lost.len() <= users.len() => lost.clone(),
        _ => users,
    }
}

#[cfg(test)]
mod tests;
