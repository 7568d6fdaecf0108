//! A kernel in memory, and a cluster for it.
//!
//! It takes batches, and changes by others between them. You get the table that the
//! batches make.

use std::collections::BTreeMap;
use std::io;
use std::sync::LazyLock;

use agent::Sink;
use nft::{Dump, Errno, Generation, ReadError, Refusal, SendError, TableFingerprint};
use policy::Snapshot;
use ruleset::simulator::{self, Outcome, simulate};
use ruleset::{ApplyError, Batch, Name, Op, Ruleset, TableFamily, TableId};
use watcher::files::{self, Validation};
use watcher::{Object, Store};

/// A kernel in memory.
pub struct Model {
    pub tables: BTreeMap<TableId, Ruleset>,
    pub generation: u32,
    /// Refuses operations whose text contains this.
    pub refuses: Option<&'static str>,
    /// The error of the refusal.
    pub errno: Errno,
    /// Other operations that it refuses, and why.
    pub also_refuses: Option<(&'static str, Errno)>,
    /// How many elements it has room for, in all tables.
    pub room: Option<usize>,
    /// What it says when there is no room left.
    pub no_room: fn() -> SendError,
    /// Operations on our table that it refuses until the table is deleted, as
    /// while a chain of others uses one of ours.
    pub in_use: Option<&'static str>,
    /// How many commits others still make before ours.
    pub others: u32,
    /// Whether it names only the first operation that it refuses.
    pub one_at_a_time: bool,
    /// Before which of our commits others delete the table.
    pub flushed_before: Option<usize>,
    /// How many commits others make after our first.
    pub after: u32,
    /// How often somebody changed the fingerprint of our table, and nothing else.
    pub touches: usize,
    pub sent: usize,
    pub dumps: usize,
    /// The table of each batch, refused ones included.
    pub order: Vec<TableFamily>,
}

impl Default for Model {
    fn default() -> Self {
        Self {
            tables: BTreeMap::new(),
            generation: 0,
            refuses: None,
            errno: Errno::EINVAL,
            also_refuses: None,
            room: None,
            no_room: || SendError::RefusedWhole(Errno::ENOMEM),
            in_use: None,
            others: 0,
            one_at_a_time: false,
            flushed_before: None,
            after: 0,
            touches: 0,
            sent: 0,
            dumps: 0,
            order: Vec::new(),
        }
    }
}

fn ours() -> TableId {
    TableId::inet(compiler::scaffold::table())
}

impl Model {
    /// Our table.
    pub fn table(&self) -> Option<&Ruleset> {
        self.tables.get(&ours())
    }

    /// Our table of the bridge family.
    pub fn bridge(&self) -> Option<&Ruleset> {
        self.tables.get(&TableId { family: TableFamily::Bridge, ..ours() })
    }

    fn elements_beside(&self, table: &TableId) -> usize {
        self.tables.iter().filter(|(name, _)| *name != table).map(|(_, one)| elements(one)).sum()
    }

    /// Somebody else commits: all tables go.
    pub fn flush(&mut self) {
        self.tables.clear();
        self.generation += 1;
    }
}

fn elements(table: &Ruleset) -> usize {
    table.sets.values().map(|set| set.elements.len()).sum()
}

impl Sink for Model {
    fn generation(&mut self) -> Result<Generation, ReadError> {
        Ok(Generation(self.generation))
    }

    fn dump(&mut self, table: &TableId) -> Result<Option<Dump>, ReadError> {
        let generation = Generation(self.generation);
        self.dumps += 1;
        Ok(self.tables.get(table).cloned().map(|ruleset| Dump {
            ruleset,
            foreign: vec![],
            generation,
        }))
    }

    fn send(
        &mut self,
        table: &TableId,
        batch: &Batch,
        expected: Option<Generation>,
    ) -> Result<(), SendError> {
        self.order.push(table.family);
        if self.others > 0 {
            self.others -= 1;
            self.generation += 1;
        }
        if self.flushed_before == Some(self.sent) {
            self.flushed_before = None;
            self.tables.clear();
            self.generation += 1;
        }
        if expected.is_some_and(|expected| expected.0 != self.generation) {
            return Err(SendError::GenerationMoved);
        }
        let is = |part: Option<&str>, op: &Op| {
            part.is_some_and(|part| ruleset::text::op(table, op).contains(part))
        };
        let in_use = self.in_use.filter(|_| *table == ours());
        let errno = |op: &Op| match op {
            op if is(in_use, op) => Some(Errno::EBUSY),
            op if is(self.refuses, op) => Some(self.errno),
            op => self.also_refuses.filter(|also| is(Some(also.0), op)).map(|also| also.1),
        };
        let mut refusals: Vec<Refusal> = batch
            .ops
            .iter()
            .enumerate()
            .filter_map(|(index, op)| Some((index, op, errno(op)?)))
            .map(|(index, op, errno)| Refusal {
                op: index,
                action: "add a rule to chain",
                object: op.object().cloned(),
                errno,
                message: None,
            })
            .collect();
        if self.one_at_a_time {
            refusals.truncate(1);
        }
        if !refusals.is_empty() {
            return Err(SendError::Refused(refusals));
        }
        let mut ruleset =
            self.tables.get(table).cloned().unwrap_or_else(|| Ruleset::of(table.clone()));
        if let Err(error) = ruleset.apply(batch) {
            let name = match error {
                ApplyError::Missing(name) | ApplyError::Exists(name) | ApplyError::Busy(name) => {
                    name
                }
                ApplyError::Store(error) => return Err(SendError::Io(io::Error::other(error))),
            };
            let refusal = Refusal {
                op: batch.ops.iter().position(|op| op.object() == Some(&name)).unwrap_or(0),
                action: "use",
                object: Some(name),
                errno: Errno::ENOENT,
                message: None,
            };
            return Err(SendError::Refused(vec![refusal]));
        }
        if self.room.is_some_and(|room| self.elements_beside(table) + elements(&ruleset) > room) {
            return Err((self.no_room)());
        }
        self.tables.insert(table.clone(), ruleset);
        self.generation += 1 + std::mem::take(&mut self.after);
        self.sent += 1;
        Ok(())
    }

    fn fingerprint(
        &mut self,
        table: &TableId,
        chain: &Name,
    ) -> Result<Option<TableFingerprint>, ReadError> {
        let touches = self.touches;
        Ok(self.tables.get(table).and_then(|table| {
            let parts = table.sets.len() + table.maps.len() + table.chains.len() + touches;
            let rules = table.chains.get(chain)?.rules.len();
            Some(TableFingerprint {
                table: parts.to_be_bytes().into(),
                chain: rules.to_be_bytes().into(),
            })
        }))
    }

    fn tables(&mut self) -> Result<Vec<TableId>, ReadError> {
        Ok(self.tables.keys().cloned().collect())
    }

    fn delete_table(&mut self, table: &TableId) -> Result<bool, SendError> {
        self.in_use = self.in_use.filter(|_| *table != ours());
        let is_there = self.tables.remove(table).is_some();
        // It is switched off, and then deleted.
        self.generation += if is_there { 2 } else { 0 };
        Ok(is_there)
    }
}

const CLUSTER: &str = "
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: dev, labels: {app: web}}
spec: {nodeName: node, containers: [{name: c, image: i}]}
status: {phase: Running, podIP: 10.0.0.1}
---
apiVersion: v1
kind: Pod
metadata: {name: db, namespace: dev, labels: {app: db}}
spec: {nodeName: node, containers: [{name: c, image: i}]}
status: {phase: Running, podIP: 10.0.0.2}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: web, namespace: dev}
spec:
  podSelector: {matchLabels: {app: web}}
  ingress: [{ports: [{port: 80}]}, {ports: [{port: 81}]}]
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: db, namespace: dev}
spec:
  podSelector: {matchLabels: {app: db}}
  ingress: [{ports: [{port: 80}]}]
";

/// The objects of [`snapshot`].
pub fn objects() -> Vec<Object> {
    static OBJECTS: LazyLock<Vec<Object>> = LazyLock::new(|| {
        let loaded = files::parse("cluster.yaml", CLUSTER, Validation::Strict);
        assert!(!loaded.has_errors(), "{:#?}", loaded.findings);
        loaded.objects
    });
    OBJECTS.clone()
}

/// Two isolated pods, with one policy each.
pub fn snapshot() -> Snapshot {
    let store: Store = objects().into_iter().collect();
    store.snapshot().clone()
}

/// Whether the destination accepts this port over TCP.
pub fn passes(table: &Ruleset, destination: &str, port: u16) -> bool {
    let packet = simulator::Packet {
        destination_port: Some(port),
        ..simulator::Packet::new(
            "203.0.113.1".parse().unwrap(),
            destination.parse().unwrap(),
            policy::Protocol::Tcp.number(),
        )
    };
    simulate(table, &packet).unwrap().outcome == Outcome::Accept
}
