//! Moves the kernel from state to state by the steps that `nftpol` takes.
//!
//! It has no steps of its own: it uses the product's index, compiler, difference
//! and kernel.

use std::cell::{Cell, RefCell};
use std::fs;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use agent::Sink;
use agent::pipeline::{Outcome, Pipeline};
use anyhow::{Context, Result, bail, ensure};
use compiler::Options;
use nft::{Dump, Generation, Kernel, ReadError, SendError, TableFingerprint};
use policy::spec::{self, Packet, ProtocolPort};
use policy::{Protocol, Severity, Snapshot};
use ruleset::{Batch, Name, TableId};
use watcher::files::{self, Source, Validation};
use watcher::{Object, Store};

use super::gun::Fire;
use super::kinds::How;
use super::{Expect, Kind, Range};

/// A node under one kind of update.
#[derive(Debug)]
pub struct Driver<'a> {
    range: &'a Range,
    kernel: Socket,
    how: How,
    states: Vec<State>,
    /// The state that is enforced: an index into `states`.
    now: usize,
    store: Store,
    pipeline: Pipeline<Socket>,
}

#[derive(Debug)]
struct State {
    objects: Vec<Object>,
    file: PathBuf,
}

impl<'a> Driver<'a> {
    /// Enforces the first state. Writes the states' files into `folder`.
    ///
    /// # Errors
    /// When the expectation of a probe is wrong, and every error of the pipeline.
    pub fn start(range: &'a Range, kind: &Kind, folder: &Path, fire: &Rc<Fire>) -> Result<Self> {
        let mut states = Vec::new();
        for (number, text) in kind.states.iter().enumerate() {
            let file = folder.join(format!("{number}.yaml"));
            fs::write(&file, text).context("write manifests")?;
            states.push(State { objects: read(&file)?, file });
        }
        let snapshots: Vec<Snapshot> =
            states.iter().map(|state| store(&state.objects).snapshot().clone()).collect();
        check(range, kind, &snapshots)?;
        let kernel = Socket::open(range, fire)?;
        let pipeline = Pipeline::new(kernel.clone(), Options::default());
        let first = store(&states[0].objects);
        let mut driver =
            Self { range, kernel, how: kind.how, states, now: 0, store: first, pipeline };
        let outcome = driver.pipeline.sync(driver.store.snapshot())?;
        faultless(&outcome)?;
        Ok(driver)
    }

    /// Moves to the next state.
    ///
    /// # Errors
    /// Every error of the pipeline.
    pub fn step(&mut self) -> Result<()> {
        let before = self.now;
        self.now = (before + 1) % self.states.len();
        match self.how {
            How::Events => self.tell(before),
            How::Reapply => {
                self.forget();
                self.store = store(&read(&self.states[self.now].file)?);
            }
            How::Restart => {
                self.forget();
                self.settled()?;
                self.tell(before);
            }
        }
        let outcome = self.pipeline.sync(self.store.snapshot())?;
        faultless(&outcome)
    }

    /// Checks that the kernel has what the present state compiles to. Nothing may
    /// be left to send.
    ///
    /// # Errors
    /// When something is left to send.
    pub fn settled(&mut self) -> Result<()> {
        let outcome = self.pipeline.sync(self.store.snapshot())?;
        ensure!(outcome.batches() == 0, "{} operations were left to send", outcome.operations());
        Ok(())
    }

    /// Compares with a table that was just read. See [`Driver::settled`].
    ///
    /// # Errors
    /// As [`Driver::settled`].
    pub fn finish(mut self) -> Result<()> {
        self.kernel = Socket::open(self.range, &self.kernel.fire)?;
        self.forget();
        self.settled()
    }

    /// The table as it is compiled now, as text.
    pub fn text(&self) -> String {
        ruleset::text::ruleset(&self.pipeline.compile(self.store.snapshot()).ruleset)
    }

    /// Starts again with an empty memory, so the table must be read.
    fn forget(&mut self) {
        self.pipeline = Pipeline::new(self.kernel.clone(), Options::default());
    }

    /// Reports changes to the index as a watch would: first what is new or
    /// modified, then what is deleted.
    fn tell(&mut self, before: usize) {
        let (before, after) = (&self.states[before].objects, &self.states[self.now].objects);
        for object in after.iter().filter(|object| !before.contains(object)) {
            self.store.apply(object.clone());
        }
        let has = |object: &Object| {
            let id = (object.kind(), object.key());
            after.iter().any(|other| (other.kind(), other.key()) == id)
        };
        for object in before.iter().filter(|object| !has(object)) {
            self.store.delete(object.kind(), &object.key());
        }
    }
}

/// A socket that outlives the pipelines that use it in turn.
///
/// Closing a socket waits until no packet uses what was deleted (`nft_rcv_nl_event`
/// in net/netfilter/nf_tables_api.c, Linux 6.18). Under fire that takes tens of
/// milliseconds, and there would be no updates meanwhile.
///
/// Before it sends a batch, it waits for all packets that were on their way when
/// the previous batch was committed. This does not make the test easier for
/// `nftpol`. The time to the next commit is many times a packet's time in the hook,
/// and the order of batches is made for packets that meet at most one commit. But
/// the host of a virtual machine can stop a processor for milliseconds in the
/// middle of a packet. That packet then meets many commits, and this test does not
/// cover that.
#[derive(Clone, Debug)]
struct Socket {
    kernel: Rc<RefCell<Kernel>>,
    fire: Rc<Fire>,
    /// When the previous batch was committed. See [`Fire::moment`].
    committed: Rc<Cell<u64>>,
}

impl Socket {
    fn open(range: &Range, fire: &Rc<Fire>) -> Result<Self> {
        let kernel = range.node().run(Kernel::open)?.context("open nfnetlink")?;
        let (kernel, fire) = (Rc::new(RefCell::new(kernel)), Rc::clone(fire));
        let committed = Rc::new(Cell::new(fire.moment()));
        Ok(Self { kernel, fire, committed })
    }
}

impl Sink for Socket {
    fn generation(&mut self) -> Result<Generation, ReadError> {
        self.kernel.borrow_mut().generation()
    }

    fn dump(&mut self, table: &TableId) -> Result<Option<Dump>, ReadError> {
        self.kernel.borrow_mut().dump(table)
    }

    fn send(
        &mut self,
        table: &TableId,
        batch: &Batch,
        expected: Option<Generation>,
    ) -> Result<(), SendError> {
        self.fire.landed(self.committed.get());
        let result = self.kernel.borrow_mut().send(table, batch, expected);
        self.committed.set(self.fire.moment());
        result
    }

    fn fingerprint(
        &mut self,
        table: &TableId,
        chain: &Name,
    ) -> Result<Option<TableFingerprint>, ReadError> {
        self.kernel.borrow_mut().fingerprint(table, chain)
    }

    fn tables(&mut self) -> Result<Vec<TableId>, ReadError> {
        self.kernel.borrow_mut().tables()
    }

    fn delete_table(&mut self, table: &TableId) -> Result<bool, SendError> {
        self.kernel.borrow_mut().delete_table(table)
    }
}

fn read(file: &Path) -> Result<Vec<Object>> {
    let sources = [Source::Path(file.to_owned())];
    let loaded = files::read(&sources, Validation::Strict).context("read manifests")?;
    ensure!(!loaded.has_errors(), "manifests of the test: {:?}", loaded.findings);
    Ok(loaded.objects)
}

fn store(objects: &[Object]) -> Store {
    objects.iter().cloned().collect()
}

/// Checks every probe against the specification. A probe that must pass is allowed
/// in every state. A probe that must not is denied in every state. All others
/// differ between states.
fn check(range: &Range, kind: &Kind, states: &[Snapshot]) -> Result<()> {
    for probe in &kind.probes {
        let packet = Packet {
            source: range.source(probe.source).into(),
            destination: probe.destination.into(),
            transport: ProtocolPort::Port(Protocol::Udp, probe.port),
        };
        let passes = states.iter().map(|state| spec::decide(state, &packet).passes());
        let passes: Vec<bool> = passes.collect();
        let expect = match (passes.contains(&true), passes.contains(&false)) {
            (true, false) => Expect::Pass,
            (false, true) => Expect::Drop,
            _ => Expect::Either,
        };
        ensure!(expect == probe.expect, "{}: {probe:?}, passes by state: {passes:?}", kind.name);
    }
    Ok(())
}

fn faultless(outcome: &Outcome) -> Result<()> {
    if let Some(error) = outcome.diagnostics.iter().find(|d| d.severity == Severity::Error) {
        bail!("{error:?}");
    }
    let foreign: Vec<_> = outcome.tables.iter().flat_map(|table| &table.foreign).collect();
    ensure!(foreign.is_empty(), "foreign objects: {foreign:?}");
    Ok(())
}
