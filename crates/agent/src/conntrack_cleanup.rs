//! Ends open connections that a change of the table denies.
//!
//! In: each change of the table, once it is in force; addresses that are bound to
//! their interface from now on. Out: connection tracking without the entries that
//! the new table denies, and without those that may be forged. The next packet of such a
//! flow counts as the first one of a new flow, and is judged. Flows that are
//! allowed do not notice.
//! Never: a caller that waits; a flow between the node itself and a pod; a flow
//! that touches no isolated pod of this node.
//!
//! ```text
//! changed(before, after) -> inbox -> suspects -+-> pending now --> sweep -+-> once more, a second later
//!                                              +-- merged while busy      +-> after an error, later again
//! ```
//!
//! **When.** The first pass begins at once. A packet that was on its way when
//! the table changed may have been judged by the old table, and may create its
//! entry after the pass. So the same suspects are checked once more,
//! [`AGAIN_AFTER`] after the end of the first pass, or in another pass that begins
//! up to a quarter of a second later: each pass walks all of connection tracking. A packet that is delayed for
//! longer than that, for example by `queue` of another table, is not found.
//!
//! **What survives.** A flow ends when neither side may open it again. A TCP
//! flow cannot be opened from its middle. In UDP the answering side can open it
//! if the table lets that pod send there: an answer that was on its way opens a
//! flow in the other direction, and what comes back is an answer to that. The
//! second pass deletes such a flow once. A server that sends all the time opens
//! it again: then you silence the client only by denying egress as well as
//! ingress.
//!
//! **Forged flows.** Before an address was bound to its pod's interface, others
//! could send under it. One such packet to an accomplice makes an entry in which
//! the accomplice's packets are answers, which no policy judges. So when an address
//! is bound for the first time, the entries that it seems to have opened are
//! deleted if the table denies the other direction. That is done once, since nobody
//! can make more of them. An honest sender's next packet makes the entry again, but
//! an answer that is on its way is lost. TCP and SCTP entries stay: their next packet makes
//! no entry, so honest connections would end. A forged TCP entry needs a
//! simultaneous open, and lasts until it is closed or idle. Flows that another flow
//! announced stay, too.
//!
//! **Cost.** For one or two IPv4 addresses a pass makes two dumps each, else one
//! dump of the family. Judging takes one or two microseconds for each suspect,
//! more where its chain is long. With 100,000 entries that is 0.1 s for one pod
//! and 0.4 s for all. On average passes take at most a tenth of a core; half a
//! second may be spent at once, and is regained at that rate. While no pass may
//! begin, changes are collected, and the next pass judges by the newest table.
//! Memory does not grow with the number of entries.

mod budget;
mod judge;
mod suspects;
mod sweep;
mod worker;

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ruleset::Ruleset;

pub use suspects::{Suspects, suspects};
use sweep::Sweeper;
use worker::Worker;

/// After this long the suspects of a pass are checked for the second and last
/// time.
pub const AGAIN_AFTER: Duration = Duration::from_secs(1);
/// At most this many changes wait to be compared. With more, all isolated pods
/// are suspects.
const MAX_WAITING: usize = 32;

/// A thread that follows the changes of a table.
#[derive(Debug)]
pub struct ConntrackCleanup {
    shared: Arc<Shared>,
    worker: Option<JoinHandle<()>>,
}

/// Work done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Passes over connection tracking that began.
    pub begun: u64,
    /// Those that ended, failed ones included.
    pub sweeps: u64,
    /// Entries that the kernel listed.
    pub entries: u64,
    /// Entries deleted.
    pub deleted: u64,
    /// Passes that failed; each is repeated.
    pub errors: u64,
    /// How long the last pass took.
    pub last: Duration,
    /// How long all took together.
    pub total: Duration,
}

/// The thread could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No socket.
    #[error(transparent)]
    Open(#[from] nft::OpenError),
    /// No thread.
    #[error("start a thread: {0}")]
    Thread(#[source] io::Error),
}

/// A change of the table, from what to what.
#[derive(Debug)]
struct TableChange {
    before: Option<Arc<Ruleset>>,
    after: Arc<Ruleset>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    wake: Condvar,
}

#[derive(Debug, Default)]
struct State {
    inbox: Vec<TableChange>,
    /// Addresses that are bound from now on.
    bound: BTreeSet<IpAddr>,
    counters: Counters,
    stopped: bool,
}

impl ConntrackCleanup {
    /// Starts the thread, in the network namespace of the present one.
    ///
    /// # Errors
    /// See [`StartError`]. A missing `CAP_NET_ADMIN` shows later, in the log and
    /// in [`Counters::errors`].
    pub fn start() -> Result<Self, StartError> {
        let shared = Arc::new(Shared::default());
        let worker = Some(spawn(&shared)?);
        Ok(Self { shared, worker })
    }

    /// Whether the thread runs.
    pub fn is_alive(&self) -> bool {
        self.worker.as_ref().is_some_and(|worker| !worker.is_finished())
    }

    /// The kernel now enforces `after`. `before` is what it enforced before;
    /// `None` if that is not known, as at start, and after others removed or
    /// changed the table. Returns at once.
    pub fn changed(&self, before: Option<Arc<Ruleset>>, after: Arc<Ruleset>) {
        let mut state = self.shared.state();
        state.inbox.push(TableChange { before, after });
        if state.inbox.len() > MAX_WAITING {
            let newest = state.inbox.pop();
            state.inbox.clear();
            state.inbox.extend(newest.map(|newest| TableChange { before: None, ..newest }));
        }
        drop(state);
        self.shared.wake.notify_one();
    }

    /// These addresses are bound to their interfaces from now on, and were not
    /// before. Tell it before the change of the table that binds them. Returns at
    /// once.
    pub fn bound(&self, addresses: BTreeSet<IpAddr>) {
        self.shared.state().bound.extend(addresses);
        self.shared.wake.notify_one();
    }

    /// Work done so far.
    pub fn counters(&self) -> Counters {
        self.shared.state().counters
    }
}

fn spawn(shared: &Arc<Shared>) -> Result<JoinHandle<()>, StartError> {
    let worker = Worker::new(Arc::clone(shared), Sweeper::open()?);
    let thread = std::thread::Builder::new().name("conntrack".to_owned());
    thread.spawn(|| worker.run()).map_err(StartError::Thread)
}

/// Stops the thread, after the pass that it is in.
impl Drop for ConntrackCleanup {
    fn drop(&mut self) {
        self.shared.state().stopped = true;
        self.shared.wake.notify_one();
        if let Some(worker) = self.worker.take()
            && worker.join().is_err()
        {
            tracing::error!("the thread that ends denied connections panicked");
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // Each change of the state is one step, so a panic leaves it whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for changes, or until this moment; `None` when asked to stop. Also
    /// returns the addresses that are bound from now on.
    fn wait(&self, until: Option<Instant>) -> Option<(Vec<TableChange>, BTreeSet<IpAddr>)> {
        let mut state = self.state();
        loop {
            if state.stopped {
                return None;
            }
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            // Addresses come before the change that binds them.
            if !state.inbox.is_empty() || left.is_some_and(|left| left.is_zero()) {
                let bound = std::mem::take(&mut state.bound);
                return Some((std::mem::take(&mut state.inbox), bound));
            }
            state = match left {
                None => self.wake.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(left) => {
                    let waited = self.wake.wait_timeout(state, left);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_that_pile_up_become_one_from_an_unknown_state() {
        let connections = ConntrackCleanup { shared: Arc::new(Shared::default()), worker: None };
        let table = Arc::new(Ruleset::new(compiler::scaffold::table()));
        for _ in 0..MAX_WAITING {
            connections.changed(Some(Arc::clone(&table)), Arc::clone(&table));
        }
        assert_eq!(connections.shared.state().inbox.len(), MAX_WAITING);
        let newest = Arc::new(Ruleset::clone(&table));
        connections.changed(Some(table), Arc::clone(&newest));
        let state = connections.shared.state();
        let [TableChange { before: None, after }] = state.inbox.as_slice() else {
            panic!("{} changes wait", state.inbox.len());
        };
        assert!(Arc::ptr_eq(after, &newest));
    }
}
