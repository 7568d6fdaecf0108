//! Many sets in one set of the kernel.
//!
//! The kernel finds a set by a walk over the names of all sets of a table
//! (`nft_set_lookup`, net/netfilter/nf_tables_api.c, Linux 6.18). A look-up of an
//! element costs the same in a small set and in a large one. So sets of addresses,
//! of which there are thousands, share one set of the kernel, the **store**. Each
//! has a number, its **tag**, and an element's key is the tag and then the element:
//!
//! ```text
//! set p4 { typeof @nh,0,32 . @nh,0,32 . @nh,0,32 . ip saddr; elements = { A . B . C . 10.0.0.1 } }
//! rule   @nh,0,32 & A | A . @nh,0,32 & B | B . @nh,0,32 & C | C . ip saddr @p4 accept
//! ```
//!
//! The rule loads the first bytes of the network header, which every packet of IPv4 and
//! IPv6 has, and replaces all their bits by a piece of the tag. Each packet of a new flow
//! pays for that, so the pieces are of four bytes: the kernel loads and replaces these
//! without a call (`nft_payload_fast_eval` and `nft_bitwise_fast_eval`,
//! net/netfilter/nf_tables_core.c, Linux 6.18). nft takes at most four fields for a
//! `typeof` (NFT_REG32_SIZE, `concat_expr_parse_udata`, src/expression.c, nftables 1.0.6).
//! So where the key has two fields of its own, the tag has a piece of eight bytes and one
//! of four.
//!
//! Everything but the writers and readers takes a stored set for a set of its own.
//! Its name alone tells where it is stored.
//!
//! In: a name. Out: store and tag, or nothing; what a table lacks to store its sets.
//! Never: elements.

use std::ops::Bound;

use crate::{Family, Name, Ruleset, Set, SetType};

/// A set of the kernel that holds others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Store {
    /// `p4` and `p6`: sets of [`SetType::Address`].
    Addresses(Family),
    /// `n4` and `n6`: sets of [`SetType::AddressPort`].
    AddressPorts(Family),
    /// `t`: sets of [`SetType::ProtocolPort`].
    Ports,
}

/// Tells the sets of a store apart: 96 bits of a hash of what the set means.
/// Somebody who chooses the meanings needs 2^96 attempts for one with the tag of a given
/// other, and 2^48 for two of his own that share a tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(u128);

/// A part of a tag. It replaces the first bytes of the network header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TagPiece {
    /// Its length.
    pub bytes: u32,
    /// Its value.
    pub number: u64,
}

/// Why a table cannot hold a set that has the name of a stored one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The table lacks the store.
    #[error("{set}: the table lacks {store}, which stores it", store = .store.name())]
    NoStore {
        /// The stored set.
        set: Name,
        /// What is missing.
        store: Store,
    },
    /// Its type is not that of the store's sets.
    #[error("{0} is not of the type that its name says")]
    WrongType(Name),
    /// There is nowhere to keep a comment.
    #[error("{0} has a comment, which a stored set cannot have")]
    Comment(Name),
    /// The elements of a store belong to the stored sets.
    #[error("{0} is a store with elements of its own")]
    Elements(Name),
}

impl Store {
    /// All, in the order of their names.
    pub const ALL: [Self; 5] = [
        Self::AddressPorts(Family::V4),
        Self::AddressPorts(Family::V6),
        Self::Addresses(Family::V4),
        Self::Addresses(Family::V6),
        Self::Ports,
    ];

    /// All stores as sets of a table, by name.
    pub fn all() -> impl Iterator<Item = (Name, Set)> {
        Self::ALL.into_iter().map(|store| (Name::of_store(store), store.set()))
    }

    /// The name of the kernel's set.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Addresses(Family::V4) => "p4",
            Self::Addresses(Family::V6) => "p6",
            Self::AddressPorts(Family::V4) => "n4",
            Self::AddressPorts(Family::V6) => "n6",
            Self::Ports => "t",
        }
    }

    /// The type of the sets that it stores.
    pub const fn stores(self) -> SetType {
        match self {
            Self::Addresses(family) => SetType::Address(family),
            Self::AddressPorts(family) => SetType::AddressPort(family),
            Self::Ports => SetType::ProtocolPort,
        }
    }

    /// The lengths in bytes of the pieces in which rules load a tag, in order.
    pub const fn tag_pieces(self) -> &'static [u32] {
        match self {
            Self::Addresses(_) => &[4, 4, 4],
            Self::AddressPorts(_) | Self::Ports => &[8, 4],
        }
    }

    /// The store of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|store| store.name() == name)
    }

    /// The store as a set of a table.
    pub fn set(self) -> Set {
        Set::new(SetType::Store(self), None)
    }
}

impl Name {
    /// The name of a stored set.
    pub fn in_store(store: Store, Tag(tag): Tag) -> Self {
        let digits = Tag::DIGITS;
        Self::trusted(&format!("{}.{tag:0digits$x}", store.name()))
    }

    /// The name of a store.
    pub fn of_store(store: Store) -> Self {
        Self::trusted(store.name())
    }

    /// Where a set of this name is stored. `None` if it is a set of its own.
    pub fn stored(&self) -> Option<(Store, Tag)> {
        let (store, digits) = self.as_str().split_once('.')?;
        let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if digits.len() != Tag::DIGITS || !digits.bytes().all(is_digit) {
            return None;
        }
        let store = Store::named(store)?;
        u128::from_str_radix(digits, 16).ok().map(|tag| (store, Tag::new(tag)))
    }
}

impl Tag {
    /// Hexadecimal digits in a name.
    const DIGITS: usize = Self::BYTES * 2;
    /// The length.
    pub const BYTES: usize = 12;
    /// The first.
    pub const MIN: Self = Self(0);
    /// The last.
    pub const MAX: Self = Self(u128::MAX >> (128 - 8 * Self::BYTES));

    /// The last bits of a number.
    pub const fn new(number: u128) -> Self {
        Self(number & Self::MAX.0)
    }

    /// From bytes in network order.
    pub fn from_bytes(bytes: [u8; Self::BYTES]) -> Self {
        Self(bytes.iter().fold(0, |number, byte| number << 8 | u128::from(*byte)))
    }

    /// In network order, as the kernel compares it.
    pub fn bytes(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        for (byte, of_number) in bytes.iter_mut().rev().zip(self.0.to_le_bytes()) {
            *byte = of_number;
        }
        bytes
    }

    /// In the pieces of a store.
    pub fn pieces(self, store: Store) -> impl Iterator<Item = TagPiece> {
        let mut bits_behind = 8 * Self::BYTES as u32;
        store.tag_pieces().iter().map(move |&bytes| {
            bits_behind -= 8 * bytes;
            let mask = u64::MAX >> (64 - 8 * bytes);
            TagPiece { bytes, number: (self.0 >> bits_behind) as u64 & mask }
        })
    }
}

impl Ruleset {
    /// Whether the table can hold this set of it.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub(crate) fn can_store(&self, name: &Name, set: &Set) -> Result<(), StoreError> {
        if let SetType::Store(store) = set.set_type {
            return match name.as_str() == store.name() {
                false => Err(StoreError::WrongType(name.clone())),
                true if !set.elements.is_empty() => Err(StoreError::Elements(name.clone())),
                true => Ok(()),
            };
        }
        let Some((store, _)) = name.stored() else { return Ok(()) };
        if set.set_type != store.stores() {
            return Err(StoreError::WrongType(name.clone()));
        }
        if set.comment.is_some() {
            return Err(StoreError::Comment(name.clone()));
        }
        match self.sets.get(store.name()).map(|set| set.set_type) {
            Some(SetType::Store(found)) if found == store => Ok(()),
            _ => Err(StoreError::NoStore { set: name.clone(), store }),
        }
    }

    /// Whether the table can do without this set.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub(crate) fn can_lose(&self, set: &Set) -> Result<(), StoreError> {
        let SetType::Store(store) = set.set_type else { return Ok(()) };
        match self.stored_in(store).next() {
            Some((set, ..)) => Err(StoreError::NoStore { set: set.clone(), store }),
            None => Ok(()),
        }
    }

    /// How many sets the kernel knows by name. The cost is their number, however many
    /// are stored in them.
    pub(crate) fn sets_of_the_kernel(&self) -> usize {
        let mut count = 0;
        let mut from = Bound::Unbounded;
        for store in Store::ALL {
            let [first, last] = [Tag::MIN, Tag::MAX].map(|tag| Name::in_store(store, tag));
            count += self.sets.range((from, Bound::Excluded(first))).count();
            from = Bound::Excluded(last);
        }
        count + self.sets.range((from, Bound::Unbounded)).count()
    }

    /// The stored sets of a store, in order, with their tags.
    pub fn stored_in(&self, store: Store) -> impl Iterator<Item = (&Name, Tag, &Set)> {
        let first = Name::in_store(store, Tag::MIN);
        let last = Name::in_store(store, Tag::MAX);
        self.sets.range(first..=last).filter_map(move |(name, set)| match name.stored() {
            Some((found, tag)) if found == store => Some((name, tag, set)),
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_tells_where_a_set_is_stored() {
        for store in Store::ALL {
            for tag in [Tag::MIN, Tag::new(0x2a), Tag::MAX] {
                assert_eq!(Name::in_store(store, tag).stored(), Some((store, tag)));
            }
            assert_eq!(Store::named(store.name()), Some(store));
            assert_eq!(Name::of_store(store).stored(), None);
            assert_eq!(Name::new(store.name()).ok(), Some(Name::of_store(store)));
        }
    }

    #[test]
    fn the_pieces_of_a_tag_are_the_tag() {
        let tag = Tag::new(0xffff_0123_4567_89ab_cdef_0246_8ace);
        assert_eq!(tag.bytes(), [1, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef, 2, 0x46, 0x8a, 0xce]);
        for store in Store::ALL {
            assert_eq!(Tag::from_bytes(tag.bytes()), tag);
            assert_eq!(store.tag_pieces().iter().sum::<u32>() as usize, Tag::BYTES);
            let pieces = tag.pieces(store).flat_map(|TagPiece { bytes, number }| {
                number.to_be_bytes().into_iter().skip(8 - bytes as usize)
            });
            assert_eq!(pieces.collect::<Vec<u8>>(), tag.bytes(), "{store:?}");
        }
    }

    #[test]
    fn other_names_are_sets_of_their_own() {
        let digits = "0123456789abcdef01234567";
        for name in [
            format!("p5.{digits}"),
            format!("c4.{digits}"),
            format!("p4.{}", digits.to_uppercase()),
            format!("p4.{}", &digits[1..]),
            format!("p4.0{digits}"),
            format!("p4.x.{digits}"),
            format!("p4-{digits}"),
            format!("p4.{}-f", &digits[2..]),
            "p4.".to_owned(),
        ] {
            assert_eq!(Name::new(name.clone()).ok().and_then(|name| name.stored()), None, "{name}");
        }
    }

    #[test]
    fn the_sets_of_a_store_are_found_in_order() {
        let mut table = Ruleset::new(Name::of_store(Store::Ports));
        table.sets.extend(Store::all());
        let tags = [Tag::MIN, Tag::new(7), Tag::MAX];
        for store in Store::ALL {
            let set = || Set::new(store.stores(), None);
            table.sets.extend(tags.map(|tag| (Name::in_store(store, tag), set())));
        }
        for store in Store::ALL {
            let found: Vec<Tag> = table.stored_in(store).map(|(_, tag, _)| tag).collect();
            assert_eq!(found, tags, "{store:?}");
        }
        for (name, set) in &table.sets {
            assert_eq!(table.can_store(name, set), Ok(()));
        }
        assert_eq!(table.sets_of_the_kernel(), Store::ALL.len());
        for own in ["a", "p4x", "z"].into_iter().filter_map(|name| Name::new(name).ok()) {
            table.sets.insert(own, Set::new(SetType::ProtocolPort, None));
        }
        assert_eq!(table.sets_of_the_kernel(), Store::ALL.len() + 3);
    }

    #[test]
    fn what_cannot_be_stored_is_named() {
        let store = Store::Addresses(Family::V4);
        let name = Name::in_store(store, Tag::new(1));
        let set = Set::new(store.stores(), None);
        let mut table = Ruleset::new(name.clone());
        let missing = StoreError::NoStore { set: name.clone(), store };
        assert_eq!(table.can_store(&name, &set), Err(missing.clone()));
        table.sets.insert(Name::of_store(store), set.clone());
        assert_eq!(table.can_store(&name, &set), Err(missing));
        let other_name = Name::of_store(Store::Ports);
        let wrong = Err(StoreError::WrongType(other_name.clone()));
        assert_eq!(table.can_store(&other_name, &store.set()), wrong);
        table.sets.insert(Name::of_store(store), store.set());
        assert_eq!(table.can_store(&name, &set), Ok(()));
        let other = Set::new(SetType::AddressRange(Family::V4), None);
        assert_eq!(table.can_store(&name, &other), Err(StoreError::WrongType(name.clone())));
        let commented = Set::new(store.stores(), Some(crate::Comment::new("x")));
        assert_eq!(table.can_store(&name, &commented), Err(StoreError::Comment(name.clone())));
        assert_eq!(table.can_store(&name, &store.set()), Err(StoreError::WrongType(name)));
    }
}
