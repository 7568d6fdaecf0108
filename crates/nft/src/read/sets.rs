//! All sets and maps of a table.
//!
//! In: a table while it is read. Out: its sets and maps with their elements.
//! Those that are not ours go to the foreign objects. Never: a partial set.

use std::time::Duration;

use ruleset::{Comment, Name, Set, SetType, Store, VerdictMap};

use super::set::{self, Shape};
use super::{ReadFailure, TableReader, UNREADABLE, lossy, named_ours, object};
use crate::datatype::{self, Key};
use crate::dump::ForeignKind;
use crate::ffi::{self, Body, Object, Ref, parse_elements};
use crate::write::set::named;

/// Attempts at reading a set while the kernel spreads it over more buckets.
const SPREAD_ATTEMPTS: u32 = 20;
/// The pause before the second attempt. It grows by the same amount each time.
const SPREAD_PAUSE: Duration = Duration::from_millis(2);

impl TableReader<'_> {
    /// Reads all sets and maps.
    pub(super) fn sets(&mut self) -> Result<(), ReadFailure> {
        let mut found = Vec::new();
        let table = self.table();
        let mut asked = Object::new();
        asked.text(&ffi::Set::TABLE, &table);
        self.list(libc::NFT_MSG_GETSET, Body::Set(&asked), |message| {
            found.push(object::<ffi::Set>(message)?);
            Ok(())
        })?;
        for object in found {
            let set = object.get();
            if set.text(&ffi::Set::TABLE) != Some(&table) {
                continue;
            }
            let name = set.text(&ffi::Set::NAME).map(lossy).unwrap_or_default();
            let read = match named_ours(&name).and_then(|ours| Ok((ours, set::shape(&set)?))) {
                Ok((ours, shape)) => self.set(&ours, shape)?,
                Err(why) => Err(why),
            };
            if let Err(why) = read {
                self.foreign(ForeignKind::Set, name, why);
            }
        }
        Ok(())
    }

    /// Reads the elements of a set or map. The inner error tells why it is not
    /// ours.
    fn set(&mut self, name: &Name, shape: Shape) -> Result<Result<(), String>, ReadFailure> {
        if name.stored().is_some() {
            return Ok(Err("the name of a set that is stored in another".to_owned()));
        }
        match shape {
            Shape::Set(set_type @ SetType::RateLimit(_), comment) => {
                // Packets fill it. Its elements are not part of the ruleset.
                self.ruleset.sets.insert(name.clone(), Set::new(set_type, comment));
            }
            Shape::Set(SetType::Store(store), comment) => {
                return self.store(name, store, comment);
            }
            Shape::Set(set_type, comment) => {
                let keys: Option<Vec<Key>> = self.elements(name, set::key)?;
                match keys.and_then(|keys| datatype::elements(set_type, keys)) {
                    None => return Ok(Err("an element that is not of its type".to_owned())),
                    Some(elements) => {
                        let set = Set::new(set_type, comment).with(elements);
                        self.ruleset.sets.insert(name.clone(), set);
                    }
                }
            }
            Shape::Map(family, comment) => {
                let read = |element: &Ref<'_, _>| set::entry(family, element);
                let Some(entries) = self.elements(name, read)? else {
                    return Ok(Err("an entry that does not go to a chain".to_owned()));
                };
                let entries = entries.into_iter().collect();
                self.ruleset.maps.insert(name.clone(), VerdictMap { family, comment, entries });
            }
        }
        Ok(Ok(()))
    }

    /// Reads the stored sets that have elements.
    fn store(
        &mut self,
        name: &Name,
        store: Store,
        comment: Option<Comment>,
    ) -> Result<Result<(), String>, ReadFailure> {
        if name.as_str() != store.name() {
            return Ok(Err("a store of another name".to_owned()));
        }
        let read = |element: &Ref<'_, _>| datatype::stored(store, set::key(element)?);
        let Some(elements) = self.elements(name, read)? else {
            return Ok(Err("an element that does not fit the store".to_owned()));
        };
        let set = Set { comment, ..store.set() };
        self.ruleset.sets.insert(name.clone(), set);
        for some in elements.chunk_by(|(one, _), (other, _)| one == other) {
            let Some((tag, _)) = some.first() else { continue };
            let elements = some.iter().map(|(_, element)| *element);
            let set = Set::new(store.stores(), None).with(elements);
            self.ruleset.sets.insert(Name::in_store(store, *tag), set);
        }
        Ok(Ok(()))
    }

    /// All elements of a set, in order. `None` if one does not fit the set.
    ///
    /// After a hash set has grown, the kernel spreads it over more buckets. While
    /// it does, it lists some elements twice and omits as many others, in the
    /// same generation and without NLM_F_DUMP_INTR. Each datagram of the list
    /// skips the number of elements already listed, but their order has changed
    /// (`nft_rhash_walk`, net/netfilter/nft_set_hash.c). A repeated element
    /// reveals it.
    fn elements<T: Ord>(
        &mut self,
        name: &Name,
        read: impl Fn(&Ref<'_, ffi::Element>) -> Option<T>,
    ) -> Result<Option<Vec<T>>, ReadFailure> {
        let asked = named(&self.ruleset.table, name);
        for attempt in 0..SPREAD_ATTEMPTS {
            std::thread::sleep(SPREAD_PAUSE * attempt);
            let mut found = Some(Vec::new());
            self.list(libc::NFT_MSG_GETSETELEM, Body::Elements(&asked), |message| {
                let piece = parse_elements(message.bytes).ok_or(UNREADABLE)?;
                for element in piece.get().elements() {
                    let one = read(&element);
                    found = found.take().zip(one).map(|(mut all, one)| {
                        all.push(one);
                        all
                    });
                }
                Ok(())
            })?;
            let Some(mut all) = found else { return Ok(None) };
            all.sort_unstable();
            if all.windows(2).all(|pair| pair[0] != pair[1]) {
                return Ok(Some(all));
            }
        }
        Err(ReadFailure::Changed)
    }
}
