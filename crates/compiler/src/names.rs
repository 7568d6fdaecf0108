//! Names of sets and chains. Two names are equal if and only if their contents
//! are.
//!
//! A name is `<kind>.<readable part>.<hash>`. The readable part is for people
//! and may be cut. A stored set has store and tag instead (see `ruleset::Store`),
//! and its tag is the hash. The hash covers the whole content, in an encoding that
//! is different for every content: each text is preceded by its length. So
//! `a-b`/`c` and `a`/`b-c` have different names.

use std::fmt::Display;

use ruleset::{Name, Store, Tag};
use sha2::{Digest, Sha256};

/// Longest readable part, in bytes. With kind and hash a name fits into the 127
/// bytes of a log prefix.
const READABLE_BYTES: usize = 48;

/// Bytes of the hash that are kept. 128 bits are enough against chance, and
/// against a user who wants to hit another policy's name.
const HASH_BYTES: usize = 16;

/// A set keeps its type for life. If you give a content another type or meaning,
/// increment this, so that it gets another name.
const SCHEMA: &str = "1";

/// The content of a name.
pub(crate) struct Content(Sha256);

impl Content {
    /// Content of a kind of object.
    pub fn of(kind: &str) -> Self {
        Self(Sha256::new()).text(SCHEMA).text(kind)
    }

    /// Adds a text, with its length before it.
    pub fn text(mut self, text: &str) -> Self {
        self.0.update(u64::try_from(text.len()).unwrap_or(u64::MAX).to_be_bytes());
        self.0.update(text);
        self
    }

    /// Adds several texts, with their number before them.
    pub fn texts<T: AsRef<str>>(self, texts: impl IntoIterator<Item = T>) -> Self {
        let texts: Vec<T> = texts.into_iter().collect();
        let counted = self.text(&texts.len().to_string());
        texts.iter().fold(counted, |content, text| content.text(text.as_ref()))
    }

    /// The name.
    pub fn named(self, kind: &str, readable: &impl Display) -> Name {
        let hash = self.hash();
        let readable: String = readable
            .to_string()
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() || "/-_.".contains(c) { c } else { '_' })
            .take(READABLE_BYTES)
            .collect();
        constant(&format!("{kind}.{readable}.{hash:032x}"))
    }

    /// The name of a stored set.
    pub fn stored(self, store: Store) -> Name {
        Name::in_store(store, Tag::new(self.hash()))
    }

    pub fn hash(self) -> u128 {
        let bytes = self.0.finalize();
        bytes.iter().take(HASH_BYTES).fold(0, |hash, byte| hash << 8 | u128::from(*byte))
    }
}

/// A name that always fits nft's grammar.
///
/// # Panics
/// If it does not fit nft's grammar; all callers pass letters, digits, `/`,
/// `-`, `_` and `.` in limited length, which the tests of this module cover.
#[expect(clippy::expect_used, reason = "the characters and the length are bounded above")]
pub(crate) fn constant(name: &str) -> Name {
    Name::new(name).expect("a name of bounded length in nft's letters")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use policy::{Direction, Mode, NetworkPolicy, ObjectKey, Pod, Rule, Selector};
    use proptest::prelude::*;
    use ruleset::LogPrefix;

    use super::*;
    use crate::sets::{PodsPeer, Scope, SetSource};
    use crate::signature::Signature;

    fn policy(namespace: &str, name: &str) -> NetworkPolicy {
        NetworkPolicy {
            key: ObjectKey::new(namespace, name),
            uid: String::new(),
            audit: Default::default(),
            pod_selector: Selector::everything(),
            ingress: Some(Vec::<Rule>::new()),
            egress: Some(Vec::new()),
        }
    }

    fn pod() -> Pod {
        Pod {
            key: ObjectKey::new("any", "pod"),
            labels: policy::Labels::new(),
            node: None,
            addresses: Vec::new(),
            host_addresses: Vec::new(),
            host_network: false,
            phase: policy::Phase::Running,
            created: 0,
            is_ending: false,
            grace_seconds: 0,
            attachment: policy::Attachment::default(),
            ports: Vec::new(),
        }
    }

    fn chain(direction: Direction, policies: &[(&str, &str)]) -> Name {
        let policies: Vec<_> = policies.iter().map(|(one, other)| policy(one, other)).collect();
        Signature::of((direction, Mode::Enforce), &pod(), &policies).unwrap().chain_name()
    }

    #[test]
    fn a_dash_or_a_dot_moved_between_namespace_and_name_is_another_name() {
        let chains = [
            chain(Direction::Ingress, &[("a-b", "c")]),
            chain(Direction::Ingress, &[("a", "b-c")]),
            chain(Direction::Ingress, &[("a", "b.c")]),
            chain(Direction::Egress, &[("a", "b-c")]),
            chain(Direction::Ingress, &[("a", "b"), ("a", "c")]),
            chain(Direction::Ingress, &[("a", "b"), ("a", "b-c")]),
        ];
        let distinct: std::collections::BTreeSet<&Name> = chains.iter().collect();
        assert_eq!(distinct.len(), chains.len(), "{chains:#?}");
    }

    /// Peers whose parts, written one after the other, look alike.
    #[test]
    fn the_same_text_cut_elsewhere_is_another_set() {
        let peer = |namespace: &str, key: &str, value: &str| PodsPeer {
            scope: Scope::Own(namespace.to_owned()),
            pods: Selector::new([policy::Requirement::equals(key, value)]),
        };
        let sets = [
            peer("ab", "c", "d"),
            peer("a", "bc", "d"),
            peer("a", "b", "cd"),
            PodsPeer { scope: Scope::Matching(Selector::everything()), ..peer("a", "b", "cd") },
        ];
        let names: BTreeMap<Name, &PodsPeer> = sets
            .iter()
            .map(|peer| (SetSource::Pods(ruleset::Family::V4, peer.clone()).name(), peer))
            .collect();
        assert_eq!(names.len(), sets.len(), "{names:#?}");
    }

    proptest! {
        #[test]
        fn names_fit_and_differ_as_their_policies_do(
            one in ("[a-z0-9-]{1,63}", "[a-z0-9.-]{1,253}"),
            other in ("[a-z0-9-]{1,63}", "[a-z0-9.-]{1,253}"),
        ) {
            let name = |key: &(String, String)| chain(Direction::Ingress, &[(&key.0, &key.1)]);
            let (first, second) = (name(&one), name(&other));
            prop_assert_eq!(first == second, one == other);
            let prefix = LogPrefix::new(first.as_str());
            prop_assert_eq!(prefix.as_str(), first.as_str(), "a log must name the chain whole");
        }
    }
}
