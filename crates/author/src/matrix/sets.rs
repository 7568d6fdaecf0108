//! Sets of ports under numbers, so that a million pairs can share a few sets.

use std::collections::HashMap;

use crate::PortSet;

/// The number of a set of ports in [`Sets`]. Equal sets have equal numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SetId(u32);

/// All sets of ports that were met, each once.
#[derive(Debug)]
pub struct Sets {
    sets: Vec<PortSet>,
    ids: HashMap<PortSet, SetId>,
    unions: HashMap<(SetId, SetId), SetId>,
    intersections: HashMap<(SetId, SetId), SetId>,
}

impl SetId {
    /// The empty set.
    pub const NOTHING: Self = Self(0);
    /// All ports of all protocols, and the protocols without ports.
    pub const EVERYTHING: Self = Self(1);
}

impl Default for Sets {
    fn default() -> Self {
        let mut sets = Self {
            sets: Vec::new(),
            ids: HashMap::new(),
            unions: HashMap::new(),
            intersections: HashMap::new(),
        };
        sets.id(PortSet::nothing());
        sets.id(PortSet::everything());
        sets
    }
}

impl Sets {
    /// The number of a set.
    pub fn id(&mut self, set: PortSet) -> SetId {
        if let Some(&id) = self.ids.get(&set) {
            return id;
        }
        let id = SetId(u32::try_from(self.sets.len()).unwrap_or(u32::MAX));
        self.sets.push(set.clone());
        self.ids.insert(set, id);
        id
    }

    /// The set of a number.
    pub fn get(&self, id: SetId) -> &PortSet {
        &self.sets[id.0 as usize]
    }

    /// What is in either.
    pub fn union(&mut self, one: SetId, other: SetId) -> SetId {
        match (one, other) {
            (SetId::NOTHING, set) | (set, SetId::NOTHING) => set,
            (SetId::EVERYTHING, _) | (_, SetId::EVERYTHING) => SetId::EVERYTHING,
            _ if one == other => one,
            _ => {
                let pair = (one.min(other), one.max(other));
                if let Some(&known) = self.unions.get(&pair) {
                    return known;
                }
                let id = self.id(self.get(one).union(self.get(other)));
                self.unions.insert(pair, id);
                id
            }
        }
    }

    /// What is in both.
    pub fn intersection(&mut self, one: SetId, other: SetId) -> SetId {
        match (one, other) {
            (SetId::NOTHING, _) | (_, SetId::NOTHING) => SetId::NOTHING,
            (SetId::EVERYTHING, set) | (set, SetId::EVERYTHING) => set,
            _ if one == other => one,
            _ => {
                let pair = (one.min(other), one.max(other));
                if let Some(&known) = self.intersections.get(&pair) {
                    return known;
                }
                let id = self.id(self.get(one).intersection(self.get(other)));
                self.intersections.insert(pair, id);
                id
            }
        }
    }

    /// What is in the first and not in the second.
    pub fn difference(&mut self, one: SetId, other: SetId) -> SetId {
        match (one, other) {
            (SetId::NOTHING, _) | (_, SetId::EVERYTHING) => SetId::NOTHING,
            (_, SetId::NOTHING) => one,
            _ if one == other => SetId::NOTHING,
            _ => self.id(self.get(one).difference(self.get(other))),
        }
    }
}

#[cfg(test)]
mod tests {
    use policy::Protocol;

    use super::*;

    #[test]
    fn a_set_has_one_number_however_it_came_about() {
        let mut sets = Sets::default();
        let [low, high, both] =
            [(1, 2), (3, 4), (1, 4)].map(|(a, b)| sets.id(PortSet::range(Protocol::Tcp, a, b)));
        assert_eq!(sets.union(low, high), both);
        assert_eq!(sets.intersection(both, high), high);
        assert_eq!(sets.difference(both, high), low);
        assert_eq!(sets.difference(both, SetId::EVERYTHING), SetId::NOTHING);
        assert_eq!(sets.union(both, SetId::EVERYTHING), SetId::EVERYTHING);
        assert_eq!(sets.intersection(low, high), SetId::NOTHING);
    }
}
