//! What the operator should know of addresses that no object names.
//!
//! In: the node's network, before and now; what its Node object says. Out: a line for the
//! log, the condition `ranges`. Never: the objects. Whether a policy exists now is not asked.

use policy::{NodeNetwork, UnknownPods};

use crate::node_ranges::{NodeRanges, is_link_local};

/// Ranges that a line names.
const NAMED: usize = 8;

/// What changed. Without ranges there is nothing to say here: see [`problem`].
pub(super) fn change(before: &NodeNetwork, now: &NodeNetwork) -> Option<String> {
    let is_same = before.pod_ranges == now.pod_ranges && before.unknown_pods == now.unknown_pods;
    if now.unknown_pods == UnknownPods::Open || is_same || now.pod_ranges.is_empty() {
        return None;
    }
    let when = match now.unknown_pods {
        UnknownPods::Open | UnknownPods::Closed => "",
        UnknownPods::Selected => " while the cluster has a NetworkPolicy",
    };
    let ranges = crate::report::some(now.pod_ranges.iter(), NAMED);
    Some(format!(
        "{}: addresses that no Pod names are shut{when}, in {ranges}",
        mode(now.unknown_pods)
    ))
}

/// Why new pods may be open in spite of the mode, or what is wrong with the Node object.
/// Single pods are not named: whoever starts pods could fill the log.
pub(super) fn problem(network: &NodeNetwork, node: Option<&NodeRanges>) -> Option<String> {
    let of_node = node.and_then(NodeRanges::problem).map(str::to_owned);
    let advice = match node {
        None => "give --pod-cidr, or --node-pod-cidrs where the Node object has them",
        Some(_) => "give --pod-cidr",
    };
    let mut bound = network.ports.values().flat_map(|port| &port.addresses);
    let of_mode = match network.unknown_pods {
        UnknownPods::Open => None,
        UnknownPods::Selected | UnknownPods::Closed if network.pod_ranges.is_empty() => {
            Some(format!(
                "{}: no address is shut yet, because no pod is bound on a bridge that only pods \
                 are on; where pods are on no such bridge, {advice}",
                mode(network.unknown_pods)
            ))
        }
        UnknownPods::Selected | UnknownPods::Closed => {
            let is_outside =
                bound.any(|one| !is_link_local(*one) && !network.is_in_pod_ranges(*one));
            is_outside.then(|| {
                format!(
                    "{}: pods of this node have addresses outside of the ranges that are shut, so \
                     new ones there are open; {advice}",
                    mode(network.unknown_pods)
                )
            })
        }
    };
    let all: Vec<String> = of_mode.into_iter().chain(of_node).collect();
    (!all.is_empty()).then(|| all.join("; "))
}

fn mode(unknown_pods: UnknownPods) -> String {
    format!("--unknown-pods={unknown_pods}")
}

#[cfg(test)]
mod tests {
    use policy::{BoundPort, InterfaceIndex, Mac, ObjectKey, pod_ranges};
    use watcher::api::NodeAddresses;

    use super::*;

    fn network(unknown_pods: UnknownPods, subnets: &[&str]) -> NodeNetwork {
        let subnets = subnets.iter().map(|subnet| subnet.parse().unwrap());
        NodeNetwork { pod_ranges: pod_ranges(subnets), unknown_pods, ..NodeNetwork::default() }
    }

    #[test]
    fn each_change_is_said_once() {
        let open = network(UnknownPods::Open, &["10.0.0.0/24"]);
        let nothing = NodeNetwork::default();
        assert_eq!(change(&nothing, &open), None);
        let nowhere = network(UnknownPods::Closed, &[]);
        assert_eq!(change(&nothing, &nowhere), None);
        let shut = network(UnknownPods::Selected, &["10.0.0.0/24"]);
        assert_eq!(
            change(&nowhere, &shut).unwrap(),
            "--unknown-pods=selected: addresses that no Pod names are shut while the cluster has \
             a NetworkPolicy, in 10.0.0.0-10.0.0.254"
        );
        assert_eq!(change(&shut, &shut), None);
    }

    #[test]
    fn what_leaves_new_pods_open_is_a_problem() {
        let said = |network: &NodeNetwork, node: Option<&NodeRanges>| {
            problem(network, node).unwrap_or_default()
        };
        let nowhere = network(UnknownPods::Selected, &[]);
        assert!(said(&nowhere, None).contains("no address is shut yet"));
        assert!(said(&nowhere, None).contains("--pod-cidr, or --node-pod-cidrs"));
        let mut node = NodeRanges::default();
        node.read(&NodeAddresses::default());
        let both = said(&nowhere, Some(&node));
        assert!(both.contains("no address is shut yet") && both.contains("no spec.podCIDRs"));
        let open = network(UnknownPods::Open, &[]);
        assert_eq!(said(&open, None), "");
        assert!(said(&open, Some(&node)).contains("no spec.podCIDRs"), "it is asked for");

        let mut shut = network(UnknownPods::Closed, &["10.0.0.0/24"]);
        let mut bind = |number: u32, addresses: &[&str]| {
            let port = BoundPort {
                pod: ObjectKey::new("dev", number.to_string()),
                bridge: None,
                mac: Mac::NONE,
                addresses: addresses.iter().map(|address| address.parse().unwrap()).collect(),
            };
            shut.ports.insert(InterfaceIndex(number), port);
            said(&shut, None)
        };
        assert_eq!(bind(1, &["10.0.0.7", "fe80::1"]), "");
        assert!(bind(2, &["10.0.0.8", "10.9.0.7"]).contains("addresses outside of the ranges"));
    }
}
