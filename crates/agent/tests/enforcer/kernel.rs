//! A clock that moves only on command, and a kernel that moves it.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use agent::Sink;
use agent::clock::Clock;
use nft::{Dump, Generation, ReadError, SendError, TableFingerprint};
use ruleset::{Batch, Name, TableId};

use super::model::Model;

/// A clock that moves only on command.
#[derive(Debug)]
pub struct ManualClock {
    start: Instant,
    passed: Mutex<Duration>,
}

impl Default for ManualClock {
    fn default() -> Self {
        Self { start: Instant::now(), passed: Mutex::default() }
    }
}

impl ManualClock {
    /// Milliseconds since the start.
    pub fn ms(&self) -> u64 {
        self.passed().as_millis() as u64
    }

    /// Time since the start.
    pub fn passed(&self) -> Duration {
        *self.passed.lock().unwrap()
    }

    /// Moves forward to this time, never back.
    pub fn move_to(&self, passed: Duration) {
        let mut now = self.passed.lock().unwrap();
        *now = passed.max(*now);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Instant {
        self.start + self.passed()
    }

    fn sleep(&self, time: Duration) {
        *self.passed.lock().unwrap() += time;
    }
}

/// What the loop did to the kernel, and at which millisecond.
#[derive(Debug, Default)]
pub struct Trace {
    pub sends: Vec<u64>,
    pub dumps: Vec<u64>,
}

/// A kernel that both the loop and the test can reach.
#[derive(Clone)]
pub struct Kernel {
    pub model: Rc<RefCell<Model>>,
    pub trace: Rc<RefCell<Trace>>,
    pub send_takes: Rc<Cell<Duration>>,
    pub dump_takes: Rc<Cell<Duration>>,
    /// Whether others commit too fast for a table to be read.
    pub keeps_changing: Rc<Cell<bool>>,
    clock: Arc<ManualClock>,
}

impl Kernel {
    /// A kernel that works without taking time.
    pub fn new(model: Model, clock: Arc<ManualClock>) -> Self {
        Self {
            model: Rc::new(RefCell::new(model)),
            trace: Rc::default(),
            send_takes: Rc::default(),
            dump_takes: Rc::default(),
            keeps_changing: Rc::default(),
            clock,
        }
    }
}

impl Sink for Kernel {
    fn generation(&mut self) -> Result<Generation, ReadError> {
        self.model.borrow_mut().generation()
    }

    fn dump(&mut self, table: &TableId) -> Result<Option<Dump>, ReadError> {
        self.trace.borrow_mut().dumps.push(self.clock.ms());
        self.clock.sleep(self.dump_takes.get());
        if self.keeps_changing.get() {
            return Err(ReadError::KeepsChanging(10));
        }
        self.model.borrow_mut().dump(table)
    }

    fn send(
        &mut self,
        table: &TableId,
        batch: &Batch,
        expected: Option<Generation>,
    ) -> Result<(), SendError> {
        self.trace.borrow_mut().sends.push(self.clock.ms());
        self.clock.sleep(self.send_takes.get());
        self.model.borrow_mut().send(table, batch, expected)
    }

    fn fingerprint(
        &mut self,
        table: &TableId,
        chain: &Name,
    ) -> Result<Option<TableFingerprint>, ReadError> {
        self.model.borrow_mut().fingerprint(table, chain)
    }

    fn tables(&mut self) -> Result<Vec<TableId>, ReadError> {
        self.model.borrow_mut().tables()
    }

    fn delete_table(&mut self, table: &TableId) -> Result<bool, SendError> {
        self.model.borrow_mut().delete_table(table)
    }
}
