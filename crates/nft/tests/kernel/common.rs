//! Shared by the kernel tests: the `nft` program, and a table as one batch.

use std::io::Write;
use std::process::{Command, Stdio};

use nft::Kernel;
use ruleset::{Batch, Element, Op, Ruleset, TableId};

use crate::namespace::table;

/// Runs `nft` in the thread's network namespace with this input.
pub(crate) fn nft(arguments: &[&str], input: &str) -> String {
    let mut child = Command::new("nft")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("start nft(8), which these tests need");
    child.stdin.take().expect("stdin").write_all(input.as_bytes()).expect("write to nft");
    let output = child.wait_with_output().expect("wait for nft");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "nft {arguments:?} on:\n{input}\nfailed: {errors}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The batch that creates a whole table.
pub(crate) fn creation(ruleset: &Ruleset) -> Batch {
    let mut ops = vec![Op::CreateTable];
    for (name, set) in &ruleset.sets {
        ops.push(Op::CreateSet(name.clone(), set.set_type, set.comment.clone()));
        let elements: Vec<Element> = set.elements.iter().copied().collect();
        if !elements.is_empty() {
            ops.push(Op::AddElements(name.clone(), set.set_type, elements));
        }
    }
    for (name, map) in &ruleset.maps {
        ops.push(Op::CreateMap(name.clone(), map.family, map.comment.clone()));
    }
    for (name, chain) in &ruleset.chains {
        ops.push(Op::CreateChain(name.clone(), chain.base, chain.comment.clone()));
    }
    for (name, map) in &ruleset.maps {
        let entries = map.entries.iter().map(|(key, chain)| (*key, chain.clone())).collect();
        ops.push(Op::AddEntries(name.clone(), map.family, entries));
    }
    for (name, chain) in &ruleset.chains {
        ops.extend(chain.rules.iter().map(|rule| Op::AddRule(name.clone(), rule.clone())));
    }
    Batch { ops }
}

/// Reads the table back. It must hold no foreign objects.
pub(crate) fn read(kernel: &mut Kernel) -> Ruleset {
    read_table(kernel, &table())
}

/// As [`read`], of any table.
pub(crate) fn read_table(kernel: &mut Kernel, table: &TableId) -> Ruleset {
    let dump = kernel.dump(table).expect("dump").expect("the table");
    assert_eq!(dump.foreign, []);
    dump.ruleset
}

/// Compares two texts line by line.
pub(crate) fn assert_same_text(ours: &str, theirs: &str) {
    for (number, (our, their)) in ours.lines().zip(theirs.lines()).enumerate() {
        assert_eq!(our, their, "line {number} differs\nours:\n{ours}\nnft's:\n{theirs}");
    }
    assert_eq!(ours.lines().count(), theirs.lines().count());
}
