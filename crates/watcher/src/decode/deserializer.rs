//! serde's `Deserializer` for [`Cursor`], with one method for each shape of value.
//!
//! In: a node, and the shape that the type expects.
//! Out: the value in that shape; if it has another one, an issue and an empty
//! value.
//! Never: an error where an issue is possible.

use k8s_openapi::jiff::Timestamp;
use serde::de::{Deserializer, Visitor};
use serde::forward_to_deserialize_any;

use super::access::{MappingAccess, SequenceAccess};
use super::any::Any;
use super::cursor::Cursor;
use super::field_path::FieldPath;
use super::hints;
use super::log::Refused;
use super::node::Value;

impl<'a> Cursor<'a> {
    /// An integer between two bounds, both included.
    fn integer(&self, least: i64, most: i64) -> i64 {
        let number = match &self.node.value {
            Value::Null => 0,
            Value::Int { value, .. } => *value,
            // JSON has one kind of number, so 80.0 is 80. A float above 2^53 is
            // not exact.
            Value::Float { value, .. } if value.fract() == 0.0 && value.abs() < 9e15 => {
                *value as i64
            }
            other => {
                self.wrong(hints::not_a_number(other));
                return 0;
            }
        };
        if number < least || number > most {
            self.wrong(format!("must be between {least} and {most}, not {number}"));
            return 0;
        }
        number
    }

    fn string(&self) -> &'a str {
        match &self.node.value {
            Value::String(text) => text,
            Value::Null => "",
            other => {
                self.wrong(hints::not_text(other));
                ""
            }
        }
    }

    fn boolean(&self) -> bool {
        match &self.node.value {
            Value::Bool { value, .. } => *value,
            Value::Null => false,
            other => {
                self.wrong(hints::not_a_boolean(other));
                false
            }
        }
    }

    /// `port: 80` or `port: http`.
    fn int_or_string<'de, V: Visitor<'de>>(&self, visitor: V) -> Result<V::Value, Refused> {
        match &self.node.value {
            Value::String(text) => visitor.visit_str(text),
            Value::Int { .. } | Value::Float { .. } => {
                visitor.visit_i64(self.integer(i32::MIN.into(), i32::MAX.into()))
            }
            other => {
                self.wrong(format!("must be a number or a name, not {}", other.describe()));
                visitor.visit_i64(0)
            }
        }
    }

    /// `1`, `"500m"`, `1.5`: the API server accepts numbers and text.
    fn quantity<'de, V: Visitor<'de>>(&self, visitor: V) -> Result<V::Value, Refused> {
        match &self.node.value {
            Value::String(text) | Value::Int { text, .. } | Value::Float { text, .. } => {
                visitor.visit_str(text)
            }
            other => {
                self.wrong(format!("must be a quantity such as 500m, not {}", other.describe()));
                visitor.visit_str("0")
            }
        }
    }

    /// Free-form JSON, such as `fieldsV1`.
    fn free_form<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        match &self.node.value {
            Value::Null => visitor.visit_unit(),
            Value::Bool { value, .. } => visitor.visit_bool(*value),
            Value::Int { value, .. } => visitor.visit_i64(*value),
            Value::Float { value, .. } => visitor.visit_f64(*value),
            Value::String(text) => visitor.visit_str(text),
            Value::Sequence(items) => visitor.visit_seq(SequenceAccess::new(self, items)),
            Value::Mapping(_) => self.map(visitor),
        }
    }

    fn map<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        let path = self.path;
        let entries = self.distinct(|key| FieldPath::Key(path, key));
        visitor.visit_map(MappingAccess::new(self, entries, false))
    }

    /// An RFC 3339 time.
    fn time<'de, V: Visitor<'de>>(&self, visitor: V) -> Result<V::Value, Refused> {
        let mut text = "1970-01-01T00:00:00Z";
        match &self.node.value {
            Value::String(written) if written.parse::<Timestamp>().is_ok() => text = written,
            other => {
                let found = other.describe();
                self.wrong(format!("must be a time such as 2026-01-02T15:04:05Z, not {found}"));
            }
        }
        visitor.visit_newtype_struct(serde::de::value::StrDeserializer::new(text))
    }
}

macro_rules! integers {
    ($($method:ident $visit:ident $type:ty;)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
            // The number is within the type's bounds, so this cannot fail.
            let number = self.integer(<$type>::MIN.into(), <$type>::MAX.into());
            visitor.$visit(<$type>::try_from(number).unwrap_or_default())
        }
    )*};
}

impl<'de> Deserializer<'de> for Cursor<'_> {
    type Error = Refused;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        match Any::expected(&visitor) {
            Any::IntOrString => self.int_or_string(visitor),
            Any::Quantity => self.quantity(visitor),
            Any::FreeForm => self.free_form(visitor),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        visitor.visit_bool(self.boolean())
    }

    integers! {
        deserialize_i8 visit_i8 i8;
        deserialize_i16 visit_i16 i16;
        deserialize_i32 visit_i32 i32;
        deserialize_i64 visit_i64 i64;
        deserialize_u8 visit_u8 u8;
        deserialize_u16 visit_u16 u16;
        deserialize_u32 visit_u32 u32;
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        match &self.node.value {
            Value::Float { value, .. } => visitor.visit_f64(*value),
            _ => visitor.visit_f64(self.integer(i64::MIN, i64::MAX) as f64),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        visitor.visit_str(self.string())
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        visitor.visit_str(self.string())
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        match self.node.value {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Refused> {
        match name {
            "Time" | "MicroTime" => self.time(visitor),
            _ => visitor.visit_newtype_struct(self),
        }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        visitor.visit_seq(SequenceAccess::new(self, self.items()))
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        self.map(visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refused> {
        let entries = self.known(name, fields);
        visitor.visit_map(MappingAccess::new(self, entries, true))
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        i128 u64 u128 f32 char bytes byte_buf unit unit_struct tuple tuple_struct enum identifier
    }
}
