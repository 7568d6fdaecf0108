//! Netlink's own framing: message headers, attributes and error messages.
//!
//! In: received bytes. Out: messages and errors as values. `request` builds
//! messages to send.
//! Never: trust in a length that the bytes themselves state.
//!
//! Layouts: include/uapi/linux/netlink.h and linux/netfilter/nfnetlink.h.

mod request;

use nix::errno::Errno;

pub(crate) use request::{Request, batch_mark};

/// `nlmsghdr` (16 bytes) and `nfgenmsg` (4 bytes).
pub(crate) const HEADERS: usize = 20;
const NLMSGHDR: usize = 16;
/// `nlattr`.
const NLATTR: usize = 4;
/// NLA_TYPE_MASK: without nested, byte order.
const TYPE_MASK: u16 = 0x3fff;

/// One message from the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Message<'a> {
    /// NLMSG_* or subsystem and NFT_MSG_*.
    pub(crate) kind: u16,
    /// NLM_F_*.
    pub(crate) flags: u16,
    /// The number of the request that it answers.
    pub(crate) sequence: u32,
    /// The whole message, header included.
    pub(crate) bytes: &'a [u8],
}

/// The content of an NLMSG_ERROR message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    /// The request that it answers.
    pub(crate) sequence: u32,
    /// The error. `None` in an acknowledgement.
    pub(crate) errno: Option<Errno>,
    /// NLMSGERR_ATTR_MSG.
    pub(crate) text: Option<String>,
}

/// The messages of one datagram, up to the first that is cut or malformed.
pub(crate) fn messages(mut datagram: &[u8]) -> impl Iterator<Item = Message<'_>> {
    std::iter::from_fn(move || {
        let length = number(datagram, 0)? as usize;
        let bytes = datagram.get(..length).filter(|bytes| bytes.len() >= NLMSGHDR)?;
        datagram = datagram.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(Message {
            kind: short(bytes, 4)?,
            flags: short(bytes, 6)?,
            sequence: number(bytes, 8)?,
            bytes,
        })
    })
}

impl Message<'_> {
    /// Reads an error message. `None` if it is another kind or cut short.
    pub(crate) fn failure(&self) -> Option<Failure> {
        /// `nlmsgerr`: the error and the request's header.
        const NLMSGERR: usize = NLMSGHDR + 4 + NLMSGHDR;
        if i32::from(self.kind) != libc::NLMSG_ERROR {
            return None;
        }
        let attributes = if i32::from(self.flags) & libc::NLM_F_ACK_TLVS == 0 {
            None
        } else if i32::from(self.flags) & libc::NLM_F_CAPPED != 0 {
            self.bytes.get(NLMSGERR..)
        } else {
            let request = number(self.bytes, NLMSGHDR + 4)? as usize;
            self.bytes.get(request.next_multiple_of(4).saturating_add(NLMSGHDR + 4)..)
        };
        Some(Failure {
            sequence: number(self.bytes, NLMSGHDR + 4 + 8)?,
            errno: self.error_code(),
            text: attributes.and_then(|bytes| {
                /// `enum nlmsgerr_attrs`.
                const NLMSGERR_ATTR_MSG: u16 = 1;
                let text = attribute(bytes, NLMSGERR_ATTR_MSG)?;
                let end = text.iter().position(|byte| *byte == 0).unwrap_or(text.len());
                Some(String::from_utf8_lossy(&text[..end]).into_owned())
            }),
        })
    }

    /// The error at the start of an NLMSG_ERROR or NLMSG_DONE message. `None` if
    /// it is 0.
    pub(crate) fn error_code(&self) -> Option<Errno> {
        let code = i32::from_ne_bytes(number(self.bytes, NLMSGHDR)?.to_ne_bytes());
        (code != 0).then(|| Errno::from_raw(code.wrapping_neg()))
    }

    /// All of the message after `nlmsghdr`.
    pub(crate) fn body(&self) -> &[u8] {
        self.bytes.get(NLMSGHDR..).unwrap_or_default()
    }

    /// The family in `nfgenmsg`.
    pub(crate) fn family(&self) -> Option<u8> {
        self.bytes.get(NLMSGHDR).copied()
    }

    /// The value of an attribute after `nfgenmsg`.
    pub(crate) fn attribute(&self, kind: u16) -> Option<&[u8]> {
        attribute(self.bytes.get(HEADERS..)?, kind)
    }
}

/// The value of the first attribute (`nlattr`) of this type.
pub(crate) fn attribute(bytes: &[u8], kind: u16) -> Option<&[u8]> {
    attributes(bytes).map_while(|one| one).find(|(found, _)| *found == kind).map(|(_, value)| value)
}

/// All attributes (`nlattr`), in their order. `None` stands for what is garbled,
/// and ends them.
pub(crate) fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = Option<(u16, &[u8])>> {
    std::iter::from_fn(move || {
        if bytes.is_empty() {
            return None;
        }
        let all = std::mem::take(&mut bytes);
        let one = first_attribute(all);
        if let Some((_, value)) = one {
            let length = (NLATTR + value.len()).next_multiple_of(4);
            bytes = all.get(length..).unwrap_or_default();
        }
        Some(one)
    })
}

fn first_attribute(attributes: &[u8]) -> Option<(u16, &[u8])> {
    let length = short(attributes, 0)? as usize;
    Some((short(attributes, 2)? & TYPE_MASK, attributes.get(NLATTR..length)?))
}

fn number(bytes: &[u8], offset: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(offset..)?.first_chunk()?))
}

fn short(bytes: &[u8], offset: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(*bytes.get(offset..)?.first_chunk()?))
}

#[cfg(test)]
mod tests;
