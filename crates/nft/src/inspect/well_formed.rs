//! Whether a message has the attributes that libnftnl 1.2.4 reads, each as
//! long as its type: on any other it calls `abort` (`abi_breakage`, src/utils.c).
//!
//! In: the kind of a message and its attributes. Out: yes or no.
//! Never: a look at values.

use self::Shape::{Bytes, Expression, List, Nested, Number, Text, Verdict};

/// What an attribute holds.
#[derive(Clone, Copy)]
enum Shape {
    /// A number of this many bytes.
    Number(usize),
    /// Text that ends in NUL.
    Text,
    /// Any bytes.
    Bytes,
    /// Attributes.
    Nested(&'static [(u16, Shape)]),
    /// Attributes of one type (NFTA_LIST_ELEM).
    List(&'static Shape),
    /// A code (1) and, of a jump, its chain (2): without one, libnftnl follows
    /// a pointer that nobody set (`nftnl_parse_verdict`, src/expr/data_reg.c).
    Verdict,
    /// A name (1) and attributes that depend on it (2).
    Expression,
}

const U32: Shape = Number(4);
const U64: Shape = Number(8);
const DATA: Shape = Nested(&[(1, Bytes), (2, Verdict)]);
const HOOK: Shape = Nested(&[(1, U32), (2, U32), (3, Text)]);
const COUNTERS: Shape = Nested(&[(1, U64), (2, U64)]);
const CONCATENATION: Shape = List(&Nested(&[(1, U32)]));
const ELEMENT: Shape = Nested(&[
    (1, DATA),
    (2, DATA),
    (3, U32),
    (4, U64),
    (5, U64),
    (6, Bytes),
    (7, Expression),
    (9, Text),
    (10, DATA),
    (11, List(&Expression)),
]);

/// `enum nft_table_attributes` and so on, include/uapi/linux/netfilter/nf_tables.h.
const MESSAGES: [(i32, &[(u16, Shape)]); 5] = [
    (libc::NFT_MSG_NEWTABLE, &[(1, Text), (2, U32), (3, U32), (4, U64), (6, Bytes), (7, U32)]),
    (
        libc::NFT_MSG_NEWCHAIN,
        &[
            (1, Text),
            (2, U64),
            (3, Text),
            (4, HOOK),
            (5, U32),
            (6, U32),
            (7, Text),
            (8, COUNTERS),
            (10, U32),
            (11, U32),
            (12, Bytes),
        ],
    ),
    (
        libc::NFT_MSG_NEWRULE,
        &[
            (1, Text),
            (2, Text),
            (3, U64),
            (4, List(&Expression)),
            (6, U64),
            (7, Bytes),
            (9, U32),
            (10, U32),
        ],
    ),
    (
        libc::NFT_MSG_NEWSET,
        &[
            (1, Text),
            (2, Text),
            (3, U32),
            (4, U32),
            (5, U32),
            (6, U32),
            (7, U32),
            (8, U32),
            (9, Nested(&[(1, U32), (2, CONCATENATION)])),
            (10, U32),
            (11, U64),
            (12, U32),
            (13, Bytes),
            (16, U64),
            (17, Expression),
            (18, List(&Expression)),
        ],
    ),
    (libc::NFT_MSG_NEWSETELEM, &[(1, Text), (2, Text), (3, List(&ELEMENT)), (4, U32)]),
];

/// The name of an expression and its attributes.
type Named = (&'static [u8], &'static [(u16, Shape)]);

const EXPRESSIONS: [Named; 12] = [
    (b"meta\0", &[(1, U32), (2, U32), (3, U32)]),
    (b"ct\0", &[(1, U32), (2, U32), (3, Number(1)), (4, U32)]),
    (
        b"payload\0",
        &[(1, U32), (2, U32), (3, U32), (4, U32), (5, U32), (6, U32), (7, U32), (8, U32)],
    ),
    (b"bitwise\0", &[(1, U32), (2, U32), (3, U32), (4, DATA), (5, DATA), (6, U32), (7, DATA)]),
    (b"cmp\0", &[(1, U32), (2, U32), (3, DATA)]),
    (b"range\0", &[(1, U32), (2, U32), (3, DATA), (4, DATA)]),
    (b"lookup\0", &[(1, Text), (2, U32), (3, U32), (4, U32), (5, U32)]),
    (b"immediate\0", &[(1, U32), (2, DATA)]),
    (
        b"dynset\0",
        &[
            (1, Text),
            (2, U32),
            (3, U32),
            (4, U32),
            (5, U32),
            (6, U64),
            (7, Expression),
            (9, U32),
            (10, List(&Expression)),
        ],
    ),
    (b"counter\0", &[(1, U64), (2, U64)]),
    (b"limit\0", &[(1, U64), (2, U64), (3, U32), (4, U32), (5, U32)]),
    (b"log\0", &[(1, Number(2)), (2, Text), (3, U32), (4, Number(2)), (5, U32), (6, U32)]),
];

/// Whether libnftnl takes a message of this kind with these attributes.
pub(super) fn is_well_formed(kind: i32, attributes: &[u8]) -> bool {
    let known = MESSAGES.iter().find(|(one, _)| *one == kind);
    known.is_some_and(|(_, known)| all(attributes, |one, value| fits_one(known, one, value)))
}

fn fits_one(known: &[(u16, Shape)], kind: u16, value: &[u8]) -> bool {
    known.iter().any(|(one, shape)| *one == kind && fits(*shape, value))
}

fn fits(shape: Shape, value: &[u8]) -> bool {
    match shape {
        Number(bytes) => value.len() == bytes,
        Text => value.last() == Some(&0),
        Bytes => true,
        Nested(known) => all(value, |one, value| fits_one(known, one, value)),
        List(shape) => all(value, |one, value| one == 1 && fits(*shape, value)),
        Verdict => verdict(value),
        Expression => expression(value),
    }
}

fn verdict(attributes: &[u8]) -> bool {
    let (mut code, mut has_chain) = (None, false);
    let framed = all(attributes, |kind, value| match kind {
        1 => code.replace(value).is_none() && value.len() == 4,
        2 => {
            has_chain = true;
            fits(Text, value)
        }
        _ => false,
    });
    let code = code.and_then(|code| code.first_chunk()).map(|code| i32::from_be_bytes(*code));
    let jumps = code.is_some_and(|code| code == libc::NFT_JUMP || code == libc::NFT_GOTO);
    framed && code.is_some() && jumps == has_chain
}

fn expression(attributes: &[u8]) -> bool {
    let (mut name, mut data): (&[u8], Option<&[u8]>) = (b"", None);
    let framed = all(attributes, |kind, value| {
        match kind {
            1 => name = value,
            2 => data = Some(value),
            _ => return false,
        }
        true
    });
    let known = EXPRESSIONS.iter().find(|(one, _)| *one == name);
    let fit = |(_, known): &(_, &[_])| {
        data.is_none_or(|data| all(data, |one, value| fits_one(known, one, value)))
    };
    framed && known.is_some_and(fit)
}

/// Whether the bytes are attributes (`nlattr`) that all pass a check.
fn all<'a>(mut bytes: &'a [u8], mut check: impl FnMut(u16, &'a [u8]) -> bool) -> bool {
    const NLATTR: usize = 4;
    const TYPE_MASK: u16 = 0x3fff;
    while !bytes.is_empty() {
        let Some(&[l0, l1, k0, k1]) = bytes.first_chunk::<NLATTR>() else { return false };
        let length = usize::from(u16::from_ne_bytes([l0, l1]));
        let kind = u16::from_ne_bytes([k0, k1]) & TYPE_MASK;
        match bytes.get(NLATTR..length) {
            Some(value) if check(kind, value) => {}
            _ => return false,
        }
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    true
}
