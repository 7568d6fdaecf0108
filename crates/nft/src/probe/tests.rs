use super::*;

const ALL: Features = Features {
    log: true,
    conntrack: true,
    maps: true,
    intervals: true,
    concatenations: true,
    binding: true,
    bridge: true,
    fib: true,
};

/// What a kernel has that refuses these operations, and how many tries tell it.
fn probed(refuses: impl Fn(&TableId, &Op) -> bool) -> (Features, usize) {
    let mut tries = 0;
    let found = probe(|tables| {
        tries += 1;
        let refused =
            |(table, batch): &(TableId, Batch)| batch.ops.iter().any(|op| refuses(table, op));
        Ok(!tables.iter().any(refused))
    });
    (found.expect("no error"), tries)
}

#[test]
fn one_try_tells_that_nothing_is_missing() {
    assert_eq!(probed(|_, _| false), (ALL, 1));
}

#[test]
fn each_missing_feature_is_found() {
    let is_bridge = |table: &TableId| table.family == ruleset::TableFamily::Bridge;
    let one_by_one = 2 + INET_FEATURES;
    let bridges = probed(|table, _| is_bridge(table));
    assert_eq!(bridges, (Features { bridge: false, ..ALL }, 3));
    let neither = probed(|table, op| is_bridge(table) || matches!(op, Op::CreateMap(..)));
    let expected = Features { bridge: false, maps: false, ..ALL };
    assert_eq!(neither, (expected, 3 + INET_FEATURES));
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
    let fib = probed(|_, op| match op {
        Op::AddRule(_, rule) => rule.matches.contains(&Match::SourceIsLocal),
        _ => false,
    });
    assert_eq!(fib, (Features { fib: false, ..ALL }, one_by_one));
    let hooks =
        probed(|table, op| !is_bridge(table) && matches!(op, Op::CreateChain(_, Some(_), _)));
    assert_eq!(hooks, (Features { binding: false, ..ALL }, one_by_one));
}
