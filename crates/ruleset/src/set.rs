//! Sets and verdict maps.

use std::net::IpAddr;

use imbl::ordset::DiffItem;
use imbl::{OrdMap, OrdSet};

use crate::{AddressRange, Comment, Family, Key, KeyShape, Name, Store, Transport};

/// What a set holds. A set keeps its type and meaning for life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SetType {
    /// `ipv4_addr` or `ipv6_addr`, hash.
    Address(Family),
    /// The same with `flags interval`: disjoint ranges that never touch.
    AddressRange(Family),
    /// `ipv4_addr . inet_service`: a named port of the pods that have it.
    AddressPort(Family),
    /// `ipv4_addr . ipv4_addr`: source and destination.
    AddressPair(Family),
    /// `inet_proto . inet_service`: protocols with their ports.
    ProtocolPort,
    /// `icmpv6_type`, constant.
    Icmpv6Type,
    /// `ipv4_addr` with `flags dynamic,timeout`: the packet path fills it, to
    /// limit logging per pod. We never list elements of it.
    RateLimit(Family),
    /// `iface_index . ether_addr . ipv4_addr` or parts of it, hash.
    Key(KeyShape),
    /// Holds sets of another type in the kernel. Here it has no elements.
    Store(Store),
}

/// An element of a set; its variant follows the set's [`SetType`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Element {
    /// Of [`SetType::Address`].
    Address(IpAddr),
    /// Of [`SetType::AddressRange`].
    Range(AddressRange),
    /// Of [`SetType::AddressPort`].
    AddressPort(IpAddr, u16),
    /// Of [`SetType::AddressPair`].
    AddressPair(IpAddr, IpAddr),
    /// Of [`SetType::ProtocolPort`].
    ProtocolPort(Transport, u16),
    /// Of [`SetType::Icmpv6Type`].
    Icmpv6Type(u8),
    /// Of [`SetType::Key`].
    Key(Key),
}

/// A named set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Set {
    /// What it holds.
    pub set_type: SetType,
    /// For people. A stored set has none: the kernel has nowhere to keep it.
    pub comment: Option<Comment>,
    /// What is in it.
    pub elements: OrdSet<Element>,
}

/// A named map from address to `goto chain`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerdictMap {
    /// Family of the keys.
    pub family: Family,
    /// For people.
    pub comment: Option<Comment>,
    /// Address to the chain that it goes to.
    pub entries: OrdMap<IpAddr, Name>,
}

impl SetType {
    /// How many elements the kernel takes in a [`SetType::RateLimit`] set;
    /// it needs a bound. Further pods are then not logged until old entries
    /// time out.
    pub const RATE_LIMIT_SIZE: u32 = 65_535;
    /// How long a pod stays in a [`SetType::RateLimit`] set, in seconds.
    pub const RATE_LIMIT_TIMEOUT_SECONDS: u32 = 60;
}

impl Set {
    /// The elements that a later state of the set no longer has. Costs with
    /// their number where the two share the rest.
    pub fn lost<'a>(&'a self, later: &'a Self) -> impl Iterator<Item = &'a Element> {
        let shared = self.elements.ptr_eq(&later.elements);
        let changes = (!shared).then(|| self.elements.diff(&later.elements));
        changes.into_iter().flatten().filter_map(|item| match item {
            DiffItem::Remove(element) => Some(element),
            DiffItem::Add(_) => None,
        })
    }

    /// An empty set.
    pub fn new(set_type: SetType, comment: Option<Comment>) -> Self {
        Self { set_type, comment, elements: OrdSet::new() }
    }

    /// The same set with these elements.
    #[must_use]
    pub fn with(mut self, elements: impl IntoIterator<Item = Element>) -> Self {
        // Nodes of the tree that grow at their end stay half full. So every second
        // element comes first, and the others fill the gaps: that is half the memory.
        let elements: Vec<Element> = elements.into_iter().collect();
        self.elements.extend(elements.iter().step_by(2).copied());
        self.elements.extend(elements.iter().skip(1).step_by(2).copied());
        self
    }
}

impl VerdictMap {
    /// An empty map.
    pub fn new(family: Family, comment: Option<Comment>) -> Self {
        Self { family, comment, entries: OrdMap::new() }
    }
}

impl Element {
    /// The addresses that an element speaks of; none for ports, types and interfaces.
    /// Of a range, its ends.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> + use<> {
        let (one, other) = match *self {
            Self::Address(address) | Self::AddressPort(address, _) => (Some(address), None),
            Self::AddressPair(source, destination) => (Some(source), Some(destination)),
            Self::Range(range) => (Some(range.first()), Some(range.last())),
            Self::Key(key) => (key.address, None),
            Self::ProtocolPort(..) | Self::Icmpv6Type(_) => (None, None),
        };
        one.into_iter().chain(other)
    }
}
