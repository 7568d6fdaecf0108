//! In which order the places of further networks are stepped, and how long at once.
//!
//! In: all places. Out: some of them stepped, and where to go on. Never: a namespace whose
//! pods wait for all that another one asks for.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::super::place::PodPlace;
use crate::metrics::Metrics;

/// How long tables are changed at once. Then messages, and tables of primary networks, come
/// first again.
const CHANGES: Duration = Duration::from_millis(100);
/// How long it is looked whether others changed tables.
const LOOKS: Duration = Duration::from_millis(20);

/// Steps places: those with something to send, one of each namespace in turn, then the others
/// from the one at `turn` on.
pub(super) fn step(places: Vec<&mut PodPlace>, turn: &mut usize, metrics: &Metrics) {
    let now = Instant::now();
    let (due, mut quiet): (Vec<_>, Vec<_>) = places.into_iter().partition(|one| one.is_due(now));
    for place in in_turn(due, |place| place.pod.namespace.clone()) {
        place.step(metrics);
        if now.elapsed() > CHANGES {
            return;
        }
    }
    let count = quiet.len();
    if count == 0 {
        return;
    }
    let begin = *turn % count;
    quiet.rotate_left(begin);
    let start = Instant::now();
    let mut done = 0;
    for place in quiet {
        place.step(metrics);
        done += 1;
        if start.elapsed() > LOOKS {
            break;
        }
    }
    *turn = (begin + done) % count;
}

/// The first of each group, then the second of each, and so on.
fn in_turn<T>(all: Vec<T>, group: impl Fn(&T) -> String) -> impl Iterator<Item = T> {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let ranked = all.into_iter().map(|one| {
        let rank = seen.entry(group(&one)).or_default();
        *rank += 1;
        (*rank, one)
    });
    let mut ranked: Vec<(usize, T)> = ranked.collect();
    ranked.sort_by_key(|(rank, _)| *rank);
    ranked.into_iter().map(|(_, one)| one)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_namespace_has_its_turn() {
        let all = vec!["a1", "a2", "a3", "b1", "c1", "c2"];
        let order: Vec<&str> = in_turn(all, |one| one[..1].to_owned()).collect();
        assert_eq!(order, ["a1", "b1", "c1", "a2", "c2", "a3"]);
    }
}
