//! Repairs of lines that have the wrong indentation, or one key too many.
//!
//! In: the mistake and the text. Out: a repair, where the lines have the form that people
//! usually give them.
//! Never: a guess at another form.

use watcher::files::{Finding, Location};

use super::finding::{Edit, Fix};
use crate::cluster::Places;

/// The repair of a mistake.
pub fn fix(places: &Places, read: &Finding, at: &Location) -> Option<Fix> {
    if read.message.contains("without the {}") {
        return within_finished(places, at);
    }
    if read.message.contains("it belongs under podSelector") && read.field.ends_with("matchLabels")
    {
        return below_selector(places, at);
    }
    if read.field.ends_with(".ports") && read.message.starts_with("is given twice") {
        return joined(places, at);
    }
    None
}

/// `podSelector: {}` with `matchLabels` below it: the `{}` goes.
fn within_finished(places: &Places, at: &Location) -> Option<Fix> {
    let number = at.line.checked_sub(1)?;
    let line = places.line(&at.file, number)?.trim_end();
    let kept = line.strip_suffix("{}")?.trim_end();
    let at = Location { line: number, column: kept.chars().count() + 1, ..at.clone() };
    let edits = vec![Edit { at, old: line[kept.len()..].to_owned(), new: String::new() }];
    let opens = Some("pods without these labels, which the {} selects".to_owned());
    Some(Fix { title: "leave out the {}".to_owned(), opens, edits })
}

/// `podSelector: {}` with `matchLabels` beside it: the labels go below it.
fn below_selector(places: &Places, at: &Location) -> Option<Fix> {
    let line = |number: usize| places.line(&at.file, number);
    let indent = |text: &str| text.len() - text.trim_start_matches(' ').len();
    let before = line(at.line - 1)?.trim_end();
    let selector = before.strip_suffix("{}")?.trim_end();
    let first = line(at.line)?;
    if selector.trim_start() != "podSelector:" || indent(first) != indent(before) {
        return None;
    }
    let mut block = vec![first];
    while let Some(next) = line(at.line + block.len()) {
        if next.trim().is_empty() || indent(next) <= indent(first) {
            break;
        }
        block.push(next);
    }
    let lines = |shift: &str| {
        block.iter().map(|line| format!("{shift}{line}")).collect::<Vec<_>>().join("\n")
    };
    let full = line(at.line - 1)?;
    let old = format!("{full}\n{}", lines(""));
    let new = format!("{selector}\n{}", lines("  "));
    let at = Location { line: at.line - 1, column: 1, ..at.clone() };
    let opens = Some("pods without these labels, which the {} selects".to_owned());
    let title = "put matchLabels under podSelector".to_owned();
    Some(Fix { title, opens, edits: vec![Edit { at, old, new }] })
}

/// A second `ports:` right after the first list: its items follow those of the first.
fn joined(places: &Places, at: &Location) -> Option<Fix> {
    let line = places.line(&at.file, at.line)?;
    if line.trim() != "ports:" || !places.line(&at.file, at.line + 1)?.trim().starts_with("- ") {
        return None;
    }
    let at = Location { column: 1, ..at.clone() };
    let opens =
        Some("the ports of the first list, too: of two lists the last one counts".to_owned());
    let edits = vec![Edit { at, old: format!("{line}\n"), new: String::new() }];
    Some(Fix { title: "leave out the second ports:".to_owned(), opens, edits })
}
