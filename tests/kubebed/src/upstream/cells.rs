//! What a spec saw of the pairs of pods, try by try.
//!
//! Read from the log of the spec (test/e2e/network/netpol of Kubernetes 1.36:
//! kubemanager.go, probe.go, reachability.go). Counts how many pairs the spec
//! asked, and how many answers differed from its table, including those that
//! upstream repeats or ignores. Upstream alone gives the verdict.
//!
//! Upstream asks each pair through the Service of the answering pod. It repeats a
//! wrong answer every second for ten seconds. If pairs are still wrong then, it
//! asks all of them once more. The spec fails only if pairs are wrong after that. A
//! pod that asks itself never fails a spec. The table may even expect that a pod
//! does not reach itself, although no policy can express that
//! (k8s.io/docs/concepts/services-networking/network-policies).

use std::collections::{BTreeMap, BTreeSet};
use std::ops::AddAssign;

/// How many of the wrong tries are kept as logged.
const SHOWN: usize = 5;

/// Counts of one spec or of many.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cells {
    /// Deciding answers: one for each pair of two pods and each time that the spec
    /// checks all of them.
    pub pairs: usize,
    /// How many of those were wrong.
    pub wrong: usize,
    /// Pairs that were wrong for ten seconds, so that all were asked again.
    pub wrong_for_long: usize,
    /// Wrong first tries of a pair of two pods.
    pub first_tries: usize,
    /// Wrong later tries, a second or more after the first.
    pub later_tries: usize,
    /// Deciding answers of a pod that asks itself.
    pub itself: usize,
    /// How many of those did not reach the pod.
    pub itself_refused: usize,
    /// Some of the wrong tries, as logged.
    pub shown: Vec<String>,
}

impl Cells {
    /// Whether any answer was wrong, at any time.
    pub fn any_wrong(&self) -> bool {
        let tries = self.first_tries + self.later_tries;
        self.wrong + self.wrong_for_long + tries + self.itself_refused > 0
    }

    /// Counts what this log says.
    pub(super) fn read(log: &str) -> Self {
        let mut reader = Reader::default();
        log.lines().for_each(|line| reader.read(line));
        reader.close();
        reader.cells
    }
}

impl AddAssign<&Self> for Cells {
    fn add_assign(&mut self, other: &Self) {
        self.pairs += other.pairs;
        self.wrong += other.wrong;
        self.wrong_for_long += other.wrong_for_long;
        self.first_tries += other.first_tries;
        self.later_tries += other.later_tries;
        self.itself += other.itself;
        self.itself_refused += other.itself_refused;
        self.shown.extend_from_slice(&other.shown);
        self.shown.truncate(SHOWN);
    }
}

/// The asking and the answering pod, each `namespace/name`.
type Pair = (String, String);

#[derive(Default)]
struct Reader {
    cells: Cells,
    /// Whether there has been a policy. Before the first, the spec waits for
    /// servers.
    started: bool,
    /// The wrong tries of this check, by asking pod and asked address, as logged
    /// and in order.
    tries: BTreeMap<Pair, Vec<String>>,
    /// Pods that reached or missed themselves against the table.
    unlike_themselves: BTreeSet<String>,
    table: Option<Table>,
    expected: BTreeMap<Pair, bool>,
    observed: BTreeMap<Pair, bool>,
}

/// A table that is being read, line by line.
struct Table {
    expected: bool,
    /// The pods in its head, once the head has been read.
    columns: Vec<String>,
}

impl Reader {
    fn read(&mut self, line: &str) {
        if self.row(line) {
            return;
        }
        // klog writes this before a message: `I1123 18:30:09.362814 10103
        // file.go:1558] `.
        let (_, said) = line.split_once("] ").unwrap_or(("", line));
        let said = said.trim();
        if said.starts_with("creating network policy ") {
            self.started = true;
        } else if let Some(rest) = said.strip_prefix("probe #") {
            self.wrong_try(rest, said);
        } else if let Some(rest) = said.strip_prefix("Validation of ") {
            let pods = rest.strip_suffix(" FAILED !!!").and_then(|pods| pods.split_once(" -> "));
            if let Some((from, _)) = pods.filter(|(from, to)| self.started && from == to) {
                self.unlike_themselves.insert(from.to_owned());
            }
        } else if let Some(rest) = said.strip_prefix("failed first probe ") {
            let count = rest.split(' ').next().and_then(|count| count.parse::<usize>().ok());
            self.cells.wrong_for_long += count.unwrap_or_default();
        } else if ["expected:", "observed:"].contains(&said) {
            self.table = Some(Table { expected: said == "expected:", columns: Vec::new() });
        } else if said == "comparison:" {
            self.close();
        }
    }

    /// Whether the line belongs to a table.
    fn row(&mut self, line: &str) -> bool {
        let Some(table) = &mut self.table else { return false };
        let mut words = line.split('\t').filter(|word| !word.is_empty());
        let Some(from) = words.next() else { return true };
        if from == "-" {
            table.columns = words.map(str::to_owned).collect();
            return true;
        }
        if line.contains("] ") {
            self.table = None;
            return false;
        }
        let into = if table.expected { &mut self.expected } else { &mut self.observed };
        let cells = table.columns.iter().zip(words);
        into.extend(cells.map(|(to, mark)| ((from.to_owned(), to.clone()), mark == ".")));
        true
    }

    fn wrong_try(&mut self, rest: &str, said: &str) {
        if !self.started {
            return;
        }
        // `3 :: connectivity not expected :: x/a -> 10.96.0.9`, the other kind
        // with ` :: stderr - ...` behind it.
        let pair = rest.split(" :: ").nth(2).and_then(|pair| pair.split_once(" -> "));
        let Some((from, to)) = pair else { return };
        let pair = (from.to_owned(), to.trim().to_owned());
        self.tries.entry(pair).or_default().push(said.to_owned());
    }

    /// The end of a check of all pairs.
    fn close(&mut self) {
        let observed = std::mem::take(&mut self.observed);
        let expected = std::mem::take(&mut self.expected);
        for (pair, reached) in &observed {
            if pair.0 == pair.1 {
                self.cells.itself += 1;
                self.cells.itself_refused += usize::from(!reached);
            } else {
                self.cells.pairs += 1;
                self.cells.wrong += usize::from(expected.get(pair) != Some(reached));
            }
        }
        let mut tries = std::mem::take(&mut self.tries);
        for pod in std::mem::take(&mut self.unlike_themselves) {
            // The log has only the address of the pod's Service. That address was
            // asked until the end, so more often than any other.
            let own = tries.iter().filter(|((from, _), _)| *from == pod);
            let own = own.max_by_key(|(_, tries)| tries.len()).map(|(pair, _)| pair.clone());
            own.and_then(|pair| tries.remove(&pair));
        }
        for said in tries.into_values().flatten() {
            let first = said.starts_with("probe #1 ");
            self.cells.first_tries += usize::from(first);
            self.cells.later_tries += usize::from(!first);
            if self.cells.shown.len() < SHOWN {
                self.cells.shown.push(said);
            }
        }
    }
}

#[cfg(test)]
mod tests;
