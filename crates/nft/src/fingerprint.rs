//! A fingerprint of a table: whether others changed the parts that matter most.
//!
//! Costs microseconds, whatever the table holds. Never: rules or elements, whose
//! cost grows with the table.

use ruleset::{Name, TableId};

use crate::client::{Answer, NetlinkClient, Scope};
use crate::ffi::Body;
use crate::read::ReadFailure;
use crate::write::{named_chain, named_table};

/// Handles, flags and counts of a table and one chain of it. They change when
/// others delete and recreate the table or the chain, switch the table off, or
/// add or remove rules or objects. The kernel never uses a handle twice
/// (`table_handle`, `nf_tables_alloc_handle`, net/netfilter/nf_tables_api.c).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableFingerprint {
    /// Of the table.
    pub table: Vec<u8>,
    /// Of the chain.
    pub chain: Vec<u8>,
}

/// Attributes of tables (`enum nft_table_attributes`).
const TABLE_FLAGS: u16 = 2;
const TABLE_USE: u16 = 3;
const TABLE_HANDLE: u16 = 4;
/// Attributes of chains (`enum nft_chain_attributes`).
const CHAIN_HANDLE: u16 = 2;
const CHAIN_POLICY: u16 = 5;
const CHAIN_USE: u16 = 6;

/// The fingerprint of a table and one chain of it.
///
/// # Errors
/// `NoTable` if either is missing.
pub(crate) fn fingerprint(
    client: &mut NetlinkClient,
    table: &TableId,
    chain: &Name,
) -> Result<TableFingerprint, ReadFailure> {
    let asked = named_table(&table.name);
    let wanted = [TABLE_HANDLE, TABLE_FLAGS, TABLE_USE];
    let one = Scope::One(table.family);
    let of_table = attributes(client, libc::NFT_MSG_GETTABLE, one, Body::Table(&asked), &wanted)?;
    let asked = named_chain(&table.name, chain);
    let wanted = [CHAIN_HANDLE, CHAIN_USE, CHAIN_POLICY];
    let of_chain = attributes(client, libc::NFT_MSG_GETCHAIN, one, Body::Chain(&asked), &wanted)?;
    Ok(TableFingerprint { table: of_table, chain: of_chain })
}

/// The wanted attributes of one object, in their order.
fn attributes(
    client: &mut NetlinkClient,
    kind: i32,
    one: Scope,
    body: Body<'_>,
    wanted: &[u16],
) -> Result<Vec<u8>, ReadFailure> {
    let mut values = Vec::new();
    let answer = client.request(kind, one, body, |message| {
        for attribute in wanted {
            values.extend_from_slice(message.attribute(*attribute).unwrap_or_default());
        }
        Ok(())
    })?;
    match answer {
        Answer::Whole => Ok(values),
        Answer::NotFound => Err(ReadFailure::NoTable),
        Answer::Interrupted => Err(ReadFailure::Changed),
    }
}
