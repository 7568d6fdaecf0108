//! Ends that behave alike become one row and column.
//!
//! In: a matrix. Out: groups of ends with names, and a cell for each two groups.
//! Never: two ends in one group of which a policy treats one in another way, except where
//! a whole namespace is folded; its cells then say `some`.

use std::collections::{BTreeMap, HashMap};

use super::ends::Unit;
use super::names;
use super::table::{Cell, End, Matrix};

/// How much is folded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fold {
    /// Ends with equal rows and columns.
    Alike,
    /// All pods of a namespace, all nodes, all outside addresses but the internet.
    Namespaces,
}

/// Some ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// The ends, by their places in the matrix.
    pub ends: Vec<usize>,
    /// What the row and column are called.
    pub name: String,
    /// The namespace of all of its pods, if they have one.
    pub namespace: Option<String>,
    /// Whether it is one pod, which always reaches itself.
    pub is_alone: bool,
}

/// What stands in a cell of two groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Shown {
    /// For all of them.
    Same(Cell),
    /// Some ends of the one reach some of the other; others do not, or on other ports.
    Some,
    /// A pod and itself.
    Itself,
}

/// A matrix of groups.
pub struct Folded {
    /// The groups in the order of rows and columns.
    pub groups: Vec<Group>,
    cells: Vec<Shown>,
}

impl Folded {
    /// Folds a matrix. The pods of `own` namespaces are called without them if there is
    /// one, and stand last.
    pub fn new(matrix: &Matrix, fold: Fold, own: &[String]) -> Self {
        let sets = match fold {
            Fold::Alike => alike(matrix),
            Fold::Namespaces => namespaces(matrix),
        };
        let sizes = namespace_sizes(matrix);
        let mut groups: Vec<Group> =
            sets.into_iter().map(|ends| group(matrix, ends, own, &sizes)).collect();
        groups.sort_by_cached_key(|group| order(matrix, group, own));
        let pairs = groups.iter().flat_map(|from| groups.iter().map(move |to| (from, to)));
        let cells = pairs.map(|(from, to)| shown(matrix, from, to)).collect();
        Self { groups, cells }
    }

    /// What stands in a cell.
    pub fn cell(&self, from: usize, to: usize) -> Shown {
        self.cells[from * self.groups.len() + to]
    }

    /// Whether a row, or a column, has a cell that is not blank.
    pub fn is_used(&self, group: usize, as_row: bool) -> bool {
        (0..self.groups.len()).any(|other| {
            let cell = if as_row { self.cell(group, other) } else { self.cell(other, group) };
            match cell {
                Shown::Same(cell) => !cell.is_blank(),
                Shown::Some | Shown::Itself => true,
            }
        })
    }
}

/// Ends with equal rows and equal columns.
fn alike(matrix: &Matrix) -> Vec<Vec<usize>> {
    let ends = matrix.ends.len();
    let mut groups: Vec<Vec<usize>> = Vec::new();
    let mut by_cells: HashMap<Vec<Cell>, usize> = HashMap::new();
    for end in 0..ends {
        let row = (0..ends).map(|other| matrix.cell(end, other));
        let column = (0..ends).map(|other| matrix.cell(other, end));
        let mut cells: Vec<Cell> = row.chain(column).collect();
        // Nodes, addresses outside and pods are named apart even if they behave alike.
        let kind = &matrix.ends[end].unit;
        cells.extend(std::iter::repeat_n(Cell::default(), rank(kind)));
        match by_cells.get(&cells) {
            Some(&group) => groups[group].push(end),
            None => {
                by_cells.insert(cells, groups.len());
                groups.push(vec![end]);
            }
        }
    }
    groups
}

fn namespaces(matrix: &Matrix) -> Vec<Vec<usize>> {
    let mut groups: BTreeMap<(usize, Option<&str>), Vec<usize>> = BTreeMap::new();
    for (at, end) in matrix.ends.iter().enumerate() {
        groups.entry((rank(&end.unit), end.unit.namespace())).or_default().push(at);
    }
    groups.into_values().collect()
}

fn shown(matrix: &Matrix, from: &Group, to: &Group) -> Shown {
    if from == to && from.is_alone {
        return Shown::Itself;
    }
    let mut cells = from.ends.iter().flat_map(|&one| {
        to.ends
            .iter()
            .filter(move |&&other| one != other || !matrix.ends[one].is_alone())
            .map(move |&other| matrix.cell(one, other))
    });
    let Some(first) = cells.next() else { return Shown::Itself };
    match cells.all(|cell| cell == first) {
        true => Shown::Same(first),
        false => Shown::Some,
    }
}

fn rank(unit: &Unit) -> usize {
    match unit {
        Unit::Outside(super::outside::Outside::Internet) => 0,
        Unit::Outside(super::outside::Outside::Ranges(_)) => 1,
        Unit::Node(_) => 2,
        Unit::Kept(_) => 3,
        Unit::Workload(..) | Unit::Pod(_) => 4,
    }
}

/// Internet, addresses outside, nodes, other namespaces, then the own.
fn order(matrix: &Matrix, group: &Group, own: &[String]) -> (usize, bool, String, String) {
    let first = &matrix.ends[group.ends[0]].unit;
    let is_own = first.namespace().is_some_and(|one| own.iter().any(|own| own == one));
    let namespace = first.namespace().unwrap_or_default().to_owned();
    (rank(first), is_own, namespace, group.name.clone())
}

/// How many ends each namespace has.
fn namespace_sizes(matrix: &Matrix) -> BTreeMap<String, usize> {
    let mut sizes = BTreeMap::new();
    for namespace in matrix.ends.iter().filter_map(|end| end.unit.namespace()) {
        *sizes.entry(namespace.to_owned()).or_default() += 1;
    }
    sizes
}

/// Ends of a group that are named; the others are counted.
const NAMED: usize = 2;

fn group(
    matrix: &Matrix,
    ends: Vec<usize>,
    own: &[String],
    sizes: &BTreeMap<String, usize>,
) -> Group {
    let list: Vec<&End> = ends.iter().map(|&end| &matrix.ends[end]).collect();
    let counts: Option<Vec<usize>> = list.iter().map(|end| end.count).collect();
    let pods: Option<usize> = counts.map(|counts| counts.iter().sum());
    let mut by_namespace: BTreeMap<&str, usize> = BTreeMap::new();
    for namespace in list.iter().filter_map(|end| end.unit.namespace()) {
        *by_namespace.entry(namespace).or_default() += 1;
    }
    let namespace = match by_namespace.len() {
        1 => by_namespace.keys().next().map(|one| (*one).to_owned()),
        _ => None,
    };
    let is_pods = list.iter().all(|end| end.unit.is_pod());
    let suffix = match (is_pods, pods) {
        (true, Some(1)) => String::new(),
        (true, Some(pods)) => format!("({pods})"),
        (true, None) => "(n)".to_owned(),
        (false, _) => String::new(),
    };
    let name = format!("{}{suffix}", group_name(&list, own, sizes, &by_namespace));
    let is_alone = is_pods && list.len() == 1 && list[0].is_alone();
    Group { ends, name, namespace, is_alone }
}

fn group_name(
    list: &[&End],
    own: &[String],
    sizes: &BTreeMap<String, usize>,
    by_namespace: &BTreeMap<&str, usize>,
) -> String {
    let is_node = list.iter().all(|end| matches!(end.unit, Unit::Node(_)));
    if is_node && list.len() > 1 {
        return format!("nodes({})", list.len());
    }
    let is_whole = by_namespace.iter().all(|(name, count)| sizes.get(*name) == Some(count));
    let others = sizes.keys().filter(|name| !own.contains(name)).count();
    let of_own = own.iter().any(|one| by_namespace.contains_key(one.as_str()));
    if list.len() > 1 && !by_namespace.is_empty() && is_whole {
        if !of_own && !own.is_empty() && by_namespace.len() == others && others > 1 {
            return "other namespaces".to_owned();
        }
        let names = by_namespace.keys().map(|name| format!("{}/*", names::printable(name)));
        return first_of(names.collect());
    }
    let short = |end: &&End| {
        let name = end.name.clone();
        let prefix = match own {
            [own] => format!("{own}/"),
            _ => return name,
        };
        name.strip_prefix(&prefix).map_or(name.clone(), str::to_owned)
    };
    first_of(list.iter().map(short).collect())
}

fn first_of(mut names: Vec<String>) -> String {
    let more = names.len().saturating_sub(NAMED);
    names.truncate(NAMED);
    let named = names.join(", ");
    if more == 0 { named } else { format!("{named} +{more}") }
}
