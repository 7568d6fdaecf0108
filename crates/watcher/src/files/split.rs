//! Splits a text into YAML documents, so that a mistake in one of them does not
//! lose the others.
//!
//! In: the text of a file.
//! Out: parts that begin at a `---` line, with their place in the text.
//! Never: a look inside a document. A line that begins with `---` always
//! separates documents (YAML 1.2.2, section 9.1.2).

/// A part of a text.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Part<'a> {
    pub text: &'a str,
    /// Lines of the text before this part.
    pub lines_before: usize,
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
            parts.push(Part { text: &text[start..offset], lines_before });
            (start, lines_before) = (offset, number);
            has_content = false;
        }
        has_content |= holds_content(line);
        offset += line.len();
    }
    parts.push(Part { text: &text[start..], lines_before });
    parts
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
