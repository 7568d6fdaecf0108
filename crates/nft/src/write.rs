//! Batches as netlink messages.
//!
//! In: a table's family and name and a [`Batch`]. Out: bytes, and the operations that
//! each message belongs to. Never: I/O, or an order other than the batch's.

pub(crate) mod rule;
pub(crate) mod set;
mod shared;

use std::ffi::CString;

use libc::{NLM_F_APPEND, NLM_F_CREATE, NLM_F_EXCL};
use ruleset::{BaseChain, Batch, Comment, Hook, Name, Op, TableFamily, TableId};

use crate::ffi::{self, Body, Messages, Object, TooLong};
use crate::generation::Generation;
use crate::netlink;
use crate::table_family::nfproto;
use crate::userdata::{self, Userdata};
use rule::c_string;
pub(crate) use shared::Sharing;
use shared::{Shared, Verb};

/// The type of our base chains (nft(8), "Base chain types").
pub(crate) const CHAIN_TYPE: &std::ffi::CStr = c"filter";
/// NF_INET_FORWARD.
pub(crate) const FORWARD: u32 = libc::NF_INET_FORWARD as u32;
/// The hooks of our base chains.
pub(crate) const HOOKS: [Hook; 5] =
    [Hook::Prerouting, Hook::Input, Hook::Forward, Hook::Output, Hook::Postrouting];

/// The kernel's number of a hook (`enum nf_inet_hooks`, include/uapi/linux/netfilter.h).
/// NF_BR_* of include/uapi/linux/netfilter_bridge.h are the same numbers.
pub(crate) const fn hook_number(hook: Hook) -> u32 {
    match hook {
        Hook::Prerouting => libc::NF_INET_PRE_ROUTING as u32,
        Hook::Input => libc::NF_INET_LOCAL_IN as u32,
        Hook::Forward => FORWARD,
        Hook::Output => libc::NF_INET_LOCAL_OUT as u32,
        Hook::Postrouting => libc::NF_INET_POST_ROUTING as u32,
    }
}

/// NF_ACCEPT as a chain's policy.
pub(crate) const POLICY_ACCEPT: u32 = libc::NF_ACCEPT as u32;

/// A batch, ready to send.
pub(crate) struct Encoded {
    family: TableFamily,
    messages: Messages,
    first: u32,
    /// What [`Op::CreateTable`] asks for.
    table_flags: u32,
    /// The first operation of each message between begin and end, and the last.
    owners: Vec<(usize, usize)>,
    sharing: Sharing,
    /// A message that more elements may join.
    open: Option<Shared>,
}

impl Encoded {
    /// Encodes a batch. Its messages are numbered from `first` on. `table_flags`:
    /// those with which the table is created.
    ///
    /// # Errors
    /// The index of the operation that does not fit a message.
    pub(crate) fn new(
        table: &TableId,
        batch: &Batch,
        expected: Option<Generation>,
        first: u32,
        (table_flags, sharing): (u32, Sharing),
    ) -> Result<Self, usize> {
        let begun = Self { table_flags, sharing, ..Self::begin(table.family, expected, first) };
        begun.ops(table, batch, 0).map(Self::end)
    }

    /// Encodes batches for several tables without an end message. The kernel checks
    /// all of it and then discards it without a commit (`nfnetlink_rcv_batch`,
    /// net/netfilter/nfnetlink.c, Linux 6.18). `nft --check` does the same.
    ///
    /// # Errors
    /// The index of the operation that does not fit a message, counted over all
    /// batches.
    pub(crate) fn rehearsal(tables: &[(TableId, Batch)], first: u32) -> Result<Self, usize> {
        let mut encoded = Self::begin(TableFamily::Inet, None, first);
        let mut before = 0;
        for (table, batch) in tables {
            encoded.family = table.family;
            encoded = encoded.ops(table, batch, before)?;
            before += batch.ops.len();
        }
        Ok(encoded)
    }

    /// Encodes the operations of a batch. The first one is number `from`.
    fn ops(mut self, table: &TableId, batch: &Batch, from: usize) -> Result<Self, usize> {
        for (owner, op) in (from..).zip(&batch.ops) {
            self.op(&table.name, owner, op).map_err(|TooLong| owner)?;
        }
        self.close().map_err(|TooLong| from + batch.ops.len().saturating_sub(1))?;
        Ok(self)
    }

    /// Encodes the deletion of a table as operation 0.
    ///
    /// # Errors
    /// Operation 0, if the name does not fit a message.
    pub(crate) fn deletion(table: &TableId, first: u32) -> Result<Self, usize> {
        Self::of_table(libc::NFT_MSG_DELTABLE, table, &named_table(&table.name), first)
    }

    /// Encodes as operation 0 that a table gets these flags. A table that does not
    /// exist is created with them.
    ///
    /// # Errors
    /// Operation 0, if the name does not fit a message.
    pub(crate) fn table_with(table: &TableId, flags: u32, first: u32) -> Result<Self, usize> {
        let mut object = named_table(&table.name);
        object.number(&ffi::Table::FLAGS, flags);
        Self::of_table(libc::NFT_MSG_NEWTABLE, table, &object, first)
    }

    /// The same without an end message: see [`Self::rehearsal`].
    ///
    /// # Errors
    /// Operation 0, if the name does not fit a message.
    pub(crate) fn rehearsed_table(table: &TableId, flags: u32, first: u32) -> Result<Self, usize> {
        let mut object = named_table(&table.name);
        object.number(&ffi::Table::FLAGS, flags);
        Self::unended(libc::NFT_MSG_NEWTABLE, table, &object, first)
    }

    /// Encodes the deletion of chains with their rules as operation 0.
    ///
    /// # Errors
    /// Operation 0, if a name does not fit a message.
    pub(crate) fn chain_deletion(
        table: &TableId,
        chains: &[CString],
        first: u32,
    ) -> Result<Self, usize> {
        let mut encoded = Self::begin(table.family, None, first);
        for chain in chains {
            let mut object = Object::new();
            object.text(&ffi::Chain::TABLE, &c_string(table.name.as_str()));
            object.text(&ffi::Chain::NAME, chain);
            let body = Body::Chain(&object);
            encoded.push(0, libc::NFT_MSG_DELCHAIN, 0, body).map_err(|TooLong| 0usize)?;
        }
        Ok(encoded.end())
    }

    fn of_table(
        kind: i32,
        table: &TableId,
        object: &Object<ffi::Table>,
        first: u32,
    ) -> Result<Self, usize> {
        Self::unended(kind, table, object, first).map(Self::end)
    }

    fn unended(
        kind: i32,
        table: &TableId,
        object: &Object<ffi::Table>,
        first: u32,
    ) -> Result<Self, usize> {
        let mut encoded = Self::begin(table.family, None, first);
        encoded.push(0, kind, 0, Body::Table(object)).map_err(|TooLong| 0usize)?;
        Ok(encoded)
    }

    fn begin(family: TableFamily, expected: Option<Generation>, first: u32) -> Self {
        let generation = expected.map(|Generation(number)| number);
        let mut messages = Messages::new();
        messages.push_raw(&netlink::batch_mark(libc::NFNL_MSG_BATCH_BEGIN, first, generation));
        let (owners, sharing, open) = (Vec::new(), Sharing::Allowed, None);
        Self { family, messages, first, table_flags: 0, owners, sharing, open }
    }

    fn end(mut self) -> Self {
        let end = netlink::batch_mark(libc::NFNL_MSG_BATCH_END, self.next(), None);
        self.messages.push_raw(&end);
        self
    }

    /// The bytes to send, as one datagram.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.messages.bytes()
    }

    /// How many numbers the messages use.
    pub(crate) fn numbers(&self) -> u32 {
        self.owners.len() as u32 + 2
    }

    /// Whether the batch has a message with this number.
    pub(crate) fn holds(&self, sequence: u32) -> bool {
        sequence.wrapping_sub(self.first) < self.numbers()
    }

    /// The first operation that the message with this number belongs to. `None` for
    /// the begin and end messages.
    pub(crate) fn owner(&self, sequence: u32) -> Option<usize> {
        let index = sequence.wrapping_sub(self.first).checked_sub(1)?;
        self.owners.get(index as usize).map(|(first, _)| *first)
    }

    fn next(&self) -> u32 {
        self.first.wrapping_add(1).wrapping_add(self.owners.len() as u32)
    }

    fn push(&mut self, owner: usize, kind: i32, flags: i32, body: Body<'_>) -> Result<(), TooLong> {
        self.close()?;
        self.message((owner, owner), kind, flags, body)
    }

    fn message(
        &mut self,
        owners: (usize, usize),
        kind: i32,
        flags: i32,
        body: Body<'_>,
    ) -> Result<(), TooLong> {
        self.messages.push(kind, nfproto(self.family), flags, self.next(), body)?;
        self.owners.push(owners);
        Ok(())
    }

    fn op(&mut self, table: &Name, owner: usize, op: &Op) -> Result<(), TooLong> {
        use libc::{
            NFT_MSG_DELCHAIN, NFT_MSG_DELRULE, NFT_MSG_DELSET, NFT_MSG_NEWCHAIN, NFT_MSG_NEWRULE,
            NFT_MSG_NEWSET, NFT_MSG_NEWTABLE,
        };
        const NEW: i32 = NLM_F_CREATE | NLM_F_EXCL;
        if let Some((verb, name, elements)) = Verb::on_stored(op) {
            return self.stored(table, owner, verb, name, elements);
        }
        self.close()?;
        let set_id = self.next();
        match op {
            Op::CreateTable => {
                let mut object = named_table(table);
                object.number(&ffi::Table::FLAGS, self.table_flags);
                self.push(owner, NFT_MSG_NEWTABLE, NLM_F_CREATE, Body::Table(&object))
            }
            Op::CreateSet(name, set_type, comment) => {
                let set = set::set(table, name, *set_type, comment.as_ref(), set_id);
                self.push(owner, NFT_MSG_NEWSET, NEW, Body::Set(&set))
            }
            Op::CreateMap(name, family, comment) => {
                let map = set::map(table, name, *family, comment.as_ref(), set_id);
                self.push(owner, NFT_MSG_NEWSET, NEW, Body::Set(&map))
            }
            Op::DeleteSet(name) | Op::DeleteMap(name) => {
                self.push(owner, NFT_MSG_DELSET, 0, Body::Set(&set::named(table, name)))
            }
            Op::AddElements(name, _, elements) => {
                self.add(owner, &set::elements(table, name, elements))
            }
            Op::DeleteElements(name, _, elements) => {
                self.delete(owner, &set::elements(table, name, elements))
            }
            Op::AddEntries(name, _, entries) => {
                self.add(owner, &set::entries(table, name, entries))
            }
            Op::DeleteEntries(name, _, keys) => self.delete(owner, &set::keys(table, name, keys)),
            Op::CreateChain(name, base, comment) => {
                let chain = chain(table, name, base.as_ref(), comment.as_ref());
                self.push(owner, NFT_MSG_NEWCHAIN, NEW, Body::Chain(&chain))
            }
            Op::DeleteChain(name) => {
                let chain = chain(table, name, None, None);
                self.push(owner, NFT_MSG_DELCHAIN, 0, Body::Chain(&chain))
            }
            Op::FlushChain(name) => {
                let all = in_chain(table, name, Object::new());
                self.push(owner, NFT_MSG_DELRULE, 0, Body::Rule(&all))
            }
            Op::AddRule(name, rule) => {
                let rule = in_chain(table, name, rule::object(self.family, rule));
                let flags = NLM_F_CREATE | NLM_F_APPEND;
                self.push(owner, NFT_MSG_NEWRULE, flags, Body::Rule(&rule))
            }
        }
    }

    fn add(&mut self, owner: usize, pieces: &[Object<ffi::Set>]) -> Result<(), TooLong> {
        pieces.iter().try_for_each(|piece| {
            self.push(owner, libc::NFT_MSG_NEWSETELEM, NLM_F_CREATE, Body::Elements(piece))
        })
    }

    fn delete(&mut self, owner: usize, pieces: &[Object<ffi::Set>]) -> Result<(), TooLong> {
        pieces.iter().try_for_each(|piece| {
            self.push(owner, libc::NFT_MSG_DELSETELEM, 0, Body::Elements(piece))
        })
    }
}

/// A table by name.
pub(crate) fn named_table(name: &Name) -> Object<ffi::Table> {
    let mut object = Object::new();
    object.text(&ffi::Table::NAME, &c_string(name.as_str()));
    object
}

/// A chain with only its name and table.
pub(crate) fn named_chain(table: &Name, name: &Name) -> Object<ffi::Chain> {
    let mut object = Object::new();
    object.text(&ffi::Chain::TABLE, &c_string(table.as_str()));
    object.text(&ffi::Chain::NAME, &c_string(name.as_str()));
    object
}

/// Adds table and chain to a rule.
pub(crate) fn in_chain(
    table: &Name,
    chain: &Name,
    mut object: Object<ffi::Rule>,
) -> Object<ffi::Rule> {
    object.text(&ffi::Rule::TABLE, &c_string(table.as_str()));
    object.text(&ffi::Rule::CHAIN, &c_string(chain.as_str()));
    object
}

fn chain(
    table: &Name,
    name: &Name,
    base: Option<&BaseChain>,
    comment: Option<&Comment>,
) -> Object<ffi::Chain> {
    let mut object = named_chain(table, name);
    if let Some(base) = base {
        object
            .text(&ffi::Chain::TYPE, CHAIN_TYPE)
            .number(&ffi::Chain::HOOK, hook_number(base.hook));
        object.number(&ffi::Chain::PRIORITY, base.priority);
        object.number(&ffi::Chain::POLICY, POLICY_ACCEPT);
    }
    let comment = Userdata::default().comment(userdata::COMMENT, comment);
    if let Some(bytes) = comment.bytes() {
        object.bytes(&ffi::Chain::USERDATA, bytes);
    }
    object
}
