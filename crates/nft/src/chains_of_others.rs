//! Chains in tables that are not ours.

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

/// A chain of another program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainOfOthers {
    /// The family of its table, as nft(8) names it.
    pub family: &'static str,
    /// Its table.
    pub table: String,
    /// Its name.
    pub chain: String,
    /// Whether it is a base chain on the forward hook whose policy is to drop.
    pub drops_forwarded: bool,
}

/// Those chains of any family, in tables that are not ours, that the caller keeps. There
/// are thousands on a node with kube-proxy.
pub(crate) fn chains_of_others(
    client: &mut NetlinkClient,
    is_ours: fn(&str) -> bool,
    keeps: &dyn Fn(&ChainOfOthers) -> bool,
) -> Result<Vec<ChainOfOthers>, ReadFailure> {
    let mut found = Vec::new();
    let mut listed = Listing::default();
    let all = Scope::AllFamilies;
    let answer = client.request(libc::NFT_MSG_GETCHAIN, all, Body::Empty, |message| {
        listed.add(message);
        found.extend(chain(message).filter(|chain| !is_ours(&chain.table) && keeps(chain)));
        Ok(())
    })?;
    listed.whole()?;
    if answer == Answer::Whole { Ok(found) } else { Err(ReadFailure::Changed) }
}

pub(crate) fn chain(message: &Message<'_>) -> Option<ChainOfOthers> {
    let family = match i32::from(message.family()?) {
        libc::NFPROTO_INET => "inet",
        libc::NFPROTO_IPV4 => "ip",
        libc::NFPROTO_IPV6 => "ip6",
        libc::NFPROTO_BRIDGE => "bridge",
        _ => return None,
    };
    let text = |kind: u16| {
        let (_, text) = message.attribute(kind)?.split_last()?;
        Some(String::from_utf8_lossy(text).into_owned())
    };
    let drops_forwarded = drops_forwarded(message).unwrap_or(false);
    Some(ChainOfOthers {
        family,
        table: text(CHAIN_TABLE)?,
        chain: text(CHAIN_NAME)?,
        drops_forwarded,
    })
}

/// `None` for a chain that is on no hook.
fn drops_forwarded(message: &Message<'_>) -> Option<bool> {
    let hook = attribute(message.attribute(CHAIN_HOOK)?, HOOK_NUMBER)?;
    let drops = number(message.attribute(CHAIN_POLICY)?)? == libc::NF_DROP as u32;
    Some(drops && number(hook)? == FORWARD)
}

/// A number of nf_tables. They are in network order.
fn number(bytes: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(*bytes.first_chunk()?))
}
