//! The interfaces where packets go out of the forward hook; in a pod's own namespace,
//! those by which they come in, or go out.
//!
//! In: the node's network and the ruleset. Out: kinds of interfaces. All packets to an
//! interface and destination of one kind get the same answer from each look-up by
//! interface, and from the specification.
//! Never: a look-up by another key than the output interface, alone or with the
//! destination. Nobody needs one there, and a rule with one is refused.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use policy::spec::binding::Binding;
use policy::{Inside, InterfaceIndex};
use ruleset::{
    Element, Family, InterfaceField, Key, KeyAddress, KeyFields, Match, Name, Ruleset, Set,
};

use crate::ranges::Ranges;
use crate::sets::UnknownSet;
use crate::space;

/// A look-up by the output interface.
type LookUp<'a> = (KeyFields, &'a Name);

/// A kind of interface and destination.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Kind<'a> {
    /// The look-ups that find something.
    found: BTreeSet<LookUp<'a>>,
    /// Whether the specification refuses the destination there. In a pod's own
    /// namespace: whether it judges nothing there.
    refused: bool,
}

/// All kinds.
#[derive(Debug, Default)]
pub(crate) struct Exits<'a> {
    look_ups: BTreeSet<LookUp<'a>>,
    kinds: Vec<(Kind<'a>, [Ranges; 2])>,
    interfaces: Vec<Exit<'a>>,
}

/// An interface. Each set that holds it with destinations holds few of them.
#[derive(Debug)]
struct Exit<'a> {
    index: u32,
    /// Those that find something, whatever the destination.
    always: BTreeSet<LookUp<'a>>,
    /// Those that find something for some destinations.
    sometimes: BTreeMap<IpAddr, BTreeSet<LookUp<'a>>>,
}

impl<'a> Exits<'a> {
    pub fn new(binding: &Binding<'_>, ruleset: &'a Ruleset) -> Self {
        let mut exits = Self::default();
        let rules = ruleset.chains.values().flat_map(|chain| &chain.rules);
        for condition in rules.flat_map(|rule| &rule.matches) {
            if let Match::Key(fields, name) = condition
                && is_known(fields)
                && let Some((name, set)) = ruleset.sets.get_key_value(name)
                && set.set_type == fields.set_type()
            {
                exits.look_ups.insert((*fields, name));
                exits.add((*fields, name), set);
            }
        }
        let network = binding.network;
        exits.interfaces.extend(network.ports.keys().map(|port| Exit::new(port.0)));
        exits.merge();
        let free = (1..).find(|index| exits.interfaces.iter().all(|one| one.index != *index));
        exits.interfaces.extend(free.map(Exit::new));
        exits.sort_into_kinds(binding);
        exits
    }

    /// The interfaces of a pod's own namespace, where those apart are not judged. `field`:
    /// by which they are looked up at the hook.
    pub fn inside(inside: &Inside, ruleset: &'a Ruleset, field: InterfaceField) -> Self {
        let mut exits = Self::default();
        let rules = ruleset.chains.values().flat_map(|chain| &chain.rules);
        for condition in rules.flat_map(|rule| &rule.matches) {
            let wanted = KeyFields { interface: Some(field), ..KeyFields::NONE };
            if let Match::Key(fields, name) = condition
                && *fields == wanted
                && let Some((name, set)) = ruleset.sets.get_key_value(name)
                && set.set_type == fields.set_type()
            {
                exits.look_ups.insert((*fields, name));
                exits.add((*fields, name), set);
            }
        }
        exits.interfaces.extend(inside.apart.iter().map(|index| Exit::new(index.0)));
        exits.merge();
        let free = (1..).find(|index| exits.interfaces.iter().all(|one| one.index != *index));
        exits.interfaces.extend(free.map(Exit::new));
        let all = Family::BOTH.map(space::addresses);
        let kinds = exits.interfaces.iter().map(|exit| {
            let refused = inside.apart.contains(&InterfaceIndex(exit.index));
            Kind { found: exit.always.clone(), refused }
        });
        let kinds: BTreeSet<Kind<'a>> = kinds.collect();
        exits.kinds = kinds.into_iter().map(|kind| (kind, all.clone())).collect();
        exits
    }

    /// An interface of a kind in a pod's own namespace.
    pub fn example_inside(&self, inside: &Inside, exit: usize) -> Option<u32> {
        let (kind, _) = self.kinds.get(exit)?;
        let fits = |one: &&Exit<'a>| {
            let refused = inside.apart.contains(&InterfaceIndex(one.index));
            one.always == kind.found && refused == kind.refused
        };
        self.interfaces.iter().find(fits).map(|one| one.index)
    }

    fn add(&mut self, look_up: LookUp<'a>, set: &'a Set) {
        for element in &set.elements {
            if let Element::Key(Key { interface: Some(index), mac: None, address }) = *element {
                let mut exit = Exit::new(index);
                match address {
                    None => drop(exit.always.insert(look_up)),
                    Some(address) => drop(exit.sometimes.insert(address, [look_up].into())),
                }
                self.interfaces.push(exit);
            }
        }
    }

    /// One entry for each interface.
    fn merge(&mut self) {
        let mut all: BTreeMap<u32, Exit<'a>> = BTreeMap::new();
        for one in std::mem::take(&mut self.interfaces) {
            let exit = all.entry(one.index).or_insert_with(|| Exit::new(one.index));
            exit.always.extend(one.always);
            for (address, look_ups) in one.sometimes {
                exit.sometimes.entry(address).or_default().extend(look_ups);
            }
        }
        self.interfaces = all.into_values().collect();
    }

    fn sort_into_kinds(&mut self, binding: &Binding<'_>) {
        let mut kinds: BTreeMap<Kind<'a>, [Vec<Ranges>; 2]> = BTreeMap::new();
        for exit in &self.interfaces {
            let port = binding.network.ports.get(&InterfaceIndex(exit.index));
            let own = port.iter().flat_map(|port| &port.addresses);
            let named: BTreeSet<IpAddr> = exit.sometimes.keys().chain(own).copied().collect();
            for (at, family) in Family::BOTH.into_iter().enumerate() {
                let numbers = named.iter().filter_map(|one| space::of_family(family, *one));
                let others = space::addresses(family).subtract(&Ranges::numbers(numbers));
                for one in &named {
                    if let Some(number) = space::of_family(family, *one) {
                        let kind = exit.kind(binding, *one);
                        kinds.entry(kind).or_default()[at].push(Ranges::single(number));
                    }
                }
                let stranger = others.first().and_then(|one| ruleset::from_number(family, one));
                if let Some(stranger) = stranger {
                    let kind = exit.kind(binding, stranger);
                    kinds.entry(kind).or_default()[at].push(others);
                }
            }
        }
        let merged = kinds.into_iter();
        self.kinds =
            merged.map(|(kind, of)| (kind, of.map(|all| Ranges::union_of(all.iter())))).collect();
    }

    /// How many kinds there are.
    pub fn count(&self) -> usize {
        self.kinds.len()
    }

    /// The destinations that a kind of interface has.
    pub fn destinations(&self, exit: usize, family: Family) -> Ranges {
        let (of_v4, of_v6) = match self.kinds.get(exit) {
            Some((_, [v4, v6])) => (v4.clone(), v6.clone()),
            None => (space::addresses(Family::V4), space::addresses(Family::V6)),
        };
        match family {
            Family::V4 => of_v4,
            Family::V6 => of_v6,
        }
    }

    /// Whether the specification refuses all these destinations there.
    pub fn refused(&self, exit: usize) -> bool {
        self.kinds.get(exit).is_some_and(|(kind, _)| kind.refused)
    }

    /// Whether a look-up finds something.
    pub fn answer(&self, exit: usize, fields: &KeyFields, set: &Name) -> Result<bool, UnknownSet> {
        let look_up = (*fields, set);
        let known = self.kinds.get(exit).filter(|_| self.look_ups.contains(&look_up));
        known.map(|(kind, _)| kind.found.contains(&look_up)).ok_or_else(|| UnknownSet::of(set))
    }

    /// An interface of a kind, for this destination.
    pub fn example(&self, binding: &Binding<'_>, exit: usize, destination: IpAddr) -> Option<u32> {
        let (kind, _) = self.kinds.get(exit)?;
        let fits = |one: &&Exit<'a>| one.kind(binding, destination) == *kind;
        self.interfaces.iter().find(fits).map(|one| one.index)
    }
}

impl<'a> Exit<'a> {
    fn new(index: u32) -> Self {
        Self { index, always: BTreeSet::new(), sometimes: BTreeMap::new() }
    }

    fn kind(&self, binding: &Binding<'_>, destination: IpAddr) -> Kind<'a> {
        let mut found = self.always.clone();
        found.extend(self.sometimes.get(&destination).into_iter().flatten());
        let refused = binding.leaves_node(InterfaceIndex(self.index), destination).is_err();
        Kind { found, refused }
    }
}

fn is_known(fields: &KeyFields) -> bool {
    let address = match fields.address {
        None | Some(KeyAddress::Destination(_)) => true,
        Some(KeyAddress::Source(_) | KeyAddress::ArpSender | KeyAddress::Target) => false,
    };
    fields.interface == Some(InterfaceField::Out) && fields.mac.is_none() && address
}
