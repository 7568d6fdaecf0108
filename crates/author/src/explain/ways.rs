//! What each side's policies see of a packet on its way.
//!
//! In: a source, a target. Out: ways; a connection takes one of them, and which one
//! depends on where it enters. Never: what another table drops.
//!
//! Policies see the destination after DNAT, and the source before this node's SNAT:
//!
//! | from | to | the destination's node sees as source |
//! |---|---|---|
//! | a pod or a node | a Service's cluster IP | the pod or the node |
//! | a pod or a node | its load balancer or external IP, `Cluster` | the same on its own node, else its node: masqueraded there |
//! | a pod or a node | its load balancer or external IP, `Local` | the pod or the node |
//! | outside, in at the destination's node | a port of the node, a load balancer | the client |
//! | outside, in at another node | the same, `externalTrafficPolicy: Cluster` | the other node: masqueraded there |
//! | outside, in at another node | the same, `Local` | nothing: it is dropped there |
//! | a pod | a port of another node | as from outside |
//! | a pod or a node | a port of its own node, `Cluster` | the same on that node, else the node |
//! | a pod or a node | a port of its own node, `Local` | the pod or the node, whatever node the destination is on |
//!
//! A pod's own node rewrites the destination before egress policies see it.
//!
//! Source: kube-proxy v1.36.3, k8s.io/kubernetes `pkg/proxy/iptables/proxier.go`,
//! `syncProxyRules`: a service's chain `KUBE-EXT-*` jumps to `KUBE-MARK-MASQ` for all that
//! comes in ("masquerade traffic for ... external destinations"), unless the policy is
//! `Local`; then what comes from pods of the node ("pod traffic for ...") and from the node
//! itself ("route LOCAL traffic for ...") goes to the endpoints of all nodes, and the rest to
//! those of this node. `KUBE-SVC-*`, for the cluster IP, marks only what comes from outside
//! of the pods' network. The mark is acted on after routing, so policies on that node see
//! the source before. `pkg/proxy/nftables/proxier.go` does the same.
//!
//! Not known here: whether the network plugin masquerades what a pod sends to another node,
//! and `--masquerade-all`.

use std::net::IpAddr;

use policy::ObjectKey;
use thiserror::Error;

use super::judge::{Judge, Packet};
use super::outside;
use super::places::{Place, nodes};
use super::targets::{Target, Through};
use crate::reach::Family;

/// What the two sides see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Way {
    /// What happens between them, for people.
    pub hops: Vec<String>,
    /// The source that the destination sees is some node whose address is not known.
    pub is_by_unknown_node: bool,
    /// What the policies of the source see.
    pub egress: Packet,
    /// What the policies of the destination see.
    pub ingress: Packet,
}

/// A Service that the source does not reach, whatever the policies.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum WayError {
    /// A Service for the cluster alone.
    #[error("Service {0} is of type ClusterIP: it has no address outside the cluster")]
    NotExternal(ObjectKey),
    /// `Local`, and no pod there.
    #[error(
        "no pod of the Service is on node/{0}, and externalTrafficPolicy is Local: the node drops it"
    )]
    NoneHere(String),
}

/// The ways from a source to a target; empty if one of them lacks the family.
///
/// # Errors
/// See [`WayError`].
pub fn ways(
    judge: &Judge<'_>,
    source: &Place<'_>,
    target: &Target<'_>,
    family: Family,
) -> Result<Vec<Way>, WayError> {
    let (Some(from), Some(to)) = (source.address(family), target.place.address(family)) else {
        return Ok(Vec::new());
    };
    let whole = Packet { source: from, destination: to, transport: target.transport };
    let way = |hops: Vec<String>, seen: IpAddr| Way {
        hops,
        is_by_unknown_node: false,
        egress: whole,
        ingress: Packet { source: seen, ..whole },
    };
    let outside = source.pod.is_none() && source.node.is_none();
    match &target.through {
        Through::Direct => Ok(vec![way(Vec::new(), from)]),
        Through::Service { by_external_address: true, keeps_client: false, .. } if !outside => {
            Ok(masqueraded_at_home(judge, &way, source, target, family, from))
        }
        Through::Service { .. } if !outside => {
            Ok(vec![way(vec!["the pod sees the source's own address".to_owned()], from)])
        }
        Through::Service { key, is_external: false, .. } => Err(WayError::NotExternal(key.clone())),
        Through::Service { keeps_client, .. } => {
            let client = "in at the pod's own node: the pod sees the client's address";
            let mut ways = vec![way(vec![client.to_owned()], from)];
            if !*keeps_client {
                let others = others(judge, target, family);
                let is_by_unknown_node = others.is_empty();
                let unknown = if is_by_unknown_node { unknown(judge, family) } else { None };
                let others = others.into_iter().chain(unknown);
                ways.extend(
                    others.map(|(hop, seen)| Way { is_by_unknown_node, ..way(vec![hop], seen) }),
                );
            }
            Ok(ways)
        }
        Through::NodePort { node, addresses, transport, keeps_client } => {
            let Some(entry) = addresses.iter().copied().find(|one| family.has(*one)) else {
                return Ok(Vec::new());
            };
            let from_there = source.node.as_deref() == Some(node.as_str());
            if *keeps_client && from_there {
                let hop = "from its own node all pods of the Service are reached, \
                           externalTrafficPolicy Local or not, and see the source's own address";
                return Ok(vec![way(vec![hop.to_owned()], from)]);
            }
            let mut ways = at_node(&way, from, node, entry, target, *keeps_client)?;
            // Egress policies judge before the other node rewrites the destination.
            if source.pod.is_some() && !from_there {
                for way in &mut ways {
                    way.egress =
                        Packet { destination: entry, transport: Some(*transport), ..way.egress };
                    let unless = if source.node.is_some() { "" } else { ", unless they share it" };
                    let hop =
                        format!("egress policies see node/{node}, not the pod behind it{unless}");
                    way.hops.insert(0, hop);
                }
            }
            Ok(ways)
        }
    }
}

/// To an address for clients outside, from within: the source's own node rewrites both ends.
fn masqueraded_at_home(
    judge: &Judge<'_>,
    way: &impl Fn(Vec<String>, IpAddr) -> Way,
    source: &Place<'_>,
    target: &Target<'_>,
    family: Family,
    from: IpAddr,
) -> Vec<Way> {
    let here = "both are on one node, so the pod sees the source's own address".to_owned();
    let there = "masqueraded at the source's node, so the pod sees that node".to_owned();
    let known = source.node.as_ref().and_then(|name| {
        let nodes = nodes(judge.cluster);
        nodes.get(name)?.iter().copied().find(|one| family.has(*one))
    });
    let elsewhere = |hop: String| {
        let seen = known.or_else(|| unknown(judge, family).map(|(_, address)| address));
        seen.map(|seen| Way { is_by_unknown_node: known.is_none(), ..way(vec![hop], seen) })
    };
    match (&source.node, &target.place.node) {
        (Some(one), Some(other)) if one == other => vec![way(vec![here], from)],
        (Some(_), Some(_)) => elsewhere(there).into_iter().collect(),
        (None, _) | (_, None) => {
            let apart = elsewhere(format!("if they are on two nodes: {there}"));
            [way(vec![format!("if {here}")], from)].into_iter().chain(apart).collect()
        }
    }
}

fn at_node(
    way: &impl Fn(Vec<String>, IpAddr) -> Way,
    from: IpAddr,
    node: &str,
    entry: IpAddr,
    target: &Target<'_>,
    keeps_client: bool,
) -> Result<Vec<Way>, WayError> {
    let here = "the pod is on that node, and sees the source's own address".to_owned();
    let there = format!("the pod is on another node, and sees node/{node}: masqueraded there");
    match (&target.place.node, keeps_client) {
        (Some(of_pod), _) if of_pod == node => Ok(vec![way(vec![here], from)]),
        (Some(_), true) => Err(WayError::NoneHere(node.to_owned())),
        (Some(_), false) => Ok(vec![way(vec![there], entry)]),
        (None, true) => Ok(vec![way(vec![format!("if {here}")], from)]),
        (None, false) => {
            Ok(vec![way(vec![format!("if {here}")], from), way(vec![format!("if {there}")], entry)])
        }
    }
}

/// The other nodes at which a client can come in.
fn others(judge: &Judge<'_>, target: &Target<'_>, family: Family) -> Vec<(String, IpAddr)> {
    let nodes = nodes(judge.cluster);
    let is_other = |name: &String| target.place.node.as_ref() != Some(name);
    nodes
        .iter()
        .filter(|(name, _)| is_other(name))
        .filter_map(|(name, all)| Some((name, all.iter().find(|one| family.has(**one))?)))
        .map(|(name, address)| {
            (format!("in at node/{name}: masqueraded there, so the pod sees that node"), *address)
        })
        .collect()
}

/// A node of which nothing is known.
fn unknown(judge: &Judge<'_>, family: Family) -> Option<(String, IpAddr)> {
    let addresses = outside::unused(&judge.reach, judge.cluster);
    let address = addresses.into_iter().find(|one| family.has(*one))?;
    let hop = "in at another node: masqueraded there, so the pod sees that node, whose address is \
               not known";
    Some((hop.to_owned(), address))
}

#[cfg(test)]
mod tests;
