//! Why a pair changed, as far as it can be told.
//!
//! In: both versions and what opens and closes. Out: clauses that name policies and
//! their rules with the places where they are written.
//! Never: a cause that is only near. A side that lets as much pass as before has none.

use std::net::IpAddr;

use policy::{Direction, ObjectKey};

use super::{Delta, Version};
use crate::matrix::judge::{ClassId, Isolated, Judge};
use crate::matrix::names::printable;
use crate::matrix::sets::{SetId, Sets};
use crate::reach::Family;

/// The most policies or rules that one clause names.
const NAMED: usize = 3;

/// Source and destination.
type Pair = (IpAddr, IpAddr);

/// Clauses such as `now isolated by shop/cart-from-front (pol/cart.yaml:6)`.
pub(super) fn causes<'a>(
    before: &mut Version<'a>,
    after: &mut Version<'a>,
    sets: &mut Sets,
    (from, to): (usize, usize),
    delta: Delta,
) -> Vec<String> {
    let mut causes = Vec::new();
    for (at, family) in Family::BOTH.into_iter().enumerate() {
        if delta.opens[at] == SetId::NOTHING && delta.closes[at] == SetId::NOTHING {
            continue;
        }
        let (old, new) = (before.example(family, from, to), after.example(family, from, to));
        match (old, new) {
            (Some(old), Some(new)) => {
                let mut closes = Search { passing: before, denying: after, is_opening: false };
                closes.add(sets, (old, new), delta.closes[at], &mut causes);
                let mut opens = Search { passing: after, denying: before, is_opening: true };
                opens.add(sets, (new, old), delta.opens[at], &mut causes);
            }
            (None, Some(_)) => causes.extend(missing(before, family, (from, to), "is new")),
            (Some(_), None) => causes.extend(missing(after, family, (from, to), "is gone")),
            (None, None) => {}
        }
    }
    if causes.is_empty() {
        causes.push("labels, ports or nodes of the pods changed".to_owned());
    }
    causes.sort();
    causes.dedup();
    causes
}

/// Which ends a version lacks.
fn missing(
    version: &Version<'_>,
    family: Family,
    (from, to): (usize, usize),
    what: &str,
) -> Vec<String> {
    let lacks = |unit: usize| !version.addresses[unit].iter().any(|one| family.has(*one));
    let ends = [("sender", from), ("receiver", to)];
    let ends = ends.into_iter().filter(|(_, unit)| lacks(*unit));
    ends.map(|(name, unit)| match version.addresses[unit].is_empty() {
        true => format!("the {name} {what}"),
        false => format!("the {name}'s {family} address {what}"),
    })
    .collect()
}

/// Looks for what one version lets pass and the other does not.
struct Search<'s, 'a> {
    passing: &'s mut Version<'a>,
    denying: &'s mut Version<'a>,
    /// Whether the version that lets pass is the later one.
    is_opening: bool,
}

impl Search<'_, '_> {
    fn add(
        &mut self,
        sets: &mut Sets,
        (pair, other): (Pair, Pair),
        ports: SetId,
        causes: &mut Vec<String>,
    ) {
        for direction in Direction::BOTH {
            let (pod, peer) = classes(&mut self.denying.judge, direction, other);
            let denied = self.denying.judge.side(sets, direction, pod, peer);
            let missing = sets.difference(ports, denied);
            if missing == SetId::NOTHING {
                continue;
            }
            let subject = classes(&mut self.passing.judge, direction, pair);
            let isolated = self.passing.judge.class(subject.0).isolated(direction);
            let clause = match (isolated, self.denying.judge.class(pod).isolated(direction)) {
                (_, Isolated::No) => continue,
                (_, Isolated::Shut(_)) => "pods that differ report one address".to_owned(),
                (Isolated::No | Isolated::Shut(_), Isolated::By(policies)) => {
                    let keys = self.denying.judge.keys(policies).into_iter();
                    let named = keys.map(|key| place(self.denying, key, "", key.to_string()));
                    let how = if self.is_opening { "no longer" } else { "now" };
                    format!("{how} isolated for {direction} by {}", listed(named.collect()))
                }
                (Isolated::By(_), Isolated::By(_)) => {
                    let how = if self.is_opening { "now allowed by" } else { "was allowed by" };
                    format!("{how} {}", listed(self.rules(sets, direction, subject, missing)))
                }
            };
            causes.push(clause);
        }
    }

    /// The rules that let some of these ports pass.
    fn rules(
        &self,
        sets: &mut Sets,
        direction: Direction,
        (pod, peer): (ClassId, ClassId),
        ports: SetId,
    ) -> Vec<String> {
        let judge = &self.passing.judge;
        let mut named = Vec::new();
        for rule in judge.isolating_rules(pod, direction) {
            let set = judge.rule_set(sets, rule, pod, peer);
            if judge.class(peer).is_peer_of(rule) && sets.intersection(set, ports) != SetId::NOTHING
            {
                named.push(self.rule(rule));
            }
        }
        named
    }

    /// A rule, where it is written, and what is known of it in the other version.
    fn rule(&self, rule: usize) -> String {
        let rule = self.passing.judge.rules()[rule];
        let (key, direction) = (&rule.policy.key, rule.direction);
        let field = format!("spec.{direction}[{}]", rule.index);
        let named = format!("{key} {direction}[{}]", rule.index);
        let located = place(self.passing, key, &field, named);
        let what = match (self.denying.cluster.snapshot.policies.get(key), self.is_opening) {
            (None, false) => ", which is gone",
            (None, true) => ", which is new",
            (Some(other), _) if **other == *rule.policy => ", whose pods or peers changed",
            (Some(_), _) => ", which changed",
        };
        format!("{located}{what}")
    }
}

/// The classes of the pod whose policies are asked, and of its peer.
fn classes(
    judge: &mut Judge<'_>,
    direction: Direction,
    (source, destination): Pair,
) -> (ClassId, ClassId) {
    match direction {
        Direction::Egress => (judge.class_of(source), judge.class_of(destination)),
        Direction::Ingress => (judge.class_of(destination), judge.class_of(source)),
    }
}

fn place(version: &Version<'_>, key: &ObjectKey, field: &str, named: String) -> String {
    let named = printable(&named);
    match version.cluster.places.of(key, field) {
        Some(at) => format!("{named} ({}:{})", printable(&at.file), at.line),
        None => named,
    }
}

fn listed(mut named: Vec<String>) -> String {
    let more = named.len().saturating_sub(NAMED);
    named.truncate(NAMED);
    match more {
        0 => named.join(" and "),
        _ => format!("{} and {more} more", named.join(", ")),
    }
}
