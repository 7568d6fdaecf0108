//! Addresses in classes that no `ipBlock` tells apart.
//!
//! In: blocks, in order. Out: the ranges of each class.
//! Never: a block that is asked about each range. One walk over the beginnings and ends of
//! all blocks tells which blocks each range is in.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;
use policy::IpBlock;

use super::{Family, number};

/// What begins or ends at an address.
struct Edge {
    at: u128,
    block: usize,
    is_except: bool,
    begins: bool,
}

/// A walk from the lowest address up.
struct Walk {
    /// For each block: whether the place is within its `cidr`, and within how many excepts.
    places: Vec<(bool, usize)>,
    /// The blocks that have the place.
    having: BTreeSet<usize>,
}

/// The ranges of each class, ascending, both ends included. Classes are in the order of the
/// first block that tells two of them apart: the one without it comes first.
pub(super) fn of(blocks: &[&IpBlock], family: Family) -> Vec<Vec<(IpAddr, IpAddr)>> {
    let edges = edges(blocks, family);
    let mut having = 0;
    walk(blocks.len(), &edges, family, |blocks, _| having += blocks.len());
    // Few classes are in many blocks. Where somebody makes it so, a bit is less than a number.
    if having <= edges.len().saturating_mul(64) {
        return classes(blocks.len(), &edges, family, |having| {
            having.iter().map(|&block| std::cmp::Reverse(block)).collect::<Vec<_>>()
        });
    }
    let words = blocks.len().div_ceil(64);
    classes(blocks.len(), &edges, family, |having| {
        let mut bits = vec![0u64; words];
        // The first block is the highest bit, so that numbers are in the order of the bits.
        having.iter().for_each(|block| bits[block / 64] |= 1 << (63 - block % 64));
        bits
    })
}

fn edges(blocks: &[&IpBlock], family: Family) -> Vec<Edge> {
    let mut edges = Vec::new();
    for (block, of) in blocks.iter().enumerate() {
        let mut add = |net: IpNet, is_except| {
            let edge = |at, begins| Edge { at, block, is_except, begins };
            edges.push(edge(number(net.network()), true));
            let after = number(net.broadcast()).checked_add(1).filter(|at| *at <= family.last());
            edges.extend(after.map(|at| edge(at, false)));
        };
        if family.has(of.cidr().addr()) {
            add(of.cidr().trunc(), false);
            of.except().iter().for_each(|net| add(net.trunc(), true));
        }
    }
    edges.sort_by_key(|edge| edge.at);
    edges
}

/// Tells for each range, ascending, the blocks that have it.
fn walk(
    blocks: usize,
    edges: &[Edge],
    family: Family,
    mut tell: impl FnMut(&BTreeSet<usize>, (IpAddr, IpAddr)),
) {
    let mut walk = Walk { places: vec![(false, 0); blocks], having: BTreeSet::new() };
    let (mut first, mut rest) = (0, edges);
    loop {
        let here = rest.iter().take_while(|edge| edge.at == first).count();
        let (now, later) = rest.split_at(here);
        now.iter().for_each(|edge| walk.pass(edge));
        let next = later.first().map(|edge| edge.at);
        let last = next.map_or(family.last(), |next| next - 1);
        tell(&walk.having, (family.address(first), family.address(last)));
        let Some(next) = next else { return };
        (first, rest) = (next, later);
    }
}

impl Walk {
    fn pass(&mut self, edge: &Edge) {
        let (within, excepts) = &mut self.places[edge.block];
        match (edge.is_except, edge.begins) {
            (false, begins) => *within = begins,
            (true, true) => *excepts += 1,
            (true, false) => *excepts = excepts.saturating_sub(1),
        }
        match *within && *excepts == 0 {
            true => self.having.insert(edge.block),
            false => self.having.remove(&edge.block),
        };
    }
}

fn classes<K: Ord>(
    blocks: usize,
    edges: &[Edge],
    family: Family,
    key: impl Fn(&BTreeSet<usize>) -> K,
) -> Vec<Vec<(IpAddr, IpAddr)>> {
    let mut classes: BTreeMap<K, Vec<(IpAddr, IpAddr)>> = BTreeMap::new();
    walk(blocks, edges, family, |having, range| {
        classes.entry(key(having)).or_default().push(range);
    });
    classes.into_values().collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn block(cidr: &str, except: &[&str]) -> IpBlock {
        let net = |text: &str| text.parse::<IpNet>().expect("a CIDR");
        IpBlock::new(net(cidr), except.iter().map(|text| net(text))).expect("a block")
    }

    /// Each range is asked about each block.
    fn by_asking(blocks: &[&IpBlock], family: Family) -> Vec<Vec<(IpAddr, IpAddr)>> {
        let mut starts: Vec<u128> = edges(blocks, family).iter().map(|edge| edge.at).collect();
        starts.push(0);
        starts.sort_unstable();
        starts.dedup();
        let mut classes: BTreeMap<Vec<bool>, Vec<(IpAddr, IpAddr)>> = BTreeMap::new();
        for (at, &start) in starts.iter().enumerate() {
            let last = starts.get(at + 1).map_or(family.last(), |next| next - 1);
            let first = family.address(start);
            let within = blocks.iter().map(|block| block.contains(first)).collect();
            classes.entry(within).or_default().push((first, family.address(last)));
        }
        classes.into_values().collect()
    }

    #[test]
    fn both_ends_of_the_addresses_are_in_a_class() {
        let all = [
            block("0.0.0.0/0", &["255.255.255.254/31", "0.0.0.0/32"]),
            block("255.0.0.0/8", &[]),
            block("::/0", &["8000::/1"]),
        ];
        let all: Vec<&IpBlock> = all.iter().collect();
        for family in Family::BOTH {
            assert_eq!(of(&all, family), by_asking(&all, family));
            assert_eq!(of(&[], family).len(), 1);
        }
    }

    /// Many blocks that differ in one except each.
    #[test]
    fn classes_in_very_many_blocks_are_the_same() {
        let all: Vec<IpBlock> =
            (0..200).map(|at| block("10.0.0.0/8", &[&format!("10.1.{at}.0/24")])).collect();
        let all: Vec<&IpBlock> = all.iter().collect();
        assert_eq!(of(&all, Family::Ipv4), by_asking(&all, Family::Ipv4));
    }

    fn any_block() -> impl Strategy<Value = IpBlock> {
        let net = |least: u8| (any::<u8>(), least..=32).prop_map(|(at, length)| (at, length));
        (net(24), proptest::collection::vec(net(25), 0..3)).prop_map(|((at, length), excepts)| {
            let cidr = IpNet::new([10, 0, 0, at].into(), length).expect("a CIDR").trunc();
            let excepts = excepts.into_iter().filter_map(|(at, length)| {
                let net = IpNet::new([10, 0, 0, at].into(), length).expect("a CIDR").trunc();
                (cidr.contains(&net) && cidr != net).then_some(net)
            });
            IpBlock::new(cidr, excepts).expect("a block")
        })
    }

    proptest! {
        #[test]
        fn a_walk_gives_what_asking_gives(blocks in proptest::collection::vec(any_block(), 0..8)) {
            let mut blocks: Vec<&IpBlock> = blocks.iter().collect();
            blocks.sort_unstable();
            blocks.dedup();
            prop_assert_eq!(of(&blocks, Family::Ipv4), by_asking(&blocks, Family::Ipv4));
        }
    }
}
