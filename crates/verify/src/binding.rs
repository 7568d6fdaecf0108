//! The comparison of the binding: all hooks but the one where policies decide.
//!
//! In: what the specification binds, and the tables. Out: frames and packets on which
//! the two differ.
//! Never: a sample. Rules see a packet through equality alone: is this interface, MAC
//! and address in that set. So values fall into few kinds, and one value of each kind
//! stands for all of its kind.
//!
//! | module | output |
//! |---|---|
//! | `looks` | what the rules of a hook look at |
//! | `classes` | for an interface, one value of each kind |
//! | `packets` | all combinations of these |
//! | `said` | what the specification says of a packet |
//! | `walk` | what the rules do with it |
//!
//! Two interfaces with values of the same kinds are tried once.

mod classes;
mod looks;
mod packets;
pub(crate) mod said;
#[cfg(test)]
mod tests;
mod walk;

pub(crate) use walk::bases;

use std::collections::{BTreeMap, HashMap};

use policy::spec::binding::Binding;
use policy::spec::refusal::Refusal;
use ruleset::simulator::{Outcome, Packet, RulePosition};
use ruleset::{Hook, Name, Ruleset, TableFamily, text};

use crate::error::VerifyError;
use crate::report::{Bound, BoundDifference};
use classes::{Classes, Representatives, Shape, Way};
use looks::{Looks, Part, Parts};
use packets::Bodies;
use walk::Walk;

/// How a packet is judged wrongly.
type Fault = (Option<Refusal>, Option<RulePosition>);

/// The hooks of a table.
const HOOKS: [Hook; 5] =
    [Hook::Prerouting, Hook::Input, Hook::Forward, Hook::Output, Hook::Postrouting];

/// Compares the binding in these tables.
pub(crate) fn compare(
    binding: &Binding<'_>,
    tables: &[&Ruleset],
) -> Result<(Bound, Vec<BoundDifference>), VerifyError> {
    let ports = &binding.network.ports;
    let mut counts = Bound {
        ports: ports.len(),
        addresses: ports.values().map(|port| port.addresses.len()).sum(),
        ..Bound::default()
    };
    let mut differences = Vec::new();
    for &table in tables {
        for hook in HOOKS {
            let unspecified = !is_specified(table.family, hook);
            // `proof` compares the hooks where policies decide.
            let is_judged =
                table.family == TableFamily::Inet && matches!(hook, Hook::Forward | Hook::Output);
            if is_judged || (unspecified && bases(table, hook).is_empty()) {
                continue;
            }
            let looks = Looks::new(table, hook);
            let place = Place {
                binding,
                table,
                hook,
                classes: Classes::new(binding, &looks),
                bodies: Bodies::new(&looks, table.family, binding.network),
            };
            let (cases, found) = place.compare(&looks)?;
            counts.cases += cases;
            differences.extend(found);
        }
    }
    Ok((counts, differences))
}

fn is_specified(family: TableFamily, hook: Hook) -> bool {
    match (family, hook) {
        (TableFamily::Bridge, Hook::Prerouting | Hook::Forward | Hook::Postrouting)
        | (TableFamily::Inet, Hook::Prerouting | Hook::Input | Hook::Postrouting) => true,
        (TableFamily::Bridge, Hook::Input)
        | (TableFamily::Inet, Hook::Forward)
        | (_, Hook::Output) => false,
    }
}

/// One hook of one table.
struct Place<'a> {
    binding: &'a Binding<'a>,
    table: &'a Ruleset,
    hook: Hook,
    classes: Classes<'a>,
    bodies: Bodies,
}

impl<'a> Place<'a> {
    fn compare(&self, looks: &Looks<'a>) -> Result<(usize, Vec<BoundDifference>), VerifyError> {
        let mut found: BTreeMap<Fault, BoundDifference> = BTreeMap::new();
        let mut known: HashMap<Shape<'a>, (usize, Vec<Fault>)> = HashMap::new();
        let mut cases = 0;
        for way in self.ways(looks) {
            let values = self.classes.on(way);
            if let Some((tried, faults)) = known.get(&values.shape) {
                cases += tried;
                for fault in faults {
                    found.entry(fault.clone()).and_modify(|first| first.alike += 1);
                }
                continue;
            }
            let (tried, here) = self.on(way, &values)?;
            cases += tried;
            known.insert(values.shape, (tried, here.keys().cloned().collect()));
            for (fault, difference) in here {
                found.entry(fault).and_modify(|first| first.alike += 1).or_insert(difference);
            }
        }
        Ok((cases, found.into_values().collect()))
    }

    /// The interfaces to try, those that nobody looks at left out.
    fn ways(&self, looks: &Looks<'_>) -> Vec<Way> {
        let all: Vec<u32> = self.classes.interfaces.iter().copied().collect();
        let of = |part, there: bool| match (there, looks.interfaces.has(part)) {
            (false, _) => vec![0],
            (true, true) => all.clone(),
            (true, false) => all.last().copied().into_iter().collect(),
        };
        let bridge = self.table.family == TableFamily::Bridge;
        // Where a frame leaves a bridge, nobody knows where it came in
        // (`br_forward_finish`, net/bridge/br_forward.c). Before routing, nobody
        // knows where it goes.
        let (input, output) = match self.hook {
            Hook::Prerouting | Hook::Input => (true, false),
            Hook::Forward => (true, true),
            Hook::Output => (false, true),
            Hook::Postrouting => (!bridge, true),
        };
        let (mut inputs, outputs) = (of(Part::In, input), of(Part::Out, output));
        // Ways by two interfaces are many.
        if self.hook == Hook::Forward && !looks.mixes_input {
            inputs = self.classes.inputs();
        }
        let way = |input, output| match self.hook {
            Hook::Prerouting | Hook::Input => Way { input, output, by: input },
            Hook::Forward | Hook::Output | Hook::Postrouting => Way { input, output, by: output },
        };
        let each =
            |input: &u32| outputs.iter().map(|output| way(*input, *output)).collect::<Vec<_>>();
        inputs.iter().flat_map(each).collect()
    }

    /// Tries all packets of a way. Each starts with any values. Where rules or
    /// specification look at a part that was not chosen yet, all its values are
    /// tried. What nobody looks at decides nothing.
    fn on(
        &self,
        way: Way,
        values: &Representatives<'_>,
    ) -> Result<(usize, BTreeMap<Fault, BoundDifference>), VerifyError> {
        let walk = Walk::new(self.table, self.hook);
        let place = (self.table.family, self.hook);
        let mut found = BTreeMap::new();
        let mut cases = 0;
        let nothing = Parts::default();
        let mut waiting: Vec<(Packet, Parts)> =
            self.bodies.on(way).map(|packet| (packet, nothing)).collect();
        while let Some((packet, mut chosen)) = waiting.pop() {
            let met = walk.send(&packet)?;
            let looked = met.looked.union(said::looked(self.binding, place, &packet));
            if let Some(part) = looked.beyond(chosen) {
                chosen.insert(part);
                let more = self.bodies.with(&packet, part, values, self.table.family);
                waiting.extend(more.into_iter().map(|packet| (packet, chosen)));
                continue;
            }
            cases += 1;
            let said = said::said(self.binding, place, &packet).err();
            if said.is_some() == (met.outcome == Outcome::Drop) {
                continue;
            }
            let at = |(chain, rule): (&Name, usize)| RulePosition { chain: chain.clone(), rule };
            let fault = (said, met.decided.map(at));
            let difference = |fault: &Fault| self.difference(&packet, fault, met.outcome);
            found.entry(fault).or_insert_with_key(difference);
        }
        Ok((cases, found))
    }

    fn difference(
        &self,
        packet: &Packet,
        (refusal, place): &Fault,
        got: Outcome,
    ) -> BoundDifference {
        let by = said::by(self.hook, packet);
        let rule = place.as_ref().and_then(|place| {
            let rule = self.table.chains.get(&place.chain)?.rules.get(place.rule)?;
            Some(text::rule(self.table.family, rule))
        });
        BoundDifference {
            table: self.table.family,
            hook: self.hook,
            packet: *packet,
            interface: by,
            pod: self.binding.network.ports.get(&by).map(|port| port.pod.clone()),
            refusal: *refusal,
            got,
            place: place.clone(),
            rule,
            alike: 0,
        }
    }
}
