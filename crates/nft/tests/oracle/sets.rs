//! Sets of every type that nftnl can express.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use nftnl::set::SetKey;
use ruleset::{Element, Family, KeyAddressType, KeyShape, SetType, Store, TableFamily, Transport};

use crate::writer::{Counts, set, stored};

/// Keys that nftnl does not know, by nft's numbers of their parts
/// (`enum datatypes`, include/datatype.h of nftables 1.0.6).
struct Concatenated<const TYPE: u32, const LEN: u32>(Vec<u8>);

impl<const TYPE: u32, const LEN: u32> SetKey for Concatenated<TYPE, LEN> {
    const TYPE: u32 = TYPE;
    const LEN: u32 = LEN;

    fn data(&self) -> Box<[u8]> {
        self.0.clone().into_boxed_slice()
    }
}

const IPV4: u32 = 7;
const IPV6: u32 = 8;
const PORT: u32 = 13;
const ICMPV6_TYPE: u32 = 29;
type Icmpv6Type = Concatenated<ICMPV6_TYPE, 1>;
type V4Port = Concatenated<{ IPV4 << 6 | PORT }, 8>;
type V6Port = Concatenated<{ IPV6 << 6 | PORT }, 20>;
type V4Pair = Concatenated<{ IPV4 << 6 | IPV4 }, 8>;
type V6Pair = Concatenated<{ IPV6 << 6 | IPV6 }, 32>;

/// nft's numbers (`enum datatypes`, include/datatype.h of nftables 1.0.6).
const INTEGER: u32 = 4;
const ETHER_ADDR: u32 = 9;
const IFACE_INDEX: u32 = 20;

/// Sets that policies use.
pub(crate) fn sets(counts: &mut Counts) {
    let v4: Vec<Ipv4Addr> = (0..50).map(|one| Ipv4Addr::new(10, 0, one, 255 - one)).collect();
    let v6: Vec<Ipv6Addr> = v4.iter().map(|one| one.to_ipv6_compatible()).collect();
    let pad = |port: u16| [port.to_be_bytes(), [0, 0]].concat();
    let of = |address: &Ipv4Addr| IpAddr::from(*address);
    let v4_keys = v4.iter().map(|one| (Element::Address((*one).into()), *one)).collect();
    set::<Ipv4Addr>(TableFamily::Inet, SetType::Address(Family::V4), v4_keys, counts);
    let v6_keys = v6.iter().map(|one| (Element::Address((*one).into()), *one)).collect();
    set::<Ipv6Addr>(TableFamily::Inet, SetType::Address(Family::V6), v6_keys, counts);
    let ports = [1_u16, 80, 65535];
    let keys = [133_u8, 255].map(|one| (Element::Icmpv6Type(one), Concatenated(vec![one])));
    set::<Icmpv6Type>(TableFamily::Inet, SetType::Icmpv6Type, keys.into(), counts);
    let keys = v4.iter().zip(ports).map(|(one, port)| {
        (
            Element::AddressPort(of(one), port),
            Concatenated([one.octets().into(), pad(port)].concat()),
        )
    });
    set::<V4Port>(TableFamily::Inet, SetType::AddressPort(Family::V4), keys.collect(), counts);
    let keys = v6.iter().zip(ports).map(|(one, port)| {
        let key = Concatenated([one.octets().into(), pad(port)].concat());
        (Element::AddressPort((*one).into(), port), key)
    });
    set::<V6Port>(TableFamily::Inet, SetType::AddressPort(Family::V6), keys.collect(), counts);
    let keys = v4.iter().zip(&v4[1..]).map(|(one, other)| {
        let key = Concatenated([one.octets(), other.octets()].concat());
        (Element::AddressPair(of(one), of(other)), key)
    });
    set::<V4Pair>(TableFamily::Inet, SetType::AddressPair(Family::V4), keys.collect(), counts);
    let keys = v6.iter().zip(&v6[1..]).map(|(one, other)| {
        let key = Concatenated([one.octets(), other.octets()].concat());
        (Element::AddressPair((*one).into(), (*other).into()), key)
    });
    set::<V6Pair>(TableFamily::Inet, SetType::AddressPair(Family::V6), keys.collect(), counts);
}

/// The tag of the stored sets.
pub(crate) const TAG: u128 = 0x0123_4567_89ab_cdef_fedc_ba98;
/// The tag before an address, and before an address or a protocol with a port.
const OF_THREE: u32 = (INTEGER << 6 | INTEGER) << 6 | INTEGER;
const OF_TWO: u32 = INTEGER << 6 | INTEGER;
const PROTOCOL: u32 = 12;

/// Sets of every store, and a set of ports of its own. The pieces of a
/// tag are numbers in network order.
pub(crate) fn stored_sets(counts: &mut Counts) {
    const V4: [u8; 4] = [10, 0, 0, 1];
    const V6: [u8; 16] = [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    const PORT_80: [u8; 4] = [0, 80, 0, 0];
    const SCTP: [u8; 4] = [132, 0, 0, 0];
    let tagged = |fields: &[&[u8]]| [&TAG.to_be_bytes()[4..], &fields.concat()].concat();
    macro_rules! stored_in {
        ($store:expr, $number:expr, $length:expr, $element:expr, $fields:expr) => {
            let key = Concatenated::<{ $number }, $length>(tagged($fields));
            stored($store, vec![($element, key)], counts);
        };
    }
    let (v4, v6) = (IpAddr::from(V4), IpAddr::from(V6));
    stored_in!(
        Store::Addresses(Family::V4),
        OF_THREE << 6 | IPV4,
        16,
        Element::Address(v4),
        &[&V4]
    );
    stored_in!(
        Store::Addresses(Family::V6),
        OF_THREE << 6 | IPV6,
        28,
        Element::Address(v6),
        &[&V6]
    );
    stored_in!(
        Store::AddressPorts(Family::V4),
        (OF_TWO << 6 | IPV4) << 6 | PORT,
        20,
        Element::AddressPort(v4, 80),
        &[&V4, &PORT_80]
    );
    stored_in!(
        Store::AddressPorts(Family::V6),
        (OF_TWO << 6 | IPV6) << 6 | PORT,
        32,
        Element::AddressPort(v6, 80),
        &[&V6, &PORT_80]
    );
    let ports = Element::ProtocolPort(Transport::Sctp, 80);
    stored_in!(Store::Ports, (OF_TWO << 6 | PROTOCOL) << 6 | PORT, 20, ports, &[&SCTP, &PORT_80]);
    let key = Concatenated::<{ PROTOCOL << 6 | PORT }, 8>([SCTP, PORT_80].concat());
    set(TableFamily::Inet, SetType::ProtocolPort, vec![(ports, key)], counts);
}

/// Sets of keys. A key's fields are padded to 4 bytes each. The index of an
/// interface is in host order.
pub(crate) fn keys(family: TableFamily, counts: &mut Counts) {
    const IN_AND_MAC: u32 = IFACE_INDEX << 6 | ETHER_ADDR;
    const MAC: [u8; 6] = [2, 0, 0, 0, 0, 0xfe];
    const PADDED: [u8; 8] = [2, 0, 0, 0, 0, 0xfe, 0, 0];
    let v4 = Ipv4Addr::new(10, 0, 0, 1);
    let v6 = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
    let key = |interface: bool, mac: bool, address: Option<IpAddr>, kind, bytes: &[&[u8]]| {
        let shape = KeyShape { interface, mac, address: kind };
        let interface = interface.then_some(7);
        let key = ruleset::Key { interface, mac: mac.then_some(MAC), address };
        (SetType::Key(shape), Element::Key(key), bytes.concat())
    };
    let index = &7_u32.to_ne_bytes();
    let (v4_kind, v6_kind) = (Some(KeyAddressType::V4), Some(KeyAddressType::V6));
    let target = Some(KeyAddressType::Target);
    let (v4_address, v6_address) = (Some(IpAddr::from(v4)), Some(IpAddr::from(v6)));
    macro_rules! set_of {
        ($number:expr, $length:expr, $key:expr) => {
            let (set_type, element, bytes) = $key;
            let keys = vec![(element, Concatenated::<{ $number }, $length>(bytes))];
            set(family, set_type, keys, counts);
        };
    }
    set_of!(IFACE_INDEX, 4, key(true, false, None, None, &[index]));
    set_of!(ETHER_ADDR, 6, key(false, true, None, None, &[&MAC]));
    set_of!(INTEGER, 16, key(false, false, v6_address, target, &[&v6.octets()]));
    set_of!(IN_AND_MAC, 12, key(true, true, None, None, &[index, &PADDED]));
    set_of!(
        IFACE_INDEX << 6 | IPV4,
        8,
        key(true, false, v4_address, v4_kind, &[index, &v4.octets()])
    );
    set_of!(
        IN_AND_MAC << 6 | IPV4,
        16,
        key(true, true, v4_address, v4_kind, &[index, &PADDED, &v4.octets()])
    );
    set_of!(
        IN_AND_MAC << 6 | IPV6,
        28,
        key(true, true, v6_address, v6_kind, &[index, &PADDED, &v6.octets()])
    );
    set_of!(
        IN_AND_MAC << 6 | INTEGER,
        28,
        key(true, true, v6_address, target, &[index, &PADDED, &v6.octets()])
    );
}
