//! User data: what nft stores with an object, such as comments.
//!
//! It is a list of type (one byte), length (one byte) and value. Strings end in
//! NUL. Types: include/libnftnl/udata.h of libnftnl.

use ruleset::Comment;

/// NFTNL_UDATA_RULE_COMMENT and NFTNL_UDATA_CHAIN_COMMENT.
pub(crate) const COMMENT: u8 = 0;
/// NFTNL_UDATA_SET_KEYBYTEORDER. nft needs it to print keys.
pub(crate) const SET_KEY_BYTE_ORDER: u8 = 0;
/// NFTNL_UDATA_SET_DATABYTEORDER.
pub(crate) const SET_DATA_BYTE_ORDER: u8 = 1;
/// NFTNL_UDATA_SET_KEY_TYPEOF: the expression whose type the keys have.
pub(crate) const SET_KEY_TYPEOF: u8 = 3;
/// NFTNL_UDATA_SET_DATA_INTERVAL.
pub(crate) const SET_DATA_INTERVAL: u8 = 6;
/// NFTNL_UDATA_SET_COMMENT.
pub(crate) const SET_COMMENT: u8 = 7;

/// No byte order, as of a concatenation (nft's `enum byteorder`,
/// include/datatype.h).
pub(crate) const BYTE_ORDER_INVALID: u32 = 0;
/// Host order (same enum).
pub(crate) const BYTE_ORDER_HOST_ENDIAN: u32 = 1;
/// Network order (same enum).
pub(crate) const BYTE_ORDER_BIG_ENDIAN: u32 = 2;

/// User data under construction.
#[derive(Clone, Default)]
pub(crate) struct Userdata(Vec<u8>);

impl Userdata {
    /// Appends a number.
    pub(crate) fn number(mut self, kind: u8, value: u32) -> Self {
        self.0.extend([kind, size_of::<u32>() as u8]);
        self.0.extend(value.to_ne_bytes());
        self
    }

    /// Appends user data inside user data, at most 255 bytes of it.
    pub(crate) fn nested(mut self, kind: u8, inner: &Self) -> Self {
        let fitting = inner.0.get(..usize::from(u8::MAX)).unwrap_or(&inner.0);
        self.0.extend([kind, fitting.len() as u8]);
        self.0.extend(fitting);
        self
    }

    /// Appends a comment of at most 127 bytes, if there is one.
    pub(crate) fn comment(mut self, kind: u8, comment: Option<&Comment>) -> Self {
        if let Some(comment) = comment {
            let text = comment.as_str();
            self.0.extend([kind, text.len() as u8 + 1]);
            self.0.extend(text.bytes());
            self.0.push(0);
        }
        self
    }

    /// The bytes. `None` if there are none.
    pub(crate) fn bytes(&self) -> Option<&[u8]> {
        (!self.0.is_empty()).then_some(&self.0)
    }
}

/// The comment of this type in user data. `None` if it is missing or not text.
pub(crate) fn comment(userdata: Option<&[u8]>, kind: u8) -> Option<Comment> {
    let mut rest = userdata?;
    loop {
        let [found, length, ..] = *rest else { return None };
        let value = rest.get(2..2 + usize::from(length))?;
        if found == kind {
            let text = value.strip_suffix(&[0]).unwrap_or(value);
            return std::str::from_utf8(text).ok().map(Comment::new);
        }
        rest = &rest[2 + usize::from(length)..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comment_reads_back() {
        for text in ["", "x", "Grüße", &"x".repeat(Comment::MAX_BYTES)] {
            let written = Userdata::default()
                .number(SET_KEY_BYTE_ORDER, BYTE_ORDER_BIG_ENDIAN)
                .comment(SET_COMMENT, Some(&Comment::new(text)));
            let read = comment(written.bytes(), SET_COMMENT);
            assert_eq!(read, Some(Comment::new(text)));
        }
    }

    #[test]
    fn garbage_is_no_comment() {
        for bytes in [&[][..], &[0], &[0, 1], &[0, 9, b'x'], &[1, 0, 0, 2, 0xff, 0xfe]] {
            assert_eq!(comment(Some(bytes), COMMENT), None, "{bytes:?}");
        }
        assert_eq!(comment(None, COMMENT), None);
    }
}
