//! Each transition, from each state.

use nft::TableFingerprint;

use super::*;

const THEN: Generation = Generation(7);
const NOW: Generation = Generation(8);

/// Of two base chains, whose handle this is.
fn fingerprint(handle: u8) -> Fingerprint {
    Fingerprint::of(
        chains().map(|chain| {
            (chain, Some(TableFingerprint { table: vec![handle], chain: vec![handle] }))
        }),
    )
}

/// The table is gone.
fn nothing() -> Fingerprint {
    Fingerprint::of(chains().map(|chain| (chain, None)))
}

fn chains() -> [Name; 2] {
    ["bind", "forward"].map(|name| Name::new(name).unwrap())
}

fn remembered() -> Remembered {
    let ruleset = Arc::new(Ruleset::new(compiler::scaffold::table()));
    Remembered { ruleset: Some(ruleset), foreign: Vec::new(), fingerprint: fingerprint(1) }
}

/// There is no table, and none is wanted.
fn absent() -> KernelTable {
    let table = Remembered { ruleset: None, foreign: Vec::new(), fingerprint: nothing() };
    KernelTable::Exact { table, generation: THEN }
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
    KernelTable::Unfinished { fingerprint: fingerprint(1) }
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
    let same = after(|table| table.others_committed(&fingerprint(1), NOW));
    assert_eq!(same, ["unknown", "unfinished", "trusted", "trusted", "doubted", "touched"]);
}

#[test]
fn another_fingerprint_or_none_is_touched() {
    let expected = ["unknown", "touched", "touched", "touched", "touched", "touched"];
    assert_eq!(after(|table| table.others_committed(&fingerprint(2), NOW)), expected);
    assert_eq!(after(|table| table.others_committed(&nothing(), NOW)), expected);
}

#[test]
fn a_table_without_a_fingerprint_is_never_trusted() {
    for fingerprint in [nothing(), without_a_chain()] {
        let table = Remembered { fingerprint: fingerprint.clone(), ..remembered() };
        let mut known = KernelTable::Exact { table, generation: THEN };
        known.others_committed(&fingerprint, NOW);
        assert!(known.is_touched(), "{known:?}");
    }
}

/// As after `nft delete chain`.
fn without_a_chain() -> Fingerprint {
    let [first, second] = chains();
    let whole = Some(TableFingerprint { table: vec![1], chain: vec![1] });
    Fingerprint::of([(first, None), (second, whole)])
}

#[test]
fn a_base_chain_that_is_gone_is_touched() {
    let expected = ["unknown", "touched", "touched", "touched", "touched", "touched"];
    assert_eq!(after(|table| table.others_committed(&without_a_chain(), NOW)), expected);
}

#[test]
fn a_table_that_shall_not_be_there_and_is_not_needs_no_read() {
    let mut table = absent();
    table.distrust();
    table.others_committed(&nothing(), NOW);
    assert!(table.is_exact_at(NOW), "{table:?}");
    assert!(table.start(NOW).is_some_and(|start| start.ruleset.is_none() && start.is_exact));
    table.others_committed(&without_a_chain(), NOW);
    assert!(table.is_touched(), "others made it: {table:?}");
}

#[test]
fn our_commits_to_another_table_leave_what_is_exact_so() {
    let mut table = exact();
    table.ours_committed_elsewhere(THEN, NOW);
    assert!(table.is_exact_at(NOW));
    table.ours_committed_elsewhere(THEN, Generation(9));
    assert!(table.is_exact_at(NOW), "others committed before them");
    let expected = ["unknown", "unfinished", "exact", "trusted", "doubted", "touched"];
    assert_eq!(after(|table| table.ours_committed_elsewhere(THEN, NOW)), expected);
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
    assert_eq!(after(|table| table.failed(fingerprint(1), false)), expected);
    assert_eq!(after(|table| table.failed(fingerprint(2), true)), expected);
}

#[test]
fn a_failure_before_which_others_changed_the_table_is_touched() {
    let expected = ["unfinished", "unfinished", "touched", "touched", "touched", "touched"];
    assert_eq!(after(|table| table.failed(fingerprint(2), false)), expected);
    assert_eq!(after(|table| table.failed(nothing(), true)), expected);
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
