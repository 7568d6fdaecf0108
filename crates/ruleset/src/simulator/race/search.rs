//! Searches all ways of one packet, depth first.
//!
//! If a look-up gives one answer at several moments, only the earliest is tried:
//! everything after a later one can also follow the earliest. A place that was
//! reached before at the same moment is not tried again.

use std::collections::HashSet;

use crate::{Hook, Name, Ruleset, Set, VerdictMap};

use super::super::machine::{self, Entrance, Halt, Question, Thread};
use super::super::{Broken, End, Packet, base_chains, place};
use super::{LookUp, Witness};

/// A search through all ways from one start.
pub(super) struct Search<'a> {
    /// The states up to the last that the packet can meet.
    history: &'a [Ruleset],
    packet: &'a Packet,
    /// The base chains to pass, as they were in the first state.
    hooks: Vec<&'a Name>,
    start: usize,
    seen: HashSet<(Thread<'a>, usize, usize)>,
    open: Vec<Branch<'a>>,
}

#[derive(Clone)]
struct Branch<'a> {
    thread: Thread<'a>,
    /// How many base chains were entered.
    entered: usize,
    /// The state in which the packet entered the first.
    generation: usize,
    /// The present state.
    time: usize,
    look_ups: Vec<(&'a Name, usize, bool)>,
    /// The last rule that matched.
    last: Option<(&'a Name, usize)>,
}

impl<'a> Search<'a> {
    /// Through all base chains, one after the other. Starts in state `start` and
    /// crosses at most this many commits.
    pub fn through(
        history: &'a [Ruleset],
        packet: &'a Packet,
        start: usize,
        commits: usize,
    ) -> Self {
        let hooks = base_chains(&history[start], Hook::Forward);
        let mut search = Self::new(history, packet, hooks, start, commits);
        search.open_hook(None, start);
        // A packet gets the list of hooks before the generation. If both are of the
        // later state, it is a packet that starts there.
        for (time, later) in search.history.iter().enumerate().skip(start + 1) {
            if base_chains(later, Hook::Forward) != search.hooks {
                search.open_hook(None, time);
            }
        }
        search
    }

    /// Through one chain, which is in state `start`.
    pub fn of_chain(
        history: &'a [Ruleset],
        packet: &'a Packet,
        chain: &'a Name,
        start: usize,
        commits: usize,
    ) -> Self {
        let mut search = Self::new(history, packet, vec![chain], start, commits);
        search.open_hook(None, start);
        search
    }

    fn new(
        history: &'a [Ruleset],
        packet: &'a Packet,
        hooks: Vec<&'a Name>,
        start: usize,
        commits: usize,
    ) -> Self {
        let end = start.saturating_add(commits).saturating_add(1).min(history.len());
        let history = &history[..end];
        Self { history, packet, hooks, start, seen: HashSet::new(), open: Vec::new() }
    }

    /// Calls `found` for every end, with a witness on demand.
    pub fn run(mut self, mut found: impl FnMut(End, &dyn Fn() -> Witness)) -> Result<(), Broken> {
        if self.hooks.is_empty() {
            let generation = self.start;
            found(End::Returned, &|| Witness { generation, look_ups: vec![], decided_by: None });
        }
        while let Some(mut branch) = self.open.pop() {
            let mut trace = Vec::new();
            let stop = branch.thread.run(self.history, self.packet, &mut trace)?;
            branch.last = trace.last().copied().or(branch.last);
            match stop {
                Halt::Ended(end) if end != End::Dropped && branch.entered < self.hooks.len() => {
                    for time in branch.time..self.history.len() {
                        self.open_hook(Some(&branch), time);
                    }
                }
                Halt::Ended(end) => found(end, &|| witness(&branch, end)),
                Halt::Asks(Question::Enter(entrance)) => self.enter(&branch, &entrance),
                Halt::Asks(Question::Member(set, element)) => {
                    self.member(&branch, set, |set| machine::contains(set, &element));
                }
                Halt::Asks(Question::Entry(map, key)) => {
                    self.entry(&branch, map, |map| map.entries.get(&key))?;
                }
            }
        }
        Ok(())
    }

    /// Enters the next base chain, in the generation of this moment.
    fn open_hook(&mut self, before: Option<&Branch<'a>>, time: usize) {
        let entered = before.map_or(0, |branch| branch.entered);
        let Some(&hook) = self.hooks.get(entered) else { return };
        self.open(Branch {
            thread: Thread::at(hook, time),
            entered: entered + 1,
            generation: before.map_or(time, |branch| branch.generation),
            time,
            look_ups: before.map(|branch| branch.look_ups.clone()).unwrap_or_default(),
            last: None,
        });
    }

    fn open(&mut self, branch: Branch<'a>) {
        if self.seen.insert((branch.thread.clone(), branch.entered, branch.time)) {
            self.open.push(branch);
        }
    }

    /// Enters a chain. It has two lists of rules. One is of the present state. The
    /// other is of the state before, or already of the next: the kernel fills in
    /// the next list before it takes effect. The packet's bit decides which list it
    /// reads.
    fn enter(&mut self, branch: &Branch<'a>, entrance: &Entrance<'a>) {
        let same_bit = (entrance.from..self.history.len()).step_by(2);
        for generation in same_bit.filter(|generation| branch.time <= generation + 1) {
            let mut next = branch.clone();
            next.thread.enter(entrance, generation);
            next.time = branch.time.max(generation.saturating_sub(1));
            self.open(next);
        }
    }

    fn member(&mut self, branch: &Branch<'a>, name: &'a Name, holds: impl Fn(&Set) -> bool) {
        let generation = branch.thread.generation();
        let mut answered = [false; 2];
        for time in branch.time..self.history.len() {
            let (set, _) = self.object(generation, time, |ruleset| ruleset.sets.get(name));
            let is_member = set.is_some_and(|(set, _)| holds(set));
            if std::mem::replace(&mut answered[usize::from(is_member)], true) {
                continue;
            }
            let mut next = branch.clone();
            next.time = time;
            next.look_ups.push((name, time, is_member));
            next.thread.answer_member(is_member);
            self.open(next);
        }
    }

    fn entry(
        &mut self,
        branch: &Branch<'a>,
        name: &'a Name,
        get: impl Fn(&'a VerdictMap) -> Option<&'a Name>,
    ) -> Result<(), Broken> {
        let generation = branch.thread.generation();
        let mut answered: Vec<Option<&Name>> = Vec::new();
        for time in branch.time..self.history.len() {
            let (map, alive) = self.object(generation, time, |ruleset| ruleset.maps.get(name));
            let entry = map.and_then(|(map, at)| Some((get(map)?, at)));
            // Some kernels remove the elements of a deleted map at once
            // (`nft_map_deactivate`), others leave them to the packets.
            let miss = (!alive && entry.is_some()).then_some(None);
            for entry in [Some(entry), miss].into_iter().flatten() {
                let chain = entry.map(|(chain, _)| chain);
                if answered.contains(&chain) {
                    continue;
                }
                answered.push(chain);
                let mut next = branch.clone();
                next.time = time;
                next.look_ups.push((name, time, chain.is_some()));
                let found_in = &self.history[entry.map_or(time, |(_, at)| at)];
                next.thread.answer_entry(found_in, chain)?;
                self.open(next);
            }
        }
        Ok(())
    }

    /// What a rule of this generation finds in an object at a moment. Also returns
    /// the state of that content, and whether the object still exists. A deleted
    /// object keeps its last content for packets that still use it.
    fn object<T>(
        &self,
        generation: usize,
        time: usize,
        get: impl Fn(&'a Ruleset) -> Option<&'a T>,
    ) -> (Option<(&'a T, usize)>, bool) {
        let mut found = None;
        for at in generation.min(time)..=time {
            match get(&self.history[at]) {
                Some(object) => found = Some((object, at)),
                None => return (found, at < generation),
            }
        }
        (found, true)
    }
}

fn witness(branch: &Branch<'_>, end: End) -> Witness {
    let look_up =
        |&(name, time, found): &(&Name, usize, bool)| LookUp { name: name.clone(), time, found };
    Witness {
        generation: branch.generation,
        look_ups: branch.look_ups.iter().map(look_up).collect(),
        decided_by: branch.last.filter(|_| end != End::Returned).map(place),
    }
}
