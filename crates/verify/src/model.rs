//! The isolated pods of a node and what policies allow them.
//!
//! In: a snapshot, the node and its network, the policies that are set aside. Out: for each
//! address of an isolated pod and each direction, what passes.
//! Never: anything from the ruleset.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use policy::spec::edges::{AtEdges, Edges};
use policy::{
    Direction, Inside, Isolation, NodeNetwork, ObjectKey, Owners, Pod, Snapshot, Subject,
    all_subjects, audited, isolation, named_addresses, subject_of,
};
use ruleset::Family;

use crate::allowed::Allowed;
use crate::ranges::Ranges;
use crate::region::Region;
use crate::space;

/// One direction of one address of an isolated pod.
#[derive(Clone, Debug)]
pub(crate) struct IsolatedAddress {
    /// The peers and codes that its policies allow.
    pub allowed: Rc<Region>,
    /// The address itself: a pod always reaches itself.
    pub own: Ranges,
    /// Addresses of its node that no pod owns. Packets from or to them cross the
    /// input and output hooks, never the forward hook.
    pub node: Ranges,
}

/// The isolated addresses of one family and direction.
#[derive(Clone, Debug, Default)]
pub(crate) struct IsolatedAddresses {
    pub by_address: BTreeMap<u128, IsolatedAddress>,
    /// The keys of `by_address`.
    pub addresses: Ranges,
}

/// What one node has to enforce.
pub(crate) struct Model<'a> {
    /// The cluster. Policies that are set aside have no rules.
    pub snapshot: &'a Snapshot,
    pub owners: &'a Owners<'a>,
    isolated: BTreeMap<(Family, Direction), IsolatedAddresses>,
    /// What policies in audit would isolate.
    audited: BTreeMap<(Family, Direction), IsolatedAddresses>,
    /// What passes beside the pods' addresses.
    pub at_edges: AtEdges,
    /// The addresses of each family that the node drops because no object names them.
    unknown: BTreeMap<Family, Ranges>,
    /// The pod in whose own namespace the table is.
    pub inside: Option<InsideModel>,
    /// Pods of the node.
    pub pods: usize,
    /// The number of distinct regions.
    pub regions: usize,
}

/// The pod in whose own namespace a table is.
#[derive(Clone, Debug, Default)]
pub(crate) struct InsideModel {
    /// The directions in which it is isolated.
    pub directions: BTreeSet<Direction>,
    /// The addresses that it reports.
    pub reported: BTreeSet<IpAddr>,
    /// The addresses of its node.
    pub node: BTreeSet<IpAddr>,
}

impl InsideModel {
    fn new(snapshot: &Snapshot, owners: &Owners<'_>, node: Option<&str>, inside: &Inside) -> Self {
        let subject = subject_of(snapshot, node, &inside.pod);
        let is_isolated = |direction: &Direction| {
            let isolation = isolation(snapshot, subject.as_slice(), *direction);
            isolation != Isolation::None
        };
        let pod = subject.as_ref().map(|subject| subject.pod);
        let nodes = pod.into_iter().flat_map(|pod| &pod.host_addresses).chain(&inside.node);
        Self {
            directions: Direction::BOTH.into_iter().filter(is_isolated).collect(),
            reported: pod.into_iter().flat_map(|pod| pod.addresses.iter().copied()).collect(),
            node: nodes.copied().filter(|one| owners.owner(*one).is_none()).collect(),
        }
    }
}

/// Removes the rules of policies that are set aside: they isolate and allow
/// nothing.
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
    pub fn new(
        snapshot: &'a Snapshot,
        owners: &'a Owners<'a>,
        node: Option<&str>,
        network: &NodeNetwork,
    ) -> Self {
        let mut allowed = Allowed::new(snapshot, owners);
        let mut model = Self {
            snapshot,
            owners,
            isolated: BTreeMap::new(),
            audited: BTreeMap::new(),
            at_edges: AtEdges::of(snapshot, network, node),
            unknown: BTreeMap::new(),
            inside: None,
            pods: 0,
            regions: 0,
        };
        model.pods = snapshot.pods.values().filter(|pod| is_local(pod, node)).count();
        model.unknown = unknown(snapshot, network);
        let mut all = all_subjects(snapshot, node);
        if let Some(inside) = &network.inside {
            let of_pod = InsideModel::new(snapshot, owners, node, inside);
            let subject = subject_of(snapshot, node, &inside.pod);
            let own = of_pod.reported.iter().copied();
            all = own.map(|address| (address, subject.into_iter().collect())).collect();
            let edges = if of_pod.directions.is_empty() { Edges::Open } else { Edges::Shut };
            model.at_edges = AtEdges { edges, ..AtEdges::default() };
            model.inside = Some(of_pod);
        }
        for (address, subjects) in all {
            for direction in Direction::BOTH {
                model.add(&mut allowed, address, direction, &subjects);
            }
        }
        for all in model.isolated.values_mut().chain(model.audited.values_mut()) {
            all.addresses = Ranges::numbers(all.by_address.keys().copied());
        }
        model.regions = allowed.regions();
        model
    }

    fn add(
        &mut self,
        allowed: &mut Allowed<'a>,
        address: IpAddr,
        direction: Direction,
        subjects: &[Subject<'a>],
    ) {
        let family = Family::of(address);
        let (isolation, all) = match isolation(self.snapshot, subjects, direction) {
            Isolation::None => (audited(self.snapshot, subjects, direction), &mut self.audited),
            isolation => (isolation, &mut self.isolated),
        };
        let allowed = match isolation {
            Isolation::None => return,
            Isolation::By(pod, policies) => allowed.region(pod, direction, family, &policies),
            Isolation::Shut(_) => Rc::new(Region::empty()),
        };
        let Some(number) = space::of_family(family, address) else { return };
        let nodes = subjects.iter().flat_map(|one| &one.pod.host_addresses);
        let nodes = nodes.filter(|node| self.owners.owner(**node).is_none());
        let nodes = nodes.filter_map(|node| space::of_family(family, *node));
        let isolated =
            IsolatedAddress { allowed, own: Ranges::single(number), node: Ranges::numbers(nodes) };
        let all = all.entry((family, direction)).or_default();
        all.by_address.insert(number, isolated);
    }

    /// The addresses of a family that the node drops because no object names them.
    pub fn unknown(&self, family: Family) -> Ranges {
        self.unknown.get(&family).cloned().unwrap_or_else(Ranges::empty)
    }

    /// The audited addresses of a family and direction, with what policies in audit allow.
    pub fn audited(&self, family: Family, direction: Direction) -> IsolatedAddresses {
        self.audited.get(&(family, direction)).cloned().unwrap_or_default()
    }

    /// The isolated addresses of a family and direction.
    pub fn isolated(&self, family: Family, direction: Direction) -> IsolatedAddresses {
        self.isolated.get(&(family, direction)).cloned().unwrap_or_default()
    }
}

fn unknown(snapshot: &Snapshot, network: &NodeNetwork) -> BTreeMap<Family, Ranges> {
    let shut = network.shut_ranges(snapshot);
    let named = if shut.is_empty() { BTreeSet::new() } else { named_addresses(snapshot) };
    let of = |family| {
        let number = |address| space::of_family(family, address);
        let ranges = shut.iter().filter_map(|one| Some((number(one.first)?, number(one.last)?)));
        let named = named.iter().filter_map(|address| number(*address));
        (family, Ranges::of(ranges).subtract(&Ranges::numbers(named)))
    };
    Family::BOTH.into_iter().map(of).collect()
}

/// Whether a pod runs on this node. With `None`, all pods do.
pub(crate) fn is_local(pod: &Pod, node: Option<&str>) -> bool {
    pod.is_subject() && (node.is_none() || pod.node.as_deref() == node)
}
