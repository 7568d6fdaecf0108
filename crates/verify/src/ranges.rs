//! Sets of numbers as sorted ranges.
//!
//! In: addresses or transport codes as numbers. Out: a canonical form, so that
//! equal sets are equal values. Never: a loop over the numbers of a range.

use std::rc::Rc;

/// A set of numbers: sorted ranges `first..=last` that neither overlap nor
/// touch. Cheap to clone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ranges(Rc<Vec<(u128, u128)>>);

/// A list that is this many times longer than the other one is searched, not
/// walked.
const MUCH_LONGER: usize = 8;

impl Ranges {
    pub fn empty() -> Self {
        Self::default()
    }

    pub fn range(first: u128, last: u128) -> Self {
        Self(Rc::new(vec![(first, last)]))
    }

    pub fn single(number: u128) -> Self {
        Self::range(number, number)
    }

    /// The union of ranges in any order.
    pub fn of(ranges: impl IntoIterator<Item = (u128, u128)>) -> Self {
        let mut ranges: Vec<(u128, u128)> = ranges.into_iter().collect();
        ranges.sort_unstable();
        Self(Rc::new(merged(ranges.into_iter())))
    }

    pub fn numbers(numbers: impl IntoIterator<Item = u128>) -> Self {
        Self::of(numbers.into_iter().map(|number| (number, number)))
    }

    /// The union of many sets.
    pub fn union_of<'a>(sets: impl IntoIterator<Item = &'a Self>) -> Self {
        let mut sets = sets.into_iter().filter(|set| !set.is_empty());
        let Some(first) = sets.next() else { return Self::empty() };
        let Some(second) = sets.next() else { return first.clone() };
        let all = [first, second].into_iter().chain(sets);
        Self::of(all.flat_map(|set| set.0.iter().copied()))
    }

    /// Whether both are the same value in memory. Cheap, and may miss equal sets.
    pub fn is_same(&self, other: &Self) -> bool {
        Rc::ptr_eq(&self.0, &other.0)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The number of ranges.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn iter(&self) -> impl Iterator<Item = (u128, u128)> {
        self.0.iter().copied()
    }

    /// The smallest number.
    pub fn first(&self) -> Option<u128> {
        self.0.first().map(|(first, _)| *first)
    }

    /// The only number, if there is exactly one.
    pub fn only(&self) -> Option<u128> {
        match self.0.as_slice() {
            [(first, last)] if first == last => Some(*first),
            _ => None,
        }
    }

    pub fn contains(&self, number: u128) -> bool {
        let after = self.0.partition_point(|(first, _)| *first <= number);
        after > 0 && self.0[after - 1].1 >= number
    }

    pub fn union(&self, other: &Self) -> Self {
        if self.is_same(other) || other.is_empty() {
            return self.clone();
        }
        Self::union_of([self, other])
    }

    pub fn intersect(&self, other: &Self) -> Self {
        if self.is_same(other) {
            return self.clone();
        }
        let (short, long) = if self.len() <= other.len() { (self, other) } else { (other, self) };
        if let ([(first, last)], [(low, ..), ..]) = (short.0.as_slice(), long.0.as_slice())
            && first <= low
            && long.0.last().is_some_and(|(_, high)| high <= last)
        {
            return long.clone();
        }
        let mut common = Vec::new();
        let search = long.len() > short.len().saturating_mul(MUCH_LONGER);
        let mut at = 0;
        for &(first, last) in short.0.iter() {
            match search {
                true => at = long.0.partition_point(|(_, end)| *end < first),
                false => {
                    while long.0.get(at).is_some_and(|(_, end)| *end < first) {
                        at += 1;
                    }
                }
            }
            while let Some(&(low, high)) = long.0.get(at).filter(|(low, _)| *low <= last) {
                common.push((low.max(first), high.min(last)));
                if high > last {
                    break;
                }
                at += 1;
            }
        }
        Self(Rc::new(common))
    }

    pub fn subtract(&self, other: &Self) -> Self {
        if self.is_same(other) {
            return Self::empty();
        }
        let mut rest = Vec::with_capacity(self.len());
        let mut at = 0;
        for &(first, last) in self.0.iter() {
            let mut next = Some(first);
            while other.0.get(at).is_some_and(|(_, end)| *end < first) {
                at += 1;
            }
            while let (Some(start), Some(&(low, high))) = (next, other.0.get(at)) {
                if low > last {
                    break;
                }
                if low > start {
                    rest.push((start, low - 1));
                }
                next = high.checked_add(1);
                if high > last {
                    break;
                }
                at += 1;
            }
            rest.extend(next.filter(|start| *start <= last).map(|start| (start, last)));
        }
        if rest.len() == self.len() && rest == *self.0 {
            return self.clone();
        }
        Self(Rc::new(rest))
    }
}

/// Merges sorted ranges that overlap or touch.
fn merged(ranges: impl Iterator<Item = (u128, u128)>) -> Vec<(u128, u128)> {
    let mut merged: Vec<(u128, u128)> = Vec::new();
    for (first, last) in ranges {
        match merged.last_mut() {
            Some((_, end)) if end.checked_add(1).is_none_or(|next| first <= next) => {
                *end = last.max(*end);
            }
            _ => merged.push((first, last)),
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Numbers at both ends of the space, so that tests meet all orders,
    /// touching neighbours and overflows.
    const SPACE: u128 = 12;

    fn number(index: u128) -> u128 {
        if index < SPACE / 2 { index } else { u128::MAX - (SPACE - 1 - index) }
    }

    fn ranges() -> impl Strategy<Value = Ranges> {
        prop::collection::vec((0..SPACE, 0..SPACE), 0..5).prop_map(|pairs| {
            Ranges::of(pairs.into_iter().map(|(one, other)| {
                // No range crosses the gap in the middle.
                let other = if (one < SPACE / 2) == (other < SPACE / 2) { other } else { one };
                (number(one.min(other)), number(one.max(other)))
            }))
        })
    }

    proptest! {
        #[test]
        fn sets_are_what_their_numbers_say(one in ranges(), other in ranges()) {
            let (union, common, rest) =
                (one.union(&other), one.intersect(&other), one.subtract(&other));
            for number in (0..SPACE).map(number) {
                let (a, b) = (one.contains(number), other.contains(number));
                prop_assert_eq!(union.contains(number), a || b);
                prop_assert_eq!(common.contains(number), a && b);
                prop_assert_eq!(rest.contains(number), a && !b);
            }
            let canonical = |set: &Ranges| Ranges::of(set.iter()) == *set;
            prop_assert!(canonical(&union) && canonical(&common) && canonical(&rest));
        }
    }

    #[test]
    fn a_long_list_is_searched() {
        let long = Ranges::numbers((0..1000).map(|index| index * 3));
        let short = Ranges::of([(30, 36), (2997, 5000)]);
        let expected = Ranges::numbers([30, 33, 36, 2997]);
        assert_eq!(long.intersect(&short), expected);
        assert_eq!(short.intersect(&long), expected);
    }
}
