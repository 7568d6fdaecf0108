//! Names of the sets of one table.
//!
//! A tag is short. Somebody who tries long enough finds two sets of his own that have the
//! same one. Then none of them is stored: each is a set of its own, under its longer name.
//! So neither gets the other's elements, whichever came first. If one goes in the change
//! in which the other comes, the short name passes on.
//!
//! In: what sets represent, and which tags more than one set in use has. Out: their names,
//! which depend on the sets in use alone.
//! Never: two sets under one name.

use std::collections::BTreeSet;

use ruleset::{Name, Tag};

use crate::sets::{SetSource, Sources};

/// How sets are named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Naming {
    /// How many of a tag's bytes count. Tests take few, so that tags are shared.
    tag_bytes: usize,
    /// The names of stored sets that several sets in use would have.
    shared: BTreeSet<Name>,
}

/// All bytes count, and no name is shared.
impl Default for Naming {
    fn default() -> Self {
        Self::of_tags(Tag::BYTES)
    }
}

impl Naming {
    /// Tags of which this many bytes count.
    pub const fn of_tags(bytes: usize) -> Self {
        Self { tag_bytes: bytes, shared: BTreeSet::new() }
    }

    /// The name of a set.
    pub fn name(&self, source: &SetSource) -> Name {
        let short = self.short(source);
        if self.shared.contains(&short) { source.own_name() } else { short }
    }

    /// The name of a set that shares its tag with none.
    fn short(&self, source: &SetSource) -> Name {
        let name = source.name();
        if self.tag_bytes >= Tag::BYTES {
            return name;
        }
        let Some((store, tag)) = name.stored() else { return name };
        let mut bytes = tag.bytes();
        bytes.iter_mut().skip(self.tag_bytes).for_each(|byte| *byte = 0);
        Name::in_store(store, Tag::from_bytes(bytes))
    }

    /// Takes note of names that turned out to be shared, and of those that are no longer.
    /// Returns whether sets have other names now.
    pub(crate) fn follow(&mut self, found: BTreeSet<Name>, in_use: &Sources) -> bool {
        let mut shared = found;
        if !self.shared.is_empty() {
            let (mut once, mut names) = (BTreeSet::new(), in_use.values());
            let again = names.by_ref().map(|source| self.short(source));
            let again = again.filter(|name| !once.insert(name.clone()));
            shared.extend(again.filter(|name| self.shared.contains(name)));
        }
        let is_new = self.shared != shared;
        self.shared = shared;
        is_new
    }
}

/// The sets that conditions look into, while these are made.
#[derive(Debug)]
pub(crate) struct Named<'n> {
    pub naming: &'n Naming,
    pub sources: Sources,
    /// Names of which another one of these sets has the same.
    pub shared: BTreeSet<Name>,
}

impl Named<'_> {
    /// Adds a set. Returns its name.
    pub fn add(&mut self, source: SetSource) -> Name {
        let name = self.naming.name(&source);
        match self.sources.get(&name) {
            Some(other) if *other != source => drop(self.shared.insert(name.clone())),
            Some(_) => {}
            None => drop(self.sources.insert(name.clone(), source)),
        }
        name
    }
}

#[cfg(test)]
mod tests {
    use ruleset::Transport;

    use super::*;

    #[test]
    fn sets_of_one_tag_are_sets_of_their_own_while_both_are_there() {
        let ports =
            |ports: [u16; 2]| SetSource::Ports(ports.map(|port| (Transport::Tcp, port)).to_vec());
        let (one, other) = (ports([1, 2]), ports([3, 4]));
        assert_eq!(Naming::default().name(&one), one.name());
        let mut naming = Naming::of_tags(0);
        let short = naming.name(&one);
        assert_eq!(naming.name(&other), short);
        let mut sets = Named { naming: &naming, sources: Sources::new(), shared: BTreeSet::new() };
        sets.add(one.clone());
        sets.add(one.clone());
        assert_eq!(sets.shared, BTreeSet::new());
        sets.add(other.clone());
        let Named { sources, shared, .. } = sets;
        assert_eq!(shared, BTreeSet::from([short.clone()]));
        assert!(naming.follow(shared, &sources));

        let names = [&one, &other].map(|source| naming.name(source));
        assert_ne!(names[0], names[1]);
        assert!(names.iter().all(|name| name.stored().is_none()), "{names:?}");
        let mut in_use: Sources = names.clone().into_iter().zip([one.clone(), other]).collect();
        assert!(!naming.follow(BTreeSet::new(), &in_use));
        in_use.remove(&names[1]);
        assert!(naming.follow(BTreeSet::new(), &in_use));
        assert_eq!(naming.name(&one), short);
    }
}
