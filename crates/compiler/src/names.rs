//! Names of sets and chains: equal content, equal name; other content, other
//! name.
//!
//! A name is `<kind>.<readable part>.<hash>`. The readable part is for people
//! and may be cut; the hash is over the whole content in an encoding in which
//! no two contents look alike (each text is preceded by its length), so
//! `a-b`/`c` and `a`/`b-c` differ.

use std::fmt::Display;

use ruleset::Name;
use sha2::{Digest, Sha256};

/// Longest readable part, in bytes. With kind and hash a name stays within
/// the 127 bytes of a log prefix.
const READABLE_BYTES: usize = 48;
/// Bytes of the hash that are kept: 128 bits, far beyond chance, and out of
/// reach for somebody who wants to meet another's name.
const HASH_BYTES: usize = 16;

/// The content of a name.
pub(crate) struct Content(Sha256);

impl Content {
    /// Content of a kind of object.
    pub fn of(kind: &str) -> Self {
        Self(Sha256::new()).text(kind)
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
        let hash: String =
            self.0.finalize()[..HASH_BYTES].iter().map(|byte| format!("{byte:02x}")).collect();
        let readable: String = readable
            .to_string()
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() || "/-_.".contains(c) { c } else { '_' })
            .take(READABLE_BYTES)
            .collect();
        constant(&format!("{kind}.{readable}.{hash}"))
    }
}

/// A name of ours that is known to fit.
///
/// # Panics
/// If it does not fit nft's grammar; all callers pass letters, digits, `/`,
/// `-`, `_` and `.` in limited length, which the tests of this module cover.
#[expect(clippy::expect_used, reason = "the characters and the length are bounded above")]
pub(crate) fn constant(name: &str) -> Name {
    Name::new(name).expect("a name of bounded length in nft's letters")
}
