//! Tables that belong to one process.
//!
//! In: a client, the name of a table. Out: the flags of a table and who owns it; the
//! flags that a batch asks for. Never: a change.
//!
//! A table with the flag `owner` can only be changed through the netlink socket that
//! made it. Others get EPERM, and `nft flush ruleset` passes over it. When the socket
//! is closed the kernel deletes the table, or with the flag `persist` leaves it to
//! nobody. The next process can then take it (`nft_rcv_nl_event`,
//! `nf_tables_updtable`, net/netfilter/nf_tables_api.c; `persist` since Linux 6.9).

use ruleset::TableId;

use crate::client::{Answer, NetlinkClient, Scope};
use crate::ffi::Body;
use crate::read::ReadFailure;
use crate::write::named_table;

/// Takes the base chains of a table off their hooks (`enum nft_table_flags`,
/// include/uapi/linux/netfilter/nf_tables.h).
pub(crate) const DORMANT: u32 = 1;
/// The table belongs to the socket that made it (same enum).
pub(crate) const OWNER: u32 = 2;
/// The table stays when that socket is closed (same enum). Cannot be changed later.
pub(crate) const PERSIST: u32 = 4;

/// Attributes of tables (`enum nft_table_attributes`).
const TABLE_FLAGS: u16 = 2;
const TABLE_OWNER: u16 = 7;

/// The flags of a table in the kernel, and who owns it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct TableState {
    pub(crate) flags: u32,
    /// The netlink port of the owner's socket (netlink(7), `nl_pid`).
    pub(crate) owner: Option<u32>,
}

/// Why an owner cannot take a table as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ownable {
    /// It belongs to this socket.
    Ours,
    /// Nobody owns it: creating it again takes it.
    Free,
    /// It was made without `persist`: only a new table can be owned.
    Never,
    /// It belongs to the socket with this port.
    Taken(u32),
}

impl TableState {
    /// Looks a table up. Costs microseconds.
    ///
    /// # Errors
    /// `NoTable` if there is none of this name.
    pub(crate) fn find(client: &mut NetlinkClient, table: &TableId) -> Result<Self, ReadFailure> {
        let mut found = Self::default();
        let asked = named_table(&table.name);
        let one = Scope::One(table.family);
        let answer =
            client.request(libc::NFT_MSG_GETTABLE, one, Body::Table(&asked), |message| {
                // Numbers of nf_tables are in network order.
                let number = |kind| message.attribute(kind).and_then(|value| value.first_chunk());
                found.flags = number(TABLE_FLAGS).map_or(0, |bytes| u32::from_be_bytes(*bytes));
                found.owner = number(TABLE_OWNER).map(|bytes| u32::from_be_bytes(*bytes));
                Ok(())
            })?;
        match answer {
            Answer::Whole => Ok(found),
            Answer::NotFound => Err(ReadFailure::NoTable),
            Answer::Interrupted => Err(ReadFailure::Changed),
        }
    }

    /// Whether the socket with this port can own the table.
    pub(crate) const fn ownable(self, port: u32) -> Ownable {
        match self.owner {
            Some(owner) if owner == port => Ownable::Ours,
            Some(owner) => Ownable::Taken(owner),
            None if self.flags & PERSIST != 0 => Ownable::Free,
            None => Ownable::Never,
        }
    }

    /// Flags that stop the table or that we do not know.
    pub(crate) const fn odd_flags(self) -> u32 {
        self.flags & !(OWNER | PERSIST)
    }
}

/// The flags with which a table is created, or created again where it is there
/// already. That clears `dormant` if others set it. `owns`: for a socket that owns
/// its tables.
pub(crate) const fn wanted_flags(found: Option<TableState>, owns: bool) -> u32 {
    match (found, owns) {
        (None, true) => OWNER | PERSIST,
        (None, false) => 0,
        // `persist` cannot be added or taken away, and ownership needs it.
        (Some(state), true) if state.flags & PERSIST != 0 => OWNER | PERSIST,
        (Some(state), _) => state.flags & PERSIST,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const US: u32 = 7;

    #[test]
    fn a_table_that_persists_and_that_nobody_owns_can_be_taken() {
        let state = |flags, owner| TableState { flags, owner };
        assert_eq!(state(OWNER | PERSIST, Some(US)).ownable(US), Ownable::Ours);
        assert_eq!(state(OWNER, Some(8)).ownable(US), Ownable::Taken(8));
        assert_eq!(state(PERSIST | DORMANT, None).ownable(US), Ownable::Free);
        assert_eq!(state(DORMANT, None).ownable(US), Ownable::Never);
    }

    #[test]
    fn what_a_table_has_for_good_is_asked_for_again() {
        let found = |flags| Some(TableState { flags, owner: None });
        assert_eq!(wanted_flags(None, true), OWNER | PERSIST);
        assert_eq!(wanted_flags(None, false), 0);
        assert_eq!(wanted_flags(found(PERSIST | DORMANT), true), OWNER | PERSIST);
        assert_eq!(wanted_flags(found(PERSIST | DORMANT), false), PERSIST);
        assert_eq!(wanted_flags(found(DORMANT), true), 0);
    }
}
