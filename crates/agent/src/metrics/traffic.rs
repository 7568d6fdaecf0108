//! What is counted of the packets of pods.
//!
//! In: the rules' counters, connection tracking's table. Out: totals and gauges.
//! Never: more than [`NAMESPACES`] namespaces: those that come later share an empty name.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use policy::{Direction, Mode};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::add;
use crate::drops::Side;
use crate::view::Signatures;

/// Namespaces that have a series of their own. A node has some hundred pods.
const NAMESPACES: usize = 1000;

/// Labels with a name that users choose.
type Labels = Vec<(&'static str, String)>;

/// What is counted.
#[derive(Debug)]
pub struct Traffic {
    denied: Family<Labels, Counter>,
    audited: Family<Labels, Counter>,
    /// Packets that the log told of and that were lost, because the agent had no time.
    pub unread: Counter,
    /// Connections that connection tracking holds.
    pub conntrack_entries: Gauge,
    /// How many it can hold.
    pub conntrack_limit: Gauge,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    namespaces: BTreeSet<String>,
    /// The chains whose namespaces were made known.
    signatures: Signatures,
}

impl Traffic {
    pub(super) fn new(registry: &mut Registry) -> Self {
        Self {
            denied: add(
                registry,
                "denied_packets",
                "Packets that policies denied, by the direction and the namespace of the isolated pod",
            ),
            audited: add(
                registry,
                "audited_packets",
                "Packets that passed and that policies in audit would have denied, by direction and namespace",
            ),
            unread: add(
                registry,
                "denied_packets_unread",
                "Denied packets that were logged and that the agent did not read in time",
            ),
            conntrack_entries: add(
                registry,
                "conntrack_entries",
                "Connections that connection tracking holds in this network namespace",
            ),
            conntrack_limit: add(
                registry,
                "conntrack_limit",
                "How many connections connection tracking can hold (nf_conntrack_max)",
            ),
            known: Mutex::default(),
        }
    }

    /// The policies behind these chains may deny something from now on: the series of their
    /// namespaces begin at zero.
    pub fn may_deny(&self, signatures: &Signatures) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.signatures.ptr_eq(signatures) {
            return;
        }
        known.signatures = signatures.clone();
        let policies = signatures.values().flat_map(|signature| &signature.policies);
        let namespaces: BTreeSet<&str> = policies.map(|key| key.namespace.as_str()).collect();
        for namespace in namespaces {
            let label = known.label(namespace);
            for direction in Direction::BOTH {
                drop(self.denied.get_or_create(&labels(direction, &label)));
                drop(self.audited.get_or_create(&labels(direction, &label)));
            }
        }
    }

    /// Packets were denied, or would have been.
    pub fn denied(&self, (mode, direction): Side, namespace: &str, packets: u64) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let label = known.label(namespace);
        drop(known);
        let family = match mode {
            Mode::Enforce => &self.denied,
            Mode::Audit => &self.audited,
        };
        family.get_or_create(&labels(direction, &label)).inc_by(packets);
    }
}

impl Known {
    fn label(&mut self, namespace: &str) -> String {
        let is_known = self.namespaces.contains(namespace);
        if !is_known && self.namespaces.len() >= NAMESPACES {
            return String::new();
        }
        if !is_known {
            self.namespaces.insert(namespace.to_owned());
        }
        namespace.to_owned()
    }
}

fn labels(direction: Direction, namespace: &str) -> Labels {
    vec![("direction", direction.to_string()), ("namespace", namespace.to_owned())]
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;

    use super::*;

    #[test]
    fn a_limited_number_of_namespaces_has_a_series() {
        let mut registry = Registry::default();
        let traffic = Traffic::new(&mut registry);
        for number in 0..NAMESPACES + 5 {
            traffic.denied((Mode::Enforce, Direction::Ingress), &format!("n{number}"), 2);
        }
        let mut text = String::new();
        encode(&mut text, &registry).expect("text");
        let of = |namespace: &str| {
            format!("denied_packets_total{{direction=\"ingress\",namespace=\"{namespace}\"}}")
        };
        assert!(text.contains(&format!("{} 2\n", of("n0"))), "{text}");
        assert!(text.contains(&format!("{} 10\n", of(""))), "{text}");
        assert!(!text.contains("\"n1004\""), "{text}");
    }
}
