//! Netlink messages as bytes: their headers and attributes, and copies without some
//! attributes.

use std::fmt;

/// `nlmsghdr` and `nfgenmsg`.
const NLMSGHDR: usize = 16;
const NFGENMSG: usize = 4;
const NLATTR: usize = 4;
/// NLA_F_NESTED, which libmnl sets on every nest.
const NESTED: u16 = 1 << 15;
/// NFTA_RULE_EXPRESSIONS.
const EXPRESSIONS: u16 = 4;

/// A message without its length and number, which have no meaning here.
#[derive(Clone, PartialEq)]
pub(crate) struct Message {
    pub(crate) kind: u16,
    pub(crate) flags: u16,
    /// `nfgenmsg`: family, version, resource.
    pub(crate) generic: [u8; NFGENMSG],
    pub(crate) attributes: Vec<u8>,
}

/// An attribute: its depth, its type, its value.
pub(crate) type Attribute<'a> = (usize, u16, &'a [u8]);

/// The messages in some bytes.
pub(crate) fn messages(mut bytes: &[u8]) -> Vec<Message> {
    let mut all = Vec::new();
    while bytes.len() >= NLMSGHDR + NFGENMSG {
        let length = u32::from_ne_bytes(bytes[..4].try_into().expect("4 bytes")) as usize;
        all.push(Message {
            kind: short(bytes, 4),
            flags: short(bytes, 6),
            generic: bytes[NLMSGHDR..NLMSGHDR + NFGENMSG].try_into().expect("4 bytes"),
            attributes: bytes[NLMSGHDR + NFGENMSG..length].to_vec(),
        });
        bytes = &bytes[length.next_multiple_of(4)..];
    }
    all
}

impl Message {
    /// How many expressions the message has.
    pub(crate) fn expressions(&self) -> usize {
        /// NFT_MSG_NEWRULE of nf_tables.
        const NEW_RULE: u16 = 10 << 8 | 6;
        if self.kind != NEW_RULE {
            return 0;
        }
        let list = attributes(&self.attributes).into_iter().find(|(kind, _)| *kind == EXPRESSIONS);
        list.map_or(0, |(_, list)| attributes(list).len())
    }

    /// The same message without the attributes that match, and their number.
    pub(crate) fn without(&self, is_so: &dyn Fn(Attribute<'_>) -> bool) -> (Self, usize) {
        let mut removed = 0;
        let attributes = rebuilt(&self.attributes, 0, is_so, &mut removed);
        (Self { attributes, ..self.clone() }, removed)
    }

    /// The value of an attribute.
    pub(crate) fn attribute(&self, kind: u16) -> Option<&[u8]> {
        attribute(&self.attributes, kind)
    }

    /// The text of an attribute.
    pub(crate) fn text(&self, kind: u16) -> String {
        let text = self.attribute(kind).and_then(|text| text.strip_suffix(&[0]));
        String::from_utf8_lossy(text.unwrap_or_default()).into_owned()
    }
}

/// The value of the attribute of this type in a list.
pub(crate) fn attribute(bytes: &[u8], kind: u16) -> Option<&[u8]> {
    attributes(bytes).into_iter().find(|(one, _)| *one == kind).map(|(_, value)| value)
}

/// Types, without flags, and values.
pub(crate) fn attributes(bytes: &[u8]) -> Vec<(u16, &[u8])> {
    raw(bytes).into_iter().map(|(kind, value)| (kind & !NESTED, value)).collect()
}

fn raw(mut bytes: &[u8]) -> Vec<(u16, &[u8])> {
    let mut all = Vec::new();
    while bytes.len() >= NLATTR {
        let length = usize::from(short(bytes, 0));
        all.push((short(bytes, 2), &bytes[NLATTR..length]));
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    all
}

fn rebuilt(
    bytes: &[u8],
    depth: usize,
    is_so: &dyn Fn(Attribute<'_>) -> bool,
    removed: &mut usize,
) -> Vec<u8> {
    let mut out = Vec::new();
    for (kind, value) in raw(bytes) {
        if is_so((depth, kind & !NESTED, value)) {
            *removed += 1;
            continue;
        }
        let is_nest = kind & NESTED != 0;
        let value =
            if is_nest { rebuilt(value, depth + 1, is_so, removed) } else { value.to_vec() };
        let length = u16::try_from(NLATTR + value.len()).expect("a length");
        out.extend(length.to_ne_bytes());
        out.extend(kind.to_ne_bytes());
        out.extend(value);
        out.resize(out.len().next_multiple_of(4), 0);
    }
    out
}

fn short(bytes: &[u8], offset: usize) -> u16 {
    u16::from_ne_bytes(bytes[offset..offset + 2].try_into().expect("2 bytes"))
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:#x} flags {:#x} {:?}", self.kind, self.flags, self.generic)?;
        tree(f, &self.attributes, 1)
    }
}

fn tree(f: &mut fmt::Formatter<'_>, bytes: &[u8], depth: usize) -> fmt::Result {
    for (kind, value) in raw(bytes) {
        let (indent, name) = ("  ".repeat(depth), kind & !NESTED);
        if kind & NESTED != 0 {
            writeln!(f, "{indent}{name}")?;
            tree(f, value, depth + 1)?;
        } else {
            writeln!(f, "{indent}{name} {value:02x?} {:?}", String::from_utf8_lossy(value))?;
        }
    }
    Ok(())
}
