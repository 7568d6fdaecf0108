//! A tar file in the ustar format (pax(1), "ustar Interchange Format").
//!
//! In: names and contents. Out: bytes that tar(1) reads.
//! Never: a name that leads out of the folder that it is unpacked in.

use std::io::{self, Write};

/// Headers and contents fill whole blocks of this size, in bytes.
const BLOCK: usize = 512;
/// A header's field for the name.
const NAME_BYTES: usize = 100;
/// The header's checksum counts its own field as spaces.
const CHECKSUM: std::ops::Range<usize> = 148..156;

/// A tar file being written.
pub(super) struct Tar<W> {
    out: W,
    /// Seconds since 1970: all files are of this time.
    time: u64,
}

impl<W: Write> Tar<W> {
    pub fn new(out: W, time: u64) -> Self {
        Self { out, time }
    }

    /// Adds a file that its owner alone may read.
    pub fn file(&mut self, name: &str, content: &[u8]) -> io::Result<()> {
        let mut header = [0; BLOCK];
        let mut field = |at: usize, text: &str| {
            header[at..at + text.len()].copy_from_slice(text.as_bytes());
        };
        field(0, &safe(name));
        field(100, "0000600");
        field(108, "0000000");
        field(116, "0000000");
        field(124, &format!("{:011o}", content.len()));
        field(136, &format!("{:011o}", self.time));
        field(257, "ustar\x0000");
        header[156] = b'0';
        header[CHECKSUM].fill(b' ');
        let sum: u32 = header.iter().copied().map(u32::from).sum();
        header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        self.out.write_all(&header)?;
        self.out.write_all(content)?;
        let rest = content.len().next_multiple_of(BLOCK) - content.len();
        self.out.write_all(&[0; BLOCK][..rest])
    }

    /// Ends the archive with two blocks of zeros.
    pub fn finish(mut self) -> io::Result<W> {
        self.out.write_all(&[0; 2 * BLOCK])?;
        self.out.flush()?;
        Ok(self.out)
    }
}

/// A name that others chose, without steps upwards and strange characters, short enough.
fn safe(name: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let parts = name.split('/').filter(|part| !part.is_empty()).map(|part| {
        let part = part.replace(|c: char| !is_plain(c), "_");
        if part.chars().all(|c| c == '.') { "_".to_owned() } else { part }
    });
    let all = parts.collect::<Vec<_>>().join("/");
    // Its end tells files of one node apart.
    all[all.len().saturating_sub(NAME_BYTES)..].trim_start_matches('/').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_inside() {
        let cases = [
            ("nodes/worker-1/log.txt", "nodes/worker-1/log.txt"),
            ("../../etc/passwd", "_/_/etc/passwd"),
            ("/etc/passwd", "etc/passwd"),
            ("a b/\u{1b}[2J/ä", "a_b/__2J/_"),
        ];
        for (name, expected) in cases {
            assert_eq!(safe(name), expected);
        }
        assert_eq!(safe(&format!("{}/x", "a".repeat(200))).len(), NAME_BYTES);
    }

    #[test]
    fn an_archive_is_whole_blocks_with_checksums() {
        let mut tar = Tar::new(Vec::new(), 1_764_453_093);
        tar.file("a.txt", b"hello").expect("written");
        tar.file("empty", b"").expect("written");
        let bytes = tar.finish().expect("written");
        assert_eq!(bytes.len(), 5 * BLOCK);
        let text = |range: std::ops::Range<usize>| String::from_utf8_lossy(&bytes[range]);
        assert_eq!(text(0..6), "a.txt\0");
        assert_eq!(text(124..136), "00000000005\0");
        assert_eq!(text(512..517), "hello");
        let sum = u32::from_str_radix(&text(148..154), 8).expect("octal");
        let mut header = bytes[..BLOCK].to_vec();
        header[CHECKSUM].fill(b' ');
        assert_eq!(sum, header.iter().copied().map(u32::from).sum::<u32>());
    }
}
