//! The matrix as a graph for Graphviz: a box for each namespace.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::fold::{Fold, Folded, Shown};
use super::sets::SetId;
use super::table::Matrix;
use super::text::in_full;

/// The graph. Ends that behave alike are one node. With `denied`, pairs that nothing may
/// pass between have a dashed line.
pub fn dot(matrix: &Matrix, own: &[String], denied: bool) -> String {
    let folded = Folded::new(matrix, Fold::Alike, own);
    let mut text = String::from(
        "digraph nftpol {\n  rankdir=LR; node [shape=box, style=rounded, fontname=sans]; edge [fontname=sans, fontsize=10]\n",
    );
    let mut by_namespace: BTreeMap<Option<&str>, Vec<usize>> = BTreeMap::new();
    for (at, group) in folded.groups.iter().enumerate() {
        by_namespace.entry(group.namespace.as_deref()).or_default().push(at);
    }
    for (number, (namespace, groups)) in by_namespace.into_iter().enumerate() {
        if let Some(namespace) = namespace {
            _ = writeln!(text, "  subgraph cluster_{number} {{ label={}", quoted(namespace));
        }
        for at in groups {
            let group = &folded.groups[at];
            let shape = if namespace.is_none() { ", shape=ellipse" } else { "" };
            _ = writeln!(text, "    n{at} [label={}{shape}]", quoted(&group.name));
        }
        if namespace.is_some() {
            text.push_str("  }\n");
        }
    }
    for from in 0..folded.groups.len() {
        for to in 0..folded.groups.len() {
            if let Some(attributes) = attributes(matrix, folded.cell(from, to), denied) {
                _ = writeln!(text, "  n{from} -> n{to} [{attributes}]");
            }
        }
    }
    text.push_str("}\n");
    text
}

fn attributes(matrix: &Matrix, shown: Shown, denied: bool) -> Option<String> {
    let cell = match shown {
        Shown::Itself => return None,
        Shown::Some => return Some("label=\"some\", style=dotted".to_owned()),
        Shown::Same(cell) => cell,
    };
    if cell.is_blank() {
        None
    } else if cell.is_denied() {
        denied.then(|| "color=red, style=dashed, arrowhead=tee".to_owned())
    } else if cell.any() == Some(SetId::EVERYTHING) && !cell.differs() {
        Some("label=\"all\", color=gray40".to_owned())
    } else {
        Some(format!("label={}", quoted(&in_full(&matrix.sets, cell))))
    }
}

/// A quoted string of the DOT language: a backslash would begin an escape sequence.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}
