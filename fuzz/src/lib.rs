//! The fuzz targets: one for each kind of outside input that nftpol reads. Each
//! target reads any bytes and panics only where a promise is broken.
//!
//! `cargo xtask fuzz MINUTES` searches for such bytes. `tests/corpus.rs` replays
//! what earlier searches found. Only this file knows the entry points of the other
//! crates.

use watcher::Kind;
use watcher::files::{Validation, parse};

/// Reads any bytes.
pub type Target = fn(&[u8]);

/// A target by its name. Its program and its folder in `corpus` have the same name.
pub const TARGETS: [(&str, Target); 3] =
    [("manifests", manifests), ("watch", watch), ("netlink", netlink)];

/// YAML and JSON as people write them. The reader never panics, and every finding
/// names a line that exists in the text. `Strict` and `Warn` agree whether there
/// are errors.
///
/// # Panics
/// When a promise is broken.
pub fn manifests(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let [strict, warn] = [Validation::Strict, Validation::Warn].map(|one| parse("f", &text, one));
    // A lone CR also ends a line (YAML 1.2.2, section 5.4).
    let lines = text.split(['\n', '\r']).count();
    for finding in strict.findings.iter().chain(&warn.findings) {
        let line = finding.location.line;
        assert!((1..=lines).contains(&line), "{finding}\nof {lines} lines");
        assert!(!finding.to_string().contains('\n'), "{finding:?}");
    }
    assert_eq!(strict.has_errors(), warn.has_errors());
}

/// A line of a watch and the pieces of a list, for each kind.
pub fn watch(bytes: &[u8]) {
    for kind in Kind::ALL {
        watcher::api::read_any(kind, bytes);
    }
}

/// A datagram from the kernel: tables, connection tracking, errors.
pub fn netlink(bytes: &[u8]) {
    nft::inspect::read_any(bytes);
}
