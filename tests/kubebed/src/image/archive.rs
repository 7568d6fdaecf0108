//! Writes a tar file in the ustar format (pax(1), "ustar Interchange Format").
//!
//! All entries are owned by uid 0, at time 0. Equal input gives equal bytes.

use std::collections::BTreeSet;
use std::io::Write;

use anyhow::{Context, Result, ensure};

/// Headers and contents fill whole blocks of this size, in bytes.
const BLOCK: usize = 512;
/// Paths up to this length fit into the first field.
const LONGEST_PATH: usize = 100;
/// Position and length of the header's checksum.
const CHECKSUM: std::ops::Range<usize> = 148..156;

/// A tar file being written.
pub(super) struct Archive<W> {
    out: W,
    folders: BTreeSet<String>,
}

impl<W: Write> Archive<W> {
    pub fn new(out: W) -> Self {
        Self { out, folders: BTreeSet::new() }
    }

    /// Adds the folders above this path that are still missing.
    pub fn folders_to(&mut self, path: &str) -> Result<()> {
        for (end, _) in path.match_indices('/') {
            let folder = format!("{}/", &path[..end]);
            if self.folders.insert(folder.clone()) {
                self.header(&folder, 0o755, 0, b'5')?;
            }
        }
        Ok(())
    }

    /// Adds a file.
    pub fn file(&mut self, path: &str, mode: u32, content: &[u8]) -> Result<()> {
        self.header(path, mode, content.len(), b'0')?;
        self.put(content)?;
        self.put(&vec![0; content.len().next_multiple_of(BLOCK) - content.len()])
    }

    /// Ends the archive with two blocks of zeros.
    pub fn finish(mut self) -> Result<W> {
        self.put(&[0; 2 * BLOCK])?;
        Ok(self.out)
    }

    fn header(&mut self, path: &str, mode: u32, size: usize, kind: u8) -> Result<()> {
        ensure!(path.len() <= LONGEST_PATH, "the path {path} is too long for a tar header");
        let mut header = [0; BLOCK];
        let mut field = |at: usize, text: &str| {
            header[at..at + text.len()].copy_from_slice(text.as_bytes());
        };
        field(0, path);
        field(100, &format!("{mode:07o}"));
        field(108, "0000000");
        field(116, "0000000");
        field(124, &format!("{size:011o}"));
        field(136, "00000000000");
        field(257, "ustar\x0000");
        header[156] = kind;
        // The checksum counts its own field as spaces.
        header[CHECKSUM].fill(b' ');
        let sum: u32 = header.iter().copied().map(u32::from).sum();
        header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        self.put(&header)
    }

    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.out.write_all(bytes).context("write a tar file")
    }
}
