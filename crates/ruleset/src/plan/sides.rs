//! The order in which elements are added to sets that allow, and removed.
//!
//! In: the difference. Out: four groups, in order. Chains that change do not
//! matter here (see `conflict`).
//!
//! A packet is judged twice: by its source's chain and by its destination's. The
//! sets that the chains of each side look into are known:
//!
//! ```text
//! 1  removals, of a side that only loses elements
//! 2  additions, of a side that gains and loses: an address that moves from one
//!    set to another is in both for a moment, never in none
//! 3  removals, of such a side
//! 4  additions, of a side that only gains
//! ```
//!
//! So one side loses before the other gains, unless both gain and lose.
//!
//! While only one address changes, no packet meets changes on both sides. For a
//! packet that the address sends, the changes are in the sets of the receiver. For
//! one that it receives, they are in those of the sender. Then everything is added
//! before anything is removed.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::delta::Delta;
use crate::{Family, Field, Name};

/// Sets in the order of their changes.
#[derive(Debug, Default)]
pub(super) struct SetOrder<'a> {
    pub remove_first: Vec<&'a Name>,
    pub add: Vec<&'a Name>,
    pub remove: Vec<&'a Name>,
    pub add_last: Vec<&'a Name>,
}

impl<'a> SetOrder<'a> {
    /// Sorts the changing sets that allow.
    pub fn of(delta: &Delta<'a>) -> Self {
        let of = |set: &Name| delta.sides.get(set).into_iter().flatten().copied();
        let gains = |field| {
            let mut sets = delta.allowing.iter();
            sets.any(|(set, change)| !change.added.is_empty() && of(set).any(|one| one == field))
        };
        let loses = |field| {
            let mut sets = delta.allowing.iter();
            sets.any(|(set, change)| !change.removed.is_empty() && of(set).any(|one| one == field))
        };
        let fields = [Field::Source, Field::Destination];
        let only_gains: Vec<Field> = fields.into_iter().filter(|field| !loses(*field)).collect();
        let only_loses: Vec<Field> = fields.into_iter().filter(|field| !gains(*field)).collect();
        let mut order = Self::default();
        let many = changes_many_addresses(delta);
        for (&set, change) in &delta.allowing {
            let of_any = |fields: &[Field]| of(set).any(|field| fields.contains(&field));
            if !change.removed.is_empty() {
                let first = many && of_any(&only_loses);
                if first { &mut order.remove_first } else { &mut order.remove }.push(set);
            }
            if !change.added.is_empty() {
                let last = many && of_any(&only_gains);
                if last { &mut order.add_last } else { &mut order.add }.push(set);
            }
        }
        order
    }
}

/// Whether elements of more than one address of a family change.
fn changes_many_addresses(delta: &Delta<'_>) -> bool {
    let changes = delta.allowing.values();
    let elements = changes.flat_map(|change| change.added.iter().chain(&change.removed));
    let addresses: BTreeSet<IpAddr> = elements.flat_map(|element| element.addresses()).collect();
    let of = |family| addresses.iter().filter(|address| Family::of(**address) == family).count();
    Family::BOTH.into_iter().any(|family| of(family) > 1)
}
