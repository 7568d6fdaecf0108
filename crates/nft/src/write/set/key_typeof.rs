//! nft's notes on the keys that it has no name for.
//!
//! In: the shape of a key. Out: user data like that of nft 1.0.6 for `typeof iif .
//! ether saddr . @th,64,128`, without which it cannot print the set.
//! Never: anything that the kernel uses.

use ruleset::{KeyAddressType, KeyShape};

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
const TRANSPORT_BASE: u32 = 3;

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
        fields => {
            let numbered = fields.iter().zip(0..);
            let all = numbered.fold(Userdata::default(), |all, (field, at)| all.nested(at, field));
            expression(CONCAT, &all)
        }
    };
    data.nested(userdata::SET_KEY_TYPEOF, &whole)
}

/// `iif`.
fn interface() -> Userdata {
    expression(META, &Userdata::default().number(META_KEY, libc::NFT_META_IIF as u32))
}

/// `ether saddr`.
fn mac() -> Userdata {
    let field = Userdata::default()
        .number(PAYLOAD_DESCRIPTION, ETHER_DESCRIPTION)
        .number(PAYLOAD_FIELD, ETHER_SOURCE);
    expression(PAYLOAD, &field)
}

/// `@th,64,128`.
fn target() -> Userdata {
    const OFFSET_BITS: u32 = 64;
    const LENGTH_BITS: u32 = 128;
    let field = Userdata::default()
        .number(PAYLOAD_DESCRIPTION, NO_DESCRIPTION)
        .number(PAYLOAD_FIELD, 0)
        .number(PAYLOAD_BASE, TRANSPORT_BASE)
        .number(PAYLOAD_OFFSET, OFFSET_BITS)
        .number(PAYLOAD_LENGTH, LENGTH_BITS);
    expression(PAYLOAD, &field)
}

fn expression(kind: u32, details: &Userdata) -> Userdata {
    Userdata::default().number(KIND, kind).nested(DETAILS, details)
}
