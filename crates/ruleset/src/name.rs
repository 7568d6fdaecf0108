//! Names, comments and log prefixes inside nft's limits.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

/// The name of a table, set, map or chain, in the letters that nft's grammar
/// takes unquoted (`src/scanner.l` of nftables: `{letter}({letter}|{digit}|[/\-_\.])*`).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Arc<str>);

/// Why a text cannot be a [`Name`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Longer than [`Name::MAX_BYTES`] or empty.
    #[error("name of {0} bytes; nftables takes 1 to {max}", max = Name::MAX_BYTES)]
    Length(usize),
    /// A character outside nft's grammar.
    #[error("name {0:?} holds a character that nft's grammar does not take")]
    Character(String),
}

impl Name {
    /// `NFT_NAME_MAXLEN` (include/uapi/linux/netfilter/nf_tables.h) is 256
    /// with the closing NUL.
    pub const MAX_BYTES: usize = 255;

    /// Checks a name.
    ///
    /// # Errors
    /// See [`NameError`].
    pub fn new(text: impl Into<String>) -> Result<Self, NameError> {
        let text = text.into();
        if text.is_empty() || text.len() > Self::MAX_BYTES {
            return Err(NameError::Length(text.len()));
        }
        let mut bytes = text.bytes();
        let first_fits = bytes.next().is_some_and(|byte| byte.is_ascii_alphabetic());
        let rest_fits = bytes.all(|byte| byte.is_ascii_alphanumeric() || b"/-_.".contains(&byte));
        if first_fits && rest_fits {
            Ok(Self(text.into()))
        } else {
            Err(NameError::Character(text))
        }
    }

    /// A name that is known to fit.
    pub(crate) fn trusted(text: &str) -> Self {
        debug_assert!(Self::new(text).is_ok(), "{text:?} is no name");
        Self(text.into())
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Borrow<str> for Name {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// A comment of a rule, chain, set or map.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Comment(Arc<str>);

impl Comment {
    /// `NFTNL_UDATA_COMMENT_MAXLEN` (libnftnl udata.h) is 128.
    pub const MAX_BYTES: usize = 127;

    /// A comment of this text, cut to the limit; a quote would end nft's
    /// string and becomes an apostrophe.
    pub fn new(text: &str) -> Self {
        Self(fitted(text, Self::MAX_BYTES).into())
    }

    /// The comment as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What a log statement puts before each message.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogPrefix(String);

impl LogPrefix {
    /// `NF_LOG_PREFIXLEN` (include/uapi/linux/netfilter/nf_log.h) is 128 with
    /// the closing NUL.
    pub const MAX_BYTES: usize = 127;

    /// A prefix of this text, cut to the limit. A `$` becomes a `?`: nft
    /// takes it for the start of a variable (`log_arg` of nftables'
    /// src/parser_bison.y).
    pub fn new(text: &str) -> Self {
        Self(fitted(&text.replace('$', "?"), Self::MAX_BYTES))
    }

    /// The prefix as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// `text` without quotes, backslashes and control characters, in at most
/// `max_bytes`; what is cut ends in three dots.
fn fitted(text: &str, max_bytes: usize) -> String {
    const CUT: &str = "...";
    let clean: String = text
        .chars()
        .map(|c| if c == '"' || c == '\\' || c.is_control() { '\'' } else { c })
        .collect();
    if clean.len() <= max_bytes {
        return clean;
    }
    let mut cut = clean;
    let mut end = max_bytes - CUT.len();
    while !cut.is_char_boundary(end) {
        end -= 1;
    }
    cut.truncate(end);
    cut + CUT
}
