//! The matrix for a page or a comment in Markdown.

use std::fmt::Write;

use super::fold::{Fold, Folded, Shown};
use super::sets::SetId;
use super::table::Matrix;
use super::text::in_full;
use crate::printable::is_unsafe;

/// Columns that people still read. With more it is a list of pairs.
const COLUMNS: usize = 14;

/// A table of groups that behave alike, or of pairs where that is too wide.
pub fn markdown(matrix: &Matrix, own: &[String]) -> String {
    let folded = Folded::new(matrix, Fold::Alike, own);
    let groups = 0..folded.groups.len();
    let columns: Vec<usize> = groups.clone().filter(|&one| folded.is_used(one, false)).collect();
    let name = |group: usize| cell_text(&folded.groups[group].name);
    let mut text = String::new();
    if columns.len() > COLUMNS {
        text.push_str("| from | to | ports |\n|---|---|---|\n");
        for from in groups.clone() {
            for &to in &columns {
                let ports = shown(matrix, folded.cell(from, to));
                if !matches!(ports.as_str(), "" | "·" | "-") {
                    _ = writeln!(text, "| {} | {} | {ports} |", name(from), name(to));
                }
            }
        }
        return text;
    }
    let names: Vec<String> = columns.iter().map(|&column| name(column)).collect();
    _ = writeln!(text, "| from \\ to | {} |", names.join(" | "));
    _ = writeln!(text, "|---|{}", ":-:|".repeat(columns.len()));
    for row in groups.filter(|&one| folded.is_used(one, true)) {
        let cells: Vec<String> =
            columns.iter().map(|&column| shown(matrix, folded.cell(row, column))).collect();
        _ = writeln!(text, "| **{}** | {} |", name(row), cells.join(" | "));
    }
    text.push_str("\nRows send, columns receive: ● all, · none, - no question.\n");
    text
}

fn shown(matrix: &Matrix, shown: Shown) -> String {
    let cell = match shown {
        Shown::Some => return "◐".to_owned(),
        Shown::Itself => return "-".to_owned(),
        Shown::Same(cell) => cell,
    };
    if cell.differs() {
        return cell_text(&in_full(&matrix.sets, cell));
    }
    match cell.any() {
        None => "-".to_owned(),
        Some(SetId::NOTHING) => "·".to_owned(),
        Some(SetId::EVERYTHING) => "●".to_owned(),
        Some(_) => cell_text(&in_full(&matrix.sets, cell)),
    }
}

/// Text of a cell: nothing in it is markup (CommonMark, section 2.4: a backslash before
/// punctuation makes it plain).
pub fn cell_text(text: &str) -> String {
    let is_markup = |one: char| "\\`*_{}[]<>()#|~&!@".contains(one);
    text.chars().fold(String::new(), |mut text, one| {
        if is_markup(one) {
            text.push('\\');
        }
        text.push(if is_unsafe(one) { ' ' } else { one });
        text
    })
}
