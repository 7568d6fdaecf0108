//! Text of objects and files, for a terminal or a log.
//!
//! In: text that somebody else wrote: any Pod may have an owner of any kind and name, and a
//! file holds anything. Out: the text without what moves a cursor, changes colours, or turns
//! writing around. Never: a judgement whether a name is valid.

/// Whether a terminal would obey this character instead of showing it: control characters
/// (ECMA-48), and those that turn the direction of writing around (Unicode Standard
/// Annex 9, 2).
pub fn is_unsafe(one: char) -> bool {
    one.is_control()
        || matches!(one, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Each such character as an escape, such as `\u{1b}`.
pub fn escaped(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for one in text.chars() {
        match is_unsafe(one) {
            true => shown.extend(one.escape_default()),
            false => shown.push(one),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_shown() {
        assert_eq!(escaped("shop/web ä 漢"), "shop/web ä 漢");
        assert_eq!(escaped("a\u{1b}[31m\0\u{7}\u{9b}2J"), r"a\u{1b}[31m\u{0}\u{7}\u{9b}2J");
        assert_eq!(escaped("a\u{202e}b\nc\r"), r"a\u{202e}b\nc\r");
    }
}
