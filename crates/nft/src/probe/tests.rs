use super::*;

const ALL: Features = Features {
    log: true,
    conntrack: true,
    maps: true,
    intervals: true,
    concatenations: true,
    binding: true,
    bridge: true,
};

/// What a kernel has that refuses these operations, and how many batches tell it.
fn probed(refuses: impl Fn(&TableId, &Op) -> bool) -> (Features, usize) {
    let mut batches = 0;
    let found = probe(|table, batch| {
        batches += 1;
        Ok(!batch.ops.iter().any(|op| refuses(table, op)))
    });
    (found.expect("no error"), batches)
}

#[test]
fn two_batches_tell_that_nothing_is_missing() {
    assert_eq!(probed(|_, _| false), (ALL, 2));
}

#[test]
fn each_missing_feature_is_found() {
    let is_bridge = |table: &TableId| table.family == ruleset::TableFamily::Bridge;
    assert_eq!(probed(|table, _| is_bridge(table)), (Features { bridge: false, ..ALL }, 2));
    let one_by_one = 2 + INET_FEATURES;
    let logs = probed(|_, op| matches!(op, Op::AddRule(_, rule) if rule.log.is_some()));
    assert_eq!(logs, (Features { log: false, ..ALL }, one_by_one));
    let maps = probed(|_, op| matches!(op, Op::CreateMap(..)));
    assert_eq!(maps, (Features { maps: false, ..ALL }, one_by_one));
    let ranges = probed(|_, op| matches!(op, Op::CreateSet(_, SetType::AddressRange(_), _)));
    assert_eq!(ranges, (Features { intervals: false, ..ALL }, one_by_one));
    let pairs = probed(|_, op| matches!(op, Op::CreateSet(_, SetType::AddressPair(_), _)));
    assert_eq!(pairs, (Features { concatenations: false, ..ALL }, one_by_one));
    let states = probed(|_, op| match op {
        Op::AddRule(_, rule) => rule.matches.iter().any(|one| matches!(one, Match::CtState(_))),
        _ => false,
    });
    assert_eq!(states, (Features { conntrack: false, ..ALL }, one_by_one));
    let hooks =
        probed(|table, op| !is_bridge(table) && matches!(op, Op::CreateChain(_, Some(_), _)));
    assert_eq!(hooks, (Features { binding: false, ..ALL }, one_by_one));
}
