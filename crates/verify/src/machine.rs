//! Runs a ruleset's chains with all packets at once.
//!
//! In: a ruleset, a frame, and sets of packets: the addresses of the outer end,
//! each set with a region of the other end's addresses and codes. Out: the same
//! packets, sorted by their verdict.
//! Never: `ruleset::simulator`'s view of a rule. This is a second opinion, and
//! tests compare the two. It follows the kernel (`nft_do_chain`,
//! net/netfilter/nf_tables_core.c): all matches of a rule must hold, `goto` does
//! not return, and what leaves a base chain passes.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};

use policy::Direction;
use ruleset::simulator::RulePosition;
use ruleset::{Chain, Field, Finish, Hook, Name, Rule, Ruleset, Verdict};

use crate::audit::told_by;
use crate::condition::{self, View};
use crate::error::MAX_LEVELS;
use crate::error::VerifyError;
use crate::exits::Exits;
use crate::packet_set::{PacketSet, joined};
use crate::ranges::Ranges;
use crate::region::Region;
use crate::sets::Sets;

/// The packets that entered a chain, by what the chain did with them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outcomes {
    pub accepted: Vec<PacketSet>,
    pub dropped: Vec<PacketSet>,
    pub returned: Vec<PacketSet>,
}

/// A ruleset, ready to run.
pub(crate) struct Machine<'a> {
    hook: Hook,
    chains: HashMap<&'a Name, &'a Chain>,
    sets: Sets<'a>,
    entered: RefCell<HashSet<&'a Name>>,
    /// While a single packet is followed: the rule that decided.
    followed: RefCell<Option<Option<RulePosition>>>,
    /// While it is asked for: the packets that policies of this direction in audit are told
    /// to deny.
    told: RefCell<Option<(Direction, Vec<PacketSet>)>>,
}

impl<'a> Machine<'a> {
    pub fn new(ruleset: &'a Ruleset, exits: Exits<'a>) -> Self {
        Self::at(Hook::Forward, ruleset, exits)
    }

    /// One that runs the base chains of a hook.
    pub fn at(hook: Hook, ruleset: &'a Ruleset, exits: Exits<'a>) -> Self {
        Self {
            hook,
            chains: ruleset.chains.iter().map(|(name, chain)| (name, &**chain)).collect(),
            sets: Sets::new(ruleset, exits),
            entered: RefCell::default(),
            followed: RefCell::default(),
            told: RefCell::default(),
        }
    }

    /// The kinds of interfaces where packets go out.
    pub fn exits(&self) -> &Exits<'a> {
        &self.sets.exits
    }

    /// How many chains packets have entered.
    pub fn chains(&self) -> usize {
        self.entered.borrow().len()
    }

    /// The rule that decides about a single packet. `None` if the packet leaves
    /// the base chains.
    pub fn decides(
        &self,
        view: View,
        packet: PacketSet,
    ) -> Result<Option<RulePosition>, VerifyError> {
        *self.followed.borrow_mut() = Some(None);
        let ends = self.table(view, packet);
        let met = self.followed.borrow_mut().take().flatten();
        ends.map(|_| met)
    }

    /// As [`Self::table`], with the packets that policies of a direction in audit are told to
    /// deny.
    pub fn told(
        &self,
        view: View,
        packets: PacketSet,
        direction: Direction,
    ) -> Result<(Outcomes, Vec<PacketSet>), VerifyError> {
        *self.told.borrow_mut() = Some((direction, Vec::new()));
        let ends = self.table(view, packets);
        let told = self.told.borrow_mut().take();
        Ok((ends?, told.map(|(_, packets)| packets).unwrap_or_default()))
    }

    fn is_following(&self) -> bool {
        self.followed.borrow().is_some()
    }

    /// Runs the whole table: all base chains of the hook in the order of priority. `accepted`
    /// packets pass, and nothing is `returned`.
    pub fn table(&self, view: View, packets: PacketSet) -> Result<Outcomes, VerifyError> {
        let mut bases: Vec<(i32, &Name)> = Vec::new();
        for (name, chain) in &self.chains {
            let base = chain.base.filter(|base| base.hook == self.hook);
            bases.extend(base.map(|base| (base.priority, *name)));
        }
        bases.sort_unstable();
        let mut ends = Outcomes { accepted: vec![packets], ..Outcomes::default() };
        for (_, name) in bases {
            let here = self.chain(view, name, ends.accepted, 0)?;
            ends.accepted = here.accepted;
            ends.accepted.extend(here.returned);
            ends.dropped.extend(here.dropped);
        }
        Ok(ends)
    }

    fn chain(
        &self,
        view: View,
        name: &'a Name,
        packets: Vec<PacketSet>,
        level: u8,
    ) -> Result<Outcomes, VerifyError> {
        let Some(chain) = self.chains.get(name) else { return Ok(Outcomes::default()) };
        self.entered.borrow_mut().insert(name);
        let mut run =
            Run { machine: self, view, name, level, here: packets, ends: Outcomes::default() };
        let mut rest = chain.rules.as_slice();
        while let Some(first) = rest.first().filter(|_| !run.here.is_empty()) {
            // Consecutive rules with the same verdict are handled together.
            let alike = |rule: &&Rule| rule.log.is_none() && rule.finish == first.finish;
            let many = match (&first.log, &first.finish) {
                _ if self.is_following() => 1,
                (
                    None,
                    Some(Finish::Verdict(Verdict::Accept | Verdict::Drop | Verdict::Return)),
                ) => rest.iter().take_while(alike).count(),
                _ => 1,
            };
            let (these, others) = rest.split_at(many);
            run.rules(these, chain.rules.len() - rest.len())?;
            rest = others;
        }
        run.ends.returned.append(&mut run.here);
        Ok(run.ends)
    }
}

/// A chain while it runs.
struct Run<'m, 'a> {
    machine: &'m Machine<'a>,
    view: View,
    name: &'a Name,
    level: u8,
    /// The packets that reach the current rule.
    here: Vec<PacketSet>,
    ends: Outcomes,
}

impl<'a> Run<'_, 'a> {
    fn place(&self, rule: usize) -> RulePosition {
        RulePosition { chain: self.name.clone(), rule }
    }

    /// Runs rules that have the same finish.
    fn rules(&mut self, rules: &'a [Rule], index: usize) -> Result<(), VerifyError> {
        let Some(first) = rules.first() else { return Ok(()) };
        if let Some(log) = &first.log {
            if first.finish.is_some() {
                return Err(VerifyError::LimitedVerdict { at: self.place(index) });
            }
            self.machine.sets.check_log(log).map_err(|at| at.at(self.place(index)))?;
            if let Some((direction, told)) = &mut *self.machine.told.borrow_mut()
                && log.family == self.view.frame.family
                && told_by(self.name, log) == Some(*direction)
            {
                told.extend(self.here.iter().cloned());
            }
            return Ok(());
        }
        let Some(finish) = &first.finish else { return Ok(()) };
        let mut matched = Vec::new();
        let mut rest = Vec::new();
        for part in std::mem::take(&mut self.here) {
            for part in condition::split_by_outer(&self.machine.sets, self.view, rules, part) {
                let mut slabs = Vec::new();
                for (offset, rule) in rules.iter().enumerate() {
                    let held = condition::matching(&self.machine.sets, self.view, rule, &part);
                    slabs.extend(held.map_err(|set| set.at(self.place(index + offset)))?);
                }
                let held = Region::of(slabs);
                let of = |region| PacketSet { outer: part.outer.clone(), region };
                matched.push(of(part.region.intersect(&held)));
                rest.push(of(part.region.subtract(&held)));
            }
        }
        matched.retain(|part| !part.region.is_empty());
        rest.retain(|part| !part.region.is_empty());
        self.here = rest;
        if !matched.is_empty() && self.machine.is_following() {
            let decides = matches!(finish, Finish::Verdict(Verdict::Accept | Verdict::Drop));
            *self.machine.followed.borrow_mut() = Some(decides.then(|| self.place(index)));
        }
        self.finish(finish, matched, index)
    }

    fn finish(
        &mut self,
        finish: &'a Finish,
        matched: Vec<PacketSet>,
        index: usize,
    ) -> Result<(), VerifyError> {
        match finish {
            Finish::Verdict(Verdict::Accept) => self.ends.accepted.extend(matched),
            Finish::Verdict(Verdict::Drop) => self.ends.dropped.extend(matched),
            Finish::Verdict(Verdict::Return) => self.ends.returned.extend(matched),
            Finish::Verdict(Verdict::Jump(to)) => {
                let back = self.enter(to, matched, index)?;
                self.here.extend(back);
                self.here = joined(std::mem::take(&mut self.here));
            }
            Finish::Verdict(Verdict::Goto(to)) => {
                let back = self.enter(to, matched, index)?;
                self.ends.returned.extend(back);
            }
            Finish::Dispatch(field, family, map) => {
                self.dispatch((*field, *family, map), matched, index)?;
            }
        }
        Ok(())
    }

    /// Runs another chain. Returns the packets that come back.
    fn enter(
        &mut self,
        to: &'a Name,
        packets: Vec<PacketSet>,
        index: usize,
    ) -> Result<Vec<PacketSet>, VerifyError> {
        let at = || self.place(index);
        if !self.machine.chains.contains_key(to) {
            return Err(VerifyError::UnknownChain { at: at(), chain: to.clone() });
        }
        if packets.is_empty() {
            return Ok(Vec::new());
        }
        if self.level + 1 >= MAX_LEVELS {
            return Err(VerifyError::TooDeep { at: at() });
        }
        let ends = self.machine.chain(self.view, to, packets, self.level + 1)?;
        self.ends.accepted.extend(ends.accepted);
        self.ends.dropped.extend(ends.dropped);
        Ok(ends.returned)
    }

    /// Sends each packet to the chain that a map holds for it.
    fn dispatch(
        &mut self,
        (field, family, map): (Field, ruleset::Family, &'a Name),
        matched: Vec<PacketSet>,
        index: usize,
    ) -> Result<(), VerifyError> {
        let targets = self.machine.sets.targets(map, family);
        let targets = targets.map_err(|set| set.at(self.place(index)))?;
        if family != self.view.frame.family {
            self.here = joined([std::mem::take(&mut self.here), matched].concat());
            return Ok(());
        }
        let outer = field == self.view.outer;
        let inside =
            |keys: &Ranges| matched.iter().filter_map(|part| part.of(outer, keys)).collect();
        for (chain, keys) in targets.iter() {
            let found: Vec<PacketSet> = inside(keys);
            if !found.is_empty() {
                let back = self.enter(chain, found, index)?;
                self.ends.returned.extend(back);
            }
        }
        let keys = Ranges::union_of(targets.iter().map(|(_, keys)| keys));
        let missed = matched.iter().filter_map(|part| part.but(outer, &keys));
        self.here.extend(missed);
        self.here = joined(std::mem::take(&mut self.here));
        Ok(())
    }
}

#[cfg(test)]
mod tests;
