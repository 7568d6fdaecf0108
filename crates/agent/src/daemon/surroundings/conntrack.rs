//! Whether connection tracking has room: a full table drops what opens a connection
//! (`__nf_conntrack_alloc`, net/netfilter/nf_conntrack_core.c, Linux 6.18), allowed or not.
//!
//! In: nf_conntrack_count and nf_conntrack_max of this network namespace (kernel
//! Documentation, networking/nf_conntrack-sysctl). Out: a condition and two gauges.
//! Never: a node that is not ready because of it: pods fill the table.

use std::fs;

use agent::metrics::Metrics;
use agent::status::{Condition, Status};

/// From this share on the table is nearly full.
const NEAR_PERCENT: i64 = 90;

/// Looks, and updates the status.
pub(super) fn look(status: &Status, metrics: &Metrics) {
    let (Some(entries), Some(limit)) = (number("count"), number("max")) else { return };
    metrics.traffic.conntrack_entries.set(entries);
    metrics.traffic.conntrack_limit.set(limit);
    match problem(entries, limit) {
        None => status.holds(Condition::Conntrack),
        // Without the numbers, which change all the time.
        Some(problem) => status.fails(Condition::Conntrack, problem),
    }
}

fn problem(entries: i64, limit: i64) -> Option<String> {
    let mend = "look for pods that open very many connections, or raise \
                net.netfilter.nf_conntrack_max on the host";
    match limit {
        // 0 is no limit.
        0 => None,
        limit if entries >= limit => {
            Some(format!("connection tracking is full: new connections are lost; {mend}"))
        }
        limit if entries.saturating_mul(100) >= limit.saturating_mul(NEAR_PERCENT) => {
            Some(format!("connection tracking is full to {NEAR_PERCENT} % or more; {mend}"))
        }
        _ => None,
    }
}

fn number(name: &str) -> Option<i64> {
    let path = format!("/proc/sys/net/netfilter/nf_conntrack_{name}");
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_full_near_or_well() {
        let found = |entries, limit| problem(entries, limit).map(|text| text.contains("is full:"));
        assert_eq!(found(899, 1000), None);
        assert_eq!(found(900, 1000), Some(false));
        assert_eq!(found(1000, 1000), Some(true));
        assert_eq!(found(5, 0), None);
    }
}
