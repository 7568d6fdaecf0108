//! Lists of ipBlocks as disjoint ranges.
//!
//! In: the ipBlocks of one rule. Out: for each family the ranges that they
//! cover together: sorted, disjoint, none adjacent to the next. An `except` cuts
//! only its own block. What another block covers stays covered.

use ipnet::IpNet;
use policy::IpBlock;
use ruleset::{AddressRange, Family, from_number, number};

use crate::spans::union;

/// Numbers of addresses from the first to the last, both included.
type Span = (u128, u128);

/// The ranges of one family that the blocks cover.
pub fn ranges<'a>(
    family: Family,
    blocks: impl IntoIterator<Item = &'a IpBlock>,
) -> Vec<AddressRange> {
    let of_family = blocks.into_iter().filter(|block| Family::of(block.cidr().addr()) == family);
    let spans = of_family
        .flat_map(|block| without(span(block.cidr()), block.except().iter().map(|net| span(*net))))
        .collect();
    of_spans(family, spans)
}

/// The same addresses as ranges that are sorted and neither overlap nor touch.
pub(crate) fn joined(family: Family, ranges: &[AddressRange]) -> Vec<AddressRange> {
    let spans = ranges.iter().map(|range| (number(range.first()), number(range.last())));
    of_spans(family, spans.collect())
}

fn of_spans(family: Family, spans: Vec<Span>) -> Vec<AddressRange> {
    let range =
        |(first, last)| AddressRange::new(from_number(family, first)?, from_number(family, last)?);
    union(spans, successor).into_iter().filter_map(range).collect()
}

fn successor(number: u128) -> Option<u128> {
    number.checked_add(1)
}

fn span(net: IpNet) -> Span {
    (number(net.network()), number(net.broadcast()))
}

/// A span without holes, which lie inside it.
fn without((first, last): Span, holes: impl Iterator<Item = Span>) -> Vec<Span> {
    let mut rest = Vec::new();
    let mut next = Some(first);
    for (hole_first, hole_last) in union(holes.collect(), successor) {
        if let Some(start) = next.filter(|start| *start < hole_first) {
            rest.push((start, hole_first - 1));
        }
        next = hole_last.checked_add(1);
    }
    rest.extend(next.filter(|start| *start <= last).map(|start| (start, last)));
    rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(text: &str) -> IpBlock {
        let mut nets = text.split(" - ").map(|net| policy::cidr::parse(net).unwrap());
        let cidr = nets.next().unwrap();
        IpBlock::new(cidr, nets).unwrap()
    }

    fn check(family: Family, blocks: &[&str], expected: &[&str]) {
        let blocks: Vec<IpBlock> = blocks.iter().map(|text| block(text)).collect();
        let ranges: Vec<String> = ranges(family, &blocks).iter().map(ToString::to_string).collect();
        assert_eq!(ranges, expected, "{blocks:?}");
    }

    #[test]
    fn an_except_carves_its_own_block_alone() {
        check(Family::V4, &["10.0.0.0/8"], &["10.0.0.0/8"]);
        check(Family::V4, &["10.0.0.0/30 - 10.0.0.1/32"], &["10.0.0.0", "10.0.0.2/31"]);
        check(Family::V4, &["10.0.0.0/30 - 10.0.0.1/32", "10.0.0.1/32"], &["10.0.0.0/30"]);
    }

    #[test]
    fn excepts_at_both_ends_of_the_address_space() {
        check(Family::V4, &["0.0.0.0/0 - 0.0.0.0/1 - 128.0.0.0/1"], &[]);
        check(Family::V4, &["0.0.0.0/0 - 255.255.255.255/32"], &["0.0.0.0-255.255.255.254"]);
        check(Family::V6, &["::/0 - 8000::/1"], &["::/1"]);
        check(Family::V6, &["::/0"], &["::/0"]);
    }

    #[test]
    fn nested_and_overlapping_excepts() {
        check(
            Family::V4,
            &["10.0.0.0/24 - 10.0.0.0/25 - 10.0.0.64/26 - 10.0.0.255/32"],
            &["10.0.0.128-10.0.0.254"],
        );
    }

    #[test]
    fn touching_and_nested_blocks_become_one_range() {
        check(Family::V4, &["10.0.1.0/24", "10.0.0.0/24", "10.0.0.128/25"], &["10.0.0.0/23"]);
    }

    #[test]
    fn families_stay_apart() {
        check(Family::V6, &["0.0.0.0/0"], &[]);
        check(Family::V4, &["::/0"], &[]);
    }
}
