//! The rules of kube-router's network policy controller, for a packet that is forwarded.
//!
//! After `pkg/controllers/netpol/npc_nftables.go` of github.com/cloudnativelabs/kube-router,
//! commit 7c2c277 (August 2026, `--use-nftables-for-netpol`): names, order and wording of the
//! rules are those that its functions make, chains of other hooks are left out. Its iptables
//! form has the same rules, one pod after the other.
//!
//! ```text
//! forward: for each pod  daddr <pod> -> its chain      its chain: common (established: accept)
//!                        saddr <pod> -> its chain                 each policy (marks)
//!          tail, accept by mark                                   no mark: reject
//! ```
//!
//! The controller writes pods in the order of a Go map, which is random. Here the two pods
//! that send and receive are in the middle.

use std::fmt::Write as _;
use std::net::Ipv4Addr;

/// A table for these pods. All are isolated in both directions by one policy that allows
/// all of them.
pub fn table(pods: &[Ipv4Addr]) -> String {
    let all: Vec<String> = pods.iter().map(Ipv4Addr::to_string).collect();
    let all = all.join(", ");
    let mut text = String::from("table ip kube-router-filter-ipv4 {\n");
    for set in ["KUBE-DST-TARGET", "KUBE-SRC-TARGET", "KUBE-SRC-INGRESS-0", "KUBE-DST-EGRESS-0"] {
        line(&mut text, &format!("set {set} {{ type ipv4_addr; elements = {{ {all} }}; }}"));
    }
    text += COMMON;
    line(&mut text, "chain KUBE-NWPLCY-EACH-OTHER {");
    for (from, to) in
        [("KUBE-SRC-INGRESS-0", "KUBE-DST-TARGET"), ("KUBE-SRC-TARGET", "KUBE-DST-EGRESS-0")]
    {
        line(
            &mut text,
            &format!(
                "ip saddr @{from} ip daddr @{to} counter meta mark set meta mark or 0x10000 return"
            ),
        );
    }
    line(&mut text, "}");
    pods.iter().for_each(|pod| firewall(&mut text, *pod));
    line(&mut text, "chain KUBE-ROUTER-FORWARD {\ntype filter hook forward priority filter");
    for pod in in_the_middle(pods) {
        for side in ["daddr", "saddr"] {
            line(&mut text, &format!("ip {side} {pod} counter jump {}", chain(pod)));
        }
    }
    line(&mut text, "counter jump KUBE-NWPLCY-TAIL");
    line(&mut text, "meta mark and 0x20000 == 0x20000 counter accept\n}\n}");
    text
}

/// `ensureCommonPolicyChain`, `ensureDefaultTailChain` without `--netpol-default-deny`.
const COMMON: &str = "chain KUBE-NWPLCY-COMMON {
ct state invalid counter drop
ct state established,related counter accept
icmp type echo-request counter accept
icmp type destination-unreachable counter accept
icmp type time-exceeded counter accept
}
chain KUBE-NWPLCY-TAIL {
meta mark and 0x20000 == 0x20000 counter accept
}
";

/// A pod's chain: `syncPodFirewallChains`.
fn firewall(text: &mut String, pod: Ipv4Addr) {
    for rule in [
        &format!("chain {} {{", chain(pod)),
        "counter jump KUBE-NWPLCY-COMMON",
        &format!("fib saddr type local ip daddr {pod} counter accept"),
        "counter jump KUBE-NWPLCY-EACH-OTHER",
        "meta mark and 0x10000 == 0x0 limit rate 10/minute burst 10 packets log group 100",
        "meta mark and 0x10000 == 0x0 counter reject",
        "meta mark set meta mark and 0xfffeffff",
        "meta mark set meta mark or 0x20000",
        "}",
    ] {
        line(text, rule);
    }
}

fn chain(pod: Ipv4Addr) -> String {
    format!("KUBE-POD-FW-{:08X}", pod.to_bits())
}

/// The first two pods after half of the others.
fn in_the_middle(pods: &[Ipv4Addr]) -> Vec<Ipv4Addr> {
    let (measured, others) = pods.split_at(pods.len().min(2));
    let (before, after) = others.split_at(others.len() / 2);
    [before, measured, after].concat()
}

fn line(text: &mut String, line: &str) {
    // Writing to a String cannot fail.
    let _ = writeln!(text, "{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_measured_pods_are_in_the_middle() {
        let pod = |last| Ipv4Addr::new(10, 0, 0, last);
        let pods: Vec<Ipv4Addr> = (0..6).map(pod).collect();
        assert_eq!(in_the_middle(&pods), [2, 3, 0, 1, 4, 5].map(pod));
        assert_eq!(in_the_middle(&pods[..2]), [0, 1].map(pod));
    }
}
