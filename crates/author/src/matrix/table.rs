//! The matrix of one cluster: its ends, and what may pass between each two.

use std::collections::BTreeMap;

use policy::{ObjectKey, Pod};

use super::ends::{self, TooManyEnds, Unit};
use super::judge::{ClassId, Judge};
use super::names;
use super::sets::{SetId, Sets};
use crate::Cluster;
use crate::reach::Family;

/// One row and column. Its addresses behave alike in each family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// What it is called. No two ends have one name.
    pub name: String,
    /// What it is.
    pub unit: Unit,
    /// Its pods.
    pub pods: Vec<ObjectKey>,
    /// How many pods it stands for; `None` if that depends on the cluster.
    pub count: Option<usize>,
    /// Whether the workload has other pods that behave in another way.
    pub is_part: bool,
    /// Its class for IPv4 and for IPv6; `None` without an address of that family.
    pub classes: [Option<ClassId>; 2],
}

/// What may pass from one end to another, by IPv4 and by IPv6. `None` where that is no
/// question: an end has no address of the family, or policies hold for neither.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cell {
    /// IPv4 and IPv6.
    pub ports: [Option<SetId>; 2],
}

/// Who reaches whom.
///
/// A node is judged as one that a pod is not on: a pod and its own node always reach
/// each other. So do a pod and itself: the cell of an end and itself is about two of
/// its pods.
pub struct Matrix {
    /// The ends: outside addresses, nodes, then pods.
    pub ends: Vec<End>,
    /// What each cell's numbers mean.
    pub sets: Sets,
    /// Row by row.
    cells: Vec<Cell>,
}

impl End {
    /// Whether it is a single pod, which always reaches itself.
    pub fn is_alone(&self) -> bool {
        self.count == Some(1)
    }
}

impl Cell {
    /// Whether there is no question.
    pub fn is_blank(self) -> bool {
        self.ports == [None, None]
    }

    /// Whether nothing may pass.
    pub fn is_denied(self) -> bool {
        !self.is_blank() && self.ports.into_iter().flatten().all(|set| set == SetId::NOTHING)
    }

    /// Whether IPv4 and IPv6 differ.
    pub fn differs(self) -> bool {
        matches!(self.ports, [Some(one), Some(other)] if one != other)
    }

    /// What may pass by any family.
    pub fn any(self) -> Option<SetId> {
        self.ports.into_iter().flatten().max_by_key(|set| *set != SetId::NOTHING)
    }
}

impl Matrix {
    /// Works it out. `done` is told how many of how many rows there are.
    ///
    /// # Errors
    /// There would be too many rows.
    pub fn new(cluster: &Cluster, done: &mut dyn FnMut(usize, usize)) -> Result<Self, TooManyEnds> {
        let mut sets = Sets::default();
        let mut judge = Judge::new(&cluster.snapshot, &mut sets);
        Self::with(cluster, &mut judge, sets, done)
    }

    /// The same, with a judge that is used further.
    ///
    /// # Errors
    /// As [`Matrix::new`].
    pub fn with(
        cluster: &Cluster,
        judge: &mut Judge<'_>,
        mut sets: Sets,
        done: &mut dyn FnMut(usize, usize),
    ) -> Result<Self, TooManyEnds> {
        TooManyEnds::check(ends::units(&[cluster]).len())?;
        let ends = ends(cluster, judge);
        TooManyEnds::check(ends.len())?;
        let mut cells = Vec::with_capacity(ends.len() * ends.len());
        for (row, from) in ends.iter().enumerate() {
            done(row, ends.len());
            for to in &ends {
                cells.push(cell(judge, &mut sets, from, to));
            }
        }
        Ok(Self { ends, sets, cells })
    }

    /// What may pass from one end to another.
    pub fn cell(&self, from: usize, to: usize) -> Cell {
        self.cells[from * self.ends.len() + to]
    }

    /// The pairs between which something may pass, and with `denied` those between which
    /// nothing may, row by row. A pod and itself are no pair.
    pub fn pairs(&self, denied: bool) -> impl Iterator<Item = (usize, usize, Cell)> {
        let ends = 0..self.ends.len();
        let pairs = ends.clone().flat_map(move |from| ends.clone().map(move |to| (from, to)));
        pairs
            .filter(|&(from, to)| from != to || !self.ends[from].is_alone())
            .map(|(from, to)| (from, to, self.cell(from, to)))
            .filter(move |(_, _, cell)| !cell.is_blank() && (denied || !cell.is_denied()))
    }

    /// Leaves only the ends that `keeps` wants, and blanks the cells that `shows` does
    /// not want.
    pub fn narrow(&mut self, keeps: &[bool], shows: impl Fn(usize, usize) -> bool) {
        let kept: Vec<usize> = (0..self.ends.len()).filter(|&end| keeps[end]).collect();
        let mut cells = Vec::with_capacity(kept.len() * kept.len());
        for &from in &kept {
            for &to in &kept {
                let cell = if shows(from, to) { self.cell(from, to) } else { Cell::default() };
                cells.push(cell);
            }
        }
        self.ends = kept.into_iter().map(|end| self.ends[end].clone()).collect();
        self.cells = cells;
    }
}

fn cell(judge: &mut Judge<'_>, sets: &mut Sets, from: &End, to: &End) -> Cell {
    if !from.unit.is_pod() && !to.unit.is_pod() {
        return Cell::default();
    }
    let ports = [0, 1].map(|family| {
        let (from, to) = (from.classes[family]?, to.classes[family]?);
        Some(judge.between(sets, from, to))
    });
    Cell { ports }
}

fn ends(cluster: &Cluster, judge: &mut Judge<'_>) -> Vec<End> {
    let mut ends: BTreeMap<(Unit, [Option<ClassId>; 2]), Vec<&Pod>> = BTreeMap::new();
    let mut classes = |addresses: &[std::net::IpAddr]| {
        Family::BOTH.map(|family| {
            ends::of_family(addresses, family).next().map(|address| judge.class_of(address))
        })
    };
    for pod in ends::pods(cluster) {
        let of_pod = classes(&pod.addresses);
        if of_pod != [None, None] {
            ends.entry((ends::unit_of(&[cluster], cluster, pod), of_pod)).or_default().push(pod);
        }
    }
    for (unit, addresses) in ends::units(&[cluster]) {
        match unit {
            Unit::Pod(_) | Unit::Workload(..) => {}
            Unit::Outside(_) | Unit::Node(_) | Unit::Kept(_) => {
                let of_unit = classes(&addresses.concat());
                ends.entry((unit, of_unit)).or_default();
            }
        }
    }
    let mut parts: BTreeMap<Unit, usize> = BTreeMap::new();
    ends.keys().for_each(|(unit, _)| *parts.entry(unit.clone()).or_default() += 1);
    let names = names::units(&ends.keys().map(|(unit, _)| unit.clone()).collect::<Vec<_>>());
    let ends = ends.into_iter().zip(names);
    let mut ends: Vec<End> = ends
        .map(|(((unit, classes), pods), name)| End {
            name,
            is_part: parts.get(&unit).is_some_and(|count| *count > 1),
            count: count(cluster, &unit, &pods),
            pods: pods.into_iter().map(|pod| pod.key.clone()).collect(),
            unit,
            classes,
        })
        .map(|end| End { name: names::with_part(end.name.clone(), &end), ..end })
        .collect();
    // Outside, nodes, then pods by namespace and name, whatever makes them.
    ends.sort_by_cached_key(|end| {
        (
            end.unit.is_pod(),
            end.unit.namespace().map(str::to_owned),
            end.unit.namespace().map(|_| end.name.clone()),
        )
    });
    ends
}

fn count(cluster: &Cluster, unit: &Unit, pods: &[&Pod]) -> Option<usize> {
    let [pod] = pods else { return Some(pods.len().max(1)) };
    match (unit, cluster.workloads.get(&pod.key)) {
        (Unit::Workload(..), Some(workload)) if cluster.symbolic.contains(&pod.key) => {
            workload.replicas.map(|count| usize::try_from(count).unwrap_or(usize::MAX))
        }
        _ => Some(1),
    }
}
