//! How many packets each pod's rules dropped: the counters beside the log's limit.
//!
//! In: the names of a table and a set. Out: packets by address, since the address came
//! into the set. Never: a change.
//!
//! Layout: include/uapi/linux/netfilter/nf_tables.h.

use std::collections::BTreeMap;
use std::net::IpAddr;

use nix::errno::Errno;

use crate::error::{OpenError, ReadError};
use crate::netlink::{self, Message, Request, attribute, attributes};
use crate::socket::Socket;

/// `enum nft_set_elem_list_attributes`.
mod list {
    pub(super) const TABLE: u16 = 1;
    pub(super) const SET: u16 = 2;
    pub(super) const ELEMENTS: u16 = 3;
}

/// `enum nft_set_elem_attributes`.
mod element {
    pub(super) const KEY: u16 = 1;
    pub(super) const EXPRESSIONS: u16 = 11;
}

/// NFTA_DATA_VALUE.
const DATA_VALUE: u16 = 1;
/// NFTA_LIST_ELEM.
const LIST_ELEM: u16 = 1;
/// NFTA_EXPR_NAME and NFTA_EXPR_DATA.
const EXPR: [u16; 2] = [1, 2];
/// NFTA_COUNTER_PACKETS.
const COUNTER_PACKETS: u16 = 2;

/// A socket to ask by.
#[derive(Debug)]
pub struct DropCounts {
    socket: Socket,
    number: u32,
}

impl DropCounts {
    /// Opens a socket in this network namespace.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open() -> Result<Self, OpenError> {
        Ok(Self { socket: Socket::open().map_err(OpenError)?, number: 0 })
    }

    /// The packets counted in a set of a table of family `inet`, by address. Empty where
    /// there is no such set.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn of(&mut self, table: &str, set: &str) -> Result<BTreeMap<IpAddr, u64>, ReadError> {
        self.number = self.number.wrapping_add(1);
        let mut request = Request::default();
        let kind = message_kind(libc::NFT_MSG_GETSETELEM);
        let flags = libc::NLM_F_REQUEST | libc::NLM_F_DUMP;
        // NFPROTO_INET (include/uapi/linux/netfilter.h).
        request.begin(kind, flags, self.number, libc::NFPROTO_INET as u8, 0);
        request.attribute(list::TABLE, format!("{table}\0").as_bytes());
        request.attribute(list::SET, format!("{set}\0").as_bytes());
        self.socket.drain();
        self.socket.send(request.bytes()).map_err(ReadError::Io)?;
        let mut counts = BTreeMap::new();
        loop {
            let datagram = match self.socket.receive_patiently() {
                Ok(Some(datagram)) => datagram,
                Ok(None) => return Ok(counts),
                Err(errno) => return Err(ReadError::Io(errno.into())),
            };
            for message in netlink::messages(datagram).filter(|one| one.sequence == self.number) {
                if let libc::NLMSG_ERROR | libc::NLMSG_DONE = i32::from(message.kind) {
                    return match message.error_code() {
                        None | Some(Errno::ENOENT) => Ok(counts),
                        Some(errno) => Err(ReadError::Io(errno.into())),
                    };
                }
                counts.extend(counted(&message));
            }
        }
    }
}

fn counted(message: &Message<'_>) -> BTreeMap<IpAddr, u64> {
    let elements = message.attribute(list::ELEMENTS).unwrap_or_default();
    let elements = attributes(elements).flatten();
    elements.filter_map(|(_, element)| one(element)).collect()
}

/// The address and count of an element.
fn one(element: &[u8]) -> Option<(IpAddr, u64)> {
    let key = attribute(attribute(element, element::KEY)?, DATA_VALUE)?;
    let address = match key.len() {
        4 => IpAddr::from(*key.first_chunk::<4>()?),
        16 => IpAddr::from(*key.first_chunk::<16>()?),
        _ => return None,
    };
    let expressions = attribute(element, element::EXPRESSIONS)?;
    let [name, data] = EXPR;
    let mut expressions = attributes(expressions).flatten().filter(|(kind, _)| *kind == LIST_ELEM);
    let counter = expressions.find(|(_, one)| attribute(one, name) == Some(b"counter\0"))?;
    let packets = attribute(attribute(counter.1, data)?, COUNTER_PACKETS)?;
    Some((address, u64::from_be_bytes(*packets.first_chunk()?)))
}

const fn message_kind(message: i32) -> u16 {
    (libc::NFNL_SUBSYS_NFTABLES as u16) << 8 | message as u16
}
