//! The matrix for a terminal: a table, or a list where it is too wide.

use std::collections::HashMap;
use std::fmt::Write;

use comfy_table::{CellAlignment, ContentArrangement, Table};

use super::fold::{Fold, Folded, Shown};
use super::names;
use super::sets::{SetId, Sets};
use super::table::{Cell, Matrix};
use crate::PortSet;

/// Below this width a list is easier to read.
const NARROW: usize = 60;
/// A list of more groups is folded to namespaces.
const LONG: usize = 60;
/// The longest text of ports in a cell. Longer ones get a letter and a line below.
const CELL_WIDTH: usize = 14;

/// How a table is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Heads {
    /// Each column under its name.
    Names,
    /// Each column under its row's number.
    Numbers,
}

/// The widest form that fits.
pub fn text(matrix: &Matrix, own: &[String], width: usize) -> String {
    let folded = Folded::new(matrix, Fold::Alike, own);
    let by_namespace = Folded::new(matrix, Fold::Namespaces, own);
    if width >= NARROW {
        let forms = [
            (&folded, Heads::Names),
            (&folded, Heads::Numbers),
            (&by_namespace, Heads::Names),
            (&by_namespace, Heads::Numbers),
        ];
        for (folded, heads) in forms {
            let table = table(matrix, folded, heads);
            if table.lines().all(|line| line.chars().count() <= width) {
                return table;
            }
        }
    }
    let is_long = folded.groups.len() > LONG;
    list(matrix, if is_long { &by_namespace } else { &folded })
}

/// One line for each group that sends: whom it reaches on which ports.
pub fn list(matrix: &Matrix, folded: &Folded) -> String {
    let mut text = String::new();
    for (row, from) in folded.groups.iter().enumerate() {
        if !folded.is_used(row, true) {
            continue;
        }
        let mut reached: Vec<(String, Vec<&str>)> = Vec::new();
        for (column, to) in folded.groups.iter().enumerate() {
            let ports = match folded.cell(row, column) {
                Shown::Same(cell) if cell.is_blank() || cell.is_denied() => continue,
                Shown::Same(cell) => in_full(&matrix.sets, cell),
                Shown::Some => "some".to_owned(),
                Shown::Itself => continue,
            };
            match reached.iter_mut().find(|(known, _)| *known == ports) {
                Some((_, names)) => names.push(&to.name),
                None => reached.push((ports, vec![&to.name])),
            }
        }
        _ = writeln!(text, "{}", from.name);
        if reached.is_empty() {
            _ = writeln!(text, "  -> nobody");
        }
        for (ports, names) in reached {
            _ = writeln!(text, "  -> {}: {ports}", names.join(", "));
        }
    }
    text.push_str(&members(matrix, folded));
    text
}

/// Letters for what has no room in a cell.
#[derive(Default)]
struct Footnotes {
    letters: HashMap<String, String>,
    lines: Vec<String>,
}

impl Footnotes {
    fn letter(&mut self, text: &str) -> String {
        if let Some(known) = self.letters.get(text) {
            return known.clone();
        }
        let at = self.letters.len();
        let letter = char::from(b'a' + u8::try_from(at % 26).unwrap_or_default());
        let letter = match at / 26 {
            0 => letter.to_string(),
            round => format!("{letter}{round}"),
        };
        self.letters.insert(text.to_owned(), letter.clone());
        self.lines.push(format!("{letter}: {text}"));
        letter
    }
}

fn table(matrix: &Matrix, folded: &Folded, heads: Heads) -> String {
    let groups = 0..folded.groups.len();
    let rows: Vec<usize> = groups.clone().filter(|&group| folded.is_used(group, true)).collect();
    let columns: Vec<usize> = groups.filter(|&group| folded.is_used(group, false)).collect();
    let mut table = Table::new();
    table
        .load_style(comfy_table::presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled);
    let name = |group: usize, heads| match heads {
        Heads::Names => folded.groups[group].name.clone(),
        Heads::Numbers => (group + 1).to_string(),
    };
    let mut header = vec![String::new()];
    header.extend(columns.iter().map(|&column| name(column, heads)));
    table.set_header(header);
    let mut notes = Footnotes::default();
    for &row in &rows {
        let mut cells = vec![match heads {
            Heads::Names => name(row, heads),
            Heads::Numbers => format!("{:>2} {}", row + 1, folded.groups[row].name),
        }];
        let shown =
            columns.iter().map(|&column| in_cell(matrix, folded.cell(row, column), &mut notes));
        cells.extend(shown);
        table.add_row(cells);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Center);
    }
    let mut text: String = table.lines().map(|line| format!("{}\n", line.trim_end())).collect();
    if heads == Heads::Numbers {
        // A column whose group sends nothing has no row to tell its name.
        for &column in columns.iter().filter(|column| !rows.contains(column)) {
            _ = writeln!(text, "{:>3} {}", column + 1, folded.groups[column].name);
        }
    }
    text.push_str("rows send, columns receive   ● all  · none  - no question");
    if rows.iter().any(|&row| columns.iter().any(|&column| folded.cell(row, column) == Shown::Some))
    {
        text.push_str("  ◐ some of them, or on other ports");
    }
    if rows.iter().any(|&row| columns.iter().any(|&column| differs(folded.cell(row, column)))) {
        text.push_str("  ~ IPv4/IPv6 differ");
    }
    text.push('\n');
    for line in notes.lines {
        _ = writeln!(text, "{line}");
    }
    text.push_str(&members(matrix, folded));
    text
}

fn differs(shown: Shown) -> bool {
    matches!(shown, Shown::Same(cell) if cell.differs())
}

/// `●`, `·`, `-`, ports, or a letter.
fn in_cell(matrix: &Matrix, shown: Shown, notes: &mut Footnotes) -> String {
    let cell = match shown {
        Shown::Some => return "◐".to_owned(),
        Shown::Itself => return "-".to_owned(),
        Shown::Same(cell) => cell,
    };
    if cell.differs() {
        return format!("~{}", notes.letter(&in_full(&matrix.sets, cell)));
    }
    match cell.any() {
        None => "-".to_owned(),
        Some(SetId::NOTHING) => "·".to_owned(),
        Some(SetId::EVERYTHING) => "●".to_owned(),
        Some(set) => {
            let ports = matrix.sets.get(set).to_string();
            let short = ports.replace(", ", ",");
            match short.chars().count() <= CELL_WIDTH {
                true => short,
                false => notes.letter(&ports),
            }
        }
    }
}

/// `80, 53/UDP`, `IPv4 80, IPv6 none`, `IPv4 80` where the other is no question and
/// all pods of both ends lack it, too.
pub fn in_full(sets: &Sets, cell: Cell) -> String {
    let ports = |set: SetId| sets.get(set).to_string();
    match cell.ports {
        [Some(one), Some(other)] if one != other => {
            format!("IPv4 {}; IPv6 {}", ports(one), ports(other))
        }
        [Some(one), _] | [None, Some(one)] => ports(one),
        [None, None] => PortSet::nothing().to_string(),
    }
}

/// A line for each group of several ends.
fn members(matrix: &Matrix, folded: &Folded) -> String {
    let mut text = String::new();
    for group in &folded.groups {
        let ends: Vec<_> = group.ends.iter().map(|&end| &matrix.ends[end]).collect();
        if ends.len() > 1 {
            let ends: Vec<String> = ends.iter().map(|end| names::in_full(end)).collect();
            let shown = ends.iter().take(6).cloned().collect::<Vec<_>>().join("; ");
            let more = match ends.len().saturating_sub(6) {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            _ = writeln!(text, "{}: {shown}{more}", group.name);
        }
    }
    text
}
