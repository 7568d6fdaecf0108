//! The pods of a node that policies isolate, and what they may.
//!
//! In: a snapshot, the node, the policies that are set aside.
//! Out: for each address of an isolated pod and each direction what passes.
//! Never: anything of the ruleset.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;

use policy::{Direction, NetworkPolicy, ObjectKey, Owners, Pod, Snapshot};
use ruleset::Family;

use crate::allowed::Allowed;
use crate::ranges::Ranges;
use crate::region::Region;
use crate::space;

/// One direction of one address of an isolated pod.
#[derive(Clone, Debug)]
pub(crate) struct IsolatedAddress {
    /// Whom its policies allow, and to which codes.
    pub allowed: Rc<Region>,
    /// The pod's own addresses: it reaches itself.
    pub own: Ranges,
    /// Addresses of its node that are no pod's: what comes from or goes to
    /// them crosses the input and output hooks, never the forward hook.
    pub node: Ranges,
}

/// All of one family and direction, by address.
#[derive(Clone, Debug, Default)]
pub(crate) struct IsolatedAddresses {
    pub by_address: BTreeMap<u128, IsolatedAddress>,
    /// The addresses.
    pub addresses: Ranges,
}

/// What one node has to enforce.
pub(crate) struct Model<'a> {
    /// The cluster, policies set aside without their rules.
    pub snapshot: &'a Snapshot,
    pub owners: &'a Owners<'a>,
    isolated: BTreeMap<(Family, Direction), IsolatedAddresses>,
    /// Whether a pod of the node is isolated, be it without an address.
    pub isolates_any: bool,
    /// Pods of the node.
    pub pods: usize,
    /// Regions that differ in what decides them.
    pub regions: usize,
}

/// A policy that is set aside isolates and allows nothing.
pub(crate) fn without_rules_of(snapshot: &Snapshot, aside: &BTreeSet<ObjectKey>) -> Snapshot {
    let mut snapshot = snapshot.clone();
    for key in aside {
        if let Some(policy) = snapshot.policies.get_mut(key).map(Arc::make_mut) {
            policy.ingress = policy.ingress.as_ref().map(|_| Vec::new());
            policy.egress = policy.egress.as_ref().map(|_| Vec::new());
        }
    }
    snapshot
}

impl<'a> Model<'a> {
    pub fn new(snapshot: &'a Snapshot, owners: &'a Owners<'a>, node: Option<&str>) -> Self {
        let mut allowed = Allowed::new(snapshot, owners);
        let mut model = Self {
            snapshot,
            owners,
            isolated: BTreeMap::new(),
            isolates_any: false,
            pods: 0,
            regions: 0,
        };
        for pod in snapshot.pods.values().filter(|pod| is_local(pod, node)) {
            model.pods += 1;
            for direction in Direction::BOTH {
                let policies = isolating(snapshot, pod, direction);
                if !policies.is_empty() {
                    model.isolates_any = true;
                    model.add(&mut allowed, pod, direction, &policies);
                }
            }
        }
        for all in model.isolated.values_mut() {
            all.addresses = Ranges::numbers(all.by_address.keys().copied());
        }
        model.regions = allowed.regions();
        model
    }

    fn add(
        &mut self,
        allowed: &mut Allowed<'a>,
        pod: &'a Pod,
        direction: Direction,
        policies: &[&'a NetworkPolicy],
    ) {
        for family in Family::BOTH {
            let own = allowed.addresses_of(pod, family);
            let node = pod.host_addresses.iter().filter(|node| self.owners.owner(**node).is_none());
            let node = Ranges::numbers(node.filter_map(|node| space::of_family(family, *node)));
            for address in own.iter().flat_map(|(first, last)| first..=last) {
                let allowed = allowed.region(pod, direction, family, policies);
                let isolated = IsolatedAddress { allowed, own: own.clone(), node: node.clone() };
                self.isolated
                    .entry((family, direction))
                    .or_default()
                    .by_address
                    .insert(address, isolated);
            }
        }
    }

    /// The isolated addresses of a family and direction.
    pub fn isolated(&self, family: Family, direction: Direction) -> IsolatedAddresses {
        self.isolated.get(&(family, direction)).cloned().unwrap_or_default()
    }
}

/// Whether a pod is of this node; of `None` all are.
pub(crate) fn is_local(pod: &Pod, node: Option<&str>) -> bool {
    pod.is_subject() && (node.is_none() || pod.node.as_deref() == node)
}

/// The policies that isolate a pod in a direction.
fn isolating<'a>(
    snapshot: &'a Snapshot,
    pod: &Pod,
    direction: Direction,
) -> Vec<&'a NetworkPolicy> {
    // A policy selects pods of its own namespace; those keys are in a row.
    let first = ObjectKey::new(pod.key.namespace.as_str(), "");
    let of_namespace = snapshot.policies.range(first..).map(|(_, policy)| &**policy);
    of_namespace
        .take_while(|policy| policy.key.namespace == pod.key.namespace)
        .filter(|policy| snapshot.selects(policy, pod) && policy.rules(direction).is_some())
        .collect()
}
