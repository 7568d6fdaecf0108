//! Explains texts that are not valid YAML.
//!
//! In: a text, and where the parser gave up.
//! Out: a message with the probable cause; if that is clear, a corrected text.
//! Never: an object. A corrected text is not enforced; it only helps to find the
//! other mistakes.

use super::yaml::SyntaxError;
use crate::decode::node::{Position, shorten};

/// The cause of a syntax error.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Fault {
    /// Where the mistake begins.
    pub at: Position,
    pub message: String,
    pub repaired: Option<Repaired>,
}

/// A corrected text.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Repaired {
    pub text: String,
    /// The line that was inserted, if any.
    pub inserted: Option<usize>,
}

/// The text with spaces for the tabs that separate a value, a key or a comment from what
/// is before it (YAML 1.2.2, section 6.2); the parser refuses some of them. `None` if
/// there are none. A tab that indents, or that follows the dash of an item, stays: kubectl
/// refuses it, too.
pub(super) fn without_tabs(text: &str) -> Option<String> {
    let mut is_changed = false;
    let spaced = text.split_inclusive('\n').map(|line| {
        let begins = line.find(|c: char| !(c.is_whitespace() || c == '-')).unwrap_or(line.len());
        let (indent, rest) = line.split_at(begins);
        let mut quote = None;
        let rest = rest.chars().map(|c| match (c, quote) {
            ('\t', None) => {
                is_changed = true;
                ' '
            }
            ('"' | '\'', None) => {
                quote = Some(c);
                c
            }
            (c, Some(open)) if c == open => {
                quote = None;
                c
            }
            _ => c,
        });
        indent.chars().chain(rest.collect::<Vec<_>>()).collect::<String>()
    });
    let spaced: String = spaced.collect();
    is_changed.then_some(spaced)
}

/// A line of YAML.
struct Line<'a> {
    /// Its number, from 1.
    number: usize,
    /// The number of spaces before its content.
    indent: usize,
    /// Without surrounding spaces and without a comment.
    content: &'a str,
}

impl<'a> Line<'a> {
    fn of((index, line): (usize, &'a str)) -> Option<Self> {
        let content = line.trim();
        let content = content.split_once(" #").map_or(content, |(before, _)| before.trim_end());
        let is_content = !(content.is_empty() || content.starts_with('#'));
        let indent = line.chars().take_while(|&c| c == ' ').count();
        is_content.then_some(Line { number: index + 1, indent, content })
    }

    fn is_item(&self) -> bool {
        self.content == "-" || self.content.starts_with("- ")
    }

    /// Key and value of `key: value`, with the column of the key. The dash of an
    /// item is skipped.
    fn field(&self) -> Option<(usize, &'a str, &'a str)> {
        let after_dash = self.content.trim_start_matches("- ").trim_start();
        let indent = self.indent + self.content.len() - after_dash.len();
        let (key, value) = match after_dash.split_once(": ") {
            Some((key, value)) => (key, value.trim()),
            None => (after_dash.strip_suffix(':')?, ""),
        };
        let is_key = !key.is_empty() && !key.contains([' ', '{', '[', '"', '\'', '#']);
        is_key.then_some((indent, key, value))
    }
}

/// Why the parser probably gave up.
pub(super) fn explain(text: &str, error: &SyntaxError) -> Fault {
    let lines: Vec<Line<'_>> = text.lines().enumerate().filter_map(Line::of).collect();
    let Some(at) = lines.iter().rposition(|line| line.number <= error.at.line) else {
        return Fault { at: error.at, message: error.message.clone(), repaired: None };
    };
    let line = &lines[at];
    let raw = text.lines().nth(error.at.line.saturating_sub(1)).unwrap_or_default();
    // An error at the end of the text is shown where the text ends.
    let is_beyond = error.at.line > text.lines().count();
    let begin = Position { line: line.number, column: line.indent + 1 };
    let at_error = if is_beyond { begin } else { error.at };
    let there = |message| Fault { at: at_error, message, repaired: None };
    if text.lines().any(|line| line.starts_with("<<<<<<< ")) {
        return there("the file has an unresolved merge conflict".to_owned());
    }
    if let Some(message) = in_line(line, raw, error) {
        return there(message);
    }
    // A wrong indentation is reported where the line begins.
    let here = |(message, repaired)| Fault { at: begin, message, repaired };
    let above = &lines[..at];
    let Some(before) = above.last() else { return there(general(line, None, error)) };
    finished(text, before, line)
        .or_else(|| item_among_fields(text, above, line, error))
        .or_else(|| indentation(above, line, error).map(|message| (message, None)))
        .map(here)
        .or_else(|| missing_blank(before, error).map(there))
        .unwrap_or_else(|| there(general(line, Some(before), error)))
}

/// A message and, if possible, the corrected text.
type Cause = (String, Option<Repaired>);

/// Causes that are visible in the line itself.
fn in_line(line: &Line<'_>, raw: &str, error: &SyntaxError) -> Option<String> {
    let indent: String = raw.chars().take_while(|c| c.is_whitespace()).collect();
    if indent.contains('\t') {
        return Some("this line is indented by a tab; YAML allows only spaces".to_owned());
    }
    if line.content.contains("{{") && line.content.contains("}}") {
        return Some("this is a template; render it first".to_owned());
    }
    let value = line.field().map_or(line.content, |(_, _, value)| value);
    let first = value.trim_start_matches("- ").chars().next()?;
    if "@`%".contains(first) && error.message.contains("unexpected character") {
        return Some(format!("a value cannot begin with {first}; quote it: {value:?}"));
    }
    if first == '*' && error.message.contains("anchor") {
        return Some(format!(
            "{value} is an alias of an anchor that does not exist; quote it: {value:?}"
        ));
    }
    None
}

/// A line that is indented under a field whose value is complete.
fn finished(text: &str, before: &Line<'_>, line: &Line<'_>) -> Option<Cause> {
    let (indent, key, value) = before.field()?;
    let opens = ["|", ">", "&", "!", "\"", "'"].iter().any(|start| value.starts_with(start));
    let is_open = ["{", "["].iter().any(|start| value.starts_with(start))
        && !(value.ends_with('}') || value.ends_with(']'));
    if line.indent <= indent || value.is_empty() || opens || is_open {
        return None;
    }
    let what = line.field().map_or(shorten(line.content), |(_, key, _)| key.to_owned());
    if !matches!(value, "{}" | "[]") {
        let message = format!(
            "{what} is indented under \"{key}: {}\", whose value is complete; \
             indent both lines equally",
            shorten(value)
        );
        // A line may continue a plain text of several lines.
        return line.field().map(|_| (message, None));
    }
    let message = format!(
        "{what} is indented under the finished value {value} of {key}; \
         it belongs inside {key}, without the {value}"
    );
    let edited: Vec<String> = text
        .lines()
        .enumerate()
        .map(|(index, raw)| match raw.rfind(value) {
            Some(place) if index + 1 == before.number => raw[..place].to_owned(),
            _ => raw.to_owned(),
        })
        .collect();
    Some((message, Some(Repaired { text: edited.join("\n"), inserted: None })))
}

/// `- item` where a field is expected: the list's own key is missing.
fn item_among_fields(
    text: &str,
    above: &[Line<'_>],
    line: &Line<'_>,
    error: &SyntaxError,
) -> Option<Cause> {
    let before = above.last()?;
    let (indent, ..) = before.field()?;
    if !line.is_item() || !error.message.contains("expected key") || indent != line.indent {
        return None;
    }
    let parent = above.iter().rev().find(|other| other.indent < line.indent)?;
    let (_, parent, _) = parent.field()?;
    if parent != "spec" {
        let message = format!(
            "a list item is among the fields of {parent}; the name of its list is missing \
                 before it"
        );
        return Some((message, None));
    }
    let message = "a list item is among the fields of spec; the rule is missing its egress: \
                   or ingress: before it"
        .to_owned();
    let types = text.split_once("policyTypes").map_or("", |(_, types)| types);
    let only_egress = types.contains("Egress") && !types.contains("Ingress");
    let key = if only_egress { "egress:" } else { "ingress:" };
    let mut edited: Vec<String> = text.lines().map(str::to_owned).collect();
    edited.insert(line.number - 1, format!("{}{key}", " ".repeat(line.indent)));
    let repaired = Repaired { text: edited.join("\n"), inserted: Some(line.number) };
    Some((message, Some(repaired)))
}

/// A field whose indentation matches no line above, or that is among items.
fn indentation(above: &[Line<'_>], line: &Line<'_>, error: &SyntaxError) -> Option<String> {
    let (indent, key, _) = line.field()?;
    if error.message.contains("expected '-'") {
        return Some(format!(
            "{key} is where an item of the list above is expected; indent it to belong to the \
             item, or less to end the list"
        ));
    }
    if !error.message.contains("expected key") {
        return None;
    }
    let mut open: Vec<usize> = Vec::new();
    for other in above {
        open.retain(|&indent| indent <= other.indent);
        for indent in [Some(other.indent), other.field().map(|(indent, ..)| indent)] {
            open.extend(indent.filter(|indent| open.last() != Some(indent)));
        }
    }
    let fits: Vec<String> =
        open.iter().filter(|&&other| other != indent).map(usize::to_string).collect();
    (!open.contains(&indent))
        .then(|| format!("{key} is indented by {indent}, where {} would fit", fits.join(" or ")))
}

/// `key:value`, which YAML reads as one text.
fn missing_blank(before: &Line<'_>, error: &SyntaxError) -> Option<String> {
    let (key, value) = before.content.split_once(':')?;
    let is_key = key.chars().all(|c| c.is_ascii_alphanumeric());
    let tight = is_key && !value.is_empty() && !value.starts_with(' ');
    (tight && error.message.contains("mapping values"))
        .then(|| format!("a space is missing after the ':' of {:?}", shorten(before.content)))
}

/// Causes that only the parser's message shows.
fn general(line: &Line<'_>, before: Option<&Line<'_>>, error: &SyntaxError) -> String {
    let parser = error.message.as_str();
    let has = |part: &str| parser.contains(part);
    if has("document start") && line.content.starts_with(['{', '[']) {
        return "a second value follows the first; put \"---\" between them, or a List around them"
            .to_owned();
    }
    let message = if has("recursion limit") {
        "values are nested too deep"
    } else if has("mapping values") {
        "this line has a second ':'; quote the value, or begin a new line"
    } else if has("comment intercepting") {
        "the next line is indented as if it continued this value"
    } else if has("trailing content") {
        "there is text right after a closing quote"
    } else if has("escape") || has("hexadecimal") {
        "YAML does not know this '\\' escape; write \"\\\\\" or use single quotes"
    } else if has("quoted scalar") {
        "a quote that begins here is not closed"
    } else if has("flow") || has("',' or") || has("':' indicator") || has("bracket") {
        "a ',' is missing before here, or a '[' or '{' is not closed or closed twice"
    } else if has("node content") {
        "a value is missing here, or a '[' or '{' before it is not closed"
    } else if has("expected key") {
        "the indentation of this line matches no line above it"
    } else if has("simple key") || has("expect ':'") || has("expected ':'") {
        let culprit = before.filter(|before| before.field().is_none()).unwrap_or(line);
        return format!("{:?} has no ':' after it", shorten(culprit.content));
    } else {
        parser
    };
    message.to_owned()
}
