//! What can be read of an object that cannot be read as what it should be.
//!
//! In: JSON of any shape. Out: its texts, flags, lists and maps, as deep as addresses
//! stand; the addresses of a Pod. Never: a failure because one part is wrong or too deep.

use std::collections::BTreeMap;
use std::fmt;

use policy::{Kept, ObjectKey, Pod};
use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize as _, Deserializer};

/// `object.status.podIPs[0].ip` of a watch's line.
const DEPTH: usize = 6;

/// A part of an object.
#[derive(Debug, Default)]
pub(super) enum Rough {
    /// Null, a number, or what is too deep.
    #[default]
    Other,
    Flag(bool),
    Text(String),
    List(Vec<Rough>),
    Map(BTreeMap<String, Rough>),
}

impl Rough {
    /// What can be read.
    pub fn read(bytes: &[u8]) -> Self {
        let mut from = serde_json::Deserializer::from_slice(bytes);
        Depth(DEPTH).deserialize(&mut from).unwrap_or_default()
    }

    /// Takes the value of a field.
    pub fn take(&mut self, field: &str) -> Self {
        match self {
            Self::Map(fields) => fields.remove(field).unwrap_or_default(),
            Self::Other | Self::Flag(_) | Self::Text(_) | Self::List(_) => Self::Other,
        }
    }

    fn text(self) -> Option<String> {
        match self {
            Self::Text(text) => Some(text).filter(|text| !text.is_empty()),
            Self::Other | Self::Flag(_) | Self::List(_) | Self::Map(_) => None,
        }
    }

    fn list(self) -> Vec<Self> {
        match self {
            Self::List(list) => list,
            Self::Other | Self::Flag(_) | Self::Text(_) | Self::Map(_) => Vec::new(),
        }
    }
}

/// A pod of which only its addresses, its node and whose network it uses are read.
pub(super) fn pod(key: ObjectKey, mut object: Rough) -> Pod {
    let (mut spec, mut status) = (object.take("spec"), object.take("status"));
    let list = status.take("podIPs").list().into_iter();
    let texts = list.filter_map(|mut one| one.take("ip").text());
    let texts: Vec<String> = texts.chain(status.take("podIP").text()).collect();
    let mut addresses = Vec::new();
    for address in texts.iter().filter_map(|text| policy::cidr::parse_address(text)) {
        let address = address.to_canonical();
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    Pod {
        node: spec.take("nodeName").text(),
        host_network: matches!(spec.take("hostNetwork"), Rough::Flag(true)),
        ..Kept::stand_in(key, addresses)
    }
}

/// How many levels are still read.
#[derive(Clone, Copy)]
struct Depth(usize);

impl<'de> DeserializeSeed<'de> for Depth {
    type Value = Rough;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Rough, D::Error> {
        match self.0 {
            0 => IgnoredAny::deserialize(from).map(|_| Rough::Other),
            _ => from.deserialize_any(self),
        }
    }
}

impl<'de> Visitor<'de> for Depth {
    type Value = Rough;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Rough, E> {
        Ok(Rough::Flag(flag))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Rough, E> {
        Ok(Rough::Other)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Rough, E> {
        Ok(Rough::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Rough, E> {
        Ok(Rough::Other)
    }

    fn visit_unit<E>(self) -> Result<Rough, E> {
        Ok(Rough::Other)
    }

    fn visit_str<E>(self, text: &str) -> Result<Rough, E> {
        Ok(Rough::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Rough, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(Self(self.0 - 1))? {
            list.push(item);
        }
        Ok(Rough::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Rough, A::Error> {
        let mut fields = BTreeMap::new();
        while let Some(field) = entries.next_key::<String>()? {
            fields.insert(field, entries.next_value_seed(Self(self.0 - 1))?);
        }
        Ok(Rough::Map(fields))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Pod {
        pod(ObjectKey::new("dev", "v"), Rough::read(text.as_bytes()))
    }

    fn shown(pod: &Pod) -> String {
        let addresses: Vec<String> = pod.addresses.iter().map(ToString::to_string).collect();
        format!("{} {:?} {}", addresses.join(" "), pod.node.as_deref(), pod.host_network)
    }

    #[test]
    fn addresses_are_found_beside_what_cannot_be_read() {
        let deep = format!("{}1{}", "[".repeat(200), "]".repeat(200));
        let text = format!(
            r#"{{"metadata": {{"labels": [1], "x": {deep}}}, "spec": {{"nodeName": "a",
            "containers": {deep}}}, "status": {{"hostIP": "192.0.2.1", "podIP": "10.0.0.1",
            "podIPs": [{{"ip": "10.0.0.1"}}, {{"ip": "fd00::1"}}, 7, {{"ip": "no"}}]}}}}"#
        );
        assert_eq!(shown(&read(&text)), r#"10.0.0.1 fd00::1 Some("a") false"#);
        let host = r#"{"spec": {"hostNetwork": true}, "status": {"podIP": "192.0.2.1"}}"#;
        assert_eq!(shown(&read(host)), "192.0.2.1 None true");
        for nothing in ["", "7", "[]", r#"{"status": "x"}"#, r#"{"status": {"podIPs": "x"}}"#] {
            assert_eq!(shown(&read(nothing)), " None false", "{nothing}");
        }
    }
}
