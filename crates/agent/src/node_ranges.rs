//! Where this node's pods have their addresses, as its Node object says.
//!
//! In: `spec.podCIDRs` of the Node and the node's own addresses, or why they cannot be had.
//! Out: the ranges that can be used, and what is wrong. Never: a range in which the node
//! itself is, or that is wider than any pods': what no Pod names there is dropped.
//!
//! "podCIDRs represents the IP ranges assigned to the node for usage by Pods on that node"
//! (API reference, `NodeSpec`, Kubernetes 1.36). kube-controller-manager sets them with
//! `--allocate-node-cidrs`. A network plugin need not use them: Calico's IPAM does not.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;
use watcher::api::NodeAddresses;

use crate::binding_options;
use crate::report;

/// Values that a message names at most, and how much of each.
const NAMED: usize = 4;
const SHOWN: usize = 50;

/// What is known of the ranges. At first nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeRanges {
    /// `None`: the Node was not read yet.
    cidrs: Option<BTreeSet<IpNet>>,
    /// What is wrong with the Node, or why it was not read the last time.
    problem: Option<String>,
}

impl NodeRanges {
    /// The Node was read.
    pub fn read(&mut self, node: &NodeAddresses) {
        let mut cidrs = BTreeSet::new();
        let mut refused = Vec::new();
        for text in &node.pod_cidrs {
            match usable(text, node) {
                Ok(cidr) => {
                    cidrs.insert(cidr);
                }
                Err(why) => refused.push(format!("{:?} {why}", shown(text))),
            }
        }
        self.problem = match (refused.is_empty(), cidrs.is_empty()) {
            (true, false) => None,
            (true, true) => Some(
                "this node's Node object has no spec.podCIDRs (kube-controller-manager sets them \
                 with --allocate-node-cidrs); it is read again"
                    .to_owned(),
            ),
            (false, _) => {
                let named = report::some(refused.iter(), NAMED);
                Some(format!("spec.podCIDRs of this node's Node object cannot be used: {named}"))
            }
        };
        self.cidrs = Some(cidrs);
    }

    /// The Node could not be read: what it said before still holds.
    pub fn failed(&mut self, why: String) {
        self.problem = Some(why);
    }

    /// The ranges.
    pub fn cidrs(&self) -> impl Iterator<Item = IpNet> {
        self.cidrs.iter().flatten().copied()
    }

    /// Whether the Node was read once.
    pub const fn are_known(&self) -> bool {
        self.cidrs.is_some()
    }

    /// Whether there was no answer of any kind yet.
    pub const fn is_awaited(&self) -> bool {
        self.cidrs.is_none() && self.problem.is_none()
    }

    /// What is wrong now.
    pub fn problem(&self) -> Option<&str> {
        self.problem.as_deref()
    }
}

/// A range of the Node, or why pods cannot have it.
fn usable(text: &str, node: &NodeAddresses) -> Result<IpNet, &'static str> {
    let cidr = policy::cidr::parse(text).map_err(|_| "is no CIDR")?;
    if binding_options::is_too_wide(&cidr) {
        return Err("is more than pods");
    }
    let first = cidr.network();
    if is_link_local(first) || first.is_loopback() || first.is_multicast() || first.is_unspecified()
    {
        return Err("has no addresses of pods");
    }
    if node.own.iter().any(|own| cidr.contains(own)) {
        return Err("has an address of the node itself, so it is not the pods' alone");
    }
    Ok(cidr)
}

/// `169.254.0.0/16`, where metadata services and NodeLocal DNS are, and `fe80::/10`.
pub const fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}

/// The start of a value that may be anything.
fn shown(text: &str) -> String {
    text.chars().take(SHOWN).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(pod_cidrs: &[&str]) -> NodeAddresses {
        NodeAddresses {
            pod_cidrs: pod_cidrs.iter().map(|cidr| (*cidr).to_owned()).collect(),
            own: ["192.0.2.1", "2001:db8::1"].map(|own| own.parse().unwrap()).to_vec(),
        }
    }

    fn read(pod_cidrs: &[&str]) -> (Vec<String>, String) {
        let mut ranges = NodeRanges::default();
        ranges.read(&node(pod_cidrs));
        let cidrs = ranges.cidrs().map(|cidr| cidr.to_string()).collect();
        (cidrs, ranges.problem().unwrap_or_default().to_owned())
    }

    #[test]
    fn what_no_pods_can_have_is_refused_and_named() {
        let good = ["10.244.1.0/24", "fd00:10:244:1::/64"];
        assert_eq!(read(&good), (good.map(str::to_owned).to_vec(), String::new()));
        for (bad, why) in [
            ("", "is no CIDR"),
            ("10.244.1.0", "is no CIDR"),
            ("10.244.1.0/33", "is no CIDR"),
            ("\u{1b}[2J", "is no CIDR"),
            ("0.0.0.0/0", "is more than pods"),
            ("::/0", "is more than pods"),
            ("8.0.0.0/7", "is more than pods"),
            ("127.0.0.0/8", "has no addresses of pods"),
            ("224.0.0.0/8", "has no addresses of pods"),
            ("169.254.0.0/16", "has no addresses of pods"),
            ("fe80::/64", "has no addresses of pods"),
            ("0.0.0.0/8", "has no addresses of pods"),
            ("192.0.2.0/24", "has an address of the node itself"),
            ("2001:db8::/32", "has an address of the node itself"),
        ] {
            let (cidrs, problem) = read(&[bad, "10.244.1.0/24"]);
            assert_eq!(cidrs, ["10.244.1.0/24"], "{bad}");
            assert!(problem.contains(&format!("{bad:?} {why}")), "{bad}: {problem}");
            assert_eq!(read(&[bad]).0, [""; 0]);
        }
        let long = "9".repeat(1000);
        let (_, problem) = read(&[&long, "a", "b", "c", "d", "e"]);
        assert!(problem.len() < 300 && problem.contains("and 2 more"), "{problem}");
    }

    #[test]
    fn a_failure_takes_nothing_back_and_a_later_answer_counts() {
        let mut ranges = NodeRanges::default();
        assert!(ranges.is_awaited() && !ranges.are_known());
        ranges.failed("forbidden".to_owned());
        assert!(!ranges.is_awaited() && !ranges.are_known());
        ranges.read(&node(&[]));
        assert!(ranges.problem().unwrap().contains("no spec.podCIDRs"));
        ranges.read(&node(&["10.244.1.0/24"]));
        assert_eq!(ranges.problem(), None);
        ranges.failed("the API server does not answer".to_owned());
        assert_eq!(ranges.cidrs().count(), 1);
        ranges.read(&node(&["10.244.2.0/24"]));
        assert_eq!(ranges.cidrs().next(), "10.244.2.0/24".parse().ok());
        assert_eq!(ranges.problem(), None);
    }
}
