//! All sets and maps of a table.
//!
//! In: a table being read. Out: its sets and maps with their elements; those
//! that are not ours among the foreign. Never: half a set.

use std::time::Duration;

use ruleset::{Name, Set, SetType, VerdictMap};

use super::set::{self, Shape};
use super::{ReadFailure, TableReader, UNREADABLE, lossy, named_ours, object};
use crate::datatype::Key;
use crate::dump::ForeignKind;
use crate::ffi::{self, Body, Object, Ref, parse_elements};
use crate::write::set::named;

/// How often a set is read that is being spread over more buckets, and the
/// pause before the second attempt, which grows by as much each time.
const SPREAD_ATTEMPTS: u32 = 20;
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

    /// Reads the elements of a set or map; gives why it is not ours, if so.
    fn set(&mut self, name: &Name, shape: Shape) -> Result<Result<(), String>, ReadFailure> {
        match shape {
            Shape::Set(set_type @ SetType::RateLimit(_), comment) => {
                // The packet path fills it; its elements are nobody's business.
                self.ruleset.sets.insert(name.clone(), Set::new(set_type, comment));
            }
            Shape::Set(set_type, comment) => {
                let keys: Option<Vec<Key>> = self.elements(name, set::key)?;
                match keys.and_then(|keys| crate::datatype::elements(set_type, keys)) {
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

    /// All elements of a set, in order; `None` if one is not of its kind.
    ///
    /// A hash set that has just grown is still being spread over more buckets.
    /// The kernel then lists some elements twice and as many not at all, in
    /// the same generation and without NLM_F_DUMP_INTR: each datagram of the
    /// list skips as many elements as have been listed, in an order that has
    /// changed (`nft_rhash_walk`, net/netfilter/nft_set_hash.c). One that is
    /// there twice gives it away.
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
