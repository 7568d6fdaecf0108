//! The thread that reads what the rules log.
//!
//! In: NFLOG, the rules' counters, what the enforcing thread shows. Out: entries of the
//! ring, totals, log lines, the condition `log`. Never: an end because the group is taken:
//! it is tried again.

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use nft::{DropCounts, DropLog, DropLogError};
use policy::Mode;

use super::counts::{Counters, Counts};
use super::ring::Ring;
use super::teller::{self, By, Teller};
use crate::metrics::Metrics;
use crate::status::{Condition, Status};
use crate::view::View;

/// How often the counters are read. They live for a minute after the last packet.
const COUNT_EVERY: Duration = Duration::from_secs(2);
/// How long a wait for packets takes at most. What is shown is looked at after each.
const WAIT: Duration = Duration::from_millis(200);
/// The pause before the group is tried again.
const RETRY: Duration = Duration::from_secs(5);

/// What to read, and for whom.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The group of NFLOG.
    pub group: u16,
    /// The node's name.
    pub node: String,
    /// Also write lines of the log.
    pub log_lines: bool,
}

/// Starts the thread.
///
/// # Errors
/// The system gives no thread.
pub fn start(
    settings: Settings,
    view: View,
    ring: Arc<Ring>,
    metrics: Arc<Metrics>,
    status: Status,
) -> io::Result<()> {
    let Settings { group, node, log_lines } = settings;
    let mut reader = Reader {
        group,
        view,
        status,
        teller: Teller::new(node, log_lines, ring, metrics),
        counts: Counts::default(),
        kernel: None,
        counted: None,
    };
    thread::Builder::new().name("drops".to_owned()).spawn(move || reader.run())?;
    Ok(())
}

#[derive(Debug)]
struct Reader {
    group: u16,
    view: View,
    status: Status,
    teller: Teller,
    counts: Counts,
    /// To read counters.
    kernel: Option<DropCounts>,
    /// When they were last read.
    counted: Option<Instant>,
}

impl Reader {
    /// Reads as long as the process lives.
    fn run(&mut self) -> ! {
        loop {
            let problem = match DropLog::open(self.group) {
                Ok(log) => {
                    self.status.holds(Condition::Log);
                    self.read(log).to_string()
                }
                Err(error) => error.to_string(),
            };
            let mend = "denied packets are not shown; choose another group (--log-group)";
            self.status.fails(Condition::Log, format!("{problem}; {mend}"));
            // The counters work even if another program reads the packets.
            let until = Instant::now() + RETRY;
            while Instant::now() < until {
                thread::sleep(WAIT);
                if self.is_time_to_count() {
                    self.count();
                }
            }
        }
    }

    /// Reads until the socket fails.
    fn read(&mut self, mut log: DropLog) -> DropLogError {
        loop {
            if let Err(error) = self.take(&mut log, WAIT) {
                return error;
            }
            if self.is_time_to_count() {
                let counters = self.counters();
                // Packets that were counted have arrived: what comes now is told first.
                if let Err(error) = self.take(&mut log, Duration::ZERO) {
                    return error;
                }
                self.compare(counters);
            }
        }
    }

    /// Waits for packets, and passes on those that arrived.
    fn take(&mut self, log: &mut DropLog, wait: Duration) -> Result<(), DropLogError> {
        let mut packets = Vec::new();
        let lost = log.wait(wait, |packet| packets.push(packet))?;
        self.teller.packets((packets, lost), By::Node, &self.view.look(), &mut self.counts);
        thread::sleep(self.teller.pause());
        Ok(())
    }

    fn is_time_to_count(&self) -> bool {
        self.counted.is_none_or(|last| last.elapsed() >= COUNT_EVERY)
    }

    fn count(&mut self) {
        let counters = self.counters();
        self.compare(counters);
    }

    /// The counters of all pods' addresses.
    fn counters(&mut self) -> Counters {
        self.counted = Some(Instant::now());
        if self.kernel.is_none() {
            match DropCounts::open() {
                Ok(kernel) => self.kernel = Some(kernel),
                Err(error) => tracing::debug!("count denied packets: {error}"),
            }
        }
        let kernel = self.kernel.as_mut();
        kernel.map(|kernel| teller::counters(kernel, &Mode::BOTH)).unwrap_or_default()
    }

    /// Adds to the totals what was counted since the last time.
    fn compare(&mut self, counters: Counters) {
        self.teller.counters(counters, &self.view.look(), &mut self.counts);
    }
}
