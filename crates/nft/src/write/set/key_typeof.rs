//! nft's notes on the keys that it has no name for.
//!
//! In: the shape of a key, or a store. Out: user data like that of nft 1.0.6 for
//! `typeof iif . ether saddr . @th,64,128`, without which it cannot print the set.
//! Never: anything that the kernel uses.

use ruleset::{Family, KeyAddressType, KeyShape, Store};

use crate::userdata::{self, Userdata};

/// NFTNL_UDATA_SET_TYPEOF_EXPR and NFTNL_UDATA_SET_TYPEOF_DATA (include/udata.h of
/// nftables 1.0.6).
const KIND: u8 = 0;
const DETAILS: u8 = 1;

/// `enum expr_types`, include/expression.h of nftables 1.0.6.
const PAYLOAD: u32 = 7;
const META: u32 = 9;
const CONCAT: u32 = 13;

/// NFTNL_UDATA_META_KEY, src/meta.c.
const META_KEY: u8 = 0;
/// NFTNL_UDATA_SET_KEY_PAYLOAD_*, src/payload.c.
const PAYLOAD_DESCRIPTION: u8 = 0;
const PAYLOAD_FIELD: u8 = 1;
const PAYLOAD_BASE: u8 = 2;
const PAYLOAD_OFFSET: u8 = 3;
const PAYLOAD_LENGTH: u8 = 4;
/// `enum proto_desc_id` and `enum proto_bases`, include/proto.h; `enum
/// ether_hdr_fields`, the same file.
const NO_DESCRIPTION: u32 = 0;
const ETHER_DESCRIPTION: u32 = 17;
const ETHER_SOURCE: u32 = 2;
const NETWORK_BASE: u32 = 2;
const TRANSPORT_BASE: u32 = 3;
const TH_DESCRIPTION: u32 = 11;
const IP_DESCRIPTION: u32 = 12;
const IP6_DESCRIPTION: u32 = 13;
/// `enum th_hdr_fields`, `ip_hdr_fields` and `ip6_hdr_fields`, the same file.
const TH_DESTINATION_PORT: u32 = 2;
const IP_SOURCE: u32 = 11;
const IP6_SOURCE: u32 = 8;
const TARGET_BITS: u32 = 128;

/// Adds the note to a set's user data, if nft needs one.
pub(super) fn add(data: Userdata, shape: KeyShape) -> Userdata {
    if shape.address != Some(KeyAddressType::Target) {
        return data;
    }
    let interface = shape.interface.then(interface);
    let mac = shape.mac.then(mac);
    let fields: Vec<Userdata> = [interface, mac, Some(target())].into_iter().flatten().collect();
    let whole = match fields.as_slice() {
        [alone] => alone.clone(),
        fields => concatenation(fields),
    };
    data.nested(userdata::SET_KEY_TYPEOF, &whole)
}

/// Adds the note of a store: `typeof @nh,0,64 . @nh,0,32 . ip saddr . th dport` and so on.
pub(super) fn add_store(data: Userdata, store: Store) -> Userdata {
    let mut fields: Vec<Userdata> =
        store.tag_pieces().iter().map(|bytes| number(NETWORK_BASE, 0, 8 * bytes)).collect();
    let port = || field(TH_DESCRIPTION, TH_DESTINATION_PORT);
    match store {
        Store::Addresses(family) => fields.push(source(family)),
        Store::AddressPorts(family) => fields.extend([source(family), port()]),
        Store::Ports => fields.extend([protocol(), port()]),
    }
    data.nested(userdata::SET_KEY_TYPEOF, &concatenation(&fields))
}

fn concatenation(fields: &[Userdata]) -> Userdata {
    let numbered = fields.iter().zip(0..);
    let all = numbered.fold(Userdata::default(), |all, (field, at)| all.nested(at, field));
    expression(CONCAT, &all)
}

/// `ip saddr`.
fn source(family: Family) -> Userdata {
    match family {
        Family::V4 => field(IP_DESCRIPTION, IP_SOURCE),
        Family::V6 => field(IP6_DESCRIPTION, IP6_SOURCE),
    }
}

/// `meta l4proto`.
fn protocol() -> Userdata {
    expression(META, &Userdata::default().number(META_KEY, libc::NFT_META_L4PROTO as u32))
}

/// `iif`.
fn interface() -> Userdata {
    expression(META, &Userdata::default().number(META_KEY, libc::NFT_META_IIF as u32))
}

/// `ether saddr`.
fn mac() -> Userdata {
    field(ETHER_DESCRIPTION, ETHER_SOURCE)
}

/// `@th,64,128`.
fn target() -> Userdata {
    const OFFSET_BITS: u32 = 64;
    number(TRANSPORT_BASE, OFFSET_BITS, TARGET_BITS)
}

/// A field of a header.
fn field(description: u32, field: u32) -> Userdata {
    let field =
        Userdata::default().number(PAYLOAD_DESCRIPTION, description).number(PAYLOAD_FIELD, field);
    expression(PAYLOAD, &field)
}

/// Bits of a header, as a number.
fn number(base: u32, offset_bits: u32, bits: u32) -> Userdata {
    let field = Userdata::default()
        .number(PAYLOAD_DESCRIPTION, NO_DESCRIPTION)
        .number(PAYLOAD_FIELD, 0)
        .number(PAYLOAD_BASE, base)
        .number(PAYLOAD_OFFSET, offset_bits)
        .number(PAYLOAD_LENGTH, bits);
    expression(PAYLOAD, &field)
}

fn expression(kind: u32, details: &Userdata) -> Userdata {
    Userdata::default().number(KIND, kind).nested(DETAILS, details)
}
