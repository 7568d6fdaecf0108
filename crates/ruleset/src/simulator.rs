//! What a table does to a packet.
//!
//! Takes a [`Ruleset`] and a [`Packet`], or the states of a table while batches are
//! committed. Returns whether the packet passes and which rule decides it
//! ([`simulate`]), or everything that can happen to it while the table changes
//! ([`possible_outcomes`]).
//! Never: the kernel. This is a model of `nft_do_chain`
//! (net/netfilter/nf_tables_core.c). `goto` pushes no return address. `return` and
//! the end of a chain pop one. A packet that returns from the base chain gets the
//! chain's policy, accept.

mod condition;
mod frame;
mod machine;
mod packet;
mod race;

use std::fmt;

use crate::{Hook, Name, Ruleset, TableFamily};

pub use frame::{Arp, Content, Frame, Tag};
use machine::{Halt, Question, Thread};
pub use packet::{CtState, Packet};
pub use race::{
    LookUp, Passage, Possible, PossibleEnds, Witness, possible_chain_outcomes, possible_outcomes,
    possible_outcomes_across, possible_outcomes_along,
};

/// What happens to a packet in this table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It continues.
    Accept,
    /// It ends here.
    Drop,
}

/// How a chain ends, including all chains that it calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum End {
    /// With an accept.
    Accepted,
    /// With a drop.
    Dropped,
    /// With a return, or at the end of its rules. The caller continues.
    Returned,
}

/// The position of a rule.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RulePosition {
    /// The chain.
    pub chain: Name,
    /// The index in its rules.
    pub rule: usize,
}

/// The result of [`simulate`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Simulated {
    /// What happens to the packet.
    pub outcome: Outcome,
    /// The rule that accepts or drops. `None` if the base chain's policy does.
    pub decided_by: Option<RulePosition>,
    /// All rules that matched, in order.
    pub trace: Vec<RulePosition>,
}

/// Why a table has no outcome for a packet. The kernel would refuse such a table.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// A jump, goto or map entry to a missing chain.
    #[error("{at}: there is no chain {chain}")]
    UnknownChain {
        /// The rule that goes there.
        at: RulePosition,
        /// The missing chain.
        chain: Name,
    },
    /// A look-up in a missing set or map.
    #[error("{at}: there is no set or map {name}")]
    UnknownSet {
        /// The rule that looks it up.
        at: RulePosition,
        /// The missing set or map.
        name: Name,
    },
    /// A look-up in a set or map of another type.
    #[error("{at}: set or map {name} is of another type")]
    WrongType {
        /// The rule that looks it up.
        at: RulePosition,
        /// The set or map.
        name: Name,
    },
    /// More jumps and gotos than `NFT_JUMP_STACK_SIZE`, or a loop.
    #[error("{at}: jumps deeper than {max} levels", max = machine::MAX_LEVELS)]
    TooDeep {
        /// The rule that goes too deep.
        at: RulePosition,
    },
    /// A rule that logs and also gives a verdict. The rate limit of the log
    /// statement ends the rule, so the verdict would depend on how many packets
    /// came before.
    #[error("{at}: the log limit comes before a verdict; give it a rule of its own")]
    LimitedVerdict {
        /// The rule.
        at: RulePosition,
    },
    /// No state has the chain to start at.
    #[error("there is no chain {0} to start at")]
    NoStart(Name),
}

impl fmt::Display for RulePosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "chain {}, rule {}", self.chain, self.rule)
    }
}

/// Sends a packet through the forward hook of a table, as [`simulate_at`].
///
/// # Errors
/// See [`Broken`].
pub fn simulate(ruleset: &Ruleset, packet: &Packet) -> Result<Simulated, Broken> {
    simulate_at(ruleset, Hook::Forward, packet)
}

/// Sends a packet through a hook of a table. If there are several base chains, the
/// packet passes them in the order of their priorities, and all must accept it. An
/// `inet` table sees IP packets only.
///
/// # Errors
/// See [`Broken`].
pub fn simulate_at(ruleset: &Ruleset, hook: Hook, packet: &Packet) -> Result<Simulated, Broken> {
    let mut trace = Vec::new();
    let mut last = End::Returned;
    let packet = &packet.at(ruleset.family, hook);
    let bases = base_chains(ruleset, hook).into_iter();
    for base in bases.filter(|_| sees(ruleset.family, packet)) {
        last = walk(ruleset, base, packet, &mut trace)?;
        if last == End::Dropped {
            break;
        }
    }
    let trace: Vec<RulePosition> = trace.into_iter().map(place).collect();
    Ok(Simulated {
        outcome: if last == End::Dropped { Outcome::Drop } else { Outcome::Accept },
        decided_by: trace.last().filter(|_| last != End::Returned).cloned(),
        trace,
    })
}

/// Sends a packet through one chain and those that it calls, as after a jump to
/// that chain.
///
/// # Errors
/// See [`Broken`].
pub fn simulate_chain(ruleset: &Ruleset, start: &Name, packet: &Packet) -> Result<End, Broken> {
    match ruleset.chains.get_key_value(start) {
        Some((start, _)) => walk(ruleset, start, packet, &mut Vec::new()),
        None => Err(Broken::NoStart(start.clone())),
    }
}

/// Whether the hooks of a family see a packet.
fn sees(family: TableFamily, packet: &Packet) -> bool {
    match family {
        TableFamily::Inet => packet.is_ip(),
        TableFamily::Bridge => true,
    }
}

/// The base chains of a hook, in the order in which a packet passes them.
fn base_chains(ruleset: &Ruleset, hook: Hook) -> Vec<&Name> {
    let mut chains: Vec<(i32, &Name)> = ruleset
        .chains
        .iter()
        .filter_map(|(name, chain)| {
            chain.base.filter(|base| base.hook == hook).map(|base| (base.priority, name))
        })
        .collect();
    chains.sort();
    chains.into_iter().map(|(_, name)| name).collect()
}

fn walk<'a>(
    ruleset: &'a Ruleset,
    start: &'a Name,
    packet: &Packet,
    trace: &mut Vec<(&'a Name, usize)>,
) -> Result<End, Broken> {
    let history = std::slice::from_ref(ruleset);
    let mut thread = Thread::at(start, 0);
    loop {
        match thread.run(history, packet, trace)? {
            Halt::Ended(end) => return Ok(end),
            Halt::Asks(Question::Member(set, element)) => {
                let set = ruleset.sets.get(set);
                thread.answer_member(set.is_some_and(|set| machine::contains(set, &element)));
            }
            Halt::Asks(Question::Entry(map, key)) => {
                let entry = ruleset.maps.get(map).and_then(|map| map.entries.get(&key));
                thread.answer_entry(ruleset, entry)?;
            }
            Halt::Asks(Question::Enter(entrance)) => thread.enter(&entrance, 0),
        }
    }
}

fn place((chain, rule): (&Name, usize)) -> RulePosition {
    RulePosition { chain: chain.clone(), rule }
}

#[cfg(test)]
mod tests;
