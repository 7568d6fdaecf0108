//! Chains run with all packets at once.
//!
//! In: a ruleset, a frame, and packets as parts: sets of addresses of one end
//! (the outer one), each with a region of the other end's addresses and codes.
//! Out: the same packets, sorted by what becomes of them.
//! Never: `ruleset::simulator`'s idea of a rule; that is a second opinion, and
//! tests hold the two equal. It is modelled on the kernel
//! (`nft_do_chain`, net/netfilter/nf_tables_core.c): all matches of a rule
//! must hold, `goto` does not come back, what leaves a base chain passes.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};

use ruleset::simulator::Place;
use ruleset::{BaseChain, Chain, Field, Finish, Hook, Name, Rule, Ruleset, Verdict};

use crate::VerifyError;
use crate::condition::{self, View};
use crate::ranges::Ranges;
use crate::region::Region;
use crate::sets::Sets;

/// `NFT_JUMP_STACK_SIZE` (include/net/netfilter/nf_tables.h).
pub(crate) const MAX_LEVELS: u8 = 16;

/// Packets: all outer addresses with all of the region.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    pub outer: Ranges,
    pub region: Region,
}

/// What becomes of packets in a chain; together they are what went in.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ends {
    pub accepted: Vec<Part>,
    pub dropped: Vec<Part>,
    pub returned: Vec<Part>,
}

/// A ruleset that is run.
pub(crate) struct Machine<'a> {
    chains: HashMap<&'a Name, &'a Chain>,
    sets: Sets<'a>,
    entered: RefCell<HashSet<&'a Name>>,
    /// While a single packet is followed: the rule that decided about it.
    followed: RefCell<Option<Option<Place>>>,
}

impl<'a> Machine<'a> {
    pub fn new(ruleset: &'a Ruleset) -> Self {
        Self {
            chains: ruleset.chains.iter().map(|(name, chain)| (name, &**chain)).collect(),
            sets: Sets::new(ruleset),
            entered: RefCell::default(),
            followed: RefCell::default(),
        }
    }

    /// How many chains packets were in.
    pub fn chains(&self) -> usize {
        self.entered.borrow().len()
    }

    /// The rule that decides about a single packet; `None` if it leaves the
    /// base chains.
    pub fn decides(&self, view: View, packet: Part) -> Result<Option<Place>, VerifyError> {
        *self.followed.borrow_mut() = Some(None);
        let ends = self.table(view, packet);
        let met = self.followed.borrow_mut().take().flatten();
        ends.map(|_| met)
    }

    fn is_following(&self) -> bool {
        self.followed.borrow().is_some()
    }

    /// Runs the whole table: all base chains by priority. What comes out
    /// `accepted` passes; nothing is `returned`.
    pub fn table(&self, view: View, packets: Part) -> Result<Ends, VerifyError> {
        let mut bases: Vec<(i32, &Name)> = Vec::new();
        for (name, chain) in &self.chains {
            bases.extend(chain.base.map(|base| match base {
                BaseChain { hook: Hook::Forward, priority } => (priority, *name),
            }));
        }
        bases.sort_unstable();
        let mut ends = Ends { accepted: vec![packets], ..Ends::default() };
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
        packets: Vec<Part>,
        level: u8,
    ) -> Result<Ends, VerifyError> {
        let Some(chain) = self.chains.get(name) else { return Ok(Ends::default()) };
        self.entered.borrow_mut().insert(name);
        let mut run =
            Run { machine: self, view, name, level, here: packets, ends: Ends::default() };
        let mut rest = chain.rules.as_slice();
        while let Some(first) = rest.first().filter(|_| !run.here.is_empty()) {
            // Rules in a row with one verdict are one question.
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

/// A chain under way.
struct Run<'m, 'a> {
    machine: &'m Machine<'a>,
    view: View,
    name: &'a Name,
    level: u8,
    /// What has come to the present rule.
    here: Vec<Part>,
    ends: Ends,
}

impl<'a> Run<'_, 'a> {
    fn place(&self, rule: usize) -> Place {
        Place { chain: self.name.clone(), rule }
    }

    /// Rules with one and the same finish.
    fn rules(&mut self, rules: &'a [Rule], index: usize) -> Result<(), VerifyError> {
        let Some(first) = rules.first() else { return Ok(()) };
        if let Some(log) = &first.log {
            if first.finish.is_some() {
                return Err(VerifyError::LimitedVerdict { at: self.place(index) });
            }
            return self.machine.sets.check_log(log).map_err(|at| at.at(self.place(index)));
        }
        let Some(finish) = &first.finish else { return Ok(()) };
        let mut matched = Vec::new();
        let mut rest = Vec::new();
        for part in std::mem::take(&mut self.here) {
            for part in condition::uniform(&self.machine.sets, self.view, rules, part) {
                let mut slabs = Vec::new();
                for (offset, rule) in rules.iter().enumerate() {
                    let held = condition::held(&self.machine.sets, self.view, rule, &part);
                    slabs.extend(held.map_err(|set| set.at(self.place(index + offset)))?);
                }
                let held = Region::of(slabs);
                let of = |region| Part { outer: part.outer.clone(), region };
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
        matched: Vec<Part>,
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

    /// Runs another chain; what comes back of it.
    fn enter(
        &mut self,
        to: &'a Name,
        packets: Vec<Part>,
        index: usize,
    ) -> Result<Vec<Part>, VerifyError> {
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

    /// Sends each packet to the chain that a map has for it.
    fn dispatch(
        &mut self,
        (field, family, map): (Field, ruleset::Family, &'a Name),
        matched: Vec<Part>,
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
            let found: Vec<Part> = inside(keys);
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

impl Part {
    /// Those with these addresses at the outer or at the inner end, if any.
    pub fn of(&self, outer: bool, addresses: &Ranges) -> Option<Self> {
        self.changed(outer, |all| all.intersect(addresses), |region| region.within(addresses))
    }

    /// Those with other addresses there, if any.
    pub fn but(&self, outer: bool, addresses: &Ranges) -> Option<Self> {
        self.changed(outer, |all| all.subtract(addresses), |region| region.without(addresses))
    }

    fn changed(
        &self,
        outer: bool,
        of_outer: impl Fn(&Ranges) -> Ranges,
        of_inner: impl Fn(&Region) -> Region,
    ) -> Option<Self> {
        let part = match outer {
            true => Self { outer: of_outer(&self.outer), region: self.region.clone() },
            false => Self { outer: self.outer.clone(), region: of_inner(&self.region) },
        };
        (!part.outer.is_empty() && !part.region.is_empty()).then_some(part)
    }
}

/// Parts of the same outer addresses as one.
fn joined(parts: Vec<Part>) -> Vec<Part> {
    let mut joined: Vec<Part> = Vec::with_capacity(parts.len());
    for part in parts {
        match joined.iter_mut().find(|other| other.outer == part.outer) {
            Some(other) => other.region = other.region.union(&part.region),
            None => joined.push(part),
        }
    }
    joined
}

#[cfg(test)]
mod tests;
