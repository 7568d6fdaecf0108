//! When files changed, by their metadata.
//!
//! In: the sources. Out: whether a manifest was written, replaced, added or
//! removed, and whoever did it is done. Never: the files' content.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use watcher::files::Source;

/// Deeper folders are not followed; links can make a circle.
const MAX_DEPTH: usize = 16;
/// How long files must stand still to be taken for written.
const STILL_FOR: Duration = Duration::from_millis(200);
/// How long an empty file is taken for one that is about to be written, as
/// `kubectl get ... > policies.yaml` leaves it while it asks the cluster.
const EMPTY_FOR: Duration = Duration::from_secs(5);

/// Looks at files again and again.
#[derive(Debug)]
pub struct Follower {
    sources: Vec<Source>,
    /// As of the last time they were to be read.
    read: Fingerprint,
    /// As of the last look.
    seen: Fingerprint,
    /// When they were first seen to differ from what was read.
    since: Option<Instant>,
    /// When they were last seen to differ from the look before.
    moved: Instant,
}

impl Follower {
    /// Follows these from now on: they are to be read after this.
    pub fn new(sources: Vec<Source>) -> Self {
        let read = Fingerprint::of(&sources);
        Self { sources, seen: read.clone(), read, since: None, moved: Instant::now() }
    }

    /// Whether they are to be read anew: they changed and have stood still
    /// since. Half a file can be a valid one, of which policies are missing.
    pub fn changed(&mut self) -> bool {
        let now = Fingerprint::of(&self.sources);
        if now != self.seen {
            self.moved = Instant::now();
            self.seen = now;
        }
        if self.seen == self.read {
            self.since = None;
            return false;
        }
        let since = *self.since.get_or_insert_with(Instant::now);
        let still = self.moved.elapsed() >= STILL_FOR;
        if !still || (self.seen.has_newly_empty(&self.read) && since.elapsed() < EMPTY_FOR) {
            return false;
        }
        self.read = self.seen.clone();
        self.since = None;
        true
    }

    /// Whether they are still what they were when they were to be read.
    pub fn is_current(&self) -> bool {
        Fingerprint::of(&self.sources) == self.read
    }
}

/// Metadata of all manifests below the sources.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Fingerprint(BTreeMap<PathBuf, Stamp>);

/// The time of the inode's change is taken and not that of the content: it
/// cannot be set back, and a file that is moved into place has a new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    bytes: u64,
    changed_seconds: i64,
    changed_nanoseconds: i64,
}

impl Fingerprint {
    /// As the files are now. One that cannot be read is as if it were not
    /// there; reading the sources will say so.
    fn of(sources: &[Source]) -> Self {
        let mut fingerprint = Self::default();
        for source in sources {
            if let Source::Path(path) = source {
                fingerprint.add(path, 0);
            }
        }
        fingerprint
    }

    fn add(&mut self, path: &Path, depth: usize) {
        let Ok(metadata) = fs::metadata(path) else { return };
        if metadata.is_dir() {
            let entries = fs::read_dir(path).into_iter().flatten().flatten();
            let shown =
                entries.filter(|entry| !entry.file_name().as_encoded_bytes().starts_with(b"."));
            for entry in shown.filter(|_| depth < MAX_DEPTH) {
                self.add(&entry.path(), depth + 1);
            }
        } else if depth == 0 || is_manifest(path) {
            let stamp = Stamp {
                inode: metadata.ino(),
                bytes: metadata.size(),
                changed_seconds: metadata.ctime(),
                changed_nanoseconds: metadata.ctime_nsec(),
            };
            self.0.insert(path.to_owned(), stamp);
        }
    }

    /// Whether a file is empty that was not, or was not there.
    fn has_newly_empty(&self, before: &Self) -> bool {
        self.0.iter().any(|(path, stamp)| stamp.bytes == 0 && before.0.get(path) != Some(stamp))
    }
}

/// Whether a folder is read for this file ([`Source::Path`]). Others, such as
/// an editor's copies, come and go and never stand still.
fn is_manifest(path: &Path) -> bool {
    path.extension().is_some_and(|found| ["yaml", "yml", "json"].iter().any(|one| found == *one))
}
