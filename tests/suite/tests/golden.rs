//! Whole rulesets: as text, in the kernel through `nft -f`, in the kernel through our
//! own netlink code, and read back from both.

#![expect(clippy::unwrap_used, clippy::panic, reason = "every error fails the test")]

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use compiler::Options;
use nft::Kernel;
use nix::sched::{CloneFlags, unshare};
use policy::Snapshot;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use ruleset::plan::plan;
use ruleset::{Ruleset, TableId, text};
use samples::from_scratch::compiled;
use samples::{fixtures, random};
use watcher::Store;
use watcher::files::{self, Validation};

/// Set by `cargo xtask bless` to rewrite the golden files.
const BLESS: &str = "NFTPOL_BLESS";

fn snapshot(file: &Path) -> Snapshot {
    let text = fs::read_to_string(file).unwrap();
    let loaded = files::parse(&file.display().to_string(), &text, Validation::Strict);
    assert!(!loaded.has_errors(), "{:#?}", loaded.findings);
    let store: Store = loaded.objects.into_iter().collect();
    store.snapshot().clone()
}

fn table(snapshot: &Snapshot) -> Ruleset {
    let options = Options { node: Some("n1".to_owned()), ..Options::default() };
    compiled(snapshot, &options).ruleset
}

fn cases() -> Vec<(PathBuf, Ruleset)> {
    let files = fixtures::files("golden").unwrap();
    files.into_iter().map(|(path, _)| (path.clone(), table(&snapshot(&path)))).collect()
}

/// Runs the test in a network namespace of its own.
fn alone<T: Send>(action: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let inside = scope.spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace; this test needs root");
            action()
        });
        inside.join().unwrap()
    })
}

fn load_with_nft(script: &str) {
    let mut nft = Command::new("nft").args(["-f", "-"]).stdin(Stdio::piped()).spawn().unwrap();
    nft.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    assert!(nft.wait().unwrap().success(), "nft refused:\n{script}");
}

fn read_back(kernel: &mut Kernel, table: &TableId) -> Ruleset {
    let dump = kernel.dump(table).unwrap().expect("the table");
    assert!(dump.foreign.is_empty(), "{:#?}", dump.foreign);
    dump.ruleset
}

/// Takes the kernel from its present table to `target`.
fn send(kernel: &mut Kernel, old: Option<&Ruleset>, target: &Ruleset) {
    for batch in plan(old, target).unwrap() {
        kernel.send(&target.id(), &batch, None).unwrap();
    }
}

fn assert_same(seen: &Ruleset, expected: &Ruleset, what: &str) {
    if seen != expected {
        let (seen, expected) = (text::ruleset(seen), text::ruleset(expected));
        assert_eq!(seen, expected, "{what}");
        panic!("{what}: the texts are equal, the values are not");
    }
}

#[test]
fn rulesets_are_as_in_the_golden_files() {
    for (path, table) in cases() {
        let golden = path.with_extension("nft");
        let text = text::ruleset(&table);
        if std::env::var_os(BLESS).is_some() {
            fs::write(&golden, &text).unwrap();
        }
        let expected = fs::read_to_string(&golden).unwrap_or_default();
        assert_eq!(text, expected, "{}; `cargo xtask bless` accepts it", golden.display());
    }
}

#[test]
fn the_kernel_has_the_same_by_text_and_by_netlink() {
    for (path, table) in cases() {
        let name = path.display().to_string();
        alone(|| {
            load_with_nft(&text::ruleset(&table));
            let mut kernel = Kernel::open().unwrap();
            assert_same(&read_back(&mut kernel, &table.id()), &table, &format!("{name} by nft -f"));
        });
        alone(|| {
            let mut kernel = Kernel::open().unwrap();
            send(&mut kernel, None, &table);
            assert_same(
                &read_back(&mut kernel, &table.id()),
                &table,
                &format!("{name} by netlink"),
            );
        });
    }
}

/// Random clusters, one after another in one kernel. The differences lead to the
/// table that compiling from scratch gives, and the kernel refuses none of the
/// batches.
#[test]
fn a_kernel_that_went_through_changes_has_what_compiling_anew_says() {
    const CLUSTERS: usize = 150;
    alone(|| {
        let mut runner = TestRunner::deterministic();
        let mut kernel = Kernel::open().unwrap();
        let mut live: Option<Ruleset> = None;
        for step in 0..CLUSTERS {
            let cluster = random::snapshot().new_tree(&mut runner).unwrap().current();
            let target = table(&cluster);
            send(&mut kernel, live.as_ref(), &target);
            assert_same(&read_back(&mut kernel, &target.id()), &target, &format!("step {step}"));
            live = Some(target);
        }
    });
}
