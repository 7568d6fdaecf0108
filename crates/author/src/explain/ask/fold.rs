//! What is judged alike, together.

use std::collections::{BTreeMap, BTreeSet};

use super::super::end::{End, Named};
use super::super::report::{Case, EndName};

/// A pair of ends, judged. Names come after folding.
pub struct Judged {
    pub from: usize,
    pub to: usize,
    pub case: Case,
}

/// Indices of equal items together.
pub fn classes<T: Ord>(items: impl Iterator<Item = T>) -> Vec<Vec<usize>> {
    let mut classes: BTreeMap<T, Vec<usize>> = BTreeMap::new();
    for (index, item) in items.enumerate() {
        classes.entry(item).or_default().push(index);
    }
    let mut classes: Vec<Vec<usize>> = classes.into_values().collect();
    classes.sort();
    classes
}

/// The names of all ends, with what names them all.
pub struct Names<'e> {
    pub from: (&'e End, Vec<EndName>),
    pub to: (&'e End, Vec<EndName>),
}

/// Pairs with equal cases together.
pub fn folded(judged: Vec<Judged>, names: &Names<'_>) -> Vec<Case> {
    // Each source with the destinations that it meets in one way, in order.
    let mut by_source: Vec<(usize, Vec<usize>, Case)> = Vec::new();
    for Judged { from, to, case } in judged {
        match by_source.iter_mut().find(|(one, _, other)| *one == from && *other == case) {
            Some((_, all, _)) => all.push(to),
            None => by_source.push((from, vec![to], case)),
        }
    }
    let mut folded: Vec<(Vec<usize>, Vec<usize>, Case)> = Vec::new();
    for (from, mut to, case) in by_source {
        to.sort_unstable();
        match folded.iter_mut().find(|(_, all, other)| *all == to && *other == case) {
            Some((sources, _, _)) => sources.push(from),
            None => folded.push((vec![from], to, case)),
        }
    }
    let named = |(end, all): &(&End, Vec<EndName>), members: &[usize]| whole(end, all, members);
    let with_names = folded.into_iter().map(|(from, to, case)| Case {
        from: named(&names.from, &from),
        to: named(&names.to, &to),
        ..case
    });
    with_names.collect()
}

/// The names of members; if these are all of several, the name of all.
fn whole(end: &End, all: &[EndName], members: &[usize]) -> Vec<EndName> {
    let names: BTreeSet<&EndName> = members.iter().filter_map(|&one| all.get(one)).collect();
    let distinct: BTreeSet<&EndName> = all.iter().collect();
    if names.len() < 2 || names != distinct {
        return names.into_iter().cloned().collect();
    }
    let name = match end.named {
        Named::Internet => end.text.clone(),
        _ => format!("{} ({} pods)", end.text, names.len()),
    };
    vec![EndName { name, addresses: Vec::new(), node: None }]
}
