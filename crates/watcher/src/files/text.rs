//! Bytes of a file to text.
//!
//! In: bytes. Out: UTF-8 text without NUL.
//! Never: a guess at another encoding.

use std::borrow::Cow;

use super::yaml::SyntaxError;
use crate::decode::node::Position;

/// The text of a file.
///
/// # Errors
/// The bytes are not UTF-8, or contain NUL, where the parser would stop early.
pub(super) fn decode(bytes: &[u8]) -> Result<Cow<'_, str>, SyntaxError> {
    let error = |end: usize, message: String| {
        let before = String::from_utf8_lossy(&bytes[..end]);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().map_or(0, |last| last.chars().count()) + 1;
        SyntaxError { at: Position { line, column }, message, is_yaml: true }
    };
    if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
        return Err(error(0, "is UTF-16 text; save it as UTF-8".to_owned()));
    }
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(fault) => {
            let end = fault.valid_up_to();
            return Err(error(end, format!("is not UTF-8 text (byte 0x{:02x})", bytes[end])));
        }
    };
    if let Some(end) = text.find('\0') {
        return Err(error(end, "is not text (a NUL byte)".to_owned()));
    }
    Ok(join_surrogates(text))
}

/// Replaces pairs of surrogate escapes by their character. JSON writes characters
/// beyond U+FFFF this way (RFC 8259, section 7); YAML does not know it.
fn join_surrogates(text: &str) -> Cow<'_, str> {
    let unit = |escape: &str| {
        let hex = escape.strip_prefix("\\u")?;
        u16::from_str_radix(hex, 16).ok()
    };
    let mut joined = String::new();
    let mut copied = 0;
    for (start, _) in text.match_indices("\\u") {
        let pair = text.get(start..start + 6).zip(text.get(start + 6..start + 12));
        let Some((high, low)) = pair.and_then(|(high, low)| unit(high).zip(unit(low))) else {
            continue;
        };
        let escaped =
            text[..start].bytes().rev().take_while(|&byte| byte == b'\\').count() % 2 == 1;
        if escaped || start < copied {
            continue;
        }
        if let Some(Ok(character)) = char::decode_utf16([high, low]).next()
            && character.len_utf16() == 2
        {
            joined.push_str(&text[copied..start]);
            joined.push(character);
            copied = start + 12;
        }
    }
    if copied == 0 {
        return Cow::Borrowed(text);
    }
    joined.push_str(&text[copied..]);
    Cow::Owned(joined)
}
