//! A table as the kernel has it.
//!
//! In: a connection and a table's name. Out: all that the table holds, at one
//! point in time or not at all. Never: a change.

pub(crate) mod chains;
mod comparison;
mod registers;
pub(crate) mod rule;
pub(crate) mod set;
mod sets;
mod value;

#[cfg(test)]
pub(crate) mod tests;

use std::ffi::{CStr, CString};

use ruleset::{Name, Ruleset};

use crate::connection::{Answer, Ask, Connection};
use crate::dump::{ForeignKind, ForeignObject};
use crate::error::ReadError;
use crate::ffi::{self, Body, Listed, Object, parse};
use crate::netlink::Message;
use crate::write::named_table;
use crate::write::rule::c_string;

/// NFT_MSG_GETFLOWTABLE of `enum nf_tables_msg_types`.
const GET_FLOWTABLE: i32 = 23;

/// Why there is nothing to return.
pub(crate) enum Stop {
    /// There is no such table.
    NoTable,
    /// Somebody committed meanwhile: begin anew.
    Changed,
    /// It cannot be read.
    Failed(ReadError),
}

impl From<ReadError> for Stop {
    fn from(error: ReadError) -> Self {
        Self::Failed(error)
    }
}

/// The names of all `inet` tables that are wanted.
pub(crate) fn tables(
    connection: &mut Connection,
    wanted: fn(&str) -> bool,
) -> Result<Vec<Name>, Stop> {
    let mut names = Vec::new();
    let answer = connection.ask(libc::NFT_MSG_GETTABLE, Ask::All, Body::Empty, |message| {
        let table = object::<ffi::Table>(message)?;
        let name = table.get().text(&ffi::Table::NAME).map(lossy).unwrap_or_default();
        names.extend(Name::new(name).ok().filter(|name| wanted(name.as_str())));
        Ok(())
    })?;
    if answer == Answer::Whole { Ok(names) } else { Err(Stop::Changed) }
}

/// Reads a table, and what in it is not ours.
pub(crate) fn table(
    connection: &mut Connection,
    name: &Name,
) -> Result<(Ruleset, Vec<ForeignObject>), Stop> {
    let mut flags = 0;
    let asked = named_table(name);
    let body = Body::Table(&asked);
    let answer = connection.ask(libc::NFT_MSG_GETTABLE, Ask::One, body, |message| {
        flags = object::<ffi::Table>(message)?.get().number(&ffi::Table::FLAGS).unwrap_or(0);
        Ok(())
    })?;
    match answer {
        Answer::NotFound => return Err(Stop::NoTable),
        Answer::Interrupted => return Err(Stop::Changed),
        Answer::Whole => {}
    }
    let mut reader =
        Reader { connection, ruleset: Ruleset::new(name.clone()), foreign: Vec::new() };
    if flags != 0 {
        reader.foreign(ForeignKind::Table, name.to_string(), format!("it has flags {flags:#x}"));
    }
    reader.sets()?;
    reader.chains()?;
    reader.others()?;
    reader.foreign.sort();
    Ok((reader.ruleset, reader.foreign))
}

/// A table while it is being read: sets first, for rules speak of them.
struct Reader<'a> {
    connection: &'a mut Connection,
    ruleset: Ruleset,
    foreign: Vec<ForeignObject>,
}

impl Reader<'_> {
    /// Objects of kinds that we never make.
    fn others(&mut self) -> Result<(), Stop> {
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
                self.foreign(foreign, name, "of a kind that is never ours".to_owned());
            }
        }
        Ok(())
    }

    /// Asks for a list, which must come whole.
    fn list(
        &mut self,
        kind: i32,
        body: Body<'_>,
        each: impl FnMut(&Message<'_>) -> Result<(), ReadError>,
    ) -> Result<(), Stop> {
        match self.connection.ask(kind, Ask::All, body, each)? {
            Answer::Whole => Ok(()),
            Answer::NotFound | Answer::Interrupted => Err(Stop::Changed),
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
