//! The series of the metrics.
//!
//! In: the values that labels can have. Out: a series for each. Never: a value that is not
//! known from the code.

use policy::KeptFor;
use watcher::Kind;
use watcher::api::FailureKind;

use super::Metrics;
use crate::conntrack_cleanup::Counters;
use crate::pipeline::Proofs;

/// What is counted of interfaces and addresses that are not as they should be.
pub(crate) const FINDINGS: [&str; 8] = [
    "no_interface",
    "claimed_twice",
    "contested",
    "mac_claimed_twice",
    "mac_changed",
    "unreported_address",
    "unbound_port",
    "vlan_filtering",
];

impl Metrics {
    /// Every series that is known now exists from the start, so that a rate over its first
    /// event is no gap.
    pub(super) fn start_at_zero(&self) {
        for result in ["ok", "failed", "interrupted"] {
            drop(self.syncs.get_or_create(&[("result", result)]));
        }
        for kind in Kind::ALL {
            drop(self.objects.get_or_create(&[("kind", kind.name())]));
            for what in ["listed", "applied", "deleted"] {
                drop(self.watch_events.get_or_create(&[("kind", kind.name()), ("type", what)]));
            }
            for reason in FailureKind::ALL {
                let labels = [("kind", kind.name()), ("reason", reason.name())];
                drop(self.watch_failures.get_or_create(&labels));
            }
        }
        for reason in ["unusable_part", "refused_by_kernel", "over_budget"] {
            drop(self.broken_policies.get_or_create(&[("reason", reason)]));
        }
        for why in KeptFor::ALL {
            drop(self.kept_addresses.get_or_create(&[("reason", why.name())]));
        }
        for kind in ["chains", "sets", "elements"] {
            drop(self.table.get_or_create(&[("kind", kind)]));
        }
        for kind in FINDINGS {
            drop(self.binding_findings.get_or_create(&[("kind", kind)]));
        }
        self.proved(&Proofs::default());
        self.connections(&Counters::default());
    }
}
