//! The small parts of JSON text: numbers, characters, escapes.
//!
//! In: a text. Out: whether it is one, or the character that it means. Never: a position.

use super::NotJson;

/// Whether a text is a number in JSON (RFC 8259, section 6).
pub(super) fn is_number(text: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let text = text.strip_prefix('-').unwrap_or(text);
    let (text, exponent) = match text.split_once(['e', 'E']) {
        Some((text, exponent)) => (text, Some(exponent)),
        None => (text, None),
    };
    let (whole, fraction) = match text.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (text, None),
    };
    digits(whole)
        && (whole == "0" || !whole.starts_with('0'))
        && fraction.is_none_or(digits)
        && exponent.is_none_or(|text| digits(text.strip_prefix(['+', '-']).unwrap_or(text)))
}

/// Whether a character may be in a text of both languages and is no line end in
/// either (YAML 1.2.2, sections 5.1 and 5.4).
pub(super) fn is_the_same_in_yaml(character: char) -> bool {
    !character.is_control() && !matches!(character, '\u{2028}' | '\u{2029}' | '\u{feff}')
}

/// The character of the escape that a text begins with, and the escape's length.
pub(super) fn escaped(text: &str) -> Result<(char, usize), NotJson> {
    let character = match text.as_bytes().get(1).ok_or(NotJson)? {
        b'"' => '"',
        b'\\' => '\\',
        b'/' => '/',
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        b'u' => {
            let hex = text.get(2..6).filter(|hex| hex.bytes().all(|byte| byte.is_ascii_hexdigit()));
            let code = u32::from_str_radix(hex.ok_or(NotJson)?, 16).map_err(|_| NotJson)?;
            return Ok((char::from_u32(code).ok_or(NotJson)?, 6));
        }
        _ => return Err(NotJson),
    };
    Ok((character, 2))
}
