//! Who changes our tables.
//!
//! In: nf_tables' notifications (NFNLGRP_NFTABLES). Out: the programs whose commits touched a
//! table of ours. Never: a listener that stays: while there is one, the kernel makes a message
//! for each object of each commit, which doubles the time of large ones.
//!
//! The number of the ruleset comes with the process that committed only here. The answer to a
//! question for it names the process that asks (`nf_tables_fill_gen_info`,
//! net/netfilter/nf_tables_api.c, Linux 6.18: `current`).

use std::fmt;

use nix::errno::Errno;

use crate::error::OpenError;
use crate::kernel::is_ours;
use crate::netlink::{self, Message};
use crate::socket::Socket;

/// NFNLGRP_NFTABLES of `enum nfnetlink_groups`, as a bit of `nl_groups`.
const GROUP: u32 = 1 << (7 - 1);
/// NFNL_SUBSYS_NFTABLES and NFT_MSG_NEWGEN.
const NEWGEN: u16 = ((libc::NFNL_SUBSYS_NFTABLES as u16) << 8) | libc::NFT_MSG_NEWGEN as u16;
/// NFTA_TABLE_NAME, and the table's name in the messages of all other kinds: NFTA_CHAIN_TABLE,
/// NFTA_RULE_TABLE, NFTA_SET_TABLE, NFTA_SET_ELEM_LIST_TABLE, NFTA_OBJ_TABLE,
/// NFTA_FLOWTABLE_TABLE (include/uapi/linux/netfilter/nf_tables.h).
const TABLE: u16 = 1;
/// NFTA_GEN_PROC_PID and NFTA_GEN_PROC_NAME.
const PROC_PID: u16 = 2;
const PROC_NAME: u16 = 3;
/// Datagrams that are read at a time at most.
const AT_ONCE: usize = 10_000;

/// A program that changed a table of ours.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Committer {
    /// Its name, as the kernel has it: 15 bytes at most.
    pub program: String,
    /// Its process id on the node.
    pub pid: u32,
}

impl fmt::Display for Committer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (pid {})", self.program, self.pid)
    }
}

/// Hears of commits in the network namespace of the thread that opened it.
#[derive(Debug)]
pub struct ChangeListener {
    socket: Socket,
    /// Whose commits are ours: a netlink port.
    own: u32,
    heard: Heard,
}

/// What was heard of the commit whose end has not come yet.
#[derive(Debug, Default)]
struct Heard {
    touches: bool,
}

impl ChangeListener {
    /// Begins to listen. Commits by this port are not told of.
    pub(crate) fn open(own: u32) -> Result<Self, OpenError> {
        let socket = Socket::open_netfilter(GROUP).map_err(OpenError)?;
        Ok(Self { socket, own, heard: Heard::default() })
    }

    /// Who changed tables of ours since the last call, as far as it was heard.
    pub fn take(&mut self) -> Vec<Committer> {
        let mut found = Vec::new();
        for _ in 0..AT_ONCE {
            match self.socket.receive() {
                Ok(Some(datagram)) => {
                    let messages = netlink::messages(datagram);
                    found.extend(messages.filter_map(|one| self.heard.hear(&one, self.own)));
                }
                // Messages were lost: those of the commit before may be of another one.
                Err(Errno::ENOBUFS | Errno::EMSGSIZE) => self.heard = Heard::default(),
                Ok(None) | Err(_) => break,
            }
        }
        found
    }
}

impl Heard {
    /// The messages of a commit come one after the other, its number last (`nf_tables_commit`).
    fn hear(&mut self, message: &Message<'_>, own: u32) -> Option<Committer> {
        if message.kind != NEWGEN {
            let table = message.attribute(TABLE).and_then(text);
            self.touches |= table.is_some_and(|table| is_ours(&table));
            return None;
        }
        let touches = std::mem::take(&mut self.touches);
        if !touches || port(message) == Some(own) {
            return None;
        }
        let pid = message.attribute(PROC_PID)?.try_into().ok().map(u32::from_be_bytes)?;
        Some(Committer { program: text(message.attribute(PROC_NAME)?)?, pid })
    }
}

/// `nlmsg_pid`: whose request it was.
fn port(message: &Message<'_>) -> Option<u32> {
    message.bytes.get(12..16)?.try_into().ok().map(u32::from_ne_bytes)
}

/// A text without the zero at its end, and without what would move a terminal's cursor: a
/// process gives itself any name (prctl(2), PR_SET_NAME).
fn text(bytes: &[u8]) -> Option<String> {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    let text = std::str::from_utf8(&bytes[..end]).ok()?;
    Some(text.replace(|c: char| c.is_control(), "?"))
}
