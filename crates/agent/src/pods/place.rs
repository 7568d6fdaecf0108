//! One namespace of one pod.
//!
//! In: snapshots. Out: the table in the namespace, restored when others change it. Never:
//! another pod's policies; a change when the pod's object is gone or another one's: its
//! processes may live on.

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use compiler::{Excerpts, Options, Place, scaffold};
use nft::links::{LinksError, inside_interfaces};
use nft::{Kernel, Namespace, OpenError, ReadError, SendError};
use policy::{Inside, InterfaceIndex, NodeNetwork, ObjectKey, Pod, PodUid, Snapshot, subject_of};

use ruleset::TableId;

use super::drops::{Followed, PodDrops};
use crate::conntrack_cleanup::ConntrackCleanup;
use crate::enforcer::Repairs;
use crate::metrics::Metrics;
use crate::pipeline::{Check, Pipeline};
use crate::report;

/// How long a namespace in which something failed is left alone.
const RETRY: Duration = Duration::from_secs(1);

/// A namespace in which a pod's policies are enforced.
#[derive(Debug)]
pub(super) struct PodPlace {
    pub pod: ObjectKey,
    /// The pod, and the network if it is not the primary one.
    whose: String,
    table: TableId,
    is_primary: bool,
    uid: PodUid,
    namespace: Namespace,
    pipeline: Pipeline<Kernel>,
    flow_cleanup: Option<ConntrackCleanup>,
    inside: Inside,
    /// The last one in which the pod was.
    snapshot: Snapshot,
    /// Whether it has to be sent.
    is_stale: bool,
    was_enforced: bool,
    retry: Option<Instant>,
    repairs: Repairs,
    /// While what it denies is read.
    drops: Option<Followed>,
    /// When something else last changed the table.
    pub touched: Option<Instant>,
    /// Why it is not enforced.
    pub problem: Option<String>,
}

/// Whose interfaces a place judges.
#[derive(Clone, Copy, Debug)]
enum Of<'a> {
    Primary,
    Network(&'a ObjectKey),
    Unknown,
}

/// How places are made.
#[derive(Clone, Copy, Debug)]
pub(super) struct How<'a> {
    /// What to compile for.
    pub options: &'a Options,
    /// Whether each table must be proved before it is sent.
    pub verify: bool,
    /// Whether the tables belong to this process, where the kernel can do that. Then not
    /// even a pod with CAP_NET_ADMIN changes them while it runs.
    pub owns: bool,
}

/// Why there is no table in a namespace.
#[derive(Debug, thiserror::Error)]
pub(super) enum EnterError {
    /// The thread cannot enter.
    #[error("enter its network namespace (CAP_SYS_ADMIN is needed): {0}")]
    Enter(#[from] io::Error),
    /// No socket there.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// Its tables cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Its table cannot be removed.
    #[error(transparent)]
    Send(#[from] SendError),
    /// It is a node itself.
    #[error(
        "its network namespace has the table of a node (another nftpol works there, as in a cluster \
         within a pod): that one is left alone, and this pod's policies are not enforced"
    )]
    NodesTable,
    /// Its interfaces cannot be read.
    #[error(transparent)]
    Links(#[from] LinksError),
}

/// Whether a network namespace has the table of a node, which that of a pod would replace.
///
/// # Errors
/// See [`ReadError`].
pub fn has_nodes_table(kernel: &mut Kernel) -> Result<bool, ReadError> {
    let table = TableId::inet(scaffold::table());
    let found = kernel.fingerprint(&table, &scaffold::base_chain())?;
    Ok(found.is_some())
}

impl PodPlace {
    /// Opens the kernel of a namespace. Nothing is sent yet.
    pub fn open(
        pod: &Pod,
        namespace: Namespace,
        apart: &BTreeSet<InterfaceIndex>,
        node: &BTreeSet<IpAddr>,
        how: How<'_>,
    ) -> Result<Self, EnterError> {
        let place = Place::inside(pod.key.clone());
        Self::at(pod, Of::Primary, place, (namespace, apart, node), how)
    }

    /// The same for a further network. Nothing of the node comes by it.
    pub fn on_network(
        pod: &Pod,
        network: &ObjectKey,
        place: Place,
        namespace: Namespace,
        apart: &BTreeSet<InterfaceIndex>,
        how: How<'_>,
    ) -> Result<Self, EnterError> {
        Self::at(pod, Of::Network(network), place, (namespace, apart, &BTreeSet::new()), how)
    }

    /// The same for interfaces whose network is not known.
    pub fn cut_off(
        pod: &Pod,
        namespace: Namespace,
        apart: &BTreeSet<InterfaceIndex>,
        how: How<'_>,
    ) -> Result<Self, EnterError> {
        let place = Place::on_unknown(pod.key.clone());
        Self::at(pod, Of::Unknown, place, (namespace, apart, &BTreeSet::new()), how)
    }

    fn at(
        pod: &Pod,
        of: Of<'_>,
        place: Place,
        (namespace, apart, node): (Namespace, &BTreeSet<InterfaceIndex>, &BTreeSet<IpAddr>),
        How { options, verify, owns }: How<'_>,
    ) -> Result<Self, EnterError> {
        let table = TableId::inet(place.table.clone());
        let mut kernel = namespace.inside(Kernel::open)??;
        if has_nodes_table(&mut kernel)? {
            return Err(EnterError::NodesTable);
        }
        let owned = match (owns, of) {
            (false, _) => Ok(false),
            (true, Of::Primary) => kernel.own_tables(),
            (true, Of::Network(_) | Of::Unknown) => kernel.own_table(&table),
        };
        if let Err(error) = owned {
            tracing::warn!(pod = %pod.key, "its table does not belong to this process: {error}");
        }
        // Its thread is born in the namespace, and stays there.
        let flow_cleanup = namespace.inside(ConntrackCleanup::start)?;
        let pipeline = Pipeline::at(place, kernel, options.clone());
        let pipeline = if verify { pipeline.proving(verify::verify) } else { pipeline };
        let mut inside = Inside::of(pod.key.clone());
        inside.apart = apart.iter().copied().collect();
        inside.node = node.iter().copied().collect();
        Ok(Self {
            pod: pod.key.clone(),
            whose: match of {
                Of::Primary => pod.key.to_string(),
                Of::Network(network) => format!("{} on {network}", pod.key),
                Of::Unknown => format!("{} on unknown networks", pod.key),
            },
            table,
            is_primary: matches!(of, Of::Primary),
            uid: pod.attachment.uid,
            namespace,
            pipeline,
            flow_cleanup: flow_cleanup
                .inspect_err(|error| {
                    let pod = &pod.key;
                    tracing::warn!(%pod, "open connections that become denied stay: {error}");
                })
                .ok(),
            inside,
            snapshot: Snapshot::default(),
            is_stale: true,
            was_enforced: false,
            retry: None,
            repairs: Repairs::default(),
            drops: None,
            touched: None,
            problem: None,
        })
    }

    /// Lets what it denies be read.
    pub fn read_drops(&mut self, pod: &Pod, drops: &PodDrops) {
        match drops.follow(pod, &self.namespace) {
            Ok(followed) => self.drops = Some(followed),
            Err(error) => {
                tracing::warn!(pod = %self.pod, "denied packets are not read: {error}");
            }
        }
    }

    /// The pod's uid.
    pub fn uid(&self) -> PodUid {
        self.uid
    }

    /// Its interfaces now.
    pub fn interfaces(&self) -> Result<Vec<nft::links::InsideInterface>, EnterError> {
        Ok(self.namespace.inside(inside_interfaces)??)
    }

    /// The interfaces of these numbers are apart. What was once judged stays so.
    pub fn set_apart(&mut self, apart: &BTreeSet<InterfaceIndex>, seen: &BTreeSet<InterfaceIndex>) {
        let kept = self.inside.apart.iter().filter(|one| seen.contains(one) || apart.contains(one));
        let apart = kept.copied().chain(apart.iter().copied()).collect();
        if self.inside.apart != apart {
            self.inside.apart = apart;
            self.is_stale = true;
        }
    }

    /// The interfaces of these numbers are apart, and no others.
    pub fn is_apart(&mut self, apart: &BTreeSet<InterfaceIndex>) {
        let apart = apart.iter().copied().collect();
        if self.inside.apart != apart {
            self.inside.apart = apart;
            self.is_stale = true;
        }
    }

    /// Its table.
    pub fn table(&self) -> &TableId {
        &self.table
    }

    /// Whether the kernel enforces what is known.
    pub fn is_settled(&self) -> bool {
        self.was_enforced && !self.is_stale && self.problem.is_none()
    }

    /// Whether there is something to send now.
    pub fn is_due(&self, now: Instant) -> bool {
        self.is_stale && self.retry.is_none_or(|when| now >= when)
    }

    /// The pod, and the network if it is not the primary one.
    pub fn whose(&self) -> &str {
        &self.whose
    }

    /// Removes its table: it judges nothing.
    ///
    /// # Errors
    /// The kernel refuses. Then it is still a place.
    pub fn remove(&mut self) -> Result<(), SendError> {
        self.pipeline.sink().delete_table(&self.table)?;
        tracing::info!(
            pod = self.whose,
            "removed table {}: nothing isolates the pod there",
            self.table
        );
        Ok(())
    }

    /// Takes in a snapshot. One without the pod changes nothing.
    pub fn follow(&mut self, snapshot: &Snapshot, node: &str) {
        let subject = subject_of(snapshot, Some(node), &self.pod);
        if subject.is_some_and(|subject| subject.pod.attachment.uid == self.uid) {
            self.is_stale |= !self.snapshot.is_same(snapshot);
            self.snapshot = snapshot.clone();
        }
    }

    /// As [`Self::follow`], with the part of `whole` from which the same table is compiled.
    pub fn follow_excerpt(&mut self, excerpts: &Excerpts, whole: &Snapshot, node: &str) {
        let Some(excerpt) = excerpts.get(&self.pod) else { return };
        self.follow(excerpt, node);
        if self.snapshot.is_same(excerpt) {
            self.pipeline.prove_by(whole);
        }
    }

    /// The addresses of the node's own interfaces.
    pub fn node(&self) -> BTreeSet<IpAddr> {
        self.inside.node.iter().copied().collect()
    }

    /// Makes the kernel enforce what is known, if anything changed on either side.
    pub fn step(&mut self, metrics: &Metrics) {
        let now = Instant::now();
        if self.retry.is_some_and(|when| now < when) {
            return;
        }
        let check = match self.is_stale {
            true => Check::Nothing,
            // What cannot be asked for shows in the sync.
            false => self.pipeline.check().unwrap_or(Check::Restore),
        };
        match check {
            Check::Nothing if !self.is_stale => return,
            Check::Nothing | Check::RetryRefused => {}
            Check::Restore | Check::ReadWhenAffordable if now < self.repairs.may_repair_at(now) => {
                return;
            }
            Check::Restore => {}
            Check::ReadWhenAffordable => self.pipeline.distrust(),
        }
        self.sync(now, metrics);
    }

    fn sync(&mut self, start: Instant, metrics: &Metrics) {
        let was_stale = std::mem::take(&mut self.is_stale);
        let inside = Some(self.inside.clone());
        self.pipeline.bind(NodeNetwork { inside, ..NodeNetwork::default() });
        let result = match self.pipeline.sync(&self.snapshot) {
            Err(failure) if failure.needs_rebuild() => {
                metrics.replacements.inc();
                tracing::warn!(pod = self.whose, "{failure}; building the table again");
                self.pipeline.replace(&self.snapshot)
            }
            result => result,
        };
        metrics.proved(&self.pipeline.proofs());
        match result {
            Ok(outcome) => {
                let took = start.elapsed();
                let is_first = !std::mem::replace(&mut self.was_enforced, true);
                let was_touched = outcome.restored().next().is_some() || outcome.was_touched();
                let was_changed = was_touched || (!was_stale && outcome.operations() > 0);
                match self.is_primary {
                    true => metrics.synced(took, &outcome, &self.snapshot),
                    false => metrics.synced_beside(took, &outcome),
                }
                if was_changed && !is_first {
                    self.repairs.repaired(Instant::now(), took);
                    metrics.repairs.inc();
                    self.touched = Some(Instant::now());
                    self.say_restored(took, outcome.operations());
                }
                if let Some(drops) = &self.drops {
                    let (signatures, set_aside) = (self.pipeline.signatures(), &outcome.set_aside);
                    let policies = &self.snapshot.policies;
                    drops.view.enforces(policies, signatures, set_aside, self.pipeline.proofs());
                }
                if let Some(cleanup) = &self.flow_cleanup {
                    let before = outcome.before.clone().filter(|_| !is_first && !was_changed);
                    cleanup.changed(before, Arc::clone(&outcome.after));
                }
                if is_first {
                    tracing::info!(pod = self.whose, "enforcing in the pod's own namespace");
                    outcome.tables.iter().for_each(|one| report::foreign(&one.id, &one.foreign));
                }
                (self.retry, self.problem) = (None, None);
            }
            Err(failure) => {
                metrics.syncs.get_or_create(&[("result", "failed")]).inc();
                self.is_stale = true;
                self.retry = Some(Instant::now() + RETRY);
                self.problem = Some(failure.to_string());
            }
        }
    }

    fn say_restored(&self, took: Duration, operations: usize) {
        tracing::warn!(
            pod = self.whose,
            "something in the pod's own network namespace changed table {} there, which takes \
             CAP_NET_ADMIN; restored in {} ms ({operations} operations)",
            self.table,
            took.as_millis()
        );
    }
}
