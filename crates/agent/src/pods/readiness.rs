//! Whether the policies of all isolated pods that go past the node are enforced.
//!
//! In: the places, what failed elsewhere, the pods of which no process is found. Out: the
//! condition `enforced`, with the pods by name. Never: a pod that is left out in silence.

use std::collections::BTreeMap;

use nft::NamespaceId;
use policy::PodUid;

use super::leftovers::Leftovers;
use super::place::PodPlace;
use super::secondary::Secondaries;
use crate::report;
use crate::status::{Condition, Status};

/// Problems that the status names.
const NAMED: usize = 5;

/// What is known of the pods.
#[derive(Debug)]
pub(super) struct Found<'a> {
    pub places: &'a BTreeMap<(PodUid, NamespaceId), PodPlace>,
    /// Why pods are not enforced that have no place.
    pub problems: &'a BTreeMap<String, String>,
    /// Isolated pods of which no process is found.
    pub unfound: &'a [String],
    /// The further networks, and whether their policies were listed.
    pub secondaries: Option<(&'a Secondaries, bool)>,
    /// Tables that nobody follows.
    pub leftovers: &'a Leftovers,
    /// Pods that have more namespaces than are judged.
    pub crowded: &'a BTreeMap<PodUid, String>,
}

impl Found<'_> {
    /// Tells the condition `enforced`.
    pub fn report(&self, status: &Status) {
        let of_places = self
            .places
            .values()
            .filter_map(|place| Some((place.pod.to_string(), place.problem.clone()?)));
        let all = self.problems.iter().map(|(pod, why)| (pod.clone(), why.clone()));
        let of_networks = self.secondaries.into_iter().flat_map(|(all, _)| all.problems());
        let all: Vec<String> = all
            .chain(of_places)
            .chain(of_networks)
            .map(|(pod, why)| if pod.is_empty() { why } else { format!("pod {pod}: {why}") })
            .collect();
        if all.is_empty() {
            status.holds(Condition::Enforced);
            let count = self.places.len();
            let mut remark = format!("in the network namespaces of {count} pods");
            if !self.unfound.is_empty() {
                let pods = report::some(self.unfound.iter(), NAMED);
                remark.push_str(&format!(
                    "; no process is found of isolated pods {pods}: if their packets bypass the \
                     node, nothing judges them"
                ));
            }
            if !self.crowded.is_empty() {
                let pods = report::some(self.crowded.values(), NAMED);
                remark.push_str(&format!(
                    "; pods {pods} have so many network namespaces that some are not judged"
                ));
            }
            if let Some(leftovers) = self.leftovers.remark() {
                remark.push_str(&format!("; {leftovers}"));
            }
            if let Some((secondaries, is_listed)) = self.secondaries {
                remark.push_str("; ");
                remark.push_str(&secondaries.remark(is_listed));
            }
            return status.remark(Condition::Enforced, remark);
        }
        let named = all.iter().take(NAMED).cloned().collect::<Vec<_>>().join("; ");
        let more = all.len().saturating_sub(NAMED);
        let rest = if more > 0 { format!("; and {more} more") } else { String::new() };
        status.fails(Condition::Enforced, format!("{named}{rest}"));
    }
}
