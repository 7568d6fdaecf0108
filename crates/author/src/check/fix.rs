//! Repairs, made in the text: comments and form stay.
//!
//! In: findings, and which repairs are wanted. Out: the new texts of files, and what was
//! done, a line each.
//! Never: a repair that opens something and was not asked for by its name; a text in which
//! more is wrong than before.

use std::collections::{BTreeMap, BTreeSet};

use policy::Severity;
use watcher::files::{self, Location, Validation};

use super::finding::{Edit, Finding, Fix};
use crate::Cluster;

/// Which repairs are wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// All that open nothing.
    Harmless,
    /// All of these checks.
    Of(BTreeSet<String>),
}

/// What repairs came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Repaired {
    /// The new texts by file.
    pub texts: BTreeMap<String, String>,
    /// What was done, a line each.
    pub done: Vec<String>,
    /// What was not done, and why, a line each.
    pub left: Vec<String>,
}

/// Repairs the texts of a cluster's files.
pub fn repair(cluster: &Cluster, findings: &[Finding], wanted: &Wanted) -> Repaired {
    let mut repaired = Repaired::default();
    let mut chosen: BTreeMap<&str, Vec<(&Finding, &Fix)>> = BTreeMap::new();
    for finding in findings {
        let (Some(fix), Some(at)) = (&finding.fix, &finding.at) else { continue };
        if is_wanted(finding.id, fix, wanted) {
            chosen.entry(&at.file).or_default().push((finding, fix));
        } else if let (Wanted::Harmless, Some(opens)) = (wanted, &fix.opens) {
            repaired.left.push(format!(
                "{at}: {} would open {opens}; --fix {} does it",
                fix.title, finding.id
            ));
        }
    }
    for (file, fixes) in chosen {
        of_file(cluster, file, &fixes, &mut repaired);
    }
    repaired
}

fn is_wanted(id: &str, fix: &Fix, wanted: &Wanted) -> bool {
    match wanted {
        Wanted::Harmless => fix.opens.is_none(),
        Wanted::Of(ids) => ids.contains(id),
    }
}

fn of_file(cluster: &Cluster, file: &str, fixes: &[(&Finding, &Fix)], repaired: &mut Repaired) {
    let Some(before) = cluster.places.text(file) else { return };
    if file == "stdin" {
        repaired.left.push("standard input cannot be repaired; give the file".to_owned());
        return;
    }
    let mut text = before.to_owned();
    let mut done = Vec::new();
    // From the end, so that positions before stay right. Of two at one place one is made; the
    // other follows when the file is read again.
    let mut order: Vec<_> = fixes.iter().collect();
    order.sort_by_key(|(_, fix)| std::cmp::Reverse(fix.edits.first().map(|edit| &edit.at)));
    let mut last: Option<(usize, usize)> = None;
    for (finding, fix) in order {
        let [edit] = &fix.edits[..] else { continue };
        let here = (edit.at.line, edit.at.column);
        if last.is_some_and(|last| last <= here) {
            continue;
        }
        match edited(&text, edit) {
            Some(new) => {
                text = new;
                last = Some(here);
                let opens = fix.opens.as_ref().map(|what| format!(" (opens {what})"));
                let line = format!("{}: {}{}", edit.at, fix.title, opens.unwrap_or_default());
                done.push(format!("{line} [{}]", finding.id));
            }
            None => repaired.left.push(format!(
                "{}: {}: the text there has another form; write it by hand",
                edit.at, fix.title
            )),
        }
    }
    done.reverse();
    if errors(file, &text) > errors(file, before) {
        repaired
            .left
            .push(format!("{file}: the repairs would make the file invalid; none was made"));
    } else if !done.is_empty() {
        repaired.done.extend(done);
        repaired.texts.insert(file.to_owned(), text);
    }
}

fn errors(file: &str, text: &str) -> usize {
    let findings = files::parse(file, text, Validation::Strict).findings;
    findings.iter().filter(|one| one.severity == Severity::Error).count()
}

/// The text with a change, if the place of the change still has the old text.
fn edited(text: &str, edit: &Edit) -> Option<String> {
    let at = offset(text, &edit.at)?;
    let edit = &match text.contains("\r\n") {
        true => Edit {
            old: edit.old.replace('\n', "\r\n"),
            new: edit.new.replace('\n', "\r\n"),
            at: edit.at.clone(),
        },
        false => edit.clone(),
    };
    // A quoted value begins with its quote.
    let starts = [at, at + 1];
    let is_there =
        |start: &usize| text.get(*start..).is_some_and(|rest| rest.starts_with(&edit.old));
    let quoted = matches!(text.as_bytes().get(at), Some(b'"' | b'\''));
    let start = starts.into_iter().take(if quoted { 2 } else { 1 }).find(is_there)?;
    let end = start + edit.old.len();
    let is_word = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    // `app` is not `apple`.
    if is_word(edit.old.chars().last()) && is_word(text[end..].chars().next()) {
        return None;
    }
    Some(format!("{}{}{}", &text[..start], edit.new, &text[end..]))
}

/// The byte of a place.
fn offset(text: &str, at: &Location) -> Option<usize> {
    let mut start = 0;
    for (index, line) in text.split_inclusive('\n').enumerate() {
        if index + 1 == at.line {
            let inner = line.char_indices().nth(at.column.checked_sub(1)?)?.0;
            return Some(start + inner);
        }
        start += line.len();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edit(line: usize, column: usize, old: &str, new: &str) -> Edit {
        let at = Location { file: "f".to_owned(), line, column };
        Edit { at, old: old.to_owned(), new: new.to_owned() }
    }

    #[test]
    fn only_the_text_that_is_meant_is_changed() {
        let text = "a: 'ü' # c\nport: \"80\"  # keep\n";
        let edited = |line, column, old, new| edited(text, &edit(line, column, old, new));
        assert_eq!(
            edited(2, 7, "80", "8080").as_deref(),
            Some("a: 'ü' # c\nport: \"8080\"  # keep\n")
        );
        assert_eq!(edited(1, 8, "#", "##").as_deref(), Some("a: 'ü' ## c\nport: \"80\"  # keep\n"));
        assert_eq!(edited(2, 7, "8", "9"), None, "part of a number");
        assert_eq!(edited(2, 1, "80", "9"), None, "not there");
        assert_eq!(edited(9, 1, "a", "b"), None, "no such line");
    }
}
