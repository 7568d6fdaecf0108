//! Sets of (peer address, transport code) in canonical form.
//!
//! In: boxes, each a range of codes with a set of addresses. Out: disjoint slabs
//! of codes, each with the addresses that go with all of its codes. Adjacent
//! slabs with the same addresses are merged, so equal sets are equal values.
//! Never: a loop over single addresses or ports.

use crate::ranges::Ranges;

/// A set of (address, code).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Region {
    slabs: Vec<Slab>,
}

/// Codes `first..=last`, each combined with all of these addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Slab {
    pub first: u128,
    pub last: u128,
    pub addresses: Ranges,
}

impl Region {
    pub fn empty() -> Self {
        Self::default()
    }

    /// All of the addresses combined with all of the codes.
    pub fn product(addresses: &Ranges, codes: &Ranges) -> Self {
        if addresses.is_empty() {
            return Self::empty();
        }
        let slab = |(first, last)| Slab { first, last, addresses: addresses.clone() };
        Self { slabs: codes.iter().map(slab).collect() }
    }

    /// The union of slabs in any order.
    pub fn of(slabs: impl IntoIterator<Item = Slab>) -> Self {
        let mut slabs: Vec<Slab> = slabs.into_iter().collect();
        slabs.sort_by_key(|slab| (slab.first, slab.last));
        let same_codes =
            |one: &Slab, other: &Slab| (one.first, one.last) == (other.first, other.last);
        let slabs: Vec<Slab> = slabs
            .chunk_by(same_codes)
            .map(|same| Slab {
                addresses: Ranges::union_of(same.iter().map(|slab| &slab.addresses)),
                ..same[0].clone()
            })
            .collect();
        let mut cuts: Vec<u128> =
            slabs.iter().flat_map(|slab| [slab.first, slab.last + 1]).collect();
        cuts.sort_unstable();
        cuts.dedup();
        let mut region = Self::empty();
        let (mut waiting, mut active) = (slabs.iter().peekable(), Vec::<&Slab>::new());
        for cut in cuts.windows(2) {
            let (first, last) = (cut[0], cut[1] - 1);
            active.retain(|slab| slab.last >= first);
            while let Some(slab) = waiting.next_if(|slab| slab.first <= first) {
                active.push(slab);
            }
            let addresses = Ranges::union_of(active.iter().map(|slab| &slab.addresses));
            region.push(Slab { first, last, addresses });
        }
        region
    }

    /// Appends a slab. Its codes come after all others.
    fn push(&mut self, slab: Slab) {
        if slab.addresses.is_empty() {
            return;
        }
        match self.slabs.last_mut() {
            Some(before) if before.last + 1 == slab.first && before.addresses == slab.addresses => {
                before.last = slab.last;
            }
            _ => self.slabs.push(slab),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.slabs.is_empty()
    }

    pub fn slabs(&self) -> &[Slab] {
        &self.slabs
    }

    /// The number of rectangles that make it up.
    pub fn size(&self) -> usize {
        self.slabs.iter().map(|slab| slab.addresses.len()).sum()
    }

    /// All addresses that occur.
    pub fn addresses(&self) -> Ranges {
        Ranges::union_of(self.slabs.iter().map(|slab| &slab.addresses))
    }

    /// The codes that go with an address.
    pub fn codes_of(&self, address: u128) -> Ranges {
        let with = self.slabs.iter().filter(|slab| slab.addresses.contains(address));
        Ranges::of(with.map(|slab| (slab.first, slab.last)))
    }

    pub fn union(&self, other: &Self) -> Self {
        if self.is_empty() {
            return other.clone();
        }
        if other.is_empty() {
            return self.clone();
        }
        self.combine(other, Ranges::union)
    }

    pub fn intersect(&self, other: &Self) -> Self {
        if self.is_empty() || other.is_empty() {
            return Self::empty();
        }
        self.combine(other, Ranges::intersect)
    }

    pub fn subtract(&self, other: &Self) -> Self {
        if self.is_empty() || other.is_empty() {
            return self.clone();
        }
        self.combine(other, Ranges::subtract)
    }

    /// Only these addresses.
    pub fn within(&self, addresses: &Ranges) -> Self {
        self.map(addresses, Ranges::intersect)
    }

    /// All but these addresses.
    pub fn without(&self, addresses: &Ranges) -> Self {
        self.map(addresses, Ranges::subtract)
    }

    /// All but these codes.
    pub fn without_codes(&self, codes: &Ranges) -> Self {
        let codes = Self::product(&self.addresses(), codes);
        self.subtract(&codes)
    }

    fn map(&self, with: &Ranges, operation: Operation) -> Self {
        let mut recent = RecentResults::new(operation);
        let mut region = Self::empty();
        for slab in &self.slabs {
            region.push(Slab { addresses: recent.of(&slab.addresses, with), ..*slab });
        }
        region
    }

    fn combine(&self, other: &Self, operation: Operation) -> Self {
        let both = self.slabs.iter().chain(&other.slabs);
        let mut cuts: Vec<u128> = both.flat_map(|slab| [slab.first, slab.last + 1]).collect();
        cuts.sort_unstable();
        cuts.dedup();
        let nothing = Ranges::empty();
        let (mut ours, mut theirs) = (SlabCursor::new(self), SlabCursor::new(other));
        let mut recent = RecentResults::new(operation);
        let mut region = Self::empty();
        for cut in cuts.windows(2) {
            let (first, last) = (cut[0], cut[1] - 1);
            let one = ours.at(first).unwrap_or(&nothing);
            let addresses = recent.of(one, theirs.at(first).unwrap_or(&nothing));
            region.push(Slab { first, last, addresses });
        }
        region
    }
}

/// An operation on two sets.
type Operation = fn(&Ranges, &Ranges) -> Ranges;

/// The last results of an operation. Consecutive or alternating slabs often
/// share their addresses, so these are asked for again soon.
struct RecentResults {
    operation: Operation,
    made: Vec<(Ranges, Ranges, Ranges)>,
    oldest: usize,
}

impl RecentResults {
    const MOST: usize = 4;

    fn new(operation: Operation) -> Self {
        Self { operation, made: Vec::new(), oldest: 0 }
    }

    fn of(&mut self, one: &Ranges, other: &Ranges) -> Ranges {
        let known = self.made.iter().find(|(a, b, _)| a.is_same(one) && b.is_same(other));
        if let Some((_, _, made)) = known {
            return made.clone();
        }
        let made = (self.operation)(one, other);
        let result = (one.clone(), other.clone(), made.clone());
        match self.made.get_mut(self.oldest) {
            Some(oldest) => *oldest = result,
            None => self.made.push(result),
        }
        self.oldest = (self.oldest + 1) % Self::MOST;
        made
    }
}

/// Reads the slabs of a region at ascending codes.
struct SlabCursor<'a> {
    rest: &'a [Slab],
}

impl<'a> SlabCursor<'a> {
    fn new(region: &'a Region) -> Self {
        Self { rest: &region.slabs }
    }

    fn at(&mut self, code: u128) -> Option<&'a Ranges> {
        while let [first, rest @ ..] = self.rest
            && first.last < code
        {
            self.rest = rest;
        }
        self.rest.first().filter(|slab| slab.first <= code).map(|slab| &slab.addresses)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SPACE: u128 = 8;

    fn region() -> impl Strategy<Value = (Vec<(u128, u128, u128)>, Region)> {
        prop::collection::vec((0..SPACE, 0..SPACE, 0..SPACE), 0..6).prop_map(|boxes| {
            let slabs = boxes.iter().map(|&(one, other, address)| Slab {
                first: one.min(other),
                last: one.max(other),
                addresses: Ranges::range(address, (address + 2).min(SPACE - 1)),
            });
            let region = Region::of(slabs);
            (boxes, region)
        })
    }

    fn holds(region: &Region, address: u128, code: u128) -> bool {
        region.codes_of(address).contains(code)
    }

    proptest! {
        #[test]
        fn regions_are_what_their_points_say((boxes, one) in region(), (_, other) in region()) {
            let (union, common, rest) =
                (one.union(&other), one.intersect(&other), one.subtract(&other));
            for (address, code) in (0..SPACE).flat_map(|a| (0..SPACE).map(move |code| (a, code))) {
                let boxed = boxes.iter().any(|&(from, to, first)| {
                    (from.min(to)..=from.max(to)).contains(&code)
                        && (first..=first + 2).contains(&address)
                });
                let (a, b) = (holds(&one, address, code), holds(&other, address, code));
                prop_assert_eq!(a, boxed);
                prop_assert_eq!(holds(&union, address, code), a || b);
                prop_assert_eq!(holds(&common, address, code), a && b);
                prop_assert_eq!(holds(&rest, address, code), a && !b);
            }
            prop_assert_eq!(rest.union(&common), one.clone(), "one set, one form");
            prop_assert_eq!(Region::of(union.slabs().to_vec()), union);
        }
    }
}
