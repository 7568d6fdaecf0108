//! What the operator should know of addresses that no object names.
//!
//! In: the node's network, before and now. Out: a line for the log.
//! Never: the objects. Whether a policy exists now is not asked.

use policy::{NodeNetwork, UnknownPods};

/// Ranges that a line names.
const NAMED: usize = 8;

/// What changed. With `open` there is nothing to say.
pub(super) fn change(before: &NodeNetwork, now: &NodeNetwork) -> Option<String> {
    let is_same = before.pod_ranges == now.pod_ranges && before.unknown_pods == now.unknown_pods;
    if now.unknown_pods == UnknownPods::Open || is_same {
        return None;
    }
    let mode = format!("--unknown-pods={}", now.unknown_pods);
    if now.pod_ranges.is_empty() {
        return Some(format!(
            "{mode}: no address is shut yet, because no pod is bound on a bridge that only pods \
             are on; where pods are on no such bridge, give --pod-cidr"
        ));
    }
    let when = match now.unknown_pods {
        UnknownPods::Open | UnknownPods::Closed => "",
        UnknownPods::Selected => " while the cluster has a NetworkPolicy",
    };
    let ranges = crate::report::some(now.pod_ranges.iter(), NAMED);
    Some(format!("{mode}: addresses that no Pod names are shut{when}, in {ranges}"))
}

#[cfg(test)]
mod tests {
    use policy::pod_ranges;

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
        let said = change(&nothing, &nowhere).unwrap();
        assert!(said.contains("no address is shut yet") && said.contains("--pod-cidr"), "{said}");
        assert_eq!(change(&nowhere, &nowhere), None);
        let shut = network(UnknownPods::Selected, &["10.0.0.0/24"]);
        assert_eq!(
            change(&nowhere, &shut).unwrap(),
            "--unknown-pods=selected: addresses that no Pod names are shut while the cluster has \
             a NetworkPolicy, in 10.0.0.0-10.0.0.254"
        );
    }
}
