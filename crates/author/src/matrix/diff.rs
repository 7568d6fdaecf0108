//! What a change of policies, pods or namespaces opens and closes.
//!
//! In: two versions of a cluster. Out: each two ends between which other packets pass
//! than before, with the ports and the cause.
//! Never: a difference of texts. Equal answers are no change, however they are written.
//!
//! An end that a version lacks sends and receives nothing in it.

mod cause;
pub mod show;

use std::net::IpAddr;

use super::ends::{self, TooManyEnds, Unit};
use super::judge::Judge;
use super::names;
use super::sets::{SetId, Sets};
use crate::Cluster;
use crate::reach::Family;

/// What passes between two ends before and after, by IPv4 and IPv6.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Who sends, by its place in [`Diff::units`].
    pub from: usize,
    /// Who receives.
    pub to: usize,
    /// What passed before. `None` if an end lacked an address of the family.
    pub before: [Option<SetId>; 2],
    /// What passes now.
    pub after: [Option<SetId>; 2],
    /// Why, a clause each.
    pub causes: Vec<String>,
}

/// All that differs between two versions.
pub struct Diff {
    /// The ends of both versions.
    pub units: Vec<Unit>,
    /// What they are called.
    pub names: Vec<String>,
    /// The pairs between which something changes.
    pub changes: Vec<Change>,
    /// How many pairs were compared.
    pub pairs: usize,
    /// What the numbers mean.
    pub sets: Sets,
    /// What opens and closes in each change, in their order.
    deltas: Vec<Delta>,
}

/// What a change lets pass that did not, and the other way around, by family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Delta {
    /// What passes now and did not.
    pub opens: [SetId; 2],
    /// What passed and does not.
    pub closes: [SetId; 2],
}

impl Delta {
    /// Whether something opens.
    pub fn is_opening(&self) -> bool {
        self.opens.iter().any(|set| *set != SetId::NOTHING)
    }

    /// Whether something closes.
    pub fn is_closing(&self) -> bool {
        self.closes.iter().any(|set| *set != SetId::NOTHING)
    }
}

/// One version, and the addresses of each end in it.
struct Version<'a> {
    cluster: &'a Cluster,
    judge: Judge<'a>,
    addresses: Vec<Vec<IpAddr>>,
}

impl Diff {
    /// Compares two versions. `done` is told how many of how many ends were compared.
    ///
    /// # Errors
    /// There would be too many ends.
    pub fn new(
        before: &Cluster,
        after: &Cluster,
        done: &mut dyn FnMut(usize, usize),
    ) -> Result<Self, TooManyEnds> {
        let mut sets = Sets::default();
        let units = ends::units(&[before, after]);
        TooManyEnds::check(units.len())?;
        let [old, new] = [0, 1].map(|version| {
            units.values().map(|addresses| addresses[version].clone()).collect::<Vec<_>>()
        });
        let units: Vec<Unit> = units.into_keys().collect();
        let mut before = Version::new(before, old, &mut sets);
        let mut after = Version::new(after, new, &mut sets);
        let (mut changes, mut deltas, mut pairs) = (Vec::new(), Vec::new(), 0);
        for from in 0..units.len() {
            done(from, units.len());
            for to in 0..units.len() {
                if !is_question(&units, &[&before, &after], from, to) {
                    continue;
                }
                pairs += 1;
                let [old, new] =
                    [&mut before, &mut after].map(|one| one.passing(&mut sets, from, to));
                let delta = delta(&mut sets, old, new);
                if delta.is_opening() || delta.is_closing() {
                    let causes =
                        cause::causes(&mut before, &mut after, &mut sets, (from, to), delta);
                    changes.push(Change { from, to, before: old, after: new, causes });
                    deltas.push(delta);
                }
            }
        }
        let names = names::units(&units);
        Ok(Self { units, names, changes, pairs, sets, deltas })
    }

    /// The changes with what opens and closes in each.
    pub fn iter(&self) -> impl Iterator<Item = (&Change, &Delta)> {
        self.changes.iter().zip(&self.deltas)
    }

    /// Leaves only the changes of pairs that `keeps` wants.
    pub fn retain(&mut self, keeps: impl Fn(&Unit, &Unit) -> bool) {
        let (units, deltas) = (&self.units, &self.deltas);
        let kept: Vec<bool> =
            self.changes.iter().map(|one| keeps(&units[one.from], &units[one.to])).collect();
        self.deltas =
            deltas.iter().zip(&kept).filter(|(_, kept)| **kept).map(|(one, _)| *one).collect();
        let mut kept = kept.into_iter();
        self.changes.retain(|_| kept.next().unwrap_or_default());
    }

    /// How many changes open something.
    pub fn opening(&self) -> usize {
        self.deltas.iter().filter(|delta| delta.is_opening()).count()
    }
}

impl<'a> Version<'a> {
    fn new(cluster: &'a Cluster, addresses: Vec<Vec<IpAddr>>, sets: &mut Sets) -> Self {
        Self { cluster, judge: Judge::new(&cluster.snapshot, sets), addresses }
    }

    /// What passes between any address of the one and any address of the other.
    fn passing(&mut self, sets: &mut Sets, from: usize, to: usize) -> [Option<SetId>; 2] {
        let judge = &mut self.judge;
        let addresses = &self.addresses;
        Family::BOTH.map(|family| {
            let mut passing = None;
            for source in ends::of_family(&addresses[from], family) {
                for destination in ends::of_family(&addresses[to], family) {
                    // A symbolic pod stands for several of its workload.
                    let set = if from == to && source == destination {
                        let class = judge.class_of(source);
                        judge.between(sets, class, class)
                    } else {
                        judge.ports(sets, source, destination)
                    };
                    passing = Some(passing.map_or(set, |known| sets.union(known, set)));
                }
            }
            passing
        })
    }

    /// An address of each of two ends between which packets of a family may be tried.
    fn example(&self, family: Family, from: usize, to: usize) -> Option<(IpAddr, IpAddr)> {
        let first = |unit: usize| ends::of_family(&self.addresses[unit], family).next();
        Some((first(from)?, first(to)?))
    }
}

/// Whether a policy can decide between two ends. A pod and itself always reach each
/// other, and so do addresses that policies do not hold for.
fn is_question(units: &[Unit], versions: &[&Version<'_>], from: usize, to: usize) -> bool {
    if from != to {
        return units[from].is_pod() || units[to].is_pod();
    }
    match &units[from] {
        Unit::Outside(_) | Unit::Node(_) | Unit::Kept(_) | Unit::Pod(_) => false,
        Unit::Workload(kind, key) => versions.iter().any(|version| {
            let of_it = version
                .cluster
                .workloads
                .iter()
                .filter(|(_, workload)| workload.kind == *kind && workload.key == *key);
            of_it.clone().count() > 1
                || of_it.clone().any(|(pod, workload)| {
                    version.cluster.symbolic.contains(pod) && workload.replicas != Some(1)
                })
        }),
    }
}

fn delta(sets: &mut Sets, before: [Option<SetId>; 2], after: [Option<SetId>; 2]) -> Delta {
    let set = |passing: Option<SetId>| passing.unwrap_or(SetId::NOTHING);
    let opens = [0, 1].map(|family| sets.difference(set(after[family]), set(before[family])));
    let closes = [0, 1].map(|family| sets.difference(set(before[family]), set(after[family])));
    Delta { opens, closes }
}
