//! What can happen to a packet while the table changes.
//!
//! A packet reads its rules from one generation. But each look-up in a set or map
//! reads the elements of that moment (`nft_set_elem_active` with
//! `nft_genmask_cur`). So the look-ups of one packet can be on both sides of a
//! commit.
//!
//! Takes the states after each committed batch, and a packet. Returns all outcomes,
//! over every state in which the packet can start and every non-decreasing choice
//! of moments for its look-ups.
//! Never: a distinction between two objects of one name. If a batch deletes an
//! object and creates another with its name, add a state without the object between
//! them.
//!
//! A packet is in the hook for a few microseconds. Committing a batch and building
//! the next one take longer. So [`possible_outcomes`] assumes that a packet meets
//! at most one commit. No order of batches is safe otherwise, because a commit does
//! not wait for packets. A packet that is held up (its virtual CPU is not running)
//! can combine states that are not neighbours. [`possible_outcomes_across`] shows
//! what such packets can do. Only waiting for them (`membarrier`) between batches
//! prevents it.
//!
//! A packet that meets several commits also reads rules of several generations. It
//! remembers one bit of its generation, and each chain has two lists of rules. So
//! the next generation but one replaces its own (`nf_tables_commit_chain`,
//! net/netfilter/nf_tables_api.c).

mod search;

use std::fmt;

use crate::{Hook, Name, Ruleset};

use super::{Broken, End, Outcome, Packet, RulePosition};
use search::{Search, Stop};

/// All outcomes of one packet, each with one way that leads to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Possible {
    /// How it can pass, if it can.
    pub accept: Option<Witness>,
    /// How it can be dropped, if it can.
    pub drop: Option<Witness>,
}

/// All ends of one chain for one packet, each with one way that leads to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PossibleEnds {
    /// How it can return to the caller, if it can.
    pub returned: Option<Witness>,
    /// How it can be accepted, if it can.
    pub accepted: Option<Witness>,
    /// How it can be dropped, if it can.
    pub dropped: Option<Witness>,
}

/// One way through a changing table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Witness {
    /// The state in which the packet reached the hook: an index into the history.
    pub generation: usize,
    /// Its look-ups, in order.
    pub look_ups: Vec<LookUp>,
    /// The stop at which its way ends: an index into the way. 0 if there is one hook.
    pub stop: usize,
    /// The rule that accepts or drops there. `None` if the policy or a return does.
    pub decided_by: Option<RulePosition>,
}

/// One look-up in a set or map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LookUp {
    /// The stop at which it looks: an index into the way.
    pub stop: usize,
    /// The set or map.
    pub name: Name,
    /// The state that it read: an index into the history.
    pub time: usize,
    /// Whether something was found.
    pub found: bool,
}

impl Possible {
    /// Whether this is the only possible outcome of the packet.
    pub fn always(&self, outcome: Outcome) -> bool {
        match outcome {
            Outcome::Accept => self.accept.is_some() && self.drop.is_none(),
            Outcome::Drop => self.drop.is_some() && self.accept.is_none(),
        }
    }
}

impl fmt::Display for Witness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "starts in state {}", self.generation)?;
        let mut at = 0;
        for LookUp { stop, name, time, found } in &self.look_ups {
            if std::mem::replace(&mut at, *stop) != *stop {
                write!(f, ", reaches stop {stop}")?;
            }
            let found = if *found { "finds" } else { "misses" };
            write!(f, ", {found} in {name} in state {time}")?;
        }
        if at != self.stop {
            write!(f, ", reaches stop {}", self.stop)?;
        }
        match &self.decided_by {
            Some(place) => write!(f, ", decided by {place}"),
            None => f.write_str(", decided by no rule"),
        }
    }
}

/// All outcomes of a packet that meets at most one commit, while the table changes
/// from the first state of `history` to the last.
///
/// # Errors
/// See [`Broken`].
pub fn possible_outcomes(history: &[Ruleset], packet: &Packet) -> Result<Possible, Broken> {
    possible_outcomes_across(history, packet, 1)
}

/// As [`possible_outcomes`], for packets that meet up to this many commits.
///
/// # Errors
/// See [`Broken`].
pub fn possible_outcomes_across(
    history: &[Ruleset],
    packet: &Packet,
    commits: usize,
) -> Result<Possible, Broken> {
    let passage = Passage { history, hook: Hook::Forward, packet: *packet };
    possible_outcomes_along(&[passage], commits)
}

/// A hook that a packet passes.
#[derive(Clone, Copy, Debug)]
pub struct Passage<'a> {
    /// The states of its table. Where the table is missing, an empty one.
    pub history: &'a [Ruleset],
    /// The hook.
    pub hook: Hook,
    /// The packet as it is there. A node can change it on its way.
    pub packet: Packet,
}

/// All outcomes of a packet that passes several hooks, of one table or of several,
/// and meets up to this many commits on its way. It passes where each hook lets it
/// pass.
///
/// The histories are of equal length: state `n` of one table is there together with
/// state `n` of each other. A commit changes one table or several. The kernel has one
/// generation for all of them (`nft_net->gencursor`, net/netfilter/nf_tables_api.c,
/// 6.18).
///
/// # Errors
/// See [`Broken`].
pub fn possible_outcomes_along(way: &[Passage<'_>], commits: usize) -> Result<Possible, Broken> {
    let stops: Vec<Stop<'_>> = way
        .iter()
        .map(|passage| Stop::at_hook(passage.history, passage.hook, &passage.packet))
        .collect();
    let states = way.iter().map(|passage| passage.history.len()).min().unwrap_or_default();
    let mut possible = Possible::default();
    for start in 0..states {
        Search::along(&stops, start, commits).run(|end, witness| {
            let outcome =
                if end == End::Dropped { &mut possible.drop } else { &mut possible.accept };
            outcome.get_or_insert_with(witness);
        })?;
    }
    Ok(possible)
}

/// All ends of the chain `start` for a packet that meets at most one commit. The
/// packet can enter in any state that has the chain.
///
/// # Errors
/// See [`Broken`].
pub fn possible_chain_outcomes(
    history: &[Ruleset],
    start: &Name,
    packet: &Packet,
) -> Result<PossibleEnds, Broken> {
    let mut possible = PossibleEnds::default();
    let has_start = |ruleset: &Ruleset| ruleset.chains.contains_key(start);
    if !history.iter().any(has_start) {
        return Err(Broken::NoStart(start.clone()));
    }
    let way = [Stop::at_chain(history, start, packet)];
    for time in (0..history.len()).filter(|&time| has_start(&history[time])) {
        Search::along(&way, time, 1).run(|end, witness| {
            let outcome = match end {
                End::Returned => &mut possible.returned,
                End::Accepted => &mut possible.accepted,
                End::Dropped => &mut possible.dropped,
            };
            outcome.get_or_insert_with(witness);
        })?;
    }
    Ok(possible)
}

#[cfg(test)]
mod tests;
