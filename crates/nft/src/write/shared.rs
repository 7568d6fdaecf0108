//! Messages that hold elements of many stored sets.
//!
//! In: operations on stored sets, in order. Out: as few messages as hold the elements.
//! The kernel looks a set up once for each message, and walks over all names of the
//! table for it.
//! Never: elements before or after an operation of another kind that was in between.

use ruleset::{Element, Name, Op, Store};

use super::{Encoded, set};
use crate::ffi::{self, Body, Object, TooLong};

/// Whether operations on stored sets may share a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sharing {
    /// They may.
    Allowed,
    /// Each has messages of its own, so that a refusal names it.
    Forbidden,
}

/// What happens to elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    Add,
    Delete,
}

/// A message that is not full yet.
pub(super) struct Shared {
    store: Store,
    verb: Verb,
    piece: Object<ffi::Set>,
    /// The first and the last operation that it belongs to.
    owners: (usize, usize),
}

impl Verb {
    /// What an operation does to the elements of a stored set. To make or to delete
    /// such a set is to do nothing: it consists of its elements.
    pub(super) fn on_stored(op: &Op) -> Option<(Self, &Name, &[Element])> {
        let (verb, name, elements): (_, _, &[Element]) = match op {
            Op::CreateSet(name, ..) => (Self::Add, name, &[]),
            Op::AddElements(name, _, elements) => (Self::Add, name, elements),
            Op::DeleteElements(name, _, elements) => (Self::Delete, name, elements),
            Op::DeleteSet(name) => (Self::Delete, name, &[]),
            Op::CreateTable
            | Op::CreateMap(..)
            | Op::DeleteMap(_)
            | Op::AddEntries(..)
            | Op::DeleteEntries(..)
            | Op::CreateChain(..)
            | Op::FlushChain(_)
            | Op::DeleteChain(_)
            | Op::AddRule(..) => return None,
        };
        name.stored().map(|_| (verb, name, elements))
    }
}

impl Encoded {
    /// Whether a message that begins with this operation belongs to others, too.
    pub(crate) fn shares(&self, op: usize) -> bool {
        let after = self.owners.partition_point(|(first, _)| *first <= op);
        let last_message = after.checked_sub(1).and_then(|at| self.owners.get(at));
        last_message.is_some_and(|(first, last)| *first == op && *last > op)
    }

    /// Adds elements of a stored set to the open message, and opens others as needed.
    pub(super) fn stored(
        &mut self,
        table: &Name,
        owner: usize,
        verb: Verb,
        name: &Name,
        elements: &[Element],
    ) -> Result<(), TooLong> {
        let Some((store, tag)) = name.stored() else { return Ok(()) };
        for element in elements {
            let fits = |open: &Shared| {
                let apart = self.sharing == Sharing::Forbidden && open.owners.1 != owner;
                (open.store, open.verb) == (store, verb) && !apart && !set::is_full(&open.piece)
            };
            if !self.open.as_ref().is_some_and(fits) {
                self.close()?;
            }
            let open = self.open.get_or_insert_with(|| Shared {
                store,
                verb,
                piece: set::named(table, &Name::of_store(store)),
                owners: (owner, owner),
            });
            open.piece.push(set::stored(tag, element));
            open.owners.1 = owner;
        }
        Ok(())
    }

    /// Ends the open message.
    pub(super) fn close(&mut self) -> Result<(), TooLong> {
        let Some(Shared { verb, piece, owners, .. }) = self.open.take() else { return Ok(()) };
        let (kind, flags) = match verb {
            Verb::Add => (libc::NFT_MSG_NEWSETELEM, libc::NLM_F_CREATE),
            Verb::Delete => (libc::NFT_MSG_DELSETELEM, 0),
        };
        self.message(owners, kind, flags, Body::Elements(&piece))
    }
}
