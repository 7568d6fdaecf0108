//! The content of `/metrics`.
//!
//! In: counts and times from the other parts. Out: OpenMetrics, or the text format.
//! Never: a label with a name that users choose (pods, policies): there can be
//! any number of them. Namespaces are the exception, a limited number of them ([`Traffic`]).

mod format;
mod process;
mod series;
mod traffic;

pub(crate) use series::FINDINGS;
pub use traffic::Traffic;

use std::fmt;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use compiler::Usage;
use compiler::budget::Budgets;
use compiler::price::Amount;
use imbl::OrdMap;
use imbl::ordmap::DiffItem;
use policy::Snapshot;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};
use ruleset::{Name, Set};
use watcher::Kind;

use crate::conntrack_cleanup::Counters;
use crate::pipeline::{Outcome, Proofs};
use crate::report;
use crate::status::{Condition, Status};

/// One label.
pub type Label = [(&'static str, &'static str); 1];
/// Two labels.
pub type Labels = [(&'static str, &'static str); 2];
/// A time that only grows.
type Total = Counter<f64, AtomicU64>;
/// A time that grows and shrinks.
pub type Seconds = Gauge<f64, AtomicU64>;

/// Everything that is counted.
#[derive(Debug)]
pub struct Metrics {
    registry: Mutex<Registry>,
    conditions: Family<Label, Gauge>,
    process: Process,
    /// Objects known, by kind.
    objects: Family<Label, Gauge>,
    /// Events of the watches, by kind and type.
    pub watch_events: Family<Labels, Counter>,
    /// Watches that failed, by kind and reason.
    pub watch_failures: Family<Labels, Counter>,
    /// Whether all watches work.
    pub api_connected: Gauge,
    /// How long ago the API server was last heard.
    pub api_contact_age: Seconds,
    /// Attempts to make the kernel enforce, by result.
    pub syncs: Family<Label, Counter>,
    /// How long a successful attempt took.
    sync_seconds: Histogram,
    /// From an event's arrival to the kernel's commit.
    pub event_to_kernel_seconds: Histogram,
    /// Batches committed.
    batches: Counter,
    /// Operations in them.
    operations: Counter,
    /// Times that the table was restored after others changed it.
    pub repairs: Counter,
    /// Times that the table was built again beside the old one.
    pub replacements: Counter,
    /// Chains, sets and elements of the table.
    table: Family<Label, Gauge>,
    elements: Mutex<CountedElements>,
    /// Policies with parts that cannot be used, refused by the kernel, and over a budget.
    pub broken_policies: Family<Label, Gauge>,
    /// What policies may take of the table, of the node and of a namespace.
    budget: Family<Labels, Gauge>,
    /// What they take. Of namespaces, what the largest takes.
    budget_used: Family<Labels, Gauge>,
    /// Addresses that are isolated although no object reports them, by reason.
    pub kept_addresses: Family<Label, Gauge>,
    /// Policies of namespaces that end which are still enforced.
    pub kept_policies: Gauge,
    /// Policies in audit: they drop nothing.
    pub audited_policies: Gauge,
    /// Policies and Namespaces that are in audit until a time that is yet to come.
    pub audit_ends: Gauge,
    /// Addresses of this node that several pods report.
    pub shared_addresses: Gauge,
    /// Interfaces that are bound to a pod.
    pub bound_ports: Gauge,
    /// Pods of this node with an address that is bound to no interface.
    pub unbound_pods: Gauge,
    /// What is wrong with interfaces and addresses, by kind.
    pub binding_findings: Family<Label, Gauge>,
    /// Whether the kernel has an optional feature.
    pub features: Family<Label, Gauge>,
    /// Tables proved, by result.
    proofs: Family<Label, Counter>,
    proof_seconds: Total,
    connections: Family<Label, Counter>,
    sweep_seconds: Total,
    /// Lines of the log that nobody read in time.
    lost_lines: Counter,
    /// What is counted of denied packets and of connection tracking.
    pub traffic: Traffic,
}

/// The elements of all sets, counted from one table to the next at the cost of what
/// changed.
#[derive(Debug, Default)]
struct CountedElements {
    sets: OrdMap<Name, Set>,
    count: usize,
}

#[derive(Debug, Default)]
struct Process {
    resident_bytes: Gauge,
    cpu_seconds: Total,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// All values at zero.
    pub fn new() -> Self {
        let mut all = Registry::default();
        let process = Process::default();
        let (resident, cpu) = (process.resident_bytes.clone(), process.cpu_seconds.clone());
        all.register("process_resident_memory_bytes", "Resident memory of this process", resident);
        all.register("process_cpu_seconds", "CPU time of this process since its start", cpu);
        if let Some(start) = process::start_seconds() {
            let gauge = Seconds::default();
            gauge.set(start);
            all.register(
                "process_start_time_seconds",
                "When this process started, since 1970",
                gauge,
            );
        }
        let registry = all.sub_registry_with_prefix("nftpol");
        registry.register(
            "build",
            "The version of this program",
            Info::new([("version", env!("CARGO_PKG_VERSION"))]),
        );
        let metrics = Self {
            registry: Mutex::default(),
            conditions: add(registry, "condition", "1 if this condition of readiness holds"),
            process,
            objects: add(registry, "objects", "Objects known"),
            watch_events: add(registry, "watch_events", "Events of the watches"),
            watch_failures: add(registry, "watch_failures", "Watches that failed"),
            api_connected: add(registry, "api_connected", "1 if all watches work"),
            api_contact_age: add(
                registry,
                "api_contact_age_seconds",
                "Time since the API server was last heard, by the watch that heard it least lately",
            ),
            syncs: add(registry, "syncs", "Attempts to make the kernel enforce the policies"),
            sync_seconds: seconds(registry, "sync_duration", "Time of a successful attempt"),
            event_to_kernel_seconds: seconds(
                registry,
                "event_to_kernel",
                "From an event's arrival to the kernel's commit",
            ),
            batches: add(registry, "batches", "Batches committed"),
            operations: add(registry, "operations", "Operations committed"),
            repairs: add(registry, "repairs", "Times others changed the table and it was restored"),
            replacements: add(registry, "replacements", "Times the table was built again"),
            table: add(registry, "table_objects", "Objects of the table"),
            elements: Mutex::default(),
            broken_policies: add(registry, "broken_policies", "Policies not enforced as written"),
            budget: add(registry, "budget", "What policies may take of the table"),
            budget_used: add(
                registry,
                "budget_used",
                "What they take; of namespaces, what the largest one takes",
            ),
            kept_addresses: add(
                registry,
                "kept_addresses",
                "Addresses that stay isolated although no object reports them",
            ),
            kept_policies: add(
                registry,
                "kept_policies",
                "Deleted policies of namespaces that end, kept for their pods",
            ),
            audited_policies: add(
                registry,
                "audited_policies",
                "Policies in audit: what they would deny is told, and nothing is dropped",
            ),
            audit_ends: add(
                registry,
                "audit_ends",
                "Policies and Namespaces in audit until a time (nftpol.dev/audit-until)",
            ),
            shared_addresses: add(
                registry,
                "shared_addresses",
                "Addresses of pods of this node that several pods report",
            ),
            bound_ports: add(registry, "bound_ports", "Interfaces that are bound to a pod"),
            unbound_pods: add(registry, "unbound_pods", "Pods with an address that is not bound"),
            binding_findings: add(
                registry,
                "binding_findings",
                "Interfaces that claim what is not theirs",
            ),
            features: add(registry, "kernel_feature", "1 if the kernel has this feature"),
            proofs: add(registry, "proofs", "Tables proved since the start (--verify)"),
            proof_seconds: add(registry, "proofs_seconds", "Time of all proofs"),
            connections: add(registry, "connections", "Work on live connections since the start"),
            sweep_seconds: add(registry, "connections_sweep_seconds", "Time of all sweeps"),
            lost_lines: add(
                registry,
                "lost_log_lines",
                "Lines of the log that nobody read in time",
            ),
            traffic: Traffic::new(registry),
        };
        metrics.start_at_zero();
        *metrics.registry.lock().unwrap_or_else(PoisonError::into_inner) = all;
        metrics
    }

    /// What the budgets are, and what is used of them.
    pub fn budgets(&self, budgets: &Budgets, usage: &Usage) {
        let all = [
            (&self.budget, "node", budgets.node),
            (&self.budget, "namespace", budgets.namespace),
            (&self.budget_used, "node", usage.node),
            (&self.budget_used, "namespace", usage.namespace),
        ];
        for (family, of, Amount { sets, rules, elements }) in all {
            for (what, amount) in [("sets", sets), ("rules", rules), ("elements", elements)] {
                let gauge = family.get_or_create(&[("of", of), ("what", what)]);
                gauge.set(i64::try_from(amount).unwrap_or(i64::MAX));
            }
        }
    }

    /// An attempt succeeded after this time.
    pub fn synced(&self, took: Duration, outcome: &Outcome, snapshot: &Snapshot) {
        self.syncs.get_or_create(&[("result", "ok")]).inc();
        self.sync_seconds.observe(took.as_secs_f64());
        self.committed(outcome.batches(), outcome.operations());
        let ruleset = &outcome.after;
        let mut counted = self.elements.lock().unwrap_or_else(PoisonError::into_inner);
        let elements = counted.of(&ruleset.sets);
        drop(counted);
        for (kind, count) in
            [("chains", ruleset.chains.len()), ("sets", ruleset.sets.len()), ("elements", elements)]
        {
            self.table.get_or_create(&[("kind", kind)]).set(number(count));
        }
        self.knows(snapshot);
    }

    /// These objects are known.
    pub fn knows(&self, snapshot: &Snapshot) {
        for (kind, count) in [
            (Kind::NetworkPolicy, snapshot.policies.len()),
            (Kind::Pod, snapshot.pods.len()),
            (Kind::Namespace, snapshot.namespaces.len()),
        ] {
            self.objects.get_or_create(&[("kind", kind.name())]).set(number(count));
        }
    }

    /// The same of a table beside those of a pod's primary network, whose size and objects
    /// are shown.
    pub fn synced_beside(&self, took: Duration, outcome: &Outcome) {
        self.syncs.get_or_create(&[("result", "ok")]).inc();
        self.sync_seconds.observe(took.as_secs_f64());
        self.committed(outcome.batches(), outcome.operations());
    }

    /// An attempt committed these, whether or not it succeeded.
    pub fn committed(&self, batches: usize, operations: usize) {
        self.batches.inc_by(batches as u64);
        self.operations.inc_by(operations as u64);
    }

    /// What was proved so far.
    pub fn proved(&self, proofs: &Proofs) {
        for (result, count) in [("equal", proofs.equal), ("failed", proofs.failed)] {
            set(&self.proofs.get_or_create(&[("result", result)]), count);
        }
        set_seconds(&self.proof_seconds, proofs.total.as_secs_f64());
    }

    /// Work on live connections so far.
    pub fn connections(&self, counters: &Counters) {
        for (what, count) in [
            ("sweeps", counters.sweeps),
            ("entries_seen", counters.entries),
            ("entries_deleted", counters.deleted),
            ("errors", counters.errors),
        ] {
            set(&self.connections.get_or_create(&[("what", what)]), count);
        }
        set_seconds(&self.sweep_seconds, counters.total.as_secs_f64());
    }

    /// Seconds since the API server was last heard.
    pub fn contact_age(&self) -> Option<f64> {
        self.is_contact_known().then(|| self.api_contact_age.get())
    }

    fn is_contact_known(&self) -> bool {
        // Counted from the start until something was heard.
        self.watch_events
            .get(&[("kind", Kind::Pod.name()), ("type", "listed")])
            .is_some_and(|listed| listed.get() > 0)
    }

    /// The page in the text format of Prometheus, version 0.0.4.
    ///
    /// # Errors
    /// As [`Self::text`].
    pub fn prometheus_text(&self, status: &Status) -> Result<String, fmt::Error> {
        Ok(format::prometheus(&self.text(status)?))
    }

    /// The page in the OpenMetrics format.
    ///
    /// # Errors
    /// A value cannot be written. No value here is known to fail.
    pub fn text(&self, status: &Status) -> Result<String, fmt::Error> {
        for condition in Condition::ALL {
            let holds = status.problem(condition).is_none();
            let gauge = self.conditions.get_or_create(&[("condition", condition.name())]);
            gauge.set(holds.into());
        }
        if let Some(usage) = process::usage() {
            self.process.resident_bytes.set(usage.resident_bytes);
            set_seconds(&self.process.cpu_seconds, usage.cpu_seconds);
        }
        set(&self.lost_lines, report::lost());
        let mut text = String::new();
        encode(&mut text, &self.registry.lock().unwrap_or_else(PoisonError::into_inner))?;
        Ok(text)
    }
}

impl CountedElements {
    /// How many elements these sets have.
    fn of(&mut self, sets: &OrdMap<Name, Set>) -> usize {
        for change in self.sets.diff(sets) {
            let (before, after) = match change {
                DiffItem::Add(_, set) => (0, set.elements.len()),
                DiffItem::Remove(_, set) => (set.elements.len(), 0),
                DiffItem::Update { old, new } => (old.1.elements.len(), new.1.elements.len()),
            };
            self.count = self.count + after - before;
        }
        self.sets = sets.clone();
        self.count
    }
}

/// A part with a thread of its own keeps totals. They only grow.
fn set(counter: &Counter, total: u64) {
    counter.inner().store(total, Ordering::Relaxed);
}

fn set_seconds(counter: &Total, seconds: f64) {
    counter.inner().store(seconds.to_bits(), Ordering::Relaxed);
}

fn number(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn add<M>(registry: &mut Registry, name: &str, help: &str) -> M
where
    M: prometheus_client::registry::Metric + Clone + Default,
{
    let metric = M::default();
    registry.register(name, help, metric.clone());
    metric
}

/// From 0.1 ms to 26 s.
fn seconds(registry: &mut Registry, name: &str, help: &str) -> Histogram {
    let histogram = Histogram::new(exponential_buckets(0.0001, 2.0, 19));
    registry.register_with_unit(name, help, Unit::Seconds, histogram.clone());
    histogram
}

#[cfg(test)]
mod tests {
    use ruleset::{Element, SetType, Transport};

    use super::*;

    #[test]
    fn elements_are_counted_from_one_table_to_the_next() {
        let mut counted = CountedElements::default();
        let name = |text: &str| Name::new(text).expect("a name");
        let tcp = |port| Element::ProtocolPort(Transport::Tcp, port);
        let ports = |count: u16| Set::new(SetType::ProtocolPort, None).with((0..count).map(tcp));
        let mut sets: OrdMap<Name, Set> = OrdMap::new();
        sets.insert(name("one"), ports(3));
        sets.insert(name("other"), ports(4));
        assert_eq!(counted.of(&sets), 7);
        sets.insert(name("one"), ports(20));
        assert_eq!(counted.of(&sets), 24);
        sets.remove(&name("other"));
        assert_eq!((counted.of(&sets), counted.of(&sets), counted.of(&OrdMap::new())), (20, 20, 0));
    }
}
