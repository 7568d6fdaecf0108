//! When each entry of a verdict map moves, and which stand-ins it uses.
//!
//! After the phase `take` an entry no longer allows anything that its new chain
//! does not. After the phase `give` it allows all that its new chain does:
//!
//! ```text
//! the new chain allows        take                           give
//! less                        to the new chain
//! more                                                       to the new chain
//! some less and some more     to a chain that allows what    to the new chain
//!                             both allow: the old rules,
//!                             each followed by the new chain
//! ```
//!
//! If one address changes alone, its entries often switch in one step all the same
//! (see `alone`). If the rules of a chain change in between, a copy with the old or the
//! new rules stands in for it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::alone::{self, Phase};
use super::delta::{Delta, Switch};
use super::{PlanError, conflict};
use crate::{Family, Finish, Match, Name, Rule, Ruleset, Verdict};

/// The moves of map entries, phase by phase, and the stand-ins they need.
#[derive(Debug, Default)]
pub(super) struct Steps<'a> {
    /// Whether to fail closed, because a packet could combine two changes.
    pub conflict: bool,
    /// Chains that exist only while the table changes.
    pub stand_ins: BTreeMap<Name, Vec<Rule>>,
    /// Moves that take, and moves that change nothing but must come early.
    pub take: Vec<Move<'a>>,
    pub give: Vec<Move<'a>>,
    /// Moves from copies of new chains to the chains themselves.
    pub settle: Vec<Move<'a>>,
    /// Entries to delete: map and address.
    pub release: Vec<(&'a Name, Family, IpAddr)>,
    /// How entries get from one chain to another, found once for each pair.
    routes: BTreeMap<(&'a Name, &'a Name), Route>,
    /// The copies of each chain whose rules change, with the old rules and with the
    /// new ones. A copy is made once, however many entries use it.
    copies: BTreeMap<(Age, &'a Name), Name>,
    /// Rules that were copied.
    #[cfg(test)]
    pub copied: usize,
}

/// Which rules a copy of a chain has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Age {
    Old,
    New,
}

/// An entry that goes to a chain.
#[derive(Debug)]
pub(super) struct Move<'a> {
    pub map: &'a Name,
    pub family: Family,
    pub address: IpAddr,
    /// Whether the entry is there already.
    pub exists: bool,
    pub to: Name,
}

/// How an entry gets from one chain to another.
#[derive(Clone, Debug)]
enum Route {
    /// In one step, early: the new chain allows no more than the old one, or what more
    /// it allows does not matter.
    Takes,
    /// In one step, late: the new chain allows no less, or what it takes does not
    /// matter. Until then the entry stays or moves to this copy.
    Gives(Option<Name>),
    /// Through a chain that allows what both allow.
    Both(Name),
}

impl<'a> Move<'a> {
    fn new(switch: &Switch<'a>, to: Name, exists: bool) -> Self {
        let Switch { map, family, address, .. } = *switch;
        Self { map, family, address, exists, to }
    }
}

impl<'a> Steps<'a> {
    /// Sorts the switches of visible maps into phases.
    pub fn of(delta: &Delta<'a>) -> Result<Self, PlanError> {
        let mut steps = Self { conflict: conflict::exists(delta), ..Self::default() };
        // No chain changes then, so there is no copy to wait at.
        steps.routes.extend(alone::phases(delta).into_iter().map(|(pair, phase)| match phase {
            Phase::Take => (pair, Route::Takes),
            Phase::Give => (pair, Route::Gives(None)),
        }));
        for switch in &delta.switches {
            match (switch.from, switch.to) {
                (None, None) => {}
                (None, Some(to)) => steps.isolate(delta, switch, to)?,
                (Some(from), None) => steps.release(delta, switch, from)?,
                (Some(from), Some(to)) => steps.switch(delta, switch, from, to)?,
            }
        }
        Ok(steps)
    }

    fn isolate(
        &mut self,
        delta: &Delta<'a>,
        switch: &Switch<'a>,
        to: &'a Name,
    ) -> Result<(), PlanError> {
        let target = self.target(delta, switch, to)?;
        self.take.push(Move::new(switch, target, false));
        Ok(())
    }

    fn release(
        &mut self,
        delta: &Delta<'a>,
        switch: &Switch<'a>,
        from: &'a Name,
    ) -> Result<(), PlanError> {
        if let Some(copy) = self.copy_of_old(delta, from)? {
            self.take.push(Move::new(switch, copy, true));
        }
        self.release.push((switch.map, switch.family, switch.address));
        Ok(())
    }

    fn switch(
        &mut self,
        delta: &Delta<'a>,
        switch: &Switch<'a>,
        from: &'a Name,
        to: &'a Name,
    ) -> Result<(), PlanError> {
        let target = self.target(delta, switch, to)?;
        let route = match self.routes.get(&(from, to)) {
            Some(route) => route.clone(),
            None => {
                let route = self.route(delta, from, to, &target)?;
                self.routes.insert((from, to), route.clone());
                route
            }
        };
        let (early, late) = match route {
            Route::Takes => (Some(target), None),
            Route::Gives(copy) => (copy, Some(target)),
            Route::Both(chain) => (Some(chain), Some(target)),
        };
        self.take.extend(early.map(|to| Move::new(switch, to, true)));
        self.give.extend(late.map(|to| Move::new(switch, to, true)));
        Ok(())
    }

    fn route(
        &mut self,
        delta: &Delta<'a>,
        from: &'a Name,
        to: &'a Name,
        target: &Name,
    ) -> Result<Route, PlanError> {
        let (before, after) = (grants(delta.old, from), grants(delta.new, to));
        if after.is_subset(&before) {
            return Ok(Route::Takes);
        }
        if before.is_subset(&after) {
            return Ok(Route::Gives(self.copy_of_old(delta, from)?));
        }
        let rules = rules(delta.old, from).iter().map(|rule| {
            let mut rule = rule.clone();
            if rule.allows() {
                rule.finish = Some(Finish::Verdict(Verdict::Goto(target.clone())));
            }
            rule
        });
        let number = self.stand_ins.len();
        let name = free_name(delta, &format!("both{number}"), from)?;
        let rules = rules.collect();
        self.add_stand_in(name.clone(), rules);
        Ok(Route::Both(name))
    }

    /// Where an entry of `to` goes until all chains have their new rules.
    fn target(
        &mut self,
        delta: &Delta<'a>,
        switch: &Switch<'a>,
        to: &'a Name,
    ) -> Result<Name, PlanError> {
        if !delta.refills.contains(to) {
            return Ok(to.clone());
        }
        self.settle.push(Move::new(switch, to.clone(), true));
        self.copy(delta, Age::New, to)
    }

    /// A chain with the old rules of one whose rules change.
    fn copy_of_old(
        &mut self,
        delta: &Delta<'a>,
        from: &'a Name,
    ) -> Result<Option<Name>, PlanError> {
        if !delta.refills.contains(from) {
            return Ok(None);
        }
        self.copy(delta, Age::Old, from).map(Some)
    }

    fn copy(&mut self, delta: &Delta<'a>, age: Age, origin: &'a Name) -> Result<Name, PlanError> {
        if let Some(copy) = self.copies.get(&(age, origin)) {
            return Ok(copy.clone());
        }
        let (prefix, table) = match age {
            Age::Old => ("old", delta.old),
            Age::New => ("new", delta.new),
        };
        let copy = free_name(delta, prefix, origin)?;
        self.add_stand_in(copy.clone(), rules(table, origin).to_vec());
        self.copies.insert((age, origin), copy.clone());
        Ok(copy)
    }

    fn add_stand_in(&mut self, name: Name, rules: Vec<Rule>) {
        #[cfg(test)]
        {
            self.copied += rules.len();
        }
        self.stand_ins.insert(name, rules);
    }
}

/// A free name for a stand-in. It ends in the name of the chain that it stands in
/// for. A killed run may have left a chain with the first choice.
fn free_name(delta: &Delta<'_>, prefix: &str, origin: &Name) -> Result<Name, PlanError> {
    let mut name = Name::new(format!("{prefix}.{origin}"))?;
    while delta.old.chains.contains_key(&name) {
        name = Name::new(format!("{prefix}.{name}"))?;
    }
    Ok(name)
}

fn rules<'a>(ruleset: &'a Ruleset, chain: &Name) -> &'a [Rule] {
    ruleset.chains.get(chain).map_or(&[], |chain| &chain.rules)
}

/// The conditions under which the rules of a chain let a packet pass.
fn grants<'a>(ruleset: &'a Ruleset, chain: &Name) -> BTreeSet<&'a [Match]> {
    let allowing = rules(ruleset, chain).iter().filter(|rule| rule.allows());
    allowing.map(|rule| rule.matches.as_slice()).collect()
}
