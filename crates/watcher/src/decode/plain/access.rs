//! Gives serde the fields, keys and items of tokens, one by one.

use std::collections::BTreeSet;

use serde::de::{DeserializeSeed, IntoDeserializer, MapAccess, SeqAccess};

use super::{NotPlain, Plain};
use crate::decode::field_path::FieldPath;
use crate::decode::hints;
use crate::decode::token::{Part, after};

/// The fields of a struct.
pub(super) struct Fields<'p, 't, 'a> {
    pub(super) of: &'p mut Plain<'t, 'a>,
    pub(super) names: &'static [&'static str],
    /// A bit for each of `names` that was read.
    pub(super) seen: u128,
    pub(super) key: &'t str,
    pub(super) is_root: bool,
}

impl<'de> MapAccess<'de> for Fields<'_, '_, '_> {
    type Error = NotPlain;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, NotPlain> {
        loop {
            let key = match self.of.next()? {
                Part::MappingEnd => return Ok(None),
                Part::Scalar(text) => text.key().ok_or(NotPlain)?,
                Part::SequenceStart | Part::SequenceEnd | Part::MappingStart => {
                    return Err(NotPlain);
                }
            };
            let index = self.names.iter().position(|name| *name == key).ok_or(NotPlain)?;
            let bit = u32::try_from(index).ok().and_then(|index| 1u128.checked_shl(index));
            let bit = bit.ok_or(NotPlain)?;
            if self.seen & bit != 0 {
                return Err(NotPlain);
            }
            self.seen |= bit;
            // The source has checked these two fields of the object.
            if self.is_root && matches!(key, "apiVersion" | "kind") {
                self.of.rest = after(self.of.rest).ok_or(NotPlain)?;
                continue;
            }
            self.key = key;
            return seed.deserialize(key.into_deserializer()).map(Some);
        }
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, NotPlain> {
        // The parent's path matters only for keys of maps.
        if self.of.is_null()? && hints::without_value(self.key, true, &FieldPath::Root).is_some() {
            return Err(NotPlain);
        }
        seed.deserialize(&mut *self.of)
    }
}

/// The keys and values of a map.
pub(super) struct Keys<'p, 't, 'a> {
    pub(super) of: &'p mut Plain<'t, 'a>,
    pub(super) seen: BTreeSet<&'t str>,
}

impl<'de> MapAccess<'de> for Keys<'_, '_, '_> {
    type Error = NotPlain;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, NotPlain> {
        let key = match self.of.next()? {
            Part::MappingEnd => return Ok(None),
            Part::Scalar(text) => text.key().ok_or(NotPlain)?,
            Part::SequenceStart | Part::SequenceEnd | Part::MappingStart => return Err(NotPlain),
        };
        if !self.seen.insert(key) {
            return Err(NotPlain);
        }
        seed.deserialize(key.into_deserializer()).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, NotPlain> {
        if self.of.is_null()? { Err(NotPlain) } else { seed.deserialize(&mut *self.of) }
    }
}

/// The items of a list.
pub(super) struct Items<'p, 't, 'a> {
    pub(super) of: &'p mut Plain<'t, 'a>,
}

impl<'de> SeqAccess<'de> for Items<'_, '_, '_> {
    type Error = NotPlain;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, NotPlain> {
        if *self.of.peek()? == Part::SequenceEnd {
            self.of.next()?;
            return Ok(None);
        }
        if self.of.is_null()? { Err(NotPlain) } else { seed.deserialize(&mut *self.of).map(Some) }
    }
}
