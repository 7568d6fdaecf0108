//! Which addresses a table of ours judges, and where.
//!
//! In: a table, compiled or read back from the kernel. Out: which addresses it
//! isolates, by which chain it judges each, what it does beside that, and which
//! addresses it binds to which interface.
//! Callers need no name of a set, map or chain.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use policy::{Claims, Direction, InterfaceIndex, Mac};
use ruleset::{Chain, Element, Family, Key, Name, Rule, Ruleset};

use crate::scaffold::{self, unknown};

/// The parts of a table by their purpose. A part that the table lacks counts as
/// empty, so you can ask any table.
#[derive(Clone, Copy, Debug)]
pub struct Layout<'a> {
    ruleset: &'a Ruleset,
}

impl<'a> Layout<'a> {
    /// The layout of a table.
    pub fn of(ruleset: &'a Ruleset) -> Self {
        Self { ruleset }
    }

    /// Each direction with each family.
    pub fn sides() -> impl Iterator<Item = (Direction, Family)> {
        Direction::BOTH.into_iter().flat_map(|one| Family::BOTH.map(|family| (one, family)))
    }

    /// What these tables bind: after a restart, what was known before. Of a bridged
    /// pod, the `inet` table names the bridge, which is no port.
    pub fn claims<'t>(tables: impl IntoIterator<Item = &'t Ruleset>) -> Claims {
        let mut claims = Claims::default();
        let names = Family::BOTH.map(scaffold::binding::own_set);
        let names = names.into_iter().chain([scaffold::bridge::speakers_set()]);
        let names: Vec<Name> = names.collect();
        for table in tables {
            let sets = names.iter().filter_map(|name| table.sets.get(name));
            for element in sets.flat_map(|set| &set.elements) {
                let Element::Key(Key { interface: Some(index), mac, address }) = *element else {
                    continue;
                };
                let claim = claims.0.entry(InterfaceIndex(index)).or_default();
                claim.mac = claim.mac.max(mac.map(Mac));
                claim.addresses.extend(address);
            }
        }
        claims
    }

    /// The local addresses that are isolated in a direction, in order.
    pub fn isolated(
        self,
        direction: Direction,
        family: Family,
    ) -> impl Iterator<Item = IpAddr> + use<'a> {
        let set = self.ruleset.sets.get(&scaffold::isolated_set(direction, family));
        set.into_iter().flat_map(|set| set.elements.iter().flat_map(Element::addresses))
    }

    /// Whether a local address is isolated in a direction.
    pub fn isolates(self, address: IpAddr, direction: Direction) -> bool {
        let name = scaffold::isolated_set(direction, Family::of(address));
        let set = self.ruleset.sets.get(&name);
        set.is_some_and(|set| set.elements.contains(&Element::Address(address)))
    }

    /// The chain that judges what an address sends (egress) or receives
    /// (ingress). An address that is isolated and has none lets nothing pass.
    pub fn judged_by(self, address: IpAddr, direction: Direction) -> Option<&'a Name> {
        let map = self.ruleset.maps.get(&scaffold::dispatch(direction, Family::of(address)))?;
        map.entries.get(&address)
    }

    /// Whether packets that reach a pod beside its reported addresses are
    /// dropped: link-local ones, broadcast, multicast.
    pub fn shuts_edges(self) -> bool {
        self.edges().is_some_and(|chain| !chain.rules.is_empty())
    }

    /// Whether they are dropped for all pods, and not for isolated ones alone.
    pub(crate) fn shuts_edges_for_all(self) -> bool {
        let last = self.edges().and_then(|chain| chain.rules.last());
        last.is_some_and(|rule| rule.matches.is_empty())
    }

    /// Whether those packets are treated as another table treats them.
    pub fn same_edges(self, other: Layout<'_>) -> bool {
        same_rules(self.edges(), other.edges())
    }

    /// Whether the same addresses are isolated, and judged by the same chains
    /// with the same rules. Costs little where the tables share their parts;
    /// `false` may also mean that this is not known.
    pub fn same_pods(self, other: Layout<'_>) -> bool {
        let isolated = |layout: &Layout<'_>, (direction, family)| {
            layout.ruleset.sets.get(&scaffold::isolated_set(direction, family)).cloned()
        };
        self.ruleset.chains.ptr_eq(&other.ruleset.chains)
            && self.ruleset.maps.ptr_eq(&other.ruleset.maps)
            && Self::sides().all(|side| isolated(&self, side) == isolated(&other, side))
    }

    /// Those of these sets that decide about packets of pods; sets of the binding do
    /// not. `None` if a chain that is no pod's looks into one of them. Costs a look
    /// at each chain, and one at each rule that is no pod's.
    pub fn of_pods_alone<'n>(self, sets: impl Iterator<Item = &'n Name>) -> Option<Vec<&'n Name>> {
        let binding: BTreeSet<Name> = scaffold::binding_sets().collect();
        let sets = sets.filter(|set| !binding.contains(*set) && !unknown::is_known_set(set));
        let sets: Vec<&Name> = sets.collect();
        let looks_into = |chain: &Chain| {
            chain.rules.iter().flat_map(Rule::lookups).any(|set| sets.contains(&set))
        };
        let mut looked_into = self.frame().into_values().filter(|chain| looks_into(chain));
        looked_into.next().is_none().then_some(sets)
    }

    /// The chains that a packet meets before the chain of a pod.
    fn frame(self) -> BTreeMap<&'a Name, &'a Chain> {
        let chains = &self.ruleset.chains;
        let base = chains.iter().filter(|(_, chain)| chain.base.is_some());
        let mut frame: BTreeMap<&Name, &Chain> = base.map(|(name, one)| (name, &**one)).collect();
        let mut ahead: Vec<&Chain> = frame.values().copied().collect();
        while let Some(chain) = ahead.pop() {
            let next = chain.rules.iter().filter_map(Rule::target);
            for (name, chain) in next.filter_map(|name| chains.get_key_value(name)) {
                if frame.insert(name, chain).is_none() {
                    ahead.push(chain);
                }
            }
        }
        frame
    }

    /// Whether this table and an earlier one are the same but for the chains of
    /// pods, the sets these use, the edges, and who is bound to which interface.
    pub fn same_frame(self, earlier: Layout<'_>) -> bool {
        let (before, after) = (earlier.ruleset, self.ruleset);
        let of_pods: BTreeSet<&Name> =
            after.maps.values().flat_map(|map| map.entries.values()).collect();
        let edges = scaffold::edges_chain();
        let isolated = Self::sides().map(|(one, family)| scaffold::isolated_set(one, family));
        let themselves = Family::BOTH.map(scaffold::self_set);
        let changing: BTreeSet<Name> =
            isolated.chain(themselves).chain(scaffold::binding_sets()).collect();
        let mut frame =
            after.chains.iter().filter(|(name, _)| !of_pods.contains(name) && **name != edges);
        frame.all(|(name, chain)| {
            let sets = chain.rules.iter().flat_map(Rule::lookups);
            let changes = |name: &Name| changing.contains(name) || unknown::is_known_set(name);
            let mut constants =
                sets.filter(|name| !changes(name) && after.sets.contains_key(*name));
            same_rules(before.chains.get(name), Some(chain))
                && constants.all(|set| before.sets.get(set) == after.sets.get(set))
        })
    }

    fn edges(self) -> Option<&'a Arc<Chain>> {
        self.ruleset.chains.get(&scaffold::edges_chain())
    }
}

fn same_rules(one: Option<&Arc<Chain>>, other: Option<&Arc<Chain>>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => Arc::ptr_eq(one, other) || one.rules == other.rules,
        (None, None) => true,
        _ => false,
    }
}

mod bound;
#[cfg(test)]
mod tests;
