//! Which pod each interface of the node belongs to.
//!
//! In: what is seen on the node, its pods, what the CNI plugin announced, and who had what
//! before.
//! Out: the [`NodeNetwork`], what to remember, and what people should know.
//! Never: an address that goes from one living interface to another.
//!
//! A pod with CAP_NET_ADMIN writes what is seen of its own end: addresses, added
//! and removed at any time, and the MAC. Without a user namespace it makes further
//! interfaces on the node. It cannot choose which address its Pod object reports.
//! Hence:
//!
//! | question | answer |
//! |---|---|
//! | whose is an address that the CNI plugin announced? | the interface that was made for it, whatever others have, had or show, as long as [`Placements`] says |
//! | whose is a reported address? | the interface that it is bound to, while that lives, even if the other end dropped it. Not if that interface is left over: its pod is gone, and a pod of another name reports the address |
//! | and one that is not bound yet? | of the interfaces that had it when they were first seen and are not another pod's: the only one |
//! | and if there are several? | those that are left over, and those whose namespace has addresses of several pods, take no part while there are others. If several remain, nobody's: see `contested` |
//! | whose is an interface? | the pod's that reports the addresses bound to it, or to another one in the same namespace |
//! | what is its MAC? | the one it had when it was first bound, while that lives; of two ports of a bridge, or a port and its bridge, that have the same, one has none |
//! | which one of two that are not bound yet? | not the one that was seen with another MAC before; else the older one |
//! | which link-local addresses are its own? | the one made from its MAC, and others that no other port of the bridge had first, if all ports of the bridge lead to pods |
//!
//! Age does not decide between two interfaces that both could be the pod's. An attacker
//! adds an address before the victim's interface is there, or after it, or again and
//! again. Nor does it tell that an interface was seen before the pod was: an honest one
//! comes before its address is reported, and before its Pod object, if that is the mirror
//! of a static pod or the watch is late. An attacker's that comes just then would pass for
//! the pod's. Each pod, though, has all its addresses in one namespace, which is the
//! pod's alone. So an interface that shows another pod's address is left out as soon as the
//! namespace is known by its own address, and no attacker gets the address of a pod whose
//! interface has it.
//!
//! Ports of a bridge that filters VLANs are not bound: the node's end of a VLAN is
//! another device than the bridge, and the bridge tags what it passes on.
//!
//! What is reported by nobody is bound to nobody: bridges' addresses, and what a
//! pod gives to itself.

mod addresses;
mod candidates;
mod contested;
mod findings;
mod holder;
mod link_layer;
mod placed;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::{
    BoundBridge, BoundPort, Claim, ClaimingPod, Claims, InterfaceIndex, Mac, NodeNetwork,
    ObjectKey, Owners, Placements, Pod, Seen, SeenBridge, SeenPort,
};
use candidates::Doubt;
pub use findings::BindingFinding;
pub use holder::Holder;

/// How many addresses of an interface's first are remembered.
pub const FIRST_ADDRESSES: usize = 16;

/// How many link-local addresses a port can have beside the one made from its MAC.
pub const LINK_LOCAL_ADDRESSES: usize = 8;

/// What [`resolve`] concludes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resolved {
    /// What is bound.
    pub network: NodeNetwork,
    /// What to give to the next call as `before`.
    pub claims: Claims,
    /// What people should know, in order.
    pub findings: Vec<BindingFinding>,
}

/// What the steps share.
struct View<'a> {
    ports: BTreeMap<InterfaceIndex, &'a SeenPort>,
    bridges: BTreeMap<InterfaceIndex, &'a SeenBridge>,
    /// The addresses of pods, each with the pod that reports it.
    reported: BTreeMap<IpAddr, &'a ObjectKey>,
    /// Those that cannot be a pod's own.
    unfit: BTreeMap<IpAddr, &'a ObjectKey>,
    /// The pods, each with the time of its creation.
    living: BTreeMap<&'a ObjectKey, i64>,
    /// The interface of each address of which it is announced.
    placed: BTreeMap<IpAddr, InterfaceIndex>,
    before: &'a Claims,
}

/// Concludes which interface is which pod's.
///
/// `pods` are this node's pods. Those without an own address are passed over.
pub fn resolve<'a>(
    seen: &'a Seen,
    pods: impl IntoIterator<Item = &'a Pod>,
    before: &'a Claims,
) -> Resolved {
    resolve_placed(seen, pods, &Placements::default(), before)
}

/// The same, where the CNI plugin announced interfaces, too.
pub fn resolve_placed<'a>(
    seen: &'a Seen,
    pods: impl IntoIterator<Item = &'a Pod>,
    placements: &Placements,
    before: &'a Claims,
) -> Resolved {
    let view = View::new(seen, pods, placements, before);
    let held = addresses::hold(&view);
    let macs = link_layer::macs(&view, &held);
    let link_local = link_layer::link_local(&view, &macs.bound);
    let port = |index: &InterfaceIndex| {
        let (seen, pod) = (view.ports.get(index)?, held.pods.get(index)?);
        let reported = held.of(*index);
        let own = link_local.get(index).into_iter().flatten().copied();
        Some(BoundPort {
            pod: (*pod).clone(),
            bridge: seen.bridge,
            mac: *macs.bound.get(index)?,
            addresses: reported.chain(own).collect(),
        })
    };
    let bound = macs.bound.keys().filter_map(|index| Some((*index, port(index)?)));
    let bound = bound.filter(|(_, port)| !view.filters_vlans(port.bridge));
    let mut network = NodeNetwork {
        ports: bound.collect(),
        tunnels: seen.tunnels.iter().map(|(tunnel, sources)| (*tunnel, *sources)).collect(),
        tunnel_peers: seen.tunnel_peers.iter().copied().collect(),
        ipvs: seen.ipvs,
        ..NodeNetwork::default()
    };
    let with_ports: BTreeSet<_> = network.ports.values().filter_map(|port| port.bridge).collect();
    let bridges = with_ports.iter().filter_map(|index| view.bridges.get(index));
    network.bridges = bridges.map(|bridge| (bridge.index, bound_bridge(bridge))).collect();
    contested::cut_off(&view, &held, &mut network);
    Resolved {
        claims: view.claims(&held, &network),
        findings: findings::all(&view, &held, &macs, &network),
        network,
    }
}

fn bound_bridge(seen: &SeenBridge) -> BoundBridge {
    let addresses = seen.addresses.iter().copied().collect();
    BoundBridge { mac: seen.mac, addresses, only_pods: !seen.has_other_ports }
}

impl<'a> View<'a> {
    fn new(
        seen: &'a Seen,
        pods: impl IntoIterator<Item = &'a Pod>,
        placements: &Placements,
        before: &'a Claims,
    ) -> Self {
        let by_index = |port: &'a SeenPort| (port.index, port);
        let ports: BTreeMap<_, _> = seen.ports.iter().map(by_index).collect();
        let pods: Vec<&Pod> = pods.into_iter().collect();
        let owners = Owners::of(pods.iter().copied());
        let bridges_own: BTreeSet<IpAddr> =
            seen.bridges.iter().flat_map(|bridge| &bridge.addresses).copied().collect();
        let (reported, unfit) = pods
            .iter()
            .flat_map(|pod| owners.addresses_of(pod).map(|address| (address, &pod.key)))
            .partition(|(address, _)| is_for_pods(*address) && !bridges_own.contains(address));
        Self {
            bridges: seen.bridges.iter().map(|bridge| (bridge.index, bridge)).collect(),
            placed: placed::addresses(placements, &pods, &reported),
            reported,
            unfit,
            living: pods.iter().map(|pod| (&pod.key, pod.created)).collect(),
            before,
            ports,
        }
    }

    /// Whether ports of this bridge are not bound.
    fn filters_vlans(&self, bridge: Option<InterfaceIndex>) -> bool {
        let bridge = bridge.and_then(|index| self.bridges.get(&index));
        bridge.is_some_and(|bridge| bridge.vlan_filtering)
    }

    /// What was known of a port before.
    fn claim(&self, index: InterfaceIndex) -> Option<&'a Claim> {
        self.before.0.get(&index)
    }

    /// The addresses that a port had when it was first seen with any, if that was
    /// before now.
    fn first_known(&self, index: InterfaceIndex) -> Option<&'a BTreeMap<IpAddr, u64>> {
        self.claim(index).map(|claim| &claim.first).filter(|first| !first.is_empty())
    }

    fn living_pod(&self, key: &ObjectKey) -> Option<ClaimingPod> {
        let created = *self.living.get(key)?;
        Some(ClaimingPod { key: key.clone(), created })
    }

    fn lives(&self, pod: &ClaimingPod) -> bool {
        self.living.get(&pod.key) == Some(&pod.created)
    }

    fn claimant(&self, index: InterfaceIndex) -> Option<&'a ClaimingPod> {
        self.claim(index)?.pod.as_ref()
    }

    /// The pod whose a port was before, if it lives.
    fn living_claimant(&self, index: InterfaceIndex) -> Option<&'a ObjectKey> {
        self.claimant(index).filter(|pod| self.lives(pod)).map(|pod| &pod.key)
    }

    /// Whether a port's pod is gone while the port lives.
    fn is_left_over(&self, index: InterfaceIndex) -> bool {
        self.claimant(index).is_some_and(|pod| !self.lives(pod))
    }

    /// What speaks against a port as this pod's. A later pod of the same name can be
    /// the same one: the mirror of a static pod that was made again.
    fn doubt(&self, index: InterfaceIndex, pod: &ObjectKey) -> Doubt {
        let is_of_other = self.claimant(index).is_some_and(|claimant| claimant.key != *pod);
        match is_of_other && self.is_left_over(index) {
            true => Doubt::LeftOver,
            false => Doubt::None,
        }
    }

    /// The name of a port.
    fn name(&self, index: InterfaceIndex) -> String {
        self.ports.get(&index).map(|port| port.name.clone()).unwrap_or_default()
    }

    /// What to remember of each port that lives.
    fn claims(&self, held: &addresses::Held<'_>, network: &NodeNetwork) -> Claims {
        let claim = |index: InterfaceIndex, port: &SeenPort| {
            let former = self.claim(index).cloned().unwrap_or_default();
            let bound = network.ports.get(&index);
            let kept = former.addresses.into_iter().filter(|address| {
                let placed = self.placed.get(address);
                !is_link_local(*address) && placed.is_none_or(|other| *other == index)
            });
            let now = bound.into_iter().flat_map(|port| &port.addresses).copied();
            Claim {
                mac: bound.map(|port| port.mac).filter(|mac| *mac != Mac::NONE).or(former.mac),
                first_mac: link_layer::first(self, port),
                addresses: kept.chain(now).collect(),
                pod: match former.pod {
                    Some(pod) if self.lives(&pod) => Some(pod),
                    former => held.pod_of(port).and_then(|pod| self.living_pod(pod)).or(former),
                },
                first: match self.first_known(index) {
                    Some(first) => first.clone(),
                    None => addresses::first_of(port),
                },
            }
        };
        Claims(self.ports.iter().map(|(&index, port)| (index, claim(index, port))).collect())
    }
}

/// Whether an address can be a pod's own beside its link-local ones.
fn is_for_pods(address: IpAddr) -> bool {
    !address.is_loopback()
        && !address.is_multicast()
        && !address.is_unspecified()
        && !is_link_local(address)
}

/// `fe80::/10` (RFC 4291, 2.4).
fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(_) => false,
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests;
