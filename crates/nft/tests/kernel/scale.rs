//! Large batches, and their times (printed with `--nocapture`).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Instant;

use crate::common::read;
use crate::namespace::{in_namespace, name, table};
use nft::{Errno, Kernel, Refusal, SendError};
use ruleset::{
    AddressRange, AddressTest, Batch, Element, Family, Field, Match, Name, Op, PortRange, Rule,
    SetType, Store, Tag, Transport, Verdict,
};

fn timed<T>(what: &str, body: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let value = body();
    println!("{what}: {:.1} ms", start.elapsed().as_secs_f64() * 1e3);
    value
}

fn v4(number: u32) -> IpAddr {
    Ipv4Addr::from_bits(0x0a00_0000 + number).into()
}

fn v6(number: u32) -> IpAddr {
    Ipv6Addr::from_bits(0xfd00 << 112 | u128::from(number)).into()
}

fn commit(kernel: &mut Kernel, what: &str, ops: Vec<Op>) {
    timed(what, || kernel.send(&table(), &Batch { ops }, None)).expect(what);
}

fn refused(result: Result<(), SendError>) -> Vec<Refusal> {
    let error = result.expect_err("refused");
    assert!(matches!(error, SendError::Refused(_)), "{error}");
    if let SendError::Refused(refusals) = error { refusals } else { Vec::new() }
}

#[test]
fn twenty_thousand_rules() {
    let rules: Vec<Rule> = (0..20_000)
        .map(|number| {
            let set = AddressTest::Set(Family::V4, name("peers"));
            let port = PortRange(number as u16, number as u16);
            let tests =
                [Match::Address(Field::Destination, set), Match::Port(Transport::Tcp, port)];
            Rule::new(tests, Verdict::Return).commented("web/allow-from-frontend")
        })
        .collect();
    let mut ops = vec![
        Op::CreateTable,
        Op::CreateSet(name("peers"), SetType::Address(Family::V4), None),
        Op::CreateChain(name("c"), None, None),
    ];
    ops.extend(rules.iter().map(|rule| Op::AddRule(name("c"), rule.clone())));
    in_namespace(|kernel| {
        commit(kernel, "20,000 rules: encode and commit", ops);
        let found = timed("20,000 rules of one chain: dump", || read(kernel));
        assert_eq!(found.chains[&name("c")].rules, rules);
    });
}

#[test]
fn elements_of_every_type_in_numbers() {
    let one = |number: u32| AddressRange::new(v4(number * 4), v4(number * 4 + 1)).expect("a range");
    type Make = fn(u32) -> Element;
    let types: [(SetType, u32, Make); 5] = [
        (SetType::Address(Family::V4), 200_000, |number| Element::Address(v4(number))),
        (SetType::Address(Family::V6), 100_000, |number| Element::Address(v6(number))),
        (SetType::AddressPort(Family::V4), 100_000, |number| Element::AddressPort(v4(number), 80)),
        (SetType::AddressPair(Family::V6), 100_000, |number| {
            Element::AddressPair(v6(number), v6(number))
        }),
        (SetType::ProtocolPort, 1_000, |number| {
            Element::ProtocolPort(Transport::Tcp, number as u16)
        }),
    ];
    for (set_type, count, element) in types {
        in_namespace(|kernel| {
            let elements: Vec<Element> = (0..count).map(element).collect();
            let create = vec![Op::CreateTable, Op::CreateSet(name("s"), set_type, None)];
            kernel.send(&table(), &Batch { ops: create }, None).expect("create");
            let what = format!("{count} elements of {set_type:?}");
            commit(kernel, &what, vec![Op::AddElements(name("s"), set_type, elements.clone())]);
            let found = timed(&format!("{what}: dump"), || read(kernel));
            assert!(found.sets[&name("s")].elements.iter().eq(&elements), "{what}");
            commit(
                kernel,
                &format!("{what}: delete"),
                vec![Op::DeleteElements(name("s"), set_type, elements)],
            );
            assert!(read(kernel).sets[&name("s")].elements.is_empty());
        });
    }
    in_namespace(|kernel| {
        let set_type = SetType::AddressRange(Family::V4);
        let ranges: Vec<Element> = (0..20_000).map(one).map(Element::Range).collect();
        let ops = vec![
            Op::CreateTable,
            Op::CreateSet(name("s"), set_type, None),
            Op::AddElements(name("s"), set_type, ranges.clone()),
        ];
        commit(kernel, "20,000 ranges", ops);
        let found = timed("20,000 ranges: dump", || read(kernel));
        assert!(found.sets[&name("s")].elements.iter().eq(&ranges));
    });
}

/// After a bulk load the kernel's hash still grows. Meanwhile it lists some
/// elements twice and omits others.
#[test]
fn a_set_that_is_still_growing_is_read_whole() {
    let set_type = SetType::Address(Family::V4);
    let elements: Vec<Element> = (0..100_000).map(|number| Element::Address(v4(number))).collect();
    for _ in 0..4 {
        let ops = vec![
            Op::CreateTable,
            Op::CreateSet(name("s"), set_type, None),
            Op::AddElements(name("s"), set_type, elements.clone()),
        ];
        in_namespace(|kernel| {
            kernel.send(&table(), &Batch { ops }, None).expect("commit");
            assert_eq!(read(kernel).sets[&name("s")].elements.len(), elements.len());
        });
    }
}

/// Stored sets cost by their elements, sets of their own by the square of their number.
#[test]
fn many_stored_sets() {
    const SETS: u32 = 2_000;
    const EACH: u32 = 20;
    let store = Store::Addresses(Family::V4);
    let set = |number: u32| Name::in_store(store, Tag::new(u128::from(number) << 64));
    let elements = |number: u32| -> Vec<Element> {
        (0..EACH).map(|one| Element::Address(v4(number * EACH + one))).collect()
    };
    let mut create: Vec<Op> = vec![Op::CreateTable, Op::CreateChain(name("c"), None, None)];
    create.extend(Store::all().map(|(name, set)| Op::CreateSet(name, set.set_type, None)));
    let fill = (0..SETS).flat_map(|number| {
        let all = Op::AddElements(set(number), store.stores(), elements(number));
        [Op::CreateSet(set(number), store.stores(), None), all]
    });
    let rules: Vec<Rule> = (0..SETS)
        .map(|number| {
            let test = AddressTest::Set(Family::V4, set(number));
            Rule::new([Match::Address(Field::Source, test)], Verdict::Return)
        })
        .collect();
    let ask = rules.iter().map(|rule| Op::AddRule(name("c"), rule.clone()));
    in_namespace(|kernel| {
        commit(kernel, "all stores", create);
        commit(kernel, "40,000 elements of 2,000 stored sets", fill.collect());
        commit(kernel, "2,000 rules that ask them", ask.collect());
        let found = timed("2,000 stored sets: dump", || read(kernel));
        assert_eq!(found.sets.len(), Store::ALL.len() + SETS as usize);
        for number in 0..SETS {
            assert!(found.sets[&set(number)].elements.iter().eq(&elements(number)), "{number}");
        }
        assert_eq!(found.chains[&name("c")].rules, rules);
    });
}

#[test]
fn entries_to_chains_with_the_longest_names() {
    let chain = name(&format!("e.{}", "x".repeat(Name::MAX_BYTES - 2)));
    let entries: Vec<_> = (0..10_000).map(|number| (v4(number), chain.clone())).collect();
    let ops = vec![
        Op::CreateTable,
        Op::CreateChain(chain, None, None),
        Op::CreateMap(name("m"), Family::V4, None),
        Op::AddEntries(name("m"), Family::V4, entries.clone()),
    ];
    in_namespace(|kernel| {
        commit(kernel, "10,000 entries", ops);
        assert!(read(kernel).maps[&name("m")].entries.clone().into_iter().eq(entries));
    });
}

#[test]
fn an_error_at_the_end_of_a_large_batch_is_found() {
    let mut ops = vec![Op::CreateTable, Op::CreateChain(name("c"), None, None)];
    ops.extend((0..20_000).map(|_| Op::AddRule(name("c"), Rule::new([], Verdict::Accept))));
    ops.push(Op::DeleteSet(name("absent")));
    in_namespace(|kernel| {
        let last = ops.len() - 1;
        let result = kernel.send(&table(), &Batch { ops: ops.clone() }, None);
        let refusals = refused(result);
        let found: Vec<_> = refusals.iter().map(|one| (one.op, one.errno)).collect();
        assert_eq!(found, [(last, Errno::ENOENT)]);
        assert_eq!(kernel.dump(&table()).expect("dump"), None);
    });
}

#[test]
fn more_errors_than_the_socket_holds_are_a_refusal() {
    let mut ops = vec![Op::CreateTable];
    ops.extend((0..50_000).map(|_| Op::FlushChain(name("absent"))));
    in_namespace(|kernel| {
        let result = kernel.send(&table(), &Batch { ops }, None);
        let refusals = refused(result);
        println!("{} of 50,000 refusals were kept", refusals.len());
        assert!(refusals.iter().all(|one| one.errno == Errno::ENOENT));
        assert_eq!(kernel.dump(&table()).expect("dump"), None);
        kernel.send(&table(), &Batch { ops: vec![Op::CreateTable] }, None).expect("still works");
    });
}
