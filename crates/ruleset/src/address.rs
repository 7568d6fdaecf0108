//! Address families and ranges of addresses.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// IPv4 or IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// Addresses of one family from `first` to `last`, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AddressRange {
    first: IpAddr,
    last: IpAddr,
}

impl Family {
    /// Both.
    pub const BOTH: [Self; 2] = [Self::V4, Self::V6];

    /// The family of an address.
    pub const fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }

    /// `4` or `6`, as in the names of our sets.
    pub const fn digit(self) -> char {
        match self {
            Self::V4 => '4',
            Self::V6 => '6',
        }
    }

    /// Length of an address in bits.
    pub const fn bits(self) -> u32 {
        match self {
            Self::V4 => 32,
            Self::V6 => 128,
        }
    }
}

impl AddressRange {
    /// The range `first..=last`; `None` if the families differ or it is empty.
    pub fn new(first: IpAddr, last: IpAddr) -> Option<Self> {
        (Family::of(first) == Family::of(last) && first <= last).then_some(Self { first, last })
    }

    /// The range of one address.
    pub const fn single(address: IpAddr) -> Self {
        Self { first: address, last: address }
    }

    /// First address.
    pub const fn first(&self) -> IpAddr {
        self.first
    }

    /// Last address, included.
    pub const fn last(&self) -> IpAddr {
        self.last
    }

    /// The family of both ends.
    pub const fn family(&self) -> Family {
        Family::of(self.first)
    }

    /// Whether the address lies in the range.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.first <= address && address <= self.last && Family::of(address) == self.family()
    }

    /// The prefix length, if the range is exactly one prefix.
    pub fn prefix_len(&self) -> Option<u32> {
        let bits = self.family().bits();
        let (first, last) = (number(self.first), number(self.last));
        let differing = first ^ last;
        let host_bits = 128 - differing.leading_zeros();
        let mask = if host_bits == 128 { u128::MAX } else { (1 << host_bits) - 1 };
        (differing == mask && first & mask == 0).then_some(bits - host_bits)
    }
}

/// The address as a number; of IPv4 the low 32 bits.
pub fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u32::from(v4).into(),
        IpAddr::V6(v6) => v6.into(),
    }
}

/// The address of this family with this number; `None` if it has too many bits.
pub fn from_number(family: Family, number: u128) -> Option<IpAddr> {
    match family {
        Family::V4 => u32::try_from(number).ok().map(|bits| Ipv4Addr::from(bits).into()),
        Family::V6 => Some(Ipv6Addr::from(number).into()),
    }
}

/// nft's form: an address, a prefix, or `first-last`.
impl fmt::Display for AddressRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            return write!(f, "{}", self.first);
        }
        match self.prefix_len() {
            Some(length) => write!(f, "{}/{length}", self.first),
            None => write!(f, "{}-{}", self.first, self.last),
        }
    }
}
