//! Each transition, from each state.

use super::*;

const THEN: Generation = Generation(7);
const NOW: Generation = Generation(8);

fn fingerprint(handle: u8) -> TableFingerprint {
    TableFingerprint { table: vec![handle], chain: vec![handle] }
}

fn remembered() -> Remembered {
    let ruleset = Arc::new(Ruleset::new(compiler::scaffold::table()));
    Remembered { ruleset, foreign: Vec::new(), fingerprint: Some(fingerprint(1)) }
}

fn exact() -> KernelTable {
    KernelTable::Exact { table: remembered(), generation: THEN }
}

fn trusted() -> KernelTable {
    KernelTable::Trusted { table: remembered() }
}

fn doubted() -> KernelTable {
    KernelTable::Doubted { table: remembered() }
}

fn unfinished() -> KernelTable {
    KernelTable::Unfinished { fingerprint: Some(fingerprint(1)) }
}

/// Each state in the order of the picture.
fn all() -> [KernelTable; 6] {
    [KernelTable::Unknown, unfinished(), exact(), trusted(), doubted(), KernelTable::Touched]
}

fn name(table: &KernelTable) -> &'static str {
    match table {
        KernelTable::Unknown => "unknown",
        KernelTable::Unfinished { .. } => "unfinished",
        KernelTable::Exact { .. } => "exact",
        KernelTable::Trusted { .. } => "trusted",
        KernelTable::Doubted { .. } => "doubted",
        KernelTable::Touched => "touched",
    }
}

fn after(transition: impl Fn(&mut KernelTable)) -> [&'static str; 6] {
    all().map(|mut table| {
        transition(&mut table);
        name(&table)
    })
}

#[test]
fn commits_of_others_that_leave_the_fingerprint_are_trusted() {
    let same = after(|table| table.others_committed(Some(&fingerprint(1))));
    assert_eq!(same, ["unknown", "unfinished", "trusted", "trusted", "doubted", "touched"]);
}

#[test]
fn another_fingerprint_or_none_is_touched() {
    let expected = ["unknown", "touched", "touched", "touched", "touched", "touched"];
    assert_eq!(after(|table| table.others_committed(Some(&fingerprint(2)))), expected);
    assert_eq!(after(|table| table.others_committed(None)), expected);
}

#[test]
fn a_table_without_a_fingerprint_is_never_trusted() {
    let table = Remembered { fingerprint: None, ..remembered() };
    let mut known = KernelTable::Exact { table, generation: THEN };
    known.others_committed(None);
    assert!(known.is_touched(), "{known:?}");
}

#[test]
fn what_is_distrusted_is_remembered_and_must_be_read() {
    let expected = ["unknown", "unfinished", "doubted", "doubted", "doubted", "touched"];
    assert_eq!(after(KernelTable::distrust), expected);
    let mut table = exact();
    table.distrust();
    assert!(table.start(THEN).is_none());
    assert!(table.remembered_start(THEN).is_some_and(|start| !start.is_exact));
}

#[test]
fn a_failure_keeps_the_fingerprint_that_it_left() {
    let expected =
        ["unfinished", "unfinished", "unfinished", "unfinished", "unfinished", "touched"];
    assert_eq!(after(|table| table.failed(Some(fingerprint(1)), false)), expected);
    assert_eq!(after(|table| table.failed(Some(fingerprint(2)), true)), expected);
}

#[test]
fn a_failure_before_which_others_changed_the_table_is_touched() {
    let expected = ["unfinished", "unfinished", "touched", "touched", "touched", "touched"];
    assert_eq!(after(|table| table.failed(Some(fingerprint(2)), false)), expected);
    assert_eq!(after(|table| table.failed(None, true)), expected);
}

#[test]
fn nothing_is_known_of_a_table_that_was_forgotten() {
    assert_eq!(after(KernelTable::forget), ["unknown"; 6]);
}

#[test]
fn a_change_compares_where_others_may_have_committed() {
    let must = |now| all().map(|table| table.must_be_compared(now));
    assert_eq!(must(THEN), [false, true, false, true, false, false]);
    assert_eq!(must(NOW), [false, true, true, true, false, false]);
}

#[test]
fn a_commit_is_exact_only_if_nobody_else_committed() {
    let exact = after(|table| table.committed(remembered(), Some(NOW)));
    assert_eq!(exact, ["exact"; 6]);
    assert_eq!(after(|table| table.committed(remembered(), None)), ["trusted"; 6]);
}

#[test]
fn a_change_starts_remembered_start_or_must_read() {
    let from = |now| all().map(|table| table.start(now).map(|start| start.is_exact));
    assert_eq!(from(THEN), [None, None, Some(true), Some(false), None, None]);
    assert_eq!(from(NOW), [None, None, Some(false), Some(false), None, None]);
    let last_resort = all().map(|table| table.remembered_start(NOW).is_some());
    assert_eq!(last_resort, [false, false, true, true, true, false]);
}
