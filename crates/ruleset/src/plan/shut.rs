//! Addresses that are dropped as long as nobody knows them, and when their gates change.
//!
//! In: how the sets of known addresses change, and by which fields the rules drop what
//! is in none. Out: the addresses that are dropped until they become known, and those
//! that are from when they are forgotten. Never: a field by which only one of the two
//! tables drops.
//!
//! A gate leads past that drop: what a policy accepts is not asked whether it is known.
//! While peers go, a policy still accepts what the new table denies, and the old table
//! dropped it as unknown. So an address that becomes known gets its gates after `remove`.
//! While peers come, a policy already accepts what the old table denied, and the new
//! table drops it as unknown. So an address that is forgotten loses its gates before
//! `add`: in the same commit, so that no change begins with an address that is
//! forgotten and has gates. A packet asks the gates first, so it finds both or none.
//!
//! In between the address is dropped, as it was before or will be after.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::delta::ElementChange;
use super::references::References;
use crate::{AddressTest, Chain, Element, Field, Finish, Match, Name, Verdict};

/// Addresses with the fields by which they are dropped.
#[derive(Debug, Default)]
pub(super) struct Shut<'a> {
    until_known: BTreeSet<(Field, IpAddr)>,
    once_forgotten: BTreeSet<(Field, IpAddr)>,
    /// By which fields gates lead, and packets are looked up in maps.
    fields: BTreeMap<&'a Name, BTreeSet<Field>>,
}

impl<'a> Shut<'a> {
    /// The addresses that enter and leave a set of known addresses. `fields`: by which
    /// both tables drop what is not in it.
    pub fn extend(&mut self, known: &ElementChange<'_>, fields: BTreeSet<Field>) {
        for field in fields {
            let all = |elements: &[&Element]| -> Vec<(Field, IpAddr)> {
                let addresses = elements.iter().flat_map(|element| element.addresses());
                addresses.map(|address| (field, address)).collect()
            };
            self.until_known.extend(all(&known.added));
            self.once_forgotten.extend(all(&known.removed));
        }
    }

    /// Finds by which fields these gates lead, and packets are looked up in these maps.
    pub fn ask(&mut self, names: impl Iterator<Item = &'a Name>, references: &References) {
        if !self.until_known.is_empty() || !self.once_forgotten.is_empty() {
            self.fields = names.map(|name| (name, references.fields(name))).collect();
        }
    }

    /// Whether this gate or map gets an address only then when it becomes known.
    pub fn is_until_known(&self, name: &Name, address: IpAddr) -> bool {
        self.is_in(&self.until_known, name, address)
    }

    /// What a gate loses: of addresses that are forgotten and dropped from then on, or the
    /// others.
    pub fn gone<'c>(
        &self,
        gate: &Name,
        change: &'c ElementChange<'_>,
        forgotten: bool,
    ) -> impl Iterator<Item = &'c Element> {
        let is_forgotten = |element: &Element| {
            element.addresses().any(|address| self.is_in(&self.once_forgotten, gate, address))
        };
        change.removed.iter().copied().filter(move |element| is_forgotten(element) == forgotten)
    }

    fn is_in(&self, addresses: &BTreeSet<(Field, IpAddr)>, name: &Name, address: IpAddr) -> bool {
        let fields = self.fields.get(name).filter(|fields| !fields.is_empty());
        fields.is_some_and(|all| all.iter().all(|field| addresses.contains(&(*field, address))))
    }
}

/// By which fields a chain drops what is not in this set: all that it does is to send
/// back what its sets have, and to log.
pub(super) fn shut_by(chain: &Chain, set: &Name) -> BTreeSet<Field> {
    let Some((last, others)) = chain.rules.split_last() else { return BTreeSet::new() };
    let drops = last.matches.is_empty() && last.finish == Some(Finish::Verdict(Verdict::Drop));
    let back = others.iter().filter(|rule| rule.finish.is_some()).map(|rule| {
        match (rule.matches.as_slice(), &rule.finish) {
            (
                [Match::Address(field, AddressTest::Set(_, by))],
                Some(Finish::Verdict(Verdict::Return)),
            ) => Some((*field, by)),
            _ => None,
        }
    });
    let back: Option<Vec<(Field, &Name)>> = back.collect();
    let back = back.filter(|_| drops).unwrap_or_default().into_iter();
    back.filter(|(_, by)| *by == set).map(|(field, _)| field).collect()
}
