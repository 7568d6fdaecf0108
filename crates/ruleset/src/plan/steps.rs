//! Which entry of a verdict map moves when, and by way of which copies.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::cover::Grants;
use super::delta::{Delta, Switch};
use super::{PlanError, conflict};
use crate::{Family, Name, Rule, Ruleset};

/// The moves of map entries, phase by phase, and the copies they need.
#[derive(Debug, Default)]
pub(super) struct Steps<'a> {
    /// Whether to fail closed, since a packet could combine two changes.
    pub conflict: bool,
    /// Copies of chains that change: name, rules.
    pub copies: BTreeMap<Name, &'a [Rule]>,
    pub park: Vec<Move<'a>>,
    pub take: Vec<Move<'a>>,
    /// Neither takes nor gives alone; see [`Steps::of`].
    pub mixed: Vec<Move<'a>>,
    pub give: Vec<Move<'a>>,
    pub unpark: Vec<Move<'a>>,
    /// Entries to delete: map and address.
    pub release: Vec<(&'a Name, Family, IpAddr)>,
    /// Mixed moves go before elements are added, else after they are removed.
    pub mixed_first: bool,
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

impl<'a> Move<'a> {
    fn new(switch: &Switch<'a>, to: Name, exists: bool) -> Self {
        let Switch { map, family, address, .. } = *switch;
        Self { map, family, address, exists, to }
    }
}

impl<'a> Steps<'a> {
    /// Sorts the switches of visible maps into phases.
    ///
    /// A switch that takes some and gives some goes last where elements are
    /// only removed and first otherwise, so that a packet meets what takes
    /// before what gives.
    pub fn of(delta: &Delta<'a>) -> Result<Self, PlanError> {
        let mut steps = Self { conflict: conflict::exists(delta), ..Self::default() };
        let adds = delta.allowing.values().any(|change| !change.added.is_empty());
        let removes = delta.allowing.values().any(|change| !change.removed.is_empty());
        steps.mixed_first = adds || !removes;
        for switch in &delta.switches {
            steps.park(delta, switch)?;
            match switch.to {
                None => steps.release.push((switch.map, switch.family, switch.address)),
                Some(to) => steps.switch(delta, switch, to)?,
            }
        }
        Ok(steps)
    }

    /// An entry that leaves a chain which changes keeps the old rules until
    /// it is its turn.
    fn park(&mut self, delta: &Delta<'a>, switch: &Switch<'a>) -> Result<(), PlanError> {
        let Some(from) = switch.from.filter(|from| delta.refills.contains(*from)) else {
            return Ok(());
        };
        let to = self.copy(delta, delta.old, "old", from)?;
        self.park.push(Move::new(switch, to, true));
        Ok(())
    }

    fn switch(
        &mut self,
        delta: &Delta<'a>,
        switch: &Switch<'a>,
        to: &'a Name,
    ) -> Result<(), PlanError> {
        let target = if delta.refills.contains(to) {
            self.unpark.push(Move::new(switch, to.clone(), true));
            self.copy(delta, delta.new, "new", to)?
        } else {
            to.clone()
        };
        let phase = match switch.from {
            None => &mut self.take,
            Some(from) => {
                let before = Grants::of(delta.old, from);
                let after = Grants::of(delta.new, to);
                match (before.covers(&after), after.covers(&before)) {
                    (true, _) => &mut self.take,
                    (false, true) => &mut self.give,
                    (false, false) => &mut self.mixed,
                }
            }
        };
        phase.push(Move::new(switch, target, switch.from.is_some()));
        Ok(())
    }

    fn copy(
        &mut self,
        delta: &Delta<'a>,
        origin: &'a Ruleset,
        prefix: &str,
        name: &Name,
    ) -> Result<Name, PlanError> {
        let rules = origin.chains.get(name).map_or(&[][..], |chain| &chain.rules);
        let mut copy = Name::new(format!("{prefix}.{name}"))?;
        // One may be left over from a run that was killed.
        while delta.old.chains.contains_key(&copy) {
            copy = Name::new(format!("{prefix}.{copy}"))?;
        }
        self.copies.insert(copy.clone(), rules);
        Ok(copy)
    }
}
