//! Tokens to typed objects, for objects in which nothing is wrong.
//!
//! In: the tokens of one value, and any type that k8s-openapi can deserialize.
//! Out: the object that [`super::decode`] gives, if it would report nothing.
//! Never: a value where `decode` would report something. [`NotPlain`] then sends
//! the caller there. Rare values without a mistake are refused as well.
//!
//! No tree is built, and only the object itself allocates.

mod access;

use std::collections::BTreeSet;
use std::fmt;

use k8s_openapi::jiff::Timestamp;
use k8s_openapi::serde::de::Deserialize;
use serde::de::{Deserializer, IntoDeserializer, Visitor};
use serde::forward_to_deserialize_any;

use super::any::Any;
use super::token::{Part, Scalar, Text, Token, after};
use access::{Fields, Items, Keys};

/// Decodes an object. `None` if something may be wrong with it.
pub(crate) fn plain<T: for<'de> Deserialize<'de>>(tokens: &[Token<'_>]) -> Option<T> {
    T::deserialize(&mut Plain { rest: tokens, is_root: true }).ok()
}

/// The object has to be decoded with positions.
#[derive(Debug)]
struct NotPlain;

impl fmt::Display for NotPlain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("something may be wrong")
    }
}

impl std::error::Error for NotPlain {}

impl serde::de::Error for NotPlain {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self
    }
}

/// The tokens that are not read yet.
struct Plain<'t, 'a> {
    rest: &'t [Token<'a>],
    /// Whether nothing was read yet.
    is_root: bool,
}

impl<'t, 'a> Plain<'t, 'a> {
    fn peek(&self) -> Result<&'t Part<'a>, NotPlain> {
        self.rest.first().map(|token| &token.part).ok_or(NotPlain)
    }

    fn next(&mut self) -> Result<&'t Part<'a>, NotPlain> {
        let (first, rest) = self.rest.split_first().ok_or(NotPlain)?;
        self.rest = rest;
        Ok(&first.part)
    }

    fn scalar(&mut self) -> Result<&'t Text<'a>, NotPlain> {
        match self.next()? {
            Part::Scalar(text) => Ok(text),
            Part::SequenceStart | Part::SequenceEnd => Err(NotPlain),
            Part::MappingStart | Part::MappingEnd => Err(NotPlain),
        }
    }

    fn text(&mut self) -> Result<&'t str, NotPlain> {
        let scalar = self.scalar()?;
        if scalar.meaning == Scalar::Text { Ok(&scalar.text) } else { Err(NotPlain) }
    }

    fn integer<T: TryFrom<i64>>(&mut self) -> Result<T, NotPlain> {
        match self.scalar()?.meaning {
            Scalar::Int(number) => T::try_from(number).map_err(|_| NotPlain),
            Scalar::Null | Scalar::Bool(_) | Scalar::Float(_) | Scalar::Text => Err(NotPlain),
        }
    }

    fn is_null(&self) -> Result<bool, NotPlain> {
        Ok(matches!(self.peek()?, Part::Scalar(text) if text.meaning == Scalar::Null))
    }

    /// Reads the token that begins a list or an object.
    fn open(&mut self, start: &Part<'_>) -> Result<(), NotPlain> {
        if self.next()? == start { Ok(()) } else { Err(NotPlain) }
    }

    fn int_or_string<'de, V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value, NotPlain> {
        let scalar = self.scalar()?;
        match scalar.meaning {
            Scalar::Text => visitor.visit_str(&scalar.text),
            Scalar::Int(number) if i32::try_from(number).is_ok() => visitor.visit_i64(number),
            Scalar::Null | Scalar::Bool(_) | Scalar::Int(_) | Scalar::Float(_) => Err(NotPlain),
        }
    }

    fn quantity<'de, V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value, NotPlain> {
        let scalar = self.scalar()?;
        match scalar.meaning {
            Scalar::Text | Scalar::Int(_) | Scalar::Float(_) => visitor.visit_str(&scalar.text),
            Scalar::Null | Scalar::Bool(_) => Err(NotPlain),
        }
    }

    fn free_form<'de, V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value, NotPlain> {
        match self.peek()? {
            Part::Scalar(_) => {
                let scalar = self.scalar()?;
                match scalar.meaning {
                    Scalar::Null => visitor.visit_unit(),
                    Scalar::Bool(value) => visitor.visit_bool(value),
                    Scalar::Int(value) => visitor.visit_i64(value),
                    Scalar::Float(value) => visitor.visit_f64(value),
                    Scalar::Text => visitor.visit_str(&scalar.text),
                }
            }
            Part::SequenceStart => self.deserialize_seq(visitor),
            Part::MappingStart => self.deserialize_map(visitor),
            Part::SequenceEnd | Part::MappingEnd => Err(NotPlain),
        }
    }
}

macro_rules! integers {
    ($($method:ident $visit:ident;)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, NotPlain> {
            visitor.$visit(self.integer()?)
        }
    )*};
}

impl<'de> Deserializer<'de> for &mut Plain<'_, '_> {
    type Error = NotPlain;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, NotPlain> {
        match Any::expected(&visitor) {
            Any::IntOrString => self.int_or_string(visitor),
            Any::Quantity => self.quantity(visitor),
            Any::FreeForm => self.free_form(visitor),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, NotPlain> {
        match self.scalar()?.meaning {
            Scalar::Bool(value) => visitor.visit_bool(value),
            Scalar::Null | Scalar::Int(_) | Scalar::Float(_) | Scalar::Text => Err(NotPlain),
        }
    }

    integers! {
        deserialize_i8 visit_i8;
        deserialize_i16 visit_i16;
        deserialize_i32 visit_i32;
        deserialize_i64 visit_i64;
        deserialize_u8 visit_u8;
        deserialize_u16 visit_u16;
        deserialize_u32 visit_u32;
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, NotPlain> {
        visitor.visit_str(self.text()?)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, NotPlain> {
        visitor.visit_str(self.text()?)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, NotPlain> {
        if self.is_null()? {
            self.next()?;
            return visitor.visit_none();
        }
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, NotPlain> {
        if !matches!(name, "Time" | "MicroTime") {
            return visitor.visit_newtype_struct(self);
        }
        let text = self.text()?;
        text.parse::<Timestamp>().map_err(|_| NotPlain)?;
        visitor.visit_newtype_struct(text.into_deserializer())
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, NotPlain> {
        self.open(&Part::SequenceStart)?;
        visitor.visit_seq(Items { of: self })
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, NotPlain> {
        self.open(&Part::MappingStart)?;
        visitor.visit_map(Keys { of: self, seen: BTreeSet::new() })
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        names: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, NotPlain> {
        let is_root = std::mem::take(&mut self.is_root);
        self.open(&Part::MappingStart)?;
        visitor.visit_map(Fields { of: self, names, seen: 0, key: "", is_root })
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, NotPlain> {
        self.rest = after(self.rest).ok_or(NotPlain)?;
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        i128 u64 u128 f32 f64 char bytes byte_buf unit unit_struct tuple tuple_struct enum identifier
    }
}
