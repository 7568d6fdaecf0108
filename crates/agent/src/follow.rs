//! Notices changed files by their metadata.
//!
//! In: the sources. Out: whether a manifest was written, replaced, added or
//! removed, and is complete. Never: the files' content.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use watcher::files::Source;

/// Deeper folders are not followed, since links can form a circle.
const MAX_DEPTH: usize = 16;
/// Files that have not changed for this long count as complete.
const STILL_FOR: Duration = Duration::from_millis(200);
/// For this long an empty file counts as one that is being written:
/// `kubectl get ... > policies.yaml` leaves it empty while it asks the cluster.
const EMPTY_FOR: Duration = Duration::from_secs(5);

/// Looks at files repeatedly.
#[derive(Debug)]
pub struct Follower {
    sources: Vec<Source>,
    /// When [`Self::changed`] last asked to read them.
    read: Fingerprint,
    /// As of the last look.
    seen: Fingerprint,
    /// When they were first seen to differ from `read`.
    since: Option<Instant>,
    /// When they last changed between two looks.
    moved: Instant,
}

impl Follower {
    /// Follows these from now on. Read them after this call, not before.
    pub fn new(sources: Vec<Source>) -> Self {
        let read = Fingerprint::of(&sources);
        Self { sources, seen: read.clone(), read, since: None, moved: Instant::now() }
    }

    /// Whether to read them again: they changed, and are complete. Half a file
    /// can be valid YAML that lacks policies.
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

    /// Whether they are unchanged since [`Self::changed`] asked to read them.
    pub fn is_current(&self) -> bool {
        Fingerprint::of(&self.sources) == self.read
    }
}

/// Metadata of all manifests below the sources.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Fingerprint(BTreeMap<PathBuf, Stamp>);

/// The time of the inode's change (ctime), not of the content's: it cannot be
/// set back, and a file that is moved into place has a new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    bytes: u64,
    changed_seconds: i64,
    changed_nanoseconds: i64,
}

impl Fingerprint {
    /// The files as they are now. One that cannot be read counts as absent;
    /// reading the sources reports it.
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

    /// Whether a file is empty that was not empty or did not exist.
    fn has_newly_empty(&self, before: &Self) -> bool {
        self.0.iter().any(|(path, stamp)| stamp.bytes == 0 && before.0.get(path) != Some(stamp))
    }
}

/// Whether this file of a folder is read ([`Source::Path`]). Others, such as an
/// editor's copies, come and go all the time.
fn is_manifest(path: &Path) -> bool {
    path.extension().is_some_and(|found| ["yaml", "yml", "json"].iter().any(|one| found == *one))
}
