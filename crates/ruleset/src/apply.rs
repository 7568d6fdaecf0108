//! A model of a commit in the kernel.
//!
//! In: a ruleset and a batch. Out: the ruleset after the commit, or why the kernel
//! would refuse it.

use std::sync::Arc;

use crate::{Batch, Chain, Element, Name, Op, Ruleset, Set, Store, StoreError, VerdictMap};

/// Why the kernel would refuse an operation.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    /// Something that is not there (ENOENT).
    #[error("{0} does not exist")]
    Missing(Name),
    /// Something that is there already (EEXIST).
    #[error("{0} exists already")]
    Exists(Name),
    /// Something that is still referred to or not empty (EBUSY).
    #[error("{0} is in use")]
    Busy(Name),
    /// A set that cannot be stored.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Ruleset {
    /// Applies a batch whole or not at all.
    ///
    /// # Errors
    /// As the kernel would: see [`ApplyError`].
    pub fn apply(&mut self, batch: &Batch) -> Result<(), ApplyError> {
        let mut next = self.clone();
        for op in &batch.ops {
            next.apply_op(op)?;
        }
        *self = next;
        Ok(())
    }

    fn apply_op(&mut self, op: &Op) -> Result<(), ApplyError> {
        match op {
            Op::CreateTable => Ok(()),
            Op::CreateSet(name, set_type, comment) => {
                self.must_be_free(name)?;
                let set = Set::new(*set_type, comment.clone());
                self.can_store(name, &set)?;
                self.sets.insert(name.clone(), set);
                Ok(())
            }
            Op::CreateMap(name, family, comment) => {
                self.must_be_free(name)?;
                self.maps.insert(name.clone(), VerdictMap::new(*family, comment.clone()));
                Ok(())
            }
            Op::CreateChain(name, base, comment) => {
                let chain = Chain { base: *base, comment: comment.clone(), rules: Vec::new() };
                match self.chains.insert(name.clone(), Arc::new(chain)) {
                    None => Ok(()),
                    Some(_) => Err(ApplyError::Exists(name.clone())),
                }
            }
            Op::AddElements(name, _, elements) => {
                let set = self.sets.get_mut(name).ok_or_else(|| missing(name))?;
                set.elements.extend(elements.iter().copied());
                Ok(())
            }
            Op::DeleteElements(name, _, elements) => {
                let set = self.sets.get_mut(name).ok_or_else(|| missing(name))?;
                let gone = |element: &Element| set.elements.remove(element).is_some();
                if elements.iter().all(gone) { Ok(()) } else { Err(missing(name)) }
            }
            Op::AddEntries(..) | Op::DeleteEntries(..) => self.apply_entries(op),
            Op::FlushChain(name) => {
                self.chain(name)?.rules.clear();
                Ok(())
            }
            Op::AddRule(name, rule) => {
                self.chain(name)?.rules.push(rule.clone());
                Ok(())
            }
            Op::DeleteChain(_) | Op::DeleteSet(_) | Op::DeleteMap(_) => self.apply_deletion(op),
        }
    }

    fn chain(&mut self, name: &Name) -> Result<&mut Chain, ApplyError> {
        self.chains.get_mut(name).map(Arc::make_mut).ok_or_else(|| missing(name))
    }

    fn apply_entries(&mut self, op: &Op) -> Result<(), ApplyError> {
        match op {
            Op::AddEntries(name, _, entries) => {
                if let Some((_, to)) = entries.iter().find(|(_, to)| !self.chains.contains_key(to))
                {
                    return Err(missing(to));
                }
                let map = self.maps.get_mut(name).ok_or_else(|| missing(name))?;
                for (address, to) in entries {
                    let before = map.entries.insert(*address, to.clone());
                    if before.is_some_and(|before| before != *to) {
                        return Err(ApplyError::Exists(name.clone()));
                    }
                }
                Ok(())
            }
            Op::DeleteEntries(name, _, addresses) => {
                let map = self.maps.get_mut(name).ok_or_else(|| missing(name))?;
                let mut gone = addresses.iter().map(|address| map.entries.remove(address));
                if gone.all(|entry| entry.is_some()) { Ok(()) } else { Err(missing(name)) }
            }
            _ => Ok(()),
        }
    }

    fn apply_deletion(&mut self, op: &Op) -> Result<(), ApplyError> {
        match op {
            Op::DeleteChain(name) => {
                let mut rules = self.chains.values().flat_map(|chain| &chain.rules);
                let jumps = rules.any(|rule| rule.target() == Some(name));
                let entries =
                    self.maps.values().any(|map| map.entries.values().any(|to| to == name));
                let full = self.chains.get(name).is_some_and(|chain| !chain.rules.is_empty());
                self.must_be_idle(name, jumps || entries || full)?;
                self.chains.remove(name).map(drop).ok_or_else(|| missing(name))
            }
            Op::DeleteSet(name) => {
                let busy = self.is_looked_up(name) || self.has_stored(name);
                self.must_be_idle(name, busy)?;
                self.sets.remove(name).map(drop).ok_or_else(|| missing(name))
            }
            Op::DeleteMap(name) => {
                self.must_be_idle(name, self.is_looked_up(name))?;
                self.maps.remove(name).map(drop).ok_or_else(|| missing(name))
            }
            _ => Ok(()),
        }
    }

    fn is_looked_up(&self, name: &Name) -> bool {
        let mut rules = self.chains.values().flat_map(|chain| &chain.rules);
        rules.any(|rule| rule.lookups().any(|looked_up| looked_up == name))
    }

    /// Whether elements are left that the kernel keeps without the set: those of a
    /// stored set, or of the sets of a store.
    fn has_stored(&self, name: &Name) -> bool {
        match (Store::named(name.as_str()), self.sets.get(name)) {
            (Some(store), _) => self.stored_in(store).next().is_some(),
            (None, Some(set)) => name.stored().is_some() && !set.elements.is_empty(),
            (None, None) => false,
        }
    }

    fn must_be_free(&self, name: &Name) -> Result<(), ApplyError> {
        let taken = self.sets.contains_key(name) || self.maps.contains_key(name);
        if taken { Err(ApplyError::Exists(name.clone())) } else { Ok(()) }
    }

    fn must_be_idle(&self, name: &Name, busy: bool) -> Result<(), ApplyError> {
        if busy { Err(ApplyError::Busy(name.clone())) } else { Ok(()) }
    }
}

fn missing(name: &Name) -> ApplyError {
    ApplyError::Missing(name.clone())
}
