//! A kernel that tells how much CPU time each commit took, and when an address became isolated.
//!
//! In: batches. Out: the same, sent, and a record of each. Never: another batch.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use agent::Sink;
use nft::{Dump, Generation, Kernel, ReadError, SendError, TableFingerprint};
use nix::time::{ClockId, clock_gettime};
use ruleset::{Batch, Name, Op, TableId};

/// What was sent.
#[derive(Debug, Default)]
pub struct Record {
    pub commits: usize,
    /// CPU time, encoding included.
    pub together: Duration,
    pub longest: Duration,
    pub operations_of_longest: usize,
    /// When each address became isolated.
    pub isolated: BTreeMap<IpAddr, Instant>,
}

/// The kernel.
pub struct Watched {
    pub kernel: Kernel,
    pub record: Rc<RefCell<Record>>,
}

impl Record {
    fn add(&mut self, batch: &Batch, took: Duration) {
        self.commits += 1;
        self.together += took;
        if took > self.longest {
            self.longest = took;
            self.operations_of_longest = batch.ops.len();
        }
        for op in &batch.ops {
            let Op::AddElements(set, _, elements) = op else { continue };
            if set.as_str().starts_with("isolated.") {
                let addresses = elements.iter().flat_map(ruleset::Element::addresses);
                self.isolated.extend(addresses.map(|address| (address, Instant::now())));
            }
        }
    }
}

/// How long this thread has been on a processor, the kernel's work for it included. Others
/// use this machine, too, and what they take does not count.
pub fn on_processor() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map(Duration::from).unwrap_or_default()
}

impl Sink for Watched {
    fn generation(&mut self) -> Result<Generation, ReadError> {
        self.kernel.generation()
    }

    fn dump(&mut self, table: &TableId) -> Result<Option<Dump>, ReadError> {
        self.kernel.dump(table)
    }

    fn send(
        &mut self,
        table: &TableId,
        batch: &Batch,
        expected: Option<Generation>,
    ) -> Result<(), SendError> {
        let start = on_processor();
        let result = self.kernel.send(table, batch, expected);
        self.record.borrow_mut().add(batch, on_processor().saturating_sub(start));
        result
    }

    fn fingerprint(
        &mut self,
        table: &TableId,
        chain: &Name,
    ) -> Result<Option<TableFingerprint>, ReadError> {
        self.kernel.fingerprint(table, chain)
    }

    fn tables(&mut self) -> Result<Vec<TableId>, ReadError> {
        self.kernel.tables()
    }

    fn delete_table(&mut self, table: &TableId) -> Result<bool, SendError> {
        self.kernel.delete_table(table)
    }
}
