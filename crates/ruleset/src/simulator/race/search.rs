//! Searches all ways of one packet, depth first.
//!
//! If a look-up gives one answer at several moments, only the earliest is tried:
//! everything after a later one can also follow the earliest. A place that was
//! reached before at the same moment is not tried again.

use std::collections::HashSet;

use crate::{Hook, Name, Ruleset, Set, TableFamily, VerdictMap};

use super::super::machine::{self, Entrance, Halt, Question, Thread};
use super::super::{Broken, End, Packet, base_chains, place, sees};
use super::{LookUp, Witness};

/// A hook of a table on the way of a packet, in all states.
pub(super) struct Stop<'a> {
    /// The table.
    history: &'a [Ruleset],
    /// The packet as the hook sees it.
    packet: Packet,
    /// The base chains to pass, in each state.
    lists: Vec<Vec<&'a Name>>,
}

/// A search through all ways from one start.
pub(super) struct Search<'a> {
    way: &'a [Stop<'a>],
    start: usize,
    /// The first state that the packet cannot meet.
    end: usize,
    seen: HashSet<(Thread<'a>, Place, usize)>,
    open: Vec<Branch<'a>>,
}

/// How far a packet has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Place {
    /// The stop: an index into the way.
    stop: usize,
    /// The state from which the packet has the list of the stop's base chains.
    list: usize,
    /// How many of them it has entered.
    entered: usize,
}

#[derive(Clone)]
struct Branch<'a> {
    thread: Thread<'a>,
    place: Place,
    /// The state in which the packet entered the first base chain.
    generation: usize,
    /// The present state.
    time: usize,
    look_ups: Vec<(usize, &'a Name, usize, bool)>,
    /// The last rule that matched.
    last: Option<(&'a Name, usize)>,
}

impl<'a> Stop<'a> {
    /// All base chains of a hook.
    pub fn at_hook(history: &'a [Ruleset], hook: Hook, packet: &Packet) -> Self {
        let family = history.first().map_or(TableFamily::Inet, |ruleset| ruleset.family);
        let packet = packet.at(family, hook);
        let seen =
            |ruleset| if sees(family, &packet) { base_chains(ruleset, hook) } else { vec![] };
        Self { history, packet, lists: history.iter().map(seen).collect() }
    }

    /// One chain.
    pub fn at_chain(history: &'a [Ruleset], chain: &'a Name, packet: &Packet) -> Self {
        Self { history, packet: *packet, lists: vec![vec![chain]; history.len()] }
    }
}

impl<'a> Search<'a> {
    /// Through all stops, one after the other. Starts in state `start` and crosses
    /// at most this many commits.
    pub fn along(way: &'a [Stop<'a>], start: usize, commits: usize) -> Self {
        let states = way.iter().map(|stop| stop.history.len()).min().unwrap_or_default();
        let end = start.saturating_add(commits).saturating_add(1).min(states);
        Self { way, start, end, seen: HashSet::new(), open: Vec::new() }
    }

    /// Calls `found` for every end, with a witness on demand.
    pub fn run(mut self, mut found: impl FnMut(End, &dyn Fn() -> Witness)) -> Result<(), Broken> {
        if self.begin() {
            let generation = self.start;
            found(End::Returned, &|| Witness { generation, ..Witness::default() });
        }
        while let Some(mut branch) = self.open.pop() {
            let Stop { history, packet, .. } = &self.way[branch.place.stop];
            let mut trace = Vec::new();
            let stop = branch.thread.run(&history[..self.end], packet, &mut trace)?;
            branch.last = trace.last().copied().or(branch.last);
            match stop {
                Halt::Ended(end) => {
                    if end == End::Dropped || self.go_on(&branch) {
                        found(end, &|| witness(&branch, end));
                    }
                }
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

    /// Enters the first base chain on the way. Returns whether there may be none.
    fn begin(&mut self) -> bool {
        let Some(stop) = self.way.first() else { return true };
        let list = self.start;
        let Some(&chain) = stop.lists[list].first() else {
            return self.arrive(1, list, None);
        };
        // A packet gets the list of base chains before the generation. If both are of
        // a later state, it is a packet that starts there.
        for time in list..self.end {
            if time == list || stop.lists[time] != stop.lists[list] {
                let place = Place { stop: 0, list, entered: 1 };
                self.open_base(chain, place, time, None);
            }
        }
        false
    }

    /// Enters the next base chain. Returns whether there may be none.
    fn go_on(&mut self, branch: &Branch<'a>) -> bool {
        let Place { stop, list, entered } = branch.place;
        let Some(&chain) = self.way[stop].lists[list].get(entered) else {
            return self.arrive(stop + 1, branch.time, Some(branch));
        };
        for time in branch.time..self.end {
            let place = Place { entered: entered + 1, ..branch.place };
            self.open_base(chain, place, time, Some(branch));
        }
        false
    }

    /// Gets the list of a stop's base chains, at this moment or later, and enters the
    /// first. Returns whether the packet may pass all stops from here without any.
    fn arrive(&mut self, stop: usize, time: usize, before: Option<&Branch<'a>>) -> bool {
        let Some(Stop { lists, .. }) = self.way.get(stop) else { return true };
        let mut tried: Vec<&[&Name]> = Vec::new();
        let mut passes = false;
        for (list, chains) in lists.iter().enumerate().take(self.end).skip(time) {
            // From a list that was read later, everything also follows when it was
            // read earlier.
            if tried.contains(&chains.as_slice()) {
                continue;
            }
            tried.push(chains);
            let Some(&chain) = chains.first() else {
                passes |= self.arrive(stop + 1, list, before);
                continue;
            };
            for generation in list..self.end {
                self.open_base(chain, Place { stop, list, entered: 1 }, generation, before);
            }
        }
        passes
    }

    /// Enters a base chain, in the generation of this moment.
    fn open_base(
        &mut self,
        chain: &'a Name,
        place: Place,
        time: usize,
        before: Option<&Branch<'a>>,
    ) {
        self.open(Branch {
            thread: Thread::at(chain, time),
            place,
            generation: before.map_or(time, |branch| branch.generation),
            time,
            look_ups: before.map(|branch| branch.look_ups.clone()).unwrap_or_default(),
            last: None,
        });
    }

    fn open(&mut self, branch: Branch<'a>) {
        if self.seen.insert((branch.thread.clone(), branch.place, branch.time)) {
            self.open.push(branch);
        }
    }

    /// Enters a chain. It has two lists of rules. One is of the present state. The
    /// other is of the state before, or already of the next: the kernel fills in
    /// the next list before it takes effect. The packet's bit decides which list it
    /// reads.
    fn enter(&mut self, branch: &Branch<'a>, entrance: &Entrance<'a>) {
        let same_bit = (entrance.from..self.end).step_by(2);
        for generation in same_bit.filter(|generation| branch.time <= generation + 1) {
            let mut next = branch.clone();
            next.thread.enter(entrance, generation);
            next.time = branch.time.max(generation.saturating_sub(1));
            self.open(next);
        }
    }

    fn member(&mut self, branch: &Branch<'a>, name: &'a Name, holds: impl Fn(&Set) -> bool) {
        let generation = branch.thread.generation();
        let Place { stop, .. } = branch.place;
        let history = self.way[stop].history;
        let mut answered = [false; 2];
        for time in branch.time..self.end {
            let (set, _) = object(history, generation, time, |ruleset| ruleset.sets.get(name));
            let is_member = set.is_some_and(|(set, _)| holds(set));
            if std::mem::replace(&mut answered[usize::from(is_member)], true) {
                continue;
            }
            let mut next = branch.clone();
            next.time = time;
            next.look_ups.push((stop, name, time, is_member));
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
        let Place { stop, .. } = branch.place;
        let history = self.way[stop].history;
        let mut answered: Vec<Option<&Name>> = Vec::new();
        for time in branch.time..self.end {
            let (map, alive) = object(history, generation, time, |ruleset| ruleset.maps.get(name));
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
                next.look_ups.push((stop, name, time, chain.is_some()));
                let found_in = &history[entry.map_or(time, |(_, at)| at)];
                next.thread.answer_entry(found_in, chain)?;
                self.open(next);
            }
        }
        Ok(())
    }
}

/// What a rule of this generation finds in an object at a moment. Also returns the
/// state of that content, and whether the object still exists. A deleted object keeps
/// its last content for packets that still use it.
fn object<'a, T>(
    history: &'a [Ruleset],
    generation: usize,
    time: usize,
    get: impl Fn(&'a Ruleset) -> Option<&'a T>,
) -> (Option<(&'a T, usize)>, bool) {
    let mut found = None;
    for (at, ruleset) in history.iter().enumerate().take(time + 1).skip(generation.min(time)) {
        match get(ruleset) {
            Some(object) => found = Some((object, at)),
            None => return (found, at < generation),
        }
    }
    (found, true)
}

fn witness(branch: &Branch<'_>, end: End) -> Witness {
    let look_up = |&(stop, name, time, found): &(usize, &Name, usize, bool)| LookUp {
        stop,
        name: name.clone(),
        time,
        found,
    };
    Witness {
        generation: branch.generation,
        stop: branch.place.stop,
        look_ups: branch.look_ups.iter().map(look_up).collect(),
        decided_by: branch.last.filter(|_| end != End::Returned).map(place),
    }
}
