//! Forward chains of others whose policy is to drop.

use crate::client::{Answer, NetlinkClient, Scope};
use crate::ffi::Body;
use crate::netlink::{Message, attribute};
use crate::read::ReadFailure;
use crate::read::chains::Listing;
use crate::write::FORWARD;

/// Attributes of chains (`enum nft_chain_attributes`).
const CHAIN_TABLE: u16 = 1;
const CHAIN_NAME: u16 = 3;
const CHAIN_HOOK: u16 = 4;
const CHAIN_POLICY: u16 = 5;
/// `enum nft_hook_attributes`, inside CHAIN_HOOK.
const HOOK_NUMBER: u16 = 1;

/// A base chain on the forward hook whose policy is to drop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DroppingChain {
    /// The family of its table, as nft(8) names it.
    pub family: &'static str,
    /// Its table.
    pub table: String,
    /// Its name.
    pub chain: String,
}

/// Forward chains of any family that drop by policy, in tables that are not
/// ours.
pub(crate) fn dropping_chains(
    client: &mut NetlinkClient,
    is_ours: fn(&str) -> bool,
) -> Result<Vec<DroppingChain>, ReadFailure> {
    let mut found = Vec::new();
    let mut listed = Listing::default();
    let all = Scope::AllFamilies;
    let answer = client.request(libc::NFT_MSG_GETCHAIN, all, Body::Empty, |message| {
        listed.add(message);
        found.extend(dropping_chain(message).filter(|chain| !is_ours(&chain.table)));
        Ok(())
    })?;
    listed.whole()?;
    if answer == Answer::Whole { Ok(found) } else { Err(ReadFailure::Changed) }
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

/// A number of nf_tables. They are in network order.
fn number(bytes: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(*bytes.first_chunk()?))
}
