//! Address ranges with a meaning of their own.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ruleset::AddressRange;

/// `fe80::/10` (RFC 4291, 2.4).
pub(super) fn link_local() -> AddressRange {
    let first = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0);
    let last = Ipv6Addr::new(0xfebf, 0xffff, 0xffff, 0xffff, 0xffff, 0xffff, 0xffff, 0xffff);
    range(first, last)
}

/// `ff00::/8` (RFC 4291, 2.4).
pub(super) fn multicast6() -> AddressRange {
    let first = Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0);
    let last = Ipv6Addr::new(0xffff, 0xffff, 0xffff, 0xffff, 0xffff, 0xffff, 0xffff, 0xffff);
    range(first, last)
}

/// `224.0.0.0/4` (RFC 5771, 3).
pub(super) fn multicast4() -> AddressRange {
    range(Ipv4Addr::new(224, 0, 0, 0), Ipv4Addr::new(239, 255, 255, 255))
}

/// `255.255.255.255` (RFC 919, 7).
pub(super) fn broadcast() -> AddressRange {
    AddressRange::single(Ipv4Addr::BROADCAST.into())
}

/// `0.0.0.0`, the source of a host that has no address yet (RFC 1122, 3.2.1.3).
pub(super) fn unspecified4() -> AddressRange {
    AddressRange::single(Ipv4Addr::UNSPECIFIED.into())
}

/// `::`, the source of a host that has no address yet (RFC 4291, 2.5.2).
pub(super) fn unspecified6() -> AddressRange {
    AddressRange::single(Ipv6Addr::UNSPECIFIED.into())
}

#[expect(clippy::expect_used, reason = "two constants in order")]
fn range(first: impl Into<IpAddr>, last: impl Into<IpAddr>) -> AddressRange {
    AddressRange::new(first.into(), last.into()).expect("first before last")
}
