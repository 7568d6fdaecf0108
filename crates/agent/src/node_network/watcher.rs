//! Looks at the node's links, in a thread of its own: the kernel's lock of all
//! links (RTNL) is at times held for long by others.
//!
//! In: rtnetlink, the addresses that local pods report. Out: the last [`Look`].
//! Never: a look published that equals the one before.

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nft::OpenError;
use nft::links::{LinkEvent, LinkEvents, LinkReader, LinkWaker, LinksError, NodeLinks};

use super::ipvs;
use super::schedule::{LAST_RETRY, Schedule, Scope, Step};
use super::seen::Look;

/// How often a one-shot command tries again, and how long it waits.
const ATTEMPTS: u32 = 10;
const PAUSE: Duration = Duration::from_millis(50);

/// What the loop asks of the watcher. Tests have one of their own.
pub trait NodeView {
    /// The last look. `None` before the first. The same `Arc` until another look
    /// shows something else.
    fn latest(&self) -> Option<Arc<Look>>;

    /// Tells which addresses local pods report, for each pod. It returns at once.
    /// Those that no port has are looked for.
    fn want(&self, pods: Vec<BTreeSet<IpAddr>>);

    /// Why the last look failed, if it did. The look before it stays.
    fn problem(&self) -> Option<String>;

    /// Whether it still looks.
    fn is_alive(&self) -> bool;

    /// What looking took until now.
    fn effort(&self) -> Effort {
        Effort::default()
    }
}

/// What looking took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Effort {
    /// How many looks there were.
    pub looks: u64,
    /// How many of them failed.
    pub failures: u64,
    /// How long all of them took.
    pub took: Duration,
}

/// Looks whenever something may have changed.
pub struct NodeWatcher {
    shared: Arc<Mutex<Shared>>,
    waker: LinkWaker,
    thread: JoinHandle<()>,
}

/// What the thread and its owner tell each other.
#[derive(Default)]
struct Shared {
    latest: Option<Arc<Look>>,
    problem: Option<String>,
    effort: Effort,
    wanted: Arc<Wanted>,
    stop: bool,
}

/// The addresses that local pods report.
#[derive(Default)]
struct Wanted {
    pods: Vec<BTreeSet<IpAddr>>,
    all: BTreeSet<IpAddr>,
}

impl NodeWatcher {
    /// Starts to look at this thread's network namespace. The first look was made
    /// when this returns, unless it failed. `changed` is called, by another
    /// thread, after each look that shows something else than the one before.
    ///
    /// # Errors
    /// The kernel gives no sockets, or the system no thread.
    pub fn start(changed: impl Fn() + Send + 'static) -> io::Result<Self> {
        // Events from before the first look count.
        let events = LinkEvents::open().map_err(opening)?;
        let reader = LinkReader::open().map_err(opening)?;
        let waker = events.waker();
        let shared = Arc::new(Mutex::new(Shared::default()));
        let schedule = Schedule::default();
        let mut looker = Looker {
            events,
            reader,
            schedule,
            links: None,
            ipvs: false,
            shared: Arc::clone(&shared),
        };
        looker.look(Scope::Everything, &Wanted::default());
        let thread =
            thread::Builder::new().name("links".to_owned()).spawn(move || looker.run(changed))?;
        Ok(Self { shared, waker, thread })
    }
}

impl NodeView for NodeWatcher {
    fn latest(&self) -> Option<Arc<Look>> {
        lock(&self.shared).latest.clone()
    }

    fn want(&self, pods: Vec<BTreeSet<IpAddr>>) {
        {
            let mut shared = lock(&self.shared);
            if shared.wanted.pods == pods {
                return;
            }
            let all = pods.iter().flatten().copied().collect();
            shared.wanted = Arc::new(Wanted { pods, all });
        }
        self.waker.wake();
    }

    fn problem(&self) -> Option<String> {
        lock(&self.shared).problem.clone()
    }

    fn is_alive(&self) -> bool {
        !self.thread.is_finished()
    }

    fn effort(&self) -> Effort {
        lock(&self.shared).effort
    }
}

impl Drop for NodeWatcher {
    /// The thread ends by itself: it may be in the middle of a look.
    fn drop(&mut self) {
        lock(&self.shared).stop = true;
        self.waker.wake();
    }
}

impl fmt::Debug for NodeWatcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodeWatcher").field("alive", &self.is_alive()).finish_non_exhaustive()
    }
}

/// Looks once, for commands that do not stay. Tries again while links change.
///
/// # Errors
/// The links cannot be read.
pub fn look_once(wanted: &BTreeSet<IpAddr>) -> Result<Look, LinksError> {
    let mut reader = LinkReader::open().map_err(|OpenError(error)| LinksError::Io(error))?;
    let mut attempts = 0;
    loop {
        attempts += 1;
        match reader.read(wanted) {
            Ok(links) => return Ok(Look::of(links, ipvs::is_there())),
            Err(LinksError::KeepChanging(_)) if attempts < ATTEMPTS => thread::sleep(PAUSE),
            Err(error) => return Err(error),
        }
    }
}

/// What the thread works with.
struct Looker {
    events: LinkEvents,
    reader: LinkReader,
    schedule: Schedule,
    /// What the last look showed.
    links: Option<NodeLinks>,
    /// Whether it showed IPVS.
    ipvs: bool,
    shared: Arc<Mutex<Shared>>,
}

impl Looker {
    fn run(mut self, changed: impl Fn()) {
        let mut wanted = Arc::new(Wanted::default());
        loop {
            let now_wanted = {
                let shared = lock(&self.shared);
                if shared.stop {
                    return;
                }
                Arc::clone(&shared.wanted)
            };
            if !Arc::ptr_eq(&wanted, &now_wanted) {
                wanted = now_wanted;
                self.schedule.wanted(Instant::now(), self.is_missing(&wanted));
            }
            if self.sees_ipvs_start() {
                changed();
            }
            match self.schedule.step(Instant::now()) {
                Step::Wait(time) => self.wait(time),
                Step::Look(scope) => {
                    if self.look(scope, &wanted) {
                        changed();
                    }
                }
            }
        }
    }

    fn wait(&mut self, time: Duration) {
        match self.events.wait(time) {
            Ok(LinkEvent::Changed | LinkEvent::Overrun) => self.schedule.event(Instant::now()),
            Ok(LinkEvent::Module | LinkEvent::Woken | LinkEvent::Timeout) => {}
            Err(error) => {
                self.fails(&error);
                thread::sleep(LAST_RETRY);
            }
        }
    }

    /// IPVS may forward at any moment once its module is loaded, so this waits for no look
    /// at links. Its end is noticed by a look.
    fn sees_ipvs_start(&mut self) -> bool {
        let is_start = !self.ipvs && self.links.is_some() && ipvs::is_loaded();
        if is_start {
            self.ipvs = true;
            self.publish();
        }
        is_start
    }

    /// Looks. Returns whether it shows something else than before.
    fn look(&mut self, scope: Scope, wanted: &Wanted) -> bool {
        let start = Instant::now();
        if scope != Scope::Missing {
            // This look shows what they told of.
            self.wait(Duration::ZERO);
            self.schedule.begins();
        }
        let read = match scope {
            Scope::Everything => self.reader.read(&wanted.all),
            Scope::Links => self.reader.read_changes(&wanted.all, &self.candidates(wanted)),
            Scope::Missing => {
                self.reader.read_other_ends_again(&wanted.all, &self.candidates(wanted))
            }
        };
        let end = Instant::now();
        let is_new = match read {
            Ok(links) => {
                let ipvs = ipvs::is_there();
                let is_new = self.links.as_ref() != Some(&links) || self.ipvs != ipvs;
                (self.links, self.ipvs) = (Some(links), ipvs);
                self.schedule.looked(scope, start, end, self.is_missing(wanted));
                lock(&self.shared).problem = None;
                if is_new {
                    self.publish();
                }
                is_new
            }
            Err(error) => {
                self.schedule.failed(end);
                self.fails(&error);
                false
            }
        };
        let effort = &mut lock(&self.shared).effort;
        effort.looks += 1;
        effort.took += end.saturating_duration_since(start);
        is_new
    }

    fn publish(&self) {
        let look = self.links.clone().map(|links| Arc::new(Look::of(links, self.ipvs)));
        lock(&self.shared).latest = look;
    }

    fn fails(&self, error: &LinksError) {
        let mut shared = lock(&self.shared);
        shared.problem = Some(error.to_string());
        shared.effort.failures += 1;
    }

    /// The addresses of pods that are at a port.
    fn found(&self) -> BTreeSet<IpAddr> {
        let ports = self.links.iter().flat_map(|links| &links.ports);
        ports.flat_map(|port| &port.addresses).map(|one| one.address).collect()
    }

    fn is_missing(&self, wanted: &Wanted) -> bool {
        !wanted.all.is_subset(&self.found())
    }

    /// Ports that may lead to what is missing: those with no pod's address, and
    /// those of pods that miss another one. None if nothing is missing.
    fn candidates(&self, wanted: &Wanted) -> BTreeSet<u32> {
        let found = self.found();
        if wanted.all.is_subset(&found) {
            return BTreeSet::new();
        }
        let complete: BTreeSet<IpAddr> =
            wanted.pods.iter().filter(|pod| pod.is_subset(&found)).flatten().copied().collect();
        let ports = self.links.iter().flat_map(|links| &links.ports);
        let has_what_is_complete = |port: &&nft::links::Port| {
            port.addresses.iter().any(|one| complete.contains(&one.address))
        };
        ports.filter(|port| !has_what_is_complete(port)).map(|port| port.index).collect()
    }
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

fn opening(OpenError(error): OpenError) -> io::Error {
    io::Error::new(error.kind(), format!("open a socket to the node's links: {error}"))
}
