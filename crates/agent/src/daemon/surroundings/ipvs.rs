//! What keeps policies from what IPVS forwards.
//!
//! In: files below /proc, whether the chain for it is in the kernel. Out: the condition
//! `services`, and a remark about Services that bypass policies. Never: a node that is not
//! ready for what a Service says, since a tenant could then do so.
//!
//! That the chain is there is enough here. It is a base chain, so how many rules it has is
//! part of the table's fingerprint, at which the loop looks within 20 ms of any commit of
//! others, and after their commits it reads the whole table soon. What was changed is
//! restored, and the condition `enforced` tells of it.

use std::collections::BTreeSet;
use std::net::IpAddr;

use agent::node_network::ipvs;
use agent::status::{Condition, Status};
use compiler::scaffold;
use nft::Kernel;
use ruleset::TableId;

/// How many ends are named.
const NAMED: usize = 3;

/// What was told of it.
#[derive(Debug, Default)]
pub(super) struct Services {
    /// The ends that get packets as they are.
    direct: BTreeSet<IpAddr>,
}

impl Services {
    pub(super) fn look(&mut self, kernel: &mut Kernel, status: &Status) {
        super::set(status, Condition::Services, problem(kernel).into_iter().collect());
        let direct = ipvs::direct_ends();
        if direct != self.direct {
            let remark = remark(&direct);
            if !remark.is_empty() {
                tracing::warn!("{remark}");
            }
            status.remark(Condition::Services, remark);
            self.direct = direct;
        }
    }
}

fn problem(kernel: &mut Kernel) -> Option<String> {
    if !ipvs::is_there() {
        return None;
    }
    let (table, chain) = (TableId::inet(scaffold::table()), scaffold::ipvs::base_chain());
    if !kernel.fingerprint(&table, &chain).is_ok_and(|found| found.is_some()) {
        return Some(format!(
            "this node has IPVS (kernel module ip_vs), and the chain {chain} of table {table}, \
             which judges what IPVS forwards, is not in force (yet): policies do not see these \
             packets; if this lasts, load the kernel module nft_fib_inet, or run kube-proxy with \
             `mode: nftables`"
        ));
    }
    (ipvs::is_used() && ipvs::is_untracked()).then(|| {
        "IPVS forwards packets to Services without connection tracking, so at isolated pods \
         answers and packets of open connections are dropped: run `sysctl -w \
         net.ipv4.vs.conntrack=1` on the host (kube-proxy and kube-router do so when they start)"
            .to_owned()
    })
}

/// Empty if there is nothing to tell.
fn remark(direct: &BTreeSet<IpAddr>) -> String {
    if direct.is_empty() {
        return String::new();
    }
    let named: Vec<String> = direct.iter().take(NAMED).map(ToString::to_string).collect();
    let more = match direct.len() - named.len() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!(
        "IPVS sends packets to {}{more} through a tunnel or by direct routing (direct server \
         return), and policies for the pods there are not asked: use masquerading (ipvsadm -m; in \
         kube-router a Service without the annotation kube-router.io/service.dsr)",
        named.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_ends_are_named() {
        let ends = |last: u8| (1..=last).map(|one| IpAddr::from([10, 0, 0, one])).collect();
        assert_eq!(remark(&ends(0)), "");
        assert!(remark(&ends(2)).starts_with("IPVS sends packets to 10.0.0.1, 10.0.0.2 through"));
        let many = remark(&ends(9));
        assert!(many.contains("10.0.0.3 and 6 more through a tunnel"), "{many}");
    }
}
