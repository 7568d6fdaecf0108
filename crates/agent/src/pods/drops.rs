//! The packets that policies deny in pods' own namespaces.
//!
//! In: for each place its sockets, opened in its namespace, and what it enforces. Out: as of
//! the node's own packets (`crate::drops`). Never: a wait of the thread that enforces; what a
//! pod says about others.
//!
//! NFLOG has its groups in each network namespace, and a socket reads those of the namespace
//! that it was opened in (`instance_lookup_get`, net/netfilter/nfnetlink_log.c, Linux 6.18).
//! One thread reads all, in turn.
//!
//! A pod with CAP_NET_ADMIN can log to the same group, or read it before this process does.
//! So a packet is told only if its prefix is a chain of this pod and its own end has an
//! address of this pod, and not more than [`MOST`] at once. Where the group is taken, the
//! counters are still read.

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;
use std::sync::mpsc::{self, Receiver, Sender, TryRecvError};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::{Duration, Instant};

use nft::{DropCounts, DropLog, Namespace};
use policy::{Mode, ObjectKey, Pod};

use crate::drops::{By, Counts, Teller, counters};
use crate::view::{Shown, View};

/// The pause between two looks at all sockets.
const PAUSE: Duration = Duration::from_millis(200);
/// How often the counters are read. They live for a minute after the last packet.
const COUNT_EVERY: Duration = Duration::from_secs(2);
/// Packets of one pod that are told in a pause. Its rules log ten a second in each direction.
const MOST: usize = 20;

/// Reads what the rules in pods' namespaces log.
#[derive(Clone, Debug)]
pub struct PodDrops {
    group: u16,
    joining: Sender<Source>,
}

/// A place for which packets are read, as long as it has this.
#[derive(Debug)]
pub(super) struct Followed {
    /// What it enforces.
    pub view: View,
    _alive: Arc<()>,
}

/// The sockets of one place.
#[derive(Debug)]
struct Source {
    pod: ObjectKey,
    /// `None` if the group cannot be read.
    log: Option<DropLog>,
    kernel: DropCounts,
    addresses: BTreeSet<IpAddr>,
    counts: Counts,
    view: View,
    alive: Weak<()>,
}

impl PodDrops {
    /// Starts the thread. It reads this group. `view`: the objects that are known.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(group: u16, teller: Teller, view: View) -> io::Result<Self> {
        let (joining, joined) = mpsc::channel();
        let mut reader =
            Reader { teller, view, joined, sources: Vec::new(), counted: Instant::now() };
        thread::Builder::new().name("drops".to_owned()).spawn(move || reader.run())?;
        Ok(Self { group, joining })
    }

    /// Reads what is denied in this namespace of a pod from now on.
    pub(super) fn follow(&self, pod: &Pod, namespace: &Namespace) -> io::Result<Followed> {
        let (log, kernel) = namespace.inside(|| (DropLog::open(self.group), DropCounts::open()))?;
        let kernel = kernel.map_err(io::Error::other)?;
        let log = log.inspect_err(|error| {
            let pod = &pod.key;
            tracing::warn!(%pod, "what is denied in its own namespace is counted and not shown: {error}");
        });
        let (view, alive) = (View::default(), Arc::new(()));
        let source = Source {
            pod: pod.key.clone(),
            log: log.ok(),
            kernel,
            addresses: pod.addresses.iter().copied().collect(),
            counts: Counts::default(),
            view: view.clone(),
            alive: Arc::downgrade(&alive),
        };
        self.joining.send(source).map_err(io::Error::other)?;
        Ok(Followed { view, _alive: alive })
    }
}

struct Reader {
    teller: Teller,
    view: View,
    joined: Receiver<Source>,
    sources: Vec<Source>,
    counted: Instant,
}

impl Reader {
    /// Reads as long as there can be places.
    fn run(&mut self) {
        loop {
            loop {
                match self.joined.try_recv() {
                    Ok(source) => self.sources.push(source),
                    Err(TryRecvError::Empty) => break,
                    Err(TryRecvError::Disconnected) => return,
                }
            }
            self.sources.retain(|source| source.alive.strong_count() > 0);
            let is_time = self.counted.elapsed() >= COUNT_EVERY;
            if is_time {
                self.counted = Instant::now();
            }
            let cluster = self.view.look().cluster;
            for source in &mut self.sources {
                let enforced = source.view.look().enforced;
                let shown = Shown { cluster: cluster.clone(), enforced };
                // An address may be reported only after the place was made.
                if let Some(pod) = cluster.pods.get(&source.pod) {
                    source.addresses.extend(&pod.addresses);
                }
                let counted = is_time.then(|| counters(&mut source.kernel, &[Mode::Enforce]));
                // Packets that were counted have arrived: what comes now is told first.
                source.read(&mut self.teller, &shown);
                if let Some(counted) = counted {
                    self.teller.counters(counted, &shown, &mut source.counts);
                }
            }
            thread::sleep(PAUSE);
        }
    }
}

impl Source {
    fn read(&mut self, teller: &mut Teller, shown: &Shown) {
        let Some(log) = &mut self.log else { return };
        let mut packets = Vec::new();
        let read = log.wait(Duration::ZERO, |packet| {
            if packets.len() < MOST {
                packets.push(packet);
            }
        });
        match read {
            Ok(lost) => {
                let by = By::Pod(&self.addresses);
                teller.packets((packets, lost), by, shown, &mut self.counts);
            }
            Err(error) => {
                tracing::warn!(pod = %self.pod, "denied packets are not shown any more: {error}");
                self.log = None;
            }
        }
    }
}
