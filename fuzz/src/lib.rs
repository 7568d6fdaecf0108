//! The inputs from outside that nftpol reads: each target reads any bytes and
//! panics only where a promise is broken.
//!
//! `cargo xtask fuzz MINUTES` searches for such bytes; `tests/corpus.rs`
//! replays what earlier searches found. This file alone knows the entry points
//! of the other crates.

use watcher::Kind;
use watcher::files::{Validation, parse};

/// A target by its name: the name of its program, and of its folder in `corpus`.
pub const TARGETS: [(&str, fn(&[u8])); 3] =
    [("manifests", manifests), ("watch", watch), ("netlink", netlink)];

/// YAML and JSON as people write them: no panic, and every finding names a
/// line that the text has. `Warn` finds whatever `Strict` finds.
///
/// # Panics
/// A promise is broken.
pub fn manifests(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let [strict, warn] = [Validation::Strict, Validation::Warn].map(|one| parse("f", &text, one));
    // A lone CR ends a line, too (YAML 1.2.2, section 5.4).
    let lines = text.split(['\n', '\r']).count();
    for finding in strict.findings.iter().chain(&warn.findings) {
        let line = finding.location.line;
        assert!((1..=lines).contains(&line), "{finding}\nof {lines} lines");
        assert!(!finding.to_string().contains('\n'), "{finding:?}");
    }
    assert_eq!(strict.findings, warn.findings);
}

/// A line of a watch and the pieces of a list, as each kind.
pub fn watch(bytes: &[u8]) {
    for kind in Kind::ALL {
        watcher::api::read_any(kind, bytes);
    }
}

/// A datagram of the kernel: tables, connection tracking, errors.
pub fn netlink(bytes: &[u8]) {
    nft::inspect::read_any(bytes);
}
