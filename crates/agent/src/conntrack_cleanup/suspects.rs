//! Which flows may be denied now that were allowed before.
//!
//! In: two compiled tables. Out: addresses of which every such flow has one,
//! as few as can be told cheaply. Never: a flow missed; a verdict, for the
//! judge gives that.
//!
//! A packet that the new table drops and the old one did not is dropped by the
//! chain of an isolated local address. Either that address was not isolated,
//! or its old chain allowed the packet by a rule that its new chain lacks, or
//! by an element that a set has lost: then that element's address is an end of
//! the packet. What a table has beside pods' chains changes with its version,
//! but for `edges`, which shuts link-local addresses while a pod is isolated.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use compiler::scaffold;
use policy::Direction;
use ruleset::{
    AddressTest, Chain, Element, Family, Finish, Match, Name, PortTest, Rule, Ruleset, SetType,
    Verdict,
};

/// Rules of a chain that are gone and are held against each that it has now,
/// to find one that allows as much. Beyond, the chain's users are suspects.
const MAX_COMPARED: usize = 64;

/// Flows to be judged: those with one of these ends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Suspects {
    /// Either end: the first packet's source, or its destination after
    /// translation.
    pub addresses: BTreeSet<IpAddr>,
    /// Whether flows between IPv6 link-local addresses are suspects, too.
    pub link_local: bool,
}

impl Suspects {
    /// Whether no flow is.
    pub fn is_empty(&self) -> bool {
        self.addresses.is_empty() && !self.link_local
    }

    /// Whether a flow with these ends is one.
    pub fn touches(&self, source: IpAddr, destination: IpAddr) -> bool {
        self.addresses.contains(&source)
            || self.addresses.contains(&destination)
            || (self.link_local && (is_link_local(source) || is_link_local(destination)))
    }

    /// Adds others.
    pub fn merge(&mut self, other: Self) {
        self.addresses.extend(other.addresses);
        self.link_local |= other.link_local;
    }

    fn everybody(after: &Ruleset) -> Self {
        let gates = gates().map(|(direction, family)| isolated(after, direction, family));
        let shuts = after.chains.get(&scaffold::edges_chain());
        Self {
            addresses: gates.flatten().collect(),
            link_local: shuts.is_some_and(|chain| !chain.rules.is_empty()),
        }
    }
}

/// Whether an address is IPv6 link-local: it belongs to a pod, but no table
/// says to which.
pub(super) fn is_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local())
}

/// What to look at after a change from one table to another. Without a table
/// before, such as at start, all isolated local addresses.
pub fn suspects(before: Option<&Ruleset>, after: &Ruleset) -> Suspects {
    let Some(before) = before.filter(|before| same_frame(before, after)) else {
        return Suspects::everybody(after);
    };
    let edges = scaffold::edges_chain();
    let shut = after.chains.get(&edges).filter(|chain| !chain.rules.is_empty());
    let mut found = Suspects {
        addresses: BTreeSet::new(),
        link_local: shut.is_some_and(|chain| !same_rules(before.chains.get(&edges), chain)),
    };
    let losing: BTreeSet<&Name> = before.losing(after).collect();
    if losing.is_empty() && same_chains(before, after) {
        return found;
    }
    let mut users: BTreeMap<&Name, BTreeSet<IpAddr>> = BTreeMap::new();
    for (direction, family) in gates() {
        for ((from, to), addresses) in moves(before, after, direction, family, &mut found) {
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

/// Whether the same addresses are isolated and have the same chains.
fn same_chains(before: &Ruleset, after: &Ruleset) -> bool {
    let isolated = |ruleset: &Ruleset, (direction, family)| {
        ruleset.sets.get(&scaffold::isolated_set(direction, family)).cloned()
    };
    before.chains.ptr_eq(&after.chains)
        && before.maps.ptr_eq(&after.maps)
        && gates().all(|gate| isolated(before, gate) == isolated(after, gate))
}

fn gates() -> impl Iterator<Item = (Direction, Family)> {
    Direction::BOTH.into_iter().flat_map(|one| Family::BOTH.map(|family| (one, family)))
}

/// The isolated local addresses.
fn isolated(
    ruleset: &Ruleset,
    direction: Direction,
    family: Family,
) -> impl Iterator<Item = IpAddr> {
    let set = ruleset.sets.get(&scaffold::isolated_set(direction, family));
    set.into_iter().flat_map(|set| set.elements.iter().flat_map(Element::addresses))
}

/// Whether all is the same but for pods' chains, what they use, and `edges`.
fn same_frame(before: &Ruleset, after: &Ruleset) -> bool {
    let pods: BTreeSet<&Name> = after.maps.values().flat_map(|map| map.entries.values()).collect();
    let edges = scaffold::edges_chain();
    let isolated: BTreeSet<Name> =
        gates().map(|(direction, family)| scaffold::isolated_set(direction, family)).collect();
    let frame = after.chains.iter().filter(|(name, _)| !pods.contains(name) && **name != edges);
    frame.into_iter().all(|(name, chain)| {
        let sets = chain.rules.iter().flat_map(Rule::lookups);
        let mut constants =
            sets.filter(|name| !isolated.contains(*name) && after.sets.contains_key(*name));
        same_rules(before.chains.get(name), chain)
            && constants.all(|set| before.sets.get(set) == after.sets.get(set))
    })
}

fn same_rules(before: Option<&Arc<Chain>>, after: &Arc<Chain>) -> bool {
    before.is_some_and(|before| Arc::ptr_eq(before, after) || before.rules == after.rules)
}

/// The chains that isolated addresses had and have, and whose they are. An
/// address that was not isolated goes to `found` at once.
fn moves<'a>(
    before: &'a Ruleset,
    after: &'a Ruleset,
    direction: Direction,
    family: Family,
    found: &mut Suspects,
) -> BTreeMap<(&'a Name, &'a Name), Vec<IpAddr>> {
    let map = scaffold::dispatch(direction, family);
    let (old, new) = (before.maps.get(&map), after.maps.get(&map));
    let was_isolated: BTreeSet<IpAddr> = isolated(before, direction, family).collect();
    let mut moves: BTreeMap<_, Vec<IpAddr>> = BTreeMap::new();
    for address in isolated(after, direction, family) {
        let from = old.and_then(|map| map.entries.get(&address));
        let to = new.and_then(|map| map.entries.get(&address));
        match (was_isolated.contains(&address), from, to) {
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

/// What a chain no longer allows that another did.
enum Loss<'a> {
    /// More than can be told.
    Rules,
    /// What these sets have lost.
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

/// What a rule allows, and how.
type Allowed<'a> = (&'a [Match], &'a Finish);

/// Whether a rule allows all that another does, in the same sets.
fn covers((matches, finish): &Allowed<'_>, (narrower, its_finish): &Allowed<'_>) -> bool {
    finish == its_finish
        && matches.iter().all(|wide| narrower.iter().any(|narrow| implies(narrow, wide)))
}

/// Whether whatever meets the first condition meets the second.
fn implies(narrow: &Match, wide: &Match) -> bool {
    match (narrow, wide) {
        (
            Match::Port(transport, PortTest::In(first, last)),
            Match::Port(other, PortTest::In(from, to)),
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

/// The addresses that left a set, one of which every flow has that it allowed;
/// `None` where elements are no single addresses.
fn lost_elements(before: &Ruleset, after: &Ruleset, set: &Name) -> Option<BTreeSet<IpAddr>> {
    let (old, new) = (before.sets.get(set)?, after.sets.get(set)?);
    match old.set_type {
        SetType::Address(_) | SetType::AddressPort(_) | SetType::AddressPair(_) => {
            Some(old.lost(new).flat_map(Element::addresses).collect())
        }
        _ => None,
    }
}

/// Each flow in question has an end in both.
fn fewer(lost: &Option<BTreeSet<IpAddr>>, users: BTreeSet<IpAddr>) -> BTreeSet<IpAddr> {
    match lost {
        Some(lost) if lost.len() <= users.len() => lost.clone(),
        _ => users,
    }
}
