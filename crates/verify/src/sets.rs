//! The sets and maps of a ruleset as numbers.
//!
//! In: a ruleset. Out: the content of a set or map, computed once, or an error
//! if it is not what a rule takes it for. Never: a guess about its meaning.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::rc::Rc;

use ruleset::simulator::RulePosition;
use ruleset::{
    AddressTest, Element, Family, Field, Log, Name, Ruleset, Set, SetType, Transport, number,
};

use crate::error::VerifyError;
use crate::exits::Exits;
use crate::ranges::Ranges;
use crate::region::{Region, Slab};
use crate::space::{self, FlowSource};

/// A set or map that is not what a rule takes it for.
#[derive(Debug)]
pub(crate) struct UnknownSet(Name);

impl UnknownSet {
    pub fn of(name: &Name) -> Self {
        Self(name.clone())
    }

    pub fn at(self, at: RulePosition) -> VerifyError {
        VerifyError::UnknownSet { at, name: self.0 }
    }
}

/// The partners of each address in a set of pairs.
type Partners = BTreeMap<u128, Ranges>;
/// Chains, each with the addresses that a map sends there.
type Targets<'a> = Vec<(&'a Name, Ranges)>;

/// The sets and maps of a ruleset.
pub(crate) struct Sets<'a> {
    ruleset: &'a Ruleset,
    /// What is known of the interfaces where packets go out.
    pub exits: Exits<'a>,
    everything: [(Ranges, Ranges); 2],
    addresses: Memo<(&'a Name, Family), Rc<Ranges>>,
    /// By the end whose address is known.
    partners: Memo<(&'a Name, Family, Field), Rc<Partners>>,
    flow_sources: Memo<(&'a Name, Family, FlowSource), Rc<Ranges>>,
    address_ports: Memo<(&'a Name, Family, Transport), Rc<Region>>,
    targets: Memo<(&'a Name, Family), Rc<Targets<'a>>>,
}

struct Memo<K, V>(RefCell<HashMap<K, V>>);

impl<K, V> Default for Memo<K, V> {
    fn default() -> Self {
        Self(RefCell::default())
    }
}

impl<K: Hash + Eq, V: Clone> Memo<K, V> {
    fn get(&self, key: K, make: impl FnOnce() -> Result<V, UnknownSet>) -> Result<V, UnknownSet> {
        if let Some(known) = self.0.borrow().get(&key) {
            return Ok(known.clone());
        }
        let made = make()?;
        self.0.borrow_mut().insert(key, made.clone());
        Ok(made)
    }
}

impl<'a> Sets<'a> {
    pub fn new(ruleset: &'a Ruleset, exits: Exits<'a>) -> Self {
        Self {
            ruleset,
            exits,
            everything: Family::BOTH.map(|of| (space::addresses(of), space::codes(of))),
            addresses: Memo::default(),
            partners: Memo::default(),
            flow_sources: Memo::default(),
            address_ports: Memo::default(),
            targets: Memo::default(),
        }
    }

    /// All addresses and all codes of a family.
    pub fn everything(&self, family: Family) -> &(Ranges, Ranges) {
        let [v4, v6] = &self.everything;
        match family {
            Family::V4 => v4,
            Family::V6 => v6,
        }
    }

    /// The addresses that a test matches.
    pub fn addresses(&self, test: &'a AddressTest) -> Result<Rc<Ranges>, UnknownSet> {
        let (family, name) = match test {
            AddressTest::In(range) => {
                let (first, last) = (number(range.first()), number(range.last()));
                return Ok(Rc::new(Ranges::range(first, last)));
            }
            AddressTest::Set(family, name) => (*family, name),
        };
        self.addresses.get((name, family), || {
            let types = [SetType::Address(family), SetType::AddressRange(family)];
            let set = self.set(name, &types)?;
            let range = |element: &Element| match *element {
                Element::Address(address) => {
                    let number = space::of_family(family, address)?;
                    Some((number, number))
                }
                Element::Range(range) => Some((
                    space::of_family(family, range.first())?,
                    space::of_family(family, range.last())?,
                )),
                _ => None,
            };
            Ok(Rc::new(Ranges::of(elements(name, set, range)?)))
        })
    }

    /// In a set of pairs, the partners of each address of the known end.
    pub fn partners(
        &self,
        name: &'a Name,
        family: Family,
        known: Field,
    ) -> Result<Rc<Partners>, UnknownSet> {
        self.partners.get((name, family, known), || {
            let set = self.set(name, &[SetType::AddressPair(family)])?;
            let pair = |element: &Element| match *element {
                Element::AddressPair(source, destination) => {
                    let (source, destination) =
                        (space::of_family(family, source)?, space::of_family(family, destination)?);
                    Some(match known {
                        Field::Source => (source, destination),
                        Field::Destination => (destination, source),
                    })
                }
                _ => None,
            };
            let mut partners: BTreeMap<u128, Vec<u128>> = BTreeMap::new();
            for (one, other) in elements(name, set, pair)? {
                partners.entry(one).or_default().push(other);
            }
            let ranges = partners.into_iter().map(|(one, others)| (one, Ranges::numbers(others)));
            Ok(Rc::new(ranges.collect()))
        })
    }

    /// The addresses that a set pairs with the source of a side of their flow.
    pub fn flow_sources(
        &self,
        name: &'a Name,
        family: Family,
        side: FlowSource,
    ) -> Result<Rc<Ranges>, UnknownSet> {
        self.flow_sources.get((name, family, side), || {
            let partners = self.partners(name, family, Field::Source)?;
            let paired = |one: &u128, others: &Ranges| match side {
                FlowSource::Own => others.contains(*one),
                FlowSource::Other(other) => other != *one && others.contains(other),
                FlowSource::Nobody => false,
            };
            let found = partners.iter().filter(|(one, others)| paired(one, others));
            Ok(Rc::new(Ranges::numbers(found.map(|(one, _)| *one))))
        })
    }

    /// The content of a set of addresses with ports, as addresses with codes.
    pub fn address_ports(
        &self,
        name: &'a Name,
        family: Family,
        transport: Transport,
    ) -> Result<Rc<Region>, UnknownSet> {
        self.address_ports.get((name, family, transport), || {
            let set = self.set(name, &[SetType::AddressPort(family)])?;
            let slab = |element: &Element| match *element {
                Element::AddressPort(address, port) => {
                    Some((space::of_family(family, address)?, port))
                }
                _ => None,
            };
            let slabs = elements(name, set, slab)?.into_iter().flat_map(|(address, port)| {
                let codes = space::ports(space::protocol_of(transport), port, port);
                slabs(&Ranges::single(address), &codes)
            });
            Ok(Rc::new(Region::of(slabs)))
        })
    }

    /// The codes of a set of protocols with ports.
    pub fn protocol_ports(&self, name: &Name) -> Result<Ranges, UnknownSet> {
        let set = self.set(name, &[SetType::ProtocolPort])?;
        let code = |element: &Element| match *element {
            Element::ProtocolPort(transport, port) => {
                Some(space::ports(space::protocol_of(transport), port, port))
            }
            _ => None,
        };
        Ok(Ranges::union_of(&elements(name, set, code)?))
    }

    /// The codes of a set of ICMPv6 types.
    pub fn icmpv6_types(&self, name: &Name) -> Result<Ranges, UnknownSet> {
        let set = self.set(name, &[SetType::Icmpv6Type])?;
        let number = |element: &Element| match *element {
            Element::Icmpv6Type(number) => Some(number),
            _ => None,
        };
        Ok(space::icmpv6_types(elements(name, set, number)?))
    }

    /// The chains that a map sends addresses to.
    pub fn targets(&self, name: &'a Name, family: Family) -> Result<Rc<Targets<'a>>, UnknownSet> {
        self.targets.get((name, family), || {
            let map = self.ruleset.maps.get(name).filter(|map| map.family == family);
            let map = map.ok_or_else(|| UnknownSet(name.clone()))?;
            let mut keys: BTreeMap<&Name, Vec<u128>> = BTreeMap::new();
            for (address, chain) in &map.entries {
                let key =
                    space::of_family(family, *address).ok_or_else(|| UnknownSet(name.clone()))?;
                keys.entry(chain).or_default().push(key);
            }
            let targets = keys.into_iter().map(|(chain, keys)| (chain, Ranges::numbers(keys)));
            Ok(Rc::new(targets.collect()))
        })
    }

    /// Checks the type of a log statement's set.
    pub fn check_log(&self, log: &Log) -> Result<(), UnknownSet> {
        self.set(&log.set, &[SetType::RateLimit(log.family)]).map(|_| ())
    }

    fn set(&self, name: &Name, types: &[SetType]) -> Result<&'a Set, UnknownSet> {
        let set = self.ruleset.sets.get(name).filter(|set| types.contains(&set.set_type));
        set.ok_or_else(|| UnknownSet(name.clone()))
    }
}

/// All addresses combined with all codes.
pub(crate) fn slabs(addresses: &Ranges, codes: &Ranges) -> Vec<Slab> {
    let slab = |(first, last)| Slab { first, last, addresses: addresses.clone() };
    codes.iter().map(slab).collect()
}

/// The elements of a set. All must be of the set's type.
fn elements<T>(
    name: &Name,
    set: &Set,
    read: impl Fn(&Element) -> Option<T>,
) -> Result<Vec<T>, UnknownSet> {
    let all: Option<Vec<T>> = set.elements.iter().map(read).collect();
    all.ok_or_else(|| UnknownSet(name.clone()))
}
