//! Each operation, what the kernel refuses, and the resulting table.

use std::net::{IpAddr, Ipv4Addr};

use crate::common::{nft, read};
use crate::namespace::{in_namespace, name, table};
use nft::{Errno, Generation, Kernel, Refusal, SendError};
use ruleset::{
    AddressRange, AddressTest, BaseChain, Batch, Comment, Element, Family, Field, Match, Name, Op,
    Rule, Ruleset, Set, SetType, Store, TableId, Tag, Verdict, VerdictMap,
};

const ADDRESSES: SetType = SetType::Address(Family::V4);
const RANGES: SetType = SetType::AddressRange(Family::V4);

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn address(text: &str) -> Element {
    Element::Address(ip(text))
}

fn range(first: &str, last: &str) -> Element {
    Element::Range(AddressRange::new(ip(first), ip(last)).expect("a range"))
}

fn send(kernel: &mut Kernel, ops: impl IntoIterator<Item = Op>) -> Result<(), SendError> {
    kernel.send(&table(), &Batch { ops: ops.into_iter().collect() }, None)
}

fn commit(kernel: &mut Kernel, ops: impl IntoIterator<Item = Op>) {
    send(kernel, ops).expect("commit");
}

/// The refusals of a batch.
fn refused(result: Result<(), SendError>) -> Vec<Refusal> {
    let error = result.expect_err("refused");
    assert!(matches!(error, SendError::Refused(_)), "{error}");
    if let SendError::Refused(refusals) = error { refusals } else { Vec::new() }
}

/// The refused operations and their errors.
fn refusals(kernel: &mut Kernel, ops: impl IntoIterator<Item = Op>) -> Vec<(usize, Errno)> {
    refused(send(kernel, ops)).iter().map(|refusal| (refusal.op, refusal.errno)).collect()
}

fn set(text: &str, set_type: SetType) -> Op {
    Op::CreateSet(name(text), set_type, None)
}

fn chain(text: &str) -> Op {
    Op::CreateChain(name(text), None, None)
}

fn in_set(text: &str) -> Rule {
    let test = AddressTest::Set(Family::V4, name(text));
    Rule::new([Match::Address(Field::Source, test)], Verdict::Drop)
}

#[test]
fn each_operation_does_what_it_says() {
    in_namespace(|kernel| {
        let mut expected = Ruleset::of(table());
        commit(kernel, [Op::CreateTable]);
        commit(kernel, [Op::CreateTable]); // repeating it is no error
        assert_eq!(read(kernel), expected);

        commit(
            kernel,
            [
                Op::CreateSet(name("s"), ADDRESSES, Some(Comment::new("peers"))),
                set("r", RANGES),
                Op::CreateMap(name("m"), Family::V4, Some(Comment::new("pods"))),
                Op::CreateChain(name("c"), None, Some(Comment::new("a chain"))),
                Op::CreateChain(name("hook"), Some(BaseChain::forward(-1)), None),
            ],
        );
        let peers = Set::new(ADDRESSES, Some(Comment::new("peers")));
        expected.sets.insert(name("s"), peers.clone());
        expected.sets.insert(name("r"), Set::new(RANGES, None));
        let pods = VerdictMap::new(Family::V4, Some(Comment::new("pods")));
        expected.maps.insert(name("m"), pods.clone());
        let mut one =
            ruleset::Chain { comment: Some(Comment::new("a chain")), ..Default::default() };
        expected.chains.insert(name("c"), one.clone().into());
        let base = Some(BaseChain::forward(-1));
        expected.chains.insert(name("hook"), ruleset::Chain { base, ..Default::default() }.into());
        assert_eq!(read(kernel), expected);

        let ranges = [
            range("10.0.0.0", "10.0.0.9"),
            range("10.0.0.10", "10.0.0.20"),
            range("255.0.0.0", "255.255.255.255"),
        ];
        commit(
            kernel,
            [
                Op::AddElements(
                    name("s"),
                    ADDRESSES,
                    vec![address("10.0.0.1"), address("10.0.0.2")],
                ),
                Op::AddElements(name("s"), ADDRESSES, vec![address("10.0.0.2")]), // repeating it is no error
                Op::AddElements(name("r"), RANGES, ranges.to_vec()),
                Op::AddEntries(
                    name("m"),
                    Family::V4,
                    vec![(ip("10.0.0.1"), name("c")), (ip("10.0.0.2"), name("c"))],
                ),
                Op::AddRule(name("c"), in_set("s")),
                Op::AddRule(name("c"), Rule::new([], Verdict::Return).commented("last")),
            ],
        );
        expected
            .sets
            .insert(name("s"), peers.clone().with([address("10.0.0.1"), address("10.0.0.2")]));
        expected.sets.insert(name("r"), Set::new(RANGES, None).with(ranges));
        let mut entries = pods.clone();
        entries.entries =
            ["10.0.0.1", "10.0.0.2"].map(|pod| (ip(pod), name("c"))).into_iter().collect();
        expected.maps.insert(name("m"), entries.clone());
        one.rules = vec![in_set("s"), Rule::new([], Verdict::Return).commented("last")];
        expected.chains.insert(name("c"), one.clone().into());
        assert_eq!(read(kernel), expected);

        commit(
            kernel,
            [
                Op::DeleteElements(name("s"), ADDRESSES, vec![address("10.0.0.1")]),
                Op::DeleteElements(name("r"), RANGES, vec![ranges[1], ranges[2]]),
                Op::DeleteEntries(name("m"), Family::V4, vec![ip("10.0.0.1")]),
                Op::FlushChain(name("c")),
                Op::AddRule(name("c"), Rule::new([], Verdict::Accept)),
            ],
        );
        expected.sets.insert(name("s"), peers.with([address("10.0.0.2")]));
        expected.sets.insert(name("r"), Set::new(RANGES, None).with([ranges[0]]));
        entries.entries.remove(&ip("10.0.0.1"));
        expected.maps.insert(name("m"), entries);
        one.rules = vec![Rule::new([], Verdict::Accept)];
        expected.chains.insert(name("c"), one.into());
        assert_eq!(read(kernel), expected);

        commit(
            kernel,
            [
                Op::DeleteEntries(name("m"), Family::V4, vec![ip("10.0.0.2")]),
                Op::FlushChain(name("c")),
                Op::DeleteChain(name("c")),
                Op::DeleteChain(name("hook")),
                Op::DeleteMap(name("m")),
                Op::DeleteSet(name("s")),
                Op::DeleteSet(name("r")),
            ],
        );
        assert_eq!(read(kernel), Ruleset::of(table()));
    });
}

#[test]
fn a_refusal_names_the_operation_and_nothing_is_applied() {
    in_namespace(|kernel| {
        commit(kernel, [Op::CreateTable, set("s", ADDRESSES), chain("c")]);
        let before = (kernel.generation().expect("generation"), read(kernel));
        let result = send(
            kernel,
            [
                Op::AddElements(name("s"), ADDRESSES, vec![address("10.0.0.1")]),
                chain("d"),
                Op::AddRule(name("c"), in_set("absent")),
                Op::AddRule(name("c"), Rule::new([], Verdict::Accept)),
                Op::DeleteSet(name("gone")),
            ],
        );
        let text = result.as_ref().map_err(ToString::to_string).expect_err("refused");
        let refusals = refused(result);
        let found: Vec<_> =
            refusals.iter().map(|one| (one.op, one.object.clone(), one.errno)).collect();
        let expected =
            [(2, Some(name("c")), Errno::ENOENT), (4, Some(name("gone")), Errno::ENOENT)];
        assert_eq!(found, expected);
        assert!(
            text.starts_with(
                "commit: add a rule to chain c (operation 2): No such file or directory"
            ),
            "{text}"
        );
        assert_eq!((kernel.generation().expect("generation"), read(kernel)), before);
    });
}

/// Stored sets share messages. Sets of their own never did.
#[test]
fn a_refusal_names_the_stored_set() {
    let store = Store::Addresses(Family::V4);
    let stored = |tag| Name::in_store(store, Tag::new(tag));
    let add = |tag| Op::AddElements(stored(tag), ADDRESSES, vec![address("10.0.0.1")]);
    let delete = |tag, list: &[&str]| {
        let elements = list.iter().map(|one| address(one)).collect();
        Op::DeleteElements(stored(tag), ADDRESSES, elements)
    };
    let make = |tag| Op::CreateSet(stored(tag), ADDRESSES, None);
    in_namespace(|kernel| {
        assert_eq!(
            refusals(kernel, [Op::CreateTable, make(1), add(1), make(2), add(2)]),
            [(2, Errno::ENOENT), (4, Errno::ENOENT)]
        );
        commit(kernel, [Op::CreateTable, set("p4", SetType::Store(store)), chain("c")]);
        commit(kernel, [make(1), add(1), make(2), add(2), make(3), add(3)]);
        let before = (kernel.generation().expect("generation"), read(kernel));
        let ops = [
            delete(1, &["10.0.0.1"]),
            Op::DeleteSet(stored(1)),
            delete(2, &["10.0.0.1", "10.0.0.9"]),
            delete(3, &["10.0.0.1"]),
            Op::DeleteSet(stored(3)),
        ];
        let refused = refused(send(kernel, ops));
        let found: Vec<_> =
            refused.iter().map(|one| (one.op, one.object.clone(), one.errno)).collect();
        assert_eq!(found, [(2, Some(stored(2)), Errno::ENOENT)]);
        assert_eq!((kernel.generation().expect("generation"), read(kernel)), before);
    });
}

/// The kernel walks over all names of sets for each message of elements.
#[test]
fn stored_sets_share_messages() {
    let store = Store::Addresses(Family::V4);
    let stored = |tag| Name::in_store(store, Tag::new(tag));
    let elements = |count: u32| -> Vec<Element> {
        (0..count).map(|one| Element::Address(Ipv4Addr::from_bits(one).into())).collect()
    };
    let filled = |tag, count| {
        let create = Op::CreateSet(stored(tag), ADDRESSES, None);
        [create, Op::AddElements(stored(tag), ADDRESSES, elements(count))]
    };
    // `nlmsghdr` begins with the length.
    let messages = |ops: Vec<Op>| {
        let bytes = nft::inspect::encoded(&table(), &Batch { ops }).expect("a batch");
        let mut rest = bytes.as_slice();
        let mut count = 0;
        while let Some(length) = rest.first_chunk() {
            rest = &rest[u32::from_ne_bytes(*length) as usize..];
            count += 1;
        }
        count
    };
    const MARKS: usize = 2;
    assert_eq!(messages((0..100).flat_map(|tag| filled(tag, 5)).collect()), MARKS + 1);
    assert_eq!(messages((0..100).flat_map(|tag| filled(tag, 0)).collect()), MARKS);
    let many = messages((0..3).flat_map(|tag| filled(tag, 5_000)).collect());
    assert!((MARKS + 8..=MARKS + 16).contains(&many), "{many} messages for 15,000 elements");
    // Another operation in between keeps its place.
    let mut apart = vec![Op::CreateTable];
    apart.extend(filled(1, 5));
    apart.push(chain("c"));
    apart.extend(filled(2, 5));
    apart.push(Op::DeleteElements(stored(1), ADDRESSES, elements(5)));
    assert_eq!(messages(apart), MARKS + 5);
}

#[test]
fn stored_sets_come_and_go_with_their_elements() {
    let store = Store::Addresses(Family::V4);
    let stored = |tag| Name::in_store(store, Tag::new(tag));
    in_namespace(|kernel| {
        let mut expected = Ruleset::of(table());
        expected.sets.extend(Store::all());
        let stores = Store::all().map(|(name, set)| Op::CreateSet(name, set.set_type, None));
        commit(kernel, [Op::CreateTable, chain("c")].into_iter().chain(stores));
        let one = Op::AddElements(stored(1), ADDRESSES, vec![address("10.0.0.1")]);
        let two = Op::AddElements(stored(2), ADDRESSES, vec![address("10.0.0.1")]);
        let rule = Rule::new(
            [Match::Address(Field::Source, AddressTest::Set(Family::V4, stored(3)))],
            Verdict::Drop,
        );
        let make = |tag| Op::CreateSet(stored(tag), ADDRESSES, None);
        commit(kernel, [make(1), one, make(2), two, make(3), make(4)]);
        commit(kernel, [Op::AddRule(name("c"), rule.clone())]);
        let of = |elements: &[Element]| Set::new(ADDRESSES, None).with(elements.iter().copied());
        expected.sets.insert(stored(1), of(&[address("10.0.0.1")]));
        expected.sets.insert(stored(2), of(&[address("10.0.0.1")]));
        expected.sets.insert(stored(3), of(&[]));
        let asking = ruleset::Chain { rules: vec![rule], ..ruleset::Chain::default() };
        expected.chains.insert(name("c"), asking.into());
        assert_eq!(read(kernel), expected);
        let gone = Op::DeleteElements(stored(1), ADDRESSES, vec![address("10.0.0.1")]);
        commit(kernel, [gone, Op::DeleteSet(stored(1)), Op::FlushChain(name("c"))]);
        commit(kernel, [Op::DeleteSet(stored(3))]);
        expected.sets.remove(&stored(1));
        expected.sets.remove(&stored(3));
        expected.chains.insert(name("c"), ruleset::Chain::default().into());
        assert_eq!(read(kernel), expected);
    });
}

#[test]
fn what_the_kernel_refuses() {
    in_namespace(|kernel| {
        commit(
            kernel,
            [
                Op::CreateTable,
                set("s", ADDRESSES),
                set("r", RANGES),
                chain("c"),
                chain("d"),
                chain("e"),
                Op::CreateMap(name("m"), Family::V4, None),
                Op::AddEntries(name("m"), Family::V4, vec![(ip("10.0.0.1"), name("c"))]),
                Op::AddElements(name("r"), RANGES, vec![range("10.0.0.0", "10.0.0.9")]),
                Op::AddRule(name("d"), in_set("s")),
                Op::AddRule(name("d"), Rule::new([], Verdict::Jump(name("e")))),
            ],
        );
        let (entry, one) = ((ip("10.0.0.1"), name("d")), || vec![address("10.0.0.1")]);
        let too_long = Rule::new(
            (0..2000)
                .map(|_| Match::Address(Field::Source, AddressTest::Set(Family::V4, name("s")))),
            Verdict::Drop,
        );
        let cases: [(&str, Op, Errno); 14] = [
            ("a set that exists", set("s", ADDRESSES), Errno::EEXIST),
            ("a chain that exists", chain("c"), Errno::EEXIST),
            ("a map by a set's name", Op::CreateMap(name("s"), Family::V4, None), Errno::EEXIST),
            ("a set that a rule uses", Op::DeleteSet(name("s")), Errno::EBUSY),
            ("a chain that a map goes to", Op::DeleteChain(name("c")), Errno::EBUSY),
            ("a chain that a rule jumps to", Op::DeleteChain(name("e")), Errno::EBUSY),
            (
                "an element that is not there",
                Op::DeleteElements(name("s"), ADDRESSES, one()),
                Errno::ENOENT,
            ),
            ("an element of no set", Op::AddElements(name("x"), ADDRESSES, one()), Errno::ENOENT),
            (
                "an entry to no chain",
                Op::AddEntries(name("m"), Family::V4, vec![(ip("10.0.0.9"), name("x"))]),
                Errno::ENOENT,
            ),
            (
                "another chain for a key",
                Op::AddEntries(name("m"), Family::V4, vec![entry]),
                Errno::EEXIST,
            ),
            (
                "a range that overlaps",
                Op::AddElements(name("r"), RANGES, vec![range("10.0.0.5", "10.0.0.20")]),
                Errno::EEXIST,
            ),
            ("no such chain to flush", Op::FlushChain(name("x")), Errno::ENOENT),
            ("a rule in no chain", Op::AddRule(name("x"), in_set("s")), Errno::ENOENT),
            ("a rule longer than a message", Op::AddRule(name("c"), too_long), Errno::EMSGSIZE),
        ];
        let before = read(kernel);
        for (case, op, errno) in cases {
            let ops = [chain("first"), op, chain("last")];
            assert_eq!(refusals(kernel, ops), [(1, errno)], "{case}");
        }
        assert_eq!(read(kernel), before);
        // Deleting the entry and the chain in one batch is fine.
        commit(
            kernel,
            [
                Op::DeleteEntries(name("m"), Family::V4, vec![ip("10.0.0.1")]),
                Op::DeleteChain(name("c")),
            ],
        );
    });
}

#[test]
fn a_loop_of_jumps_is_refused() {
    in_namespace(|kernel| {
        let jump = |to| Rule::new([], Verdict::Jump(name(to)));
        let result = send(
            kernel,
            [
                Op::CreateTable,
                Op::CreateChain(name("hook"), Some(BaseChain::forward(0)), None),
                chain("a"),
                chain("b"),
                Op::AddRule(name("hook"), jump("a")),
                Op::AddRule(name("a"), jump("b")),
                Op::AddRule(name("b"), jump("a")),
            ],
        );
        assert!(
            matches!(result, Err(SendError::Refused(_) | SendError::RefusedWhole(_))),
            "{result:?}"
        );
        assert_eq!(kernel.dump(&table()).expect("dump"), None);
    });
}

#[test]
fn no_operation_without_the_table() {
    in_namespace(|kernel| {
        assert_eq!(refusals(kernel, [chain("c")]), [(0, Errno::ENOENT)]);
        assert_eq!(kernel.dump(&table()).expect("dump"), None);
        commit(kernel, []);
    });
}

#[test]
fn a_batch_for_another_generation_is_refused() {
    in_namespace(|kernel| {
        commit(kernel, [Op::CreateTable]);
        let Generation(number) = kernel.generation().expect("generation");
        let batch = Batch { ops: vec![chain("c")] };
        nft(&["add", "table", "ip", "other"], "");
        assert_eq!(kernel.generation().expect("generation"), Generation(number + 1));
        let stale = kernel.send(&table(), &batch, Some(Generation(number)));
        assert!(matches!(stale, Err(SendError::GenerationMoved)), "{stale:?}");
        assert_eq!(read(kernel), Ruleset::of(table()));
        kernel
            .send(&table(), &batch, Some(Generation(number + 1)))
            .expect("the present generation");
        assert_eq!(kernel.generation().expect("generation"), Generation(number + 2));
        let dump = kernel.dump(&table()).expect("dump").expect("the table");
        assert_eq!(dump.generation, Generation(number + 2));
    });
}

#[test]
fn tables_are_found_and_deleted() {
    in_namespace(|kernel| {
        assert_eq!(kernel.tables().expect("tables"), []);
        let bridge = TableId::bridge(name("nftpol"));
        let later = TableId::inet(name("nftpol-2"));
        assert!(!kernel.delete_table(&table()).expect("delete"));
        assert!(!kernel.delete_table(&bridge).expect("delete"));
        nft(&["-f", "-"], "table inet nftpol { }
             table inet nftpol-2 { chain d { }; chain c { type filter hook forward priority 0; jump d; }; }
             table bridge nftpol { chain c { type filter hook postrouting priority 310; }; }
             table bridge nftpol-x { }
             table inet other { }
             table inet nftpolicy { }
             table inet nftpol-old { }
             table ip nftpol-3 { }
            ");
        let all = [table(), later.clone(), bridge.clone()];
        assert_eq!(kernel.tables().expect("tables"), all);
        assert!(kernel.delete_table(&later).expect("delete"));
        assert_eq!(kernel.tables().expect("tables"), [table(), bridge.clone()]);
        assert!(kernel.delete_table(&table()).expect("delete"));
        assert_eq!(
            kernel.tables().expect("tables"),
            std::slice::from_ref(&bridge),
            "of the same name"
        );
        assert!(kernel.delete_table(&bridge).expect("delete"));
        assert_eq!(kernel.tables().expect("tables"), []);
        let left = nft(&["list", "tables"], "");
        for other in
            ["bridge nftpol-x", "inet other", "inet nftpolicy", "inet nftpol-old", "ip nftpol-3"]
        {
            assert!(left.contains(&format!("table {other}\n")), "{other} is not in {left}");
        }
    });
}

#[test]
fn a_dormant_table_is_seen_and_woken() {
    in_namespace(|kernel| {
        nft(
            &["-f", "-"],
            "table inet nftpol { flags dormant; chain c { type filter hook forward priority 0; }; }\n",
        );
        let dump = kernel.dump(&table()).expect("dump").expect("the table");
        let kinds: Vec<_> = dump.foreign.iter().map(|one| one.kind).collect();
        assert_eq!(kinds, [nft::ForeignKind::Table]);
        commit(kernel, [Op::CreateTable]);
        assert_eq!(kernel.dump(&table()).expect("dump").expect("the table").foreign, []);
    });
}

#[test]
fn probing_leaves_nothing() {
    in_namespace(|kernel| {
        nft(&["add", "table", "inet", "other"], "");
        let before = (nft(&["list", "ruleset"], ""), kernel.generation().expect("generation"));
        let features = kernel.probe().expect("probe");
        let after = (nft(&["list", "ruleset"], ""), kernel.generation().expect("generation"));
        assert_eq!(after, before);
        // This holds on every kernel that these tests support.
        let all = nft::Features {
            log: true,
            conntrack: true,
            maps: true,
            intervals: true,
            concatenations: true,
            binding: true,
            bridge: true,
            fib: true,
        };
        assert_eq!(features, all);
    });
}
