//! Splits a text into documents, so that a mistake in one of them does not lose the
//! others.
//!
//! In: the text of a file.
//! Out: parts that begin at a `---` line, with their place in the text; the JSON texts
//! of such a part.
//! Never: a look inside a YAML document. A line that begins with `---` always separates
//! documents (YAML 1.2.2, section 9.1.2).

use std::borrow::Cow;

use serde::de::IgnoredAny;

/// It may begin a document (YAML 1.2.2, section 5.2), such as the second of two joined
/// files.
const BYTE_ORDER_MARK: char = '\u{feff}';

/// A part of a text.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Part<'a> {
    pub text: &'a str,
    /// Lines of the file's text before this part.
    pub lines_before: usize,
    /// Characters before this part in its first line.
    pub columns_before: usize,
}

/// The parts of a text. Each contains one document or is empty.
pub(super) fn parts(text: &str) -> Vec<Part<'_>> {
    let mut parts = Vec::new();
    let mut start = 0;
    let mut lines_before = 0;
    // Directives and comments before a `---` belong to the document after it.
    let mut has_content = false;
    let mut offset = 0;
    for (number, line) in text.split_inclusive('\n').enumerate() {
        if is_separator(line) && has_content {
            parts.push(Part { text: &text[start..offset], lines_before, columns_before: 0 });
            (start, lines_before) = (offset, number);
            has_content = false;
        }
        has_content |= holds_content(line);
        offset += line.len();
    }
    parts.push(Part { text: &text[start..], lines_before, columns_before: 0 });
    parts
}

/// The JSON texts of a file, one after the other without a `---`, as `jq -c '.items[]'`
/// writes them, and what follows them. `None` if there is one text at the most.
///
/// Only a file that begins with JSON can hold several: elsewhere kubectl reads the first
/// and drops the others without a word (k8s.io/apimachinery v0.36 pkg/util/yaml/decoder.go,
/// `YAMLOrJSONDecoder`), so there they stay a mistake.
pub(super) fn json_texts(part: Part<'_>) -> Option<Vec<Part<'_>>> {
    let text = part.text;
    if part.lines_before > 0 || part.columns_before > 0 || !begins_with_json(text) {
        return None;
    }
    let mut texts = serde_json::Deserializer::from_str(text).into_iter::<IgnoredAny>();
    let mut ends = Vec::new();
    let mut start = 0;
    while begins_with_json(&text[start..]) && matches!(texts.next(), Some(Ok(IgnoredAny))) {
        start = texts.byte_offset();
        ends.push(start);
    }
    let is_all = text.get(start..).is_none_or(|rest| rest.trim().is_empty());
    match (ends.len(), is_all) {
        (0, _) | (1, true) => return None,
        (_, true) => {}
        (_, false) => ends.push(text.len()),
    }
    let mut parts = Vec::new();
    let (mut start, mut place) = (0, (0, 0));
    for end in ends {
        let (lines_before, columns_before) = place;
        parts.push(Part { text: &text[start..end], lines_before, columns_before });
        place = after(place, &text[start..end]);
        start = end;
    }
    Some(parts)
}

/// Lines and characters before what follows this text.
fn after((lines, columns): (usize, usize), text: &str) -> (usize, usize) {
    match text.rsplit_once('\n') {
        None => (lines, columns + text.chars().count()),
        Some((before, last)) => (lines + 1 + before.matches('\n').count(), last.chars().count()),
    }
}

fn begins_with_json(text: &str) -> bool {
    text.trim_start().starts_with('{')
}

/// The text of a part without the byte order mark that begins its document. That of the
/// first part is the file's.
pub(super) fn without_mark(part: Part<'_>) -> Cow<'_, str> {
    let Part { text, lines_before, columns_before } = part;
    let separator = text.split_inclusive('\n').next().filter(|line| is_separator(line));
    let before = separator.map_or(0, str::len);
    let rest = text[before..].trim_start();
    let is_first = lines_before == 0 && columns_before == 0;
    if is_first || !rest.starts_with(BYTE_ORDER_MARK) {
        return Cow::Borrowed(text);
    }
    let kept = &text[..text.len() - rest.len()];
    Cow::Owned(format!("{kept}{}", rest.trim_start_matches(BYTE_ORDER_MARK)))
}

fn is_separator(line: &str) -> bool {
    line.strip_prefix("---")
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(char::is_whitespace))
}

fn holds_content(line: &str) -> bool {
    let rest = if is_separator(line) { &line[3..] } else { line };
    let rest = rest.trim_start();
    !(rest.is_empty() || rest.starts_with('#') || line.starts_with('%'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_texts_follow_one_another() {
        let part = |text| Part { text, lines_before: 0, columns_before: 0 };
        let split = |text| {
            let parts = json_texts(part(text))?;
            let show = |one: Part<'_>| (one.text.to_owned(), one.lines_before, one.columns_before);
            Some(parts.into_iter().map(show).collect::<Vec<_>>())
        };
        let expected = |parts: &[(&str, usize, usize)]| {
            Some(
                parts
                    .iter()
                    .map(|(text, line, column)| ((*text).to_owned(), *line, *column))
                    .collect(),
            )
        };
        for one in ["", "{}", "{}\n", "a: 1\n{}{}", "{a: 1}\n{b: 1}", "[{}]\n{}", "{\"a\": 1"] {
            assert_eq!(split(one), None, "{one}");
        }
        assert_eq!(split("{}{}"), expected(&[("{}", 0, 0), ("{}", 0, 2)]));
        assert_eq!(
            split("{\"a\":\n\"}{\"} {}\n\n{}\n"),
            expected(&[("{\"a\":\n\"}{\"}", 0, 0), (" {}", 1, 5), ("\n\n{}", 1, 8)])
        );
        assert_eq!(split("{}\n{a: 1}"), expected(&[("{}", 0, 0), ("\n{a: 1}", 0, 2)]));
        assert_eq!(json_texts(Part { lines_before: 1, ..part("{}{}") }), None);
    }

    #[test]
    fn a_byte_order_mark_begins_a_document() {
        let cases = [
            (3, "---\n\u{feff}a: 1\n", "---\na: 1\n"),
            (3, "--- # c\n\n\u{feff}\u{feff}a: 1\n", "--- # c\n\na: 1\n"),
            (3, "\n\u{feff}{}", "\n{}"),
            (3, "---\n# c\n\u{feff}a: 1\n", "---\n# c\n\u{feff}a: 1\n"),
            (0, "---\n\u{feff}a: 1\n", "---\n\u{feff}a: 1\n"),
        ];
        for (lines_before, text, expected) in cases {
            let part = Part { text, lines_before, columns_before: 0 };
            assert_eq!(without_mark(part), expected, "{text:?}");
        }
    }

    #[test]
    fn parts_begin_at_separators() {
        let cases: [(&str, &[(usize, &str)]); 9] = [
            ("", &[(0, "")]),
            ("a\n", &[(0, "a\n")]),
            ("a\n---\nb\n", &[(0, "a\n"), (1, "---\nb\n")]),
            ("---\na\n--- # c\nb", &[(0, "---\na\n"), (2, "--- # c\nb")]),
            ("# c\n%YAML 1.2\n---\na\n", &[(0, "# c\n%YAML 1.2\n---\na\n")]),
            ("a\n---\n---\nb\n", &[(0, "a\n"), (1, "---\n---\nb\n")]),
            ("--- a\n--- b\n", &[(0, "--- a\n"), (1, "--- b\n")]),
            ("a\r\n---\r\nb\r\n", &[(0, "a\r\n"), (1, "---\r\nb\r\n")]),
            ("a: |\n  ---\n----\n", &[(0, "a: |\n  ---\n----\n")]),
        ];
        for (text, expected) in cases {
            let found: Vec<(usize, &str)> =
                parts(text).into_iter().map(|part| (part.lines_before, part.text)).collect();
            assert_eq!(found, expected, "{text:?}");
        }
    }
}
