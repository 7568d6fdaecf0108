//! Cheap signs that tell whether others touched what matters most, and who
//! else drops forwarded packets.
//!
//! In: a connection. Out: handles, names. Never: rules or elements; reading
//! those costs with the size of the table, these do not.

use ruleset::Name;

use crate::connection::{Answer, Ask, Connection};
use crate::error::ReadError;
use crate::ffi::Body;
use crate::netlink::{Message, attribute};
use crate::write::{FORWARD, named_chain, named_table};

/// What changes when a table or a chain is deleted and made anew, switched
/// off, or gains or loses rules. The kernel numbers tables and chains and
/// never uses a number twice (`table_handle`, `nf_tables_alloc_handle` in
/// net/netfilter/nf_tables_api.c).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signs {
    /// Of the table.
    pub table: Vec<u8>,
    /// Of the chain.
    pub chain: Vec<u8>,
}

/// A base chain on the forward hook whose policy is to drop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DroppingChain {
    /// Its table's family, as nft(8) names it.
    pub family: &'static str,
    /// Its table.
    pub table: String,
    /// Its name.
    pub chain: String,
}

/// Attributes of tables (`enum nft_table_attributes`).
const TABLE_FLAGS: u16 = 2;
const TABLE_USE: u16 = 3;
const TABLE_HANDLE: u16 = 4;
/// Attributes of chains (`enum nft_chain_attributes`).
const CHAIN_TABLE: u16 = 1;
const CHAIN_HANDLE: u16 = 2;
const CHAIN_NAME: u16 = 3;
const CHAIN_HOOK: u16 = 4;
const CHAIN_POLICY: u16 = 5;
const CHAIN_USE: u16 = 6;
/// `enum nft_hook_attributes`, inside CHAIN_HOOK.
const HOOK_NUMBER: u16 = 1;

/// The signs of a table and one chain of it; `None` if either is missing.
pub(crate) fn signs(
    connection: &mut Connection,
    table: &Name,
    chain: &Name,
) -> Result<Option<Signs>, ReadError> {
    let asked = named_table(table);
    let wanted = [TABLE_HANDLE, TABLE_FLAGS, TABLE_USE];
    let body = Body::Table(&asked);
    let Some(table_signs) = one(connection, libc::NFT_MSG_GETTABLE, body, &wanted)? else {
        return Ok(None);
    };
    let asked = named_chain(table, chain);
    let wanted = [CHAIN_HANDLE, CHAIN_USE, CHAIN_POLICY];
    let body = Body::Chain(&asked);
    let chain_signs = one(connection, libc::NFT_MSG_GETCHAIN, body, &wanted)?;
    Ok(chain_signs.map(|chain| Signs { table: table_signs, chain }))
}

/// Whether there is a table of this name.
pub(crate) fn has_table(connection: &mut Connection, table: &Name) -> Result<bool, ReadError> {
    let asked = named_table(table);
    let found = one(connection, libc::NFT_MSG_GETTABLE, Body::Table(&asked), &[])?;
    Ok(found.is_some())
}

/// The wanted attributes of one object, in their order; `None` if there is no
/// such object.
fn one(
    connection: &mut Connection,
    kind: i32,
    body: Body<'_>,
    wanted: &[u16],
) -> Result<Option<Vec<u8>>, ReadError> {
    let mut values = Vec::new();
    let answer = connection.ask(kind, Ask::One, body, |message| {
        for attribute in wanted {
            values.extend_from_slice(message.attribute(*attribute).unwrap_or_default());
        }
        Ok(())
    })?;
    Ok((answer != Answer::NotFound).then_some(values))
}

/// Forward chains that drop by policy, in tables other than these.
pub(crate) fn dropping(
    connection: &mut Connection,
    is_ours: fn(&str) -> bool,
) -> Result<Vec<DroppingChain>, ReadError> {
    let mut found = Vec::new();
    connection.ask(libc::NFT_MSG_GETCHAIN, Ask::AllFamilies, Body::Empty, |message| {
        found.extend(dropping_chain(message).filter(|chain| !is_ours(&chain.table)));
        Ok(())
    })?;
    Ok(found)
}

pub(crate) fn dropping_chain(message: &Message<'_>) -> Option<DroppingChain> {
    let hook = attribute(message.attribute(CHAIN_HOOK)?, HOOK_NUMBER)?;
    let family = match i32::from(message.family()?) {
        libc::NFPROTO_INET => "inet",
        libc::NFPROTO_IPV4 => "ip",
        libc::NFPROTO_IPV6 => "ip6",
        libc::NFPROTO_BRIDGE => "bridge",
        _ => return None,
    };
    let is_forward = number(hook)? == FORWARD;
    let drops = number(message.attribute(CHAIN_POLICY)?)? == libc::NF_DROP as u32;
    let text = |kind: u16| {
        let (_, text) = message.attribute(kind)?.split_last()?;
        Some(String::from_utf8_lossy(text).into_owned())
    };
    (is_forward && drops).then_some(())?;
    Some(DroppingChain { family, table: text(CHAIN_TABLE)?, chain: text(CHAIN_NAME)? })
}

/// Numbers of nf_tables are in network order.
fn number(bytes: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(*bytes.first_chunk()?))
}
