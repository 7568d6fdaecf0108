//! What `nftpol restore` needs to know when the node starts: where pods have their
//! addresses.
//!
//! In: the ranges that the agent knows; a file. Out: the file, written as a whole or not
//! at all; the ranges, or why the file cannot be believed. Never: a wait of the thread
//! that enforces for a disk.
//!
//! ```text
//! nftpol boot file 1
//! written 1796000000          seconds since 1970, by the node's clock
//! node node-1
//! range 10.244.1.0-10.244.1.254
//! sum 5b0c...                 SHA-256 of the lines before, in hexadecimal
//! ```

mod writer;

use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use imbl::OrdSet;
use nix::fcntl::OFlag;
use nix::unistd::Uid;
use policy::PodRange;
use sha2::{Digest, Sha256};

pub use writer::BootFile;

/// The first line, before the number of the form.
const TITLE: &str = "nftpol boot file ";
/// The form that this version writes and reads.
const FORM: u32 = 1;
/// No file is longer.
const LONGEST: u64 = 64 << 10;
/// Who is neither root nor a writer of the file may not say what is shut (inode(7)).
const OTHERS_WRITE: u32 = 0o022;
/// A clock that was set back by less than this is believed.
const AHEAD: Duration = Duration::from_secs(24 * 3600);

/// What a file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BootRecord {
    /// The node whose agent wrote it.
    pub node: String,
    /// When.
    pub written: SystemTime,
    /// Where the node's pods have their addresses.
    pub ranges: OrdSet<PodRange>,
}

/// Why a file cannot be believed.
#[derive(Debug, thiserror::Error)]
pub enum BootFileError {
    /// It cannot be read.
    #[error("read {path}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is of a later version.
    #[error("the file has form {0}, and this version of nftpol reads form {FORM}")]
    TooNew(u32),
    /// It is not what an agent wrote.
    #[error("the file is damaged: {0}")]
    Damaged(&'static str),
    /// No agent has refreshed it for long.
    #[error("the file was written {days} days ago, more than --max-age", days = .0.as_secs() / 86_400)]
    TooOld(Duration),
    /// The node's clock was set back, or is wrong now.
    #[error("the file is from the future by the node's clock ({hours} hours)", hours = .0.as_secs() / 3600)]
    FromTheFuture(Duration),
    /// The agent knew none.
    #[error("the file names no range of pods' addresses")]
    NoRanges,
}

impl BootRecord {
    /// As text.
    pub fn text(&self) -> String {
        let seconds = self.written.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let mut text = format!("{TITLE}{FORM}\nwritten {seconds}\nnode {}\n", self.node);
        for range in &self.ranges {
            // Writing to a String does not fail.
            let _ = writeln!(text, "range {range}");
        }
        let _ = writeln!(text, "sum {}", sum(&text));
        text
    }

    /// Reads text.
    ///
    /// # Errors
    /// It is of a later version, or damaged.
    pub fn parse(text: &str) -> Result<Self, BootFileError> {
        use BootFileError::Damaged;
        let form = text.lines().next().and_then(|line| line.strip_prefix(TITLE));
        let form = form.and_then(|form| form.parse().ok()).ok_or(Damaged("it has no title"))?;
        if form > FORM {
            return Err(BootFileError::TooNew(form));
        }
        let (said, expected) = text.rsplit_once("sum ").ok_or(Damaged("it has no sum"))?;
        if expected.strip_suffix('\n') != Some(&sum(said)) {
            return Err(Damaged("the sum is another one"));
        }
        let mut record = Self { node: String::new(), written: UNIX_EPOCH, ranges: OrdSet::new() };
        for line in said.lines().skip(1) {
            match line.split_once(' ') {
                Some(("written", seconds)) => {
                    let seconds = seconds.parse().map_err(|_| Damaged("it has no time"))?;
                    let written = UNIX_EPOCH.checked_add(Duration::from_secs(seconds));
                    record.written = written.ok_or(Damaged("it has no time"))?;
                }
                Some(("node", node)) => node.clone_into(&mut record.node),
                Some(("range", range)) => {
                    record.ranges.insert(parse_range(range).ok_or(Damaged("a range is none"))?);
                }
                Some(_) | None => return Err(Damaged("a line is of no known kind")),
            }
        }
        Ok(record)
    }

    /// Reads a file that must not be older than `max_age`.
    ///
    /// # Errors
    /// See [`BootFileError`].
    pub fn read(path: &Path, now: SystemTime, max_age: Duration) -> Result<Self, BootFileError> {
        let unread = |source| BootFileError::Read { path: path.to_owned(), source };
        // Who opens a pipe waits for its writer (fifo(7)), and the kubelet with it.
        let flags = OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
        let mut options = OpenOptions::new();
        let file = options.read(true).custom_flags(flags.bits()).open(path).map_err(unread)?;
        let about = file.metadata().map_err(unread)?;
        if !about.is_file() {
            return Err(BootFileError::Damaged("it is no plain file"));
        }
        let is_roots = about.uid() == 0 || about.uid() == Uid::effective().as_raw();
        if !is_roots || about.mode() & OTHERS_WRITE != 0 {
            return Err(BootFileError::Damaged("others than root may write it"));
        }
        let mut bytes = Vec::new();
        file.take(LONGEST + 1).read_to_end(&mut bytes).map_err(unread)?;
        if bytes.len() as u64 > LONGEST {
            return Err(BootFileError::Damaged("it is too long"));
        }
        let text = String::from_utf8(bytes).map_err(|_| BootFileError::Damaged("it is no text"))?;
        let record = Self::parse(&text)?;
        match now.duration_since(record.written) {
            Ok(age) if age > max_age => return Err(BootFileError::TooOld(age)),
            Err(ahead) if ahead.duration() > AHEAD => {
                return Err(BootFileError::FromTheFuture(ahead.duration()));
            }
            Ok(_) | Err(_) => {}
        }
        if record.ranges.is_empty() {
            return Err(BootFileError::NoRanges);
        }
        Ok(record)
    }

    /// Writes a file. A reader finds the old one or the new one, also after a power
    /// failure (rename(2), fsync(2)).
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        write_whole(path, self.text().as_bytes(), 0o600)
    }
}

/// Writes a file under another name, then gives it its own.
///
/// # Errors
/// The folder cannot be written.
pub fn write_whole(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".nftpol-new");
    let other = path.with_file_name(name);
    // What an earlier attempt left behind, or somebody has put there.
    match fs::remove_file(&other) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&other)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    if let Err(error) = written.and_then(|()| fs::rename(&other, path)) {
        // It is of no use, and may fill the disk.
        let _ = fs::remove_file(&other);
        return Err(error);
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

fn parse_range(text: &str) -> Option<PodRange> {
    let (first, last) = text.split_once('-')?;
    let range = PodRange { first: first.parse().ok()?, last: last.parse().ok()? };
    (range.first.is_ipv4() == range.last.is_ipv4() && range.first <= range.last).then_some(range)
}

fn sum(text: &str) -> String {
    let mut sum = String::new();
    for byte in Sha256::digest(text) {
        let _ = write!(sum, "{byte:02x}");
    }
    sum
}

#[cfg(test)]
mod tests;
