//! A packet on its way through the chains.
//!
//! Returns how the packet ends, or a question that the rules do not answer: what a
//! set or map contains, or from which generation a chain's rules are. The driver of
//! the [`Thread`] answers, and so decides when a look-up happens.
//! Never: a look-up by itself.

use std::net::IpAddr;

use crate::{AddressRange, Element, Family, Finish, Name, Rule, Ruleset, Set, SetType, Verdict};

use super::condition::{self, Test};
use super::{Broken, End, Packet, RulePosition};

/// `NFT_JUMP_STACK_SIZE` (include/net/netfilter/nf_tables.h). The kernel
/// counts gotos, too, when it validates (`nft_chain_validate`).
pub(super) const MAX_LEVELS: u8 = 16;

/// Where a packet is: a rule, and the rules to return to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Thread<'a> {
    frames: Vec<Frame<'a>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Frame<'a> {
    chain: &'a Name,
    /// The generation whose rules the packet reads: an index into the history.
    generation: usize,
    rule: usize,
    /// How many matches of the rule are known to hold.
    held: usize,
    level: u8,
    /// The result of a map look-up in the last statement, once answered.
    entry: Option<&'a Name>,
}

/// Why [`Thread::run`] stopped.
pub(super) enum Halt<'a> {
    Ended(End),
    Asks(Question<'a>),
}

/// What [`Thread::run`] needs to know before it can continue.
pub(super) enum Question<'a> {
    /// Whether the set contains this element. In a set of ranges: this address.
    Member(&'a Name, Element),
    /// What the map contains for this address.
    Entry(&'a Name, IpAddr),
    /// Which generation's rules the packet reads in a chain.
    Enter(Entrance<'a>),
}

/// A chain to enter.
pub(super) struct Entrance<'a> {
    pub chain: &'a Name,
    /// The generation of the rules that lead there.
    pub from: usize,
    level: u8,
}

impl<'a> Thread<'a> {
    /// A packet at the start of a chain, in a generation.
    pub fn at(chain: &'a Name, generation: usize) -> Self {
        Self { frames: vec![Frame::new(chain, generation, 0)] }
    }

    /// Runs to the end or to the next question. Pushes each matching rule to
    /// `trace`.
    pub fn run(
        &mut self,
        history: &'a [Ruleset],
        packet: &Packet,
        trace: &mut Vec<(&'a Name, usize)>,
    ) -> Result<Halt<'a>, Broken> {
        loop {
            let Some(frame) = self.frames.last_mut() else {
                return Ok(Halt::Ended(End::Returned));
            };
            let ruleset = &history[frame.generation];
            let Some(rule) = frame.rule(ruleset) else {
                self.frames.pop();
                continue;
            };
            if let Some(condition) = rule.matches.get(frame.held) {
                let holds = match condition::test(condition, packet) {
                    Test::Known(holds) => holds,
                    Test::Member { set, types, element } => {
                        frame.expect_set(ruleset, set, types)?;
                        match element {
                            Some(element) => {
                                return Ok(Halt::Asks(Question::Member(set, element)));
                            }
                            None => false,
                        }
                    }
                };
                frame.answer(holds);
                continue;
            }
            if !frame.logs(ruleset, rule, packet)? {
                frame.next_rule();
                continue;
            }
            let finish = match &rule.finish {
                Some(Finish::Dispatch(field, family, map)) if frame.entry.is_none() => {
                    if !packet.is(*family) {
                        frame.next_rule();
                        continue;
                    }
                    frame.expect_map(ruleset, map, *family)?;
                    let key = field.of(packet.source, packet.destination);
                    return Ok(Halt::Asks(Question::Entry(map, key)));
                }
                finish => finish.as_ref(),
            };
            trace.push((frame.chain, frame.rule));
            if let Some(stop) = self.finish(ruleset, finish)? {
                return Ok(stop);
            }
        }
    }

    /// What happens when all matches of a rule hold. `None` continues.
    fn finish(
        &mut self,
        ruleset: &Ruleset,
        finish: Option<&'a Finish>,
    ) -> Result<Option<Halt<'a>>, Broken> {
        let Some(frame) = self.frames.last_mut() else { return Ok(None) };
        let (chain, comes_back) = match finish {
            None => {
                frame.next_rule();
                return Ok(None);
            }
            Some(Finish::Verdict(Verdict::Accept)) => {
                return Ok(Some(Halt::Ended(End::Accepted)));
            }
            Some(Finish::Verdict(Verdict::Drop)) => return Ok(Some(Halt::Ended(End::Dropped))),
            Some(Finish::Verdict(Verdict::Return)) => {
                self.frames.pop();
                return Ok(None);
            }
            Some(Finish::Verdict(Verdict::Jump(chain))) => (Some(chain), true),
            Some(Finish::Verdict(Verdict::Goto(chain))) => (Some(chain), false),
            Some(Finish::Dispatch(..)) => (frame.entry, false),
        };
        let Some(chain) = chain else { return Ok(None) };
        // The chain of an entry was checked when the entry was found.
        if frame.entry.is_none() && !ruleset.chains.contains_key(chain) {
            return Err(Broken::UnknownChain { at: frame.place(), chain: chain.clone() });
        }
        let entrance = Entrance { chain, from: frame.generation, level: frame.level + 1 };
        if entrance.level >= MAX_LEVELS {
            return Err(Broken::TooDeep { at: frame.place() });
        }
        if comes_back {
            frame.next_rule();
        } else {
            self.frames.pop();
        }
        Ok(Some(Halt::Asks(Question::Enter(entrance))))
    }

    /// Answers [`Question::Member`].
    pub fn answer_member(&mut self, is_member: bool) {
        if let Some(frame) = self.frames.last_mut() {
            frame.answer(is_member);
        }
    }

    /// Answers [`Question::Entry`], with what was found in the state `found_in`.
    pub fn answer_entry(
        &mut self,
        found_in: &Ruleset,
        entry: Option<&'a Name>,
    ) -> Result<(), Broken> {
        let Some(frame) = self.frames.last_mut() else { return Ok(()) };
        match entry {
            None => frame.next_rule(),
            Some(chain) if !found_in.chains.contains_key(chain) => {
                return Err(Broken::UnknownChain { at: frame.place(), chain: chain.clone() });
            }
            Some(chain) => frame.entry = Some(chain),
        }
        Ok(())
    }

    /// Answers [`Question::Enter`]. In a generation without the chain, the chain
    /// has no rules. The kernel creates a chain with an empty list for the
    /// generations before it (`nf_tables_addchain`). The list of a deleted chain is
    /// empty for those after.
    pub fn enter(&mut self, entrance: &Entrance<'a>, generation: usize) {
        self.frames.push(Frame::new(entrance.chain, generation, entrance.level));
    }

    /// The generation whose rules the packet reads now.
    pub fn generation(&self) -> usize {
        self.frames.last().map_or(0, |frame| frame.generation)
    }
}

impl<'a> Frame<'a> {
    fn new(chain: &'a Name, generation: usize, level: u8) -> Self {
        Self { chain, generation, rule: 0, held: 0, level, entry: None }
    }

    fn rule(&self, ruleset: &'a Ruleset) -> Option<&'a Rule> {
        ruleset.chains.get(self.chain)?.rules.get(self.rule)
    }

    fn next_rule(&mut self) {
        self.rule += 1;
        self.held = 0;
    }

    /// Whether the present match holds.
    fn answer(&mut self, holds: bool) {
        if holds { self.held += 1 } else { self.next_rule() }
    }

    fn place(&self) -> RulePosition {
        super::place((self.chain, self.rule))
    }

    /// Whether the rule continues after its log statement, if it has one.
    fn logs(&self, ruleset: &Ruleset, rule: &Rule, packet: &Packet) -> Result<bool, Broken> {
        let Some(log) = &rule.log else { return Ok(true) };
        if rule.finish.is_some() {
            return Err(Broken::LimitedVerdict { at: self.place() });
        }
        self.expect_set(ruleset, &log.set, [SetType::RateLimit(log.family); 2])?;
        Ok(packet.is(log.family))
    }

    fn expect_set(
        &self,
        ruleset: &Ruleset,
        name: &Name,
        types: [SetType; 2],
    ) -> Result<(), Broken> {
        let set_type = ruleset.sets.get(name).map(|set| set.set_type);
        self.expect(name, set_type.map(|set_type| types.contains(&set_type)))
    }

    fn expect_map(&self, ruleset: &Ruleset, name: &Name, family: Family) -> Result<(), Broken> {
        self.expect(name, ruleset.maps.get(name).map(|map| map.family == family))
    }

    fn expect(&self, name: &Name, fits: Option<bool>) -> Result<(), Broken> {
        match fits {
            None => Err(Broken::UnknownSet { at: self.place(), name: name.clone() }),
            Some(false) => Err(Broken::WrongType { at: self.place(), name: name.clone() }),
            Some(true) => Ok(()),
        }
    }
}

/// Whether a set contains an element, or a set of ranges an address.
pub(super) fn contains(set: &Set, element: &Element) -> bool {
    let (SetType::AddressRange(_), Element::Address(address)) = (set.set_type, element) else {
        return set.elements.contains(element);
    };
    // Ranges are disjoint. Only the last range that starts at or before the address
    // can contain it. No range with this start sorts after this single address.
    let found = |element: &Element| match element {
        Element::Range(range) => range.contains(*address),
        _ => false,
    };
    let single = Element::Range(AddressRange::single(*address));
    set.elements.range(..=single).next_back().is_some_and(found)
        || set.elements.range(single..).next().is_some_and(found)
}
