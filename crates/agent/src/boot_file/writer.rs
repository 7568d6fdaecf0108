//! The thread that writes the file.
//!
//! In: the ranges, whenever they change. Out: the file, again each hour, so that its age
//! tells how long no agent was there. Never: a wait of who tells.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, SystemTime};

use imbl::OrdSet;
use policy::PodRange;

use super::BootRecord;

/// How often the file is written again.
const REFRESH: Duration = Duration::from_secs(3600);
/// The pause after a failure.
const RETRY: Duration = Duration::from_secs(60);

/// The file of this node.
pub struct BootFile {
    told: OrdSet<PodRange>,
    sender: Sender<OrdSet<PodRange>>,
}

impl BootFile {
    /// A thread of its own writes the file from now on.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(path: PathBuf, node: String) -> io::Result<Self> {
        let (sender, receiver) = mpsc::channel();
        let write = move || follow(&path, &node, &receiver);
        thread::Builder::new().name("boot-file".to_owned()).spawn(write)?;
        Ok(Self { told: OrdSet::new(), sender })
    }

    /// The pods' ranges are these now. An agent that knows none yet leaves the file as it
    /// is: it grows old. Returns at once.
    pub fn ranges(&mut self, ranges: &OrdSet<PodRange>) {
        if !ranges.is_empty() && self.told != *ranges {
            self.told = ranges.clone();
            // The thread ends with this value alone.
            let _ = self.sender.send(ranges.clone());
        }
    }
}

impl fmt::Debug for BootFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BootFile").field("told", &self.told).finish_non_exhaustive()
    }
}

fn follow(path: &std::path::Path, node: &str, receiver: &Receiver<OrdSet<PodRange>>) {
    let mut ranges = OrdSet::new();
    let mut wait = REFRESH;
    let mut has_failed = false;
    loop {
        match receiver.recv_timeout(wait) {
            Ok(now) => ranges = receiver.try_iter().last().unwrap_or(now),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        if ranges.is_empty() {
            continue;
        }
        let written = SystemTime::now();
        let record = BootRecord { node: node.to_owned(), written, ranges: ranges.clone() };
        match record.write(path) {
            Ok(()) => {
                if std::mem::take(&mut has_failed) {
                    tracing::info!("{} is written again", path.display());
                }
                wait = REFRESH;
            }
            Err(error) => {
                if !std::mem::replace(&mut has_failed, true) {
                    tracing::warn!(
                        "write {} for `nftpol restore`: {error}; trying again each minute; a node \
                         that starts meanwhile shuts what the file says now",
                        path.display()
                    );
                }
                wait = RETRY;
            }
        }
    }
}
