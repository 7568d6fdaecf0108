//! Another build of `nftpol` whose tables differ, for tests of upgrade and rollback.
//!
//! It is the same program with other words in it: names of the sets that the base chain
//! asks, of sets that rules write to, and comments. So the two tables differ in every
//! chain, and neither program knows the other's names.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, Result, ensure};

/// A set that only the program has.
pub const SET: &str = "isolated.i4";
/// The name of this set in the other build.
pub const OTHER_SET: &str = "izolated.i4";

/// Texts of the program of equal length, and what the other build has instead.
const WORDS: [(&[u8], &[u8]); 4] = [
    (b"pods of this node isolated for ", b"pods of that node isolated for "),
    // Before it is its length (a piece of `format!`).
    (b"\tisolated.", b"\tizolated."),
    (b"logged.", b"lagged."),
    (b"isolated by ", b"isolated of "),
];

/// Writes the other build of this program.
///
/// # Errors
/// When the program lacks one of the words, or a file cannot be read or written.
pub fn write(program: &Path, to: &Path) -> Result<()> {
    let mut bytes = fs::read(program).context("read the program")?;
    for (from, into) in WORDS {
        let mut found = 0;
        let mut at = 0;
        while let Some(next) = position(&bytes[at..], from) {
            at += next;
            bytes[at..at + into.len()].copy_from_slice(into);
            found += 1;
        }
        ensure!(found > 0, "no {:?} in the program", String::from_utf8_lossy(from));
    }
    fs::write(to, bytes).with_context(|| format!("write {}", to.display()))?;
    Ok(fs::set_permissions(to, fs::Permissions::from_mode(0o755))?)
}

fn position(bytes: &[u8], word: &[u8]) -> Option<usize> {
    let first = *word.first()?;
    let mut at = 0;
    loop {
        at += bytes.get(at..)?.iter().position(|byte| *byte == first)?;
        if bytes[at..].starts_with(word) {
            return Some(at);
        }
        at += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_both_builds_have_one_length() {
        for (from, into) in WORDS {
            assert_eq!(from.len(), into.len());
        }
    }
}
