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
use crate::table_family;
use crate::write::named_table;
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

/// Reads a table. Returns separately what is not ours.
pub(crate) fn table(
    client: &mut NetlinkClient,
    table: &TableId,
) -> Result<(Ruleset, Vec<ForeignObject>), ReadFailure> {
    let mut flags = 0;
    let asked = named_table(&table.name);
    let body = Body::Table(&asked);
    let answer =
        client.request(libc::NFT_MSG_GETTABLE, Scope::One(table.family), body, |message| {
            flags = object::<ffi::Table>(message)?.get().number(&ffi::Table::FLAGS).unwrap_or(0);
            Ok(())
        })?;
    match answer {
        Answer::NotFound => return Err(ReadFailure::NoTable),
        Answer::Interrupted => return Err(ReadFailure::Changed),
        Answer::Whole => {}
    }
    let ruleset = Ruleset::of(table.clone());
    let mut reader = TableReader { client, ruleset, foreign: Vec::new() };
    if flags != 0 {
        reader.foreign(
            ForeignKind::Table,
            table.name.to_string(),
            format!("it has flags {flags:#x}"),
        );
    }
    reader.sets()?;
    reader.chains()?;
    reader.others()?;
    reader.foreign.sort();
    Ok((reader.ruleset, reader.foreign))
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
