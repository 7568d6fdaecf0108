//! Reads a table from the kernel.
//!
//! In: a client and a table's name. Out: everything that the table holds at one
//! point in time, or nothing.
//! Never: a change.

pub(crate) mod chains;
pub(crate) mod rule;
pub(crate) mod set;
mod sets;
mod unreadable;

#[cfg(test)]
pub(crate) mod tests;

use std::ffi::{CStr, CString};

use ruleset::{Name, Ruleset, TableId};

use crate::client::{Answer, NetlinkClient, Scope};
use crate::dump::{ForeignKind, ForeignObject};
use crate::error::ReadError;
use crate::ffi::{self, Body, Listed, Object, parse};
use crate::netlink::Message;
use crate::ownership::{Ownable, TableState};
use crate::table_family;
use crate::write::rule::c_string;

/// NFT_MSG_GETFLOWTABLE of `enum nf_tables_msg_types`.
const GET_FLOWTABLE: i32 = 23;

/// Why one attempt at reading gave nothing.
pub(crate) enum ReadFailure {
    /// There is no such table.
    NoTable,
    /// Others committed meanwhile: read again.
    Changed,
    /// It cannot be read.
    Error(ReadError),
}

impl From<ReadError> for ReadFailure {
    fn from(error: ReadError) -> Self {
        Self::Error(error)
    }
}

/// All tables of our families, in order, whose names `wanted` accepts.
pub(crate) fn tables(
    client: &mut NetlinkClient,
    wanted: fn(&str) -> bool,
) -> Result<Vec<TableId>, ReadFailure> {
    let mut found = Vec::new();
    let all = Scope::AllFamilies;
    let answer = client.request(libc::NFT_MSG_GETTABLE, all, Body::Empty, |message| {
        let Some(family) = message.family().and_then(table_family::of_nfproto) else {
            return Ok(());
        };
        let table = object::<ffi::Table>(message)?;
        let name = table.get().text(&ffi::Table::NAME).map(lossy).unwrap_or_default();
        let name = Name::new(name).ok().filter(|name| wanted(name.as_str()));
        found.extend(name.map(|name| TableId { family, name }));
        Ok(())
    })?;
    found.sort_unstable();
    // As with chains ([`chains::Listing`]).
    let is_doubled = found.windows(2).any(|pair| pair[0] == pair[1]);
    if answer == Answer::Whole && !is_doubled { Ok(found) } else { Err(ReadFailure::Changed) }
}

/// Reads a table. Returns separately what is not ours. `owner`: the port of a socket
/// that owns its tables.
pub(crate) fn table(
    client: &mut NetlinkClient,
    table: &TableId,
    owner: Option<u32>,
) -> Result<(Ruleset, Vec<ForeignObject>), ReadFailure> {
    let state = TableState::find(client, table)?;
    let ruleset = Ruleset::of(table.clone());
    let mut reader = TableReader { client, ruleset, foreign: Vec::new() };
    if let Some((kind, why)) = table_is_foreign(state, owner) {
        reader.foreign(kind, table.name.to_string(), why);
    }
    reader.sets()?;
    reader.chains()?;
    reader.others()?;
    reader.foreign.sort();
    Ok((reader.ruleset, reader.foreign))
}

/// Why a table itself is not as we make it.
fn table_is_foreign(state: TableState, owner: Option<u32>) -> Option<(ForeignKind, String)> {
    let odd = state.odd_flags();
    let dormant = (odd != 0).then(|| (ForeignKind::Table, format!("it has flags {odd:#x}")));
    let of_owner = match owner.map(|port| state.ownable(port)) {
        None | Some(Ownable::Ours) => None,
        Some(Ownable::Free) => Some((ForeignKind::Table, "no process owns it".to_owned())),
        Some(Ownable::Taken(port)) => {
            Some((ForeignKind::Table, format!("another process owns it (netlink port {port})")))
        }
        Some(Ownable::Never) => {
            Some((ForeignKind::Unownable, "it was made without the flag `persist`".to_owned()))
        }
    };
    of_owner.or(dormant)
}

/// A table while it is read. Sets come first, because rules refer to them.
struct TableReader<'a> {
    client: &'a mut NetlinkClient,
    ruleset: Ruleset,
    foreign: Vec<ForeignObject>,
}

impl TableReader<'_> {
    /// Reads objects of kinds that we never make.
    fn others(&mut self) -> Result<(), ReadFailure> {
        /// NFTA_OBJ_TABLE and NFTA_FLOWTABLE_TABLE.
        const TABLE: u16 = 1;
        /// NFTA_OBJ_NAME and NFTA_FLOWTABLE_NAME.
        const NAME: u16 = 2;
        let kinds =
            [(libc::NFT_MSG_GETOBJ, ForeignKind::Object), (GET_FLOWTABLE, ForeignKind::Flowtable)];
        for (kind, foreign) in kinds {
            let mut names = Vec::new();
            let table = self.table();
            self.list(kind, Body::Empty, |message| {
                if message.attribute(TABLE) == Some(table.to_bytes_with_nul()) {
                    let name = message.attribute(NAME).and_then(|name| name.split_last());
                    names.extend(name.map(|(_, name)| String::from_utf8_lossy(name).into_owned()));
                }
                Ok(())
            })?;
            for name in names {
                self.foreign(foreign, name, "we make no objects of this kind".to_owned());
            }
        }
        Ok(())
    }

    /// Requests a list, which must arrive complete.
    fn list(
        &mut self,
        kind: i32,
        body: Body<'_>,
        each: impl FnMut(&Message<'_>) -> Result<(), ReadError>,
    ) -> Result<(), ReadFailure> {
        match self.client.request(kind, Scope::All(self.ruleset.family), body, each)? {
            Answer::Whole => Ok(()),
            Answer::NotFound | Answer::Interrupted => Err(ReadFailure::Changed),
        }
    }

    fn foreign(&mut self, kind: ForeignKind, name: String, why: String) {
        self.foreign.push(ForeignObject { kind, name, why });
    }

    fn table(&self) -> CString {
        c_string(self.ruleset.table.as_str())
    }
}

const UNREADABLE: ReadError = ReadError::Malformed("libnftnl cannot read a message");

fn object<K: Listed>(message: &Message<'_>) -> Result<Object<K>, ReadError> {
    parse(message.bytes).ok_or(UNREADABLE)
}

fn named_ours(name: &str) -> Result<Name, String> {
    Name::new(name).map_err(|error| error.to_string())
}

fn lossy(text: &CStr) -> String {
    text.to_string_lossy().into_owned()
}
