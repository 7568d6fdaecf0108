//! Each wrapper returns what was put in, from the object and from a message.

use super::*;
use crate::netlink::messages;

/// The messages that were written.
fn written(kind: i32, body: Body<'_>) -> Vec<u8> {
    let mut all = Messages::new();
    all.push(kind, libc::NFPROTO_INET as u8, libc::NLM_F_CREATE, 7, body).expect("it fits");
    all.bytes().to_vec()
}

#[test]
fn attributes_are_unset_then_what_they_were_set_to() {
    let mut table = Object::<Table>::new();
    assert_eq!(table.get().number(&Table::FLAGS), None);
    assert_eq!(table.get().text(&Table::NAME), None);
    table.number(&Table::FLAGS, 3).text(&Table::NAME, c"nftpol");
    table.text(&Table::NAME, c"again"); // the first is freed
    assert_eq!(table.get().number(&Table::FLAGS), Some(3));
    assert_eq!(table.get().text(&Table::NAME), Some(c"again"));

    let mut chain = Object::<Chain>::new();
    assert_eq!(chain.get().bytes(&Chain::USERDATA), None);
    chain.number(&Chain::PRIORITY, -300).bytes(&Chain::USERDATA, &[1, 2, 3]);
    chain.text(&Chain::TYPE, c"filter");
    assert_eq!(chain.get().number(&Chain::PRIORITY), Some(-300));
    assert_eq!(chain.get().bytes(&Chain::USERDATA), Some(&[1, 2, 3][..]));
    assert_eq!(chain.get().text(&Chain::TYPE), Some(c"filter")); // its length is wrong in libnftnl

    let mut set = Object::<Set>::new();
    set.number(&Set::TIMEOUT, u64::MAX).number(&Set::SIZE, 5);
    assert_eq!(set.get().number(&Set::TIMEOUT), Some(u64::MAX));
    assert_eq!(set.get().number(&Set::SIZE), Some(5));

    let mut log = Object::<Log>::new();
    log.number(&Log::GROUP, 0xabcd).text(&Log::PREFIX, c"x");
    assert_eq!(log.get().number(&Log::GROUP), Some(0xabcd));
    assert_eq!(log.get().text(&Log::PREFIX), Some(c"x"));
}

#[test]
fn bytes_that_an_array_cannot_hold_are_cut() {
    let mut element = Object::<Element>::new();
    element.bytes(&Element::KEY, &[9; 1000]);
    assert_eq!(element.get().bytes(&Element::KEY), Some(&[9; 64][..]));
    element.bytes(&Element::KEY, &[]);
    assert_eq!(element.get().bytes(&Element::KEY), Some(&[][..]));
}

#[test]
fn a_rule_holds_its_expressions_in_order() {
    let mut rule = Object::<Rule>::new();
    assert_eq!(rule.get().expressions().len(), 0);
    rule.push(Object::<Meta>::new());
    let mut cmp = Object::<Cmp>::new();
    cmp.bytes(&Cmp::DATA, &[6]);
    rule.push(cmp);
    rule.push(Object::<Immediate>::new());
    let view = rule.get();
    let all = view.expressions();
    let names: Vec<_> = all.iter().filter_map(Ref::name).collect();
    assert_eq!(names, [c"meta", c"cmp", c"immediate"]);
    assert!(all[1].as_kind::<Meta>().is_none());
    let cmp = all[1].as_kind::<Cmp>().expect("a cmp");
    assert_eq!(cmp.bytes(&Cmp::DATA), Some(&[6][..]));
}

#[test]
fn a_dynset_holds_its_expressions() {
    let mut dynset = Object::<Dynset>::new();
    assert_eq!(dynset.get().expressions().len(), 0);
    dynset.push(Object::<Counter>::new());
    let mut limit = Object::<Limit>::new();
    limit.number(&Limit::RATE, 10);
    dynset.push(limit);
    dynset.text(&Dynset::SET, c"logged4").number(&Dynset::SREG_KEY, 1);
    let mut rule = Object::<Rule>::new();
    rule.push(dynset);
    let message = written(libc::NFT_MSG_NEWRULE, Body::Rule(&rule));
    let rule = parse::<Rule>(&message).expect("a rule");
    let view = rule.get();
    let all = view.expressions();
    let dynset = all[0].as_kind::<Dynset>().expect("a dynset");
    let inner = dynset.expressions();
    let names: Vec<_> = inner.iter().filter_map(Ref::name).collect();
    assert_eq!(names, [c"counter", c"limit"]);
    let limit = inner[1].as_kind::<Limit>().expect("a limit");
    assert_eq!(limit.number(&Limit::RATE), Some(10));
}

#[test]
fn a_set_holds_its_elements() {
    let mut set = Object::<Set>::new();
    set.text(&Set::TABLE, c"nftpol").text(&Set::NAME, c"s");
    assert_eq!(set.get().elements().len(), 0);
    let mut message = Vec::new();
    for number in 0..3 {
        let mut element = Object::<Element>::new();
        element.bytes(&Element::KEY, &[10, 0, 0, number]);
        element.number(&Element::VERDICT, libc::NFT_GOTO.cast_unsigned());
        element.text(&Element::CHAIN, c"chain");
        set.push(element);
        if number == 0 {
            // libnftnl numbers the elements that it writes. It reads only number 1,
            // which the kernel writes.
            message = written(libc::NFT_MSG_NEWSETELEM, Body::Elements(&set));
        }
    }
    for (set, count) in [(set, 3), (parse_elements(&message).expect("elements"), 1)] {
        let view = set.get();
        let all = view.elements();
        assert_eq!(all.len(), count);
        for (number, element) in (0..).zip(&all) {
            assert_eq!(element.bytes(&Element::KEY), Some(&[10, 0, 0, number][..]));
            assert_eq!(element.number(&Element::VERDICT), Some(libc::NFT_GOTO.cast_unsigned()));
            assert_eq!(element.text(&Element::CHAIN), Some(c"chain"));
            assert!(!element.has_expressions());
        }
        assert!(!view.has_expressions());
    }
}

#[test]
fn objects_pass_through_messages() {
    let mut table = Object::<Table>::new();
    table.text(&Table::NAME, c"nftpol");
    let read = parse::<Table>(&written(libc::NFT_MSG_NEWTABLE, Body::Table(&table)));
    assert_eq!(read.expect("a table").get().text(&Table::NAME), Some(c"nftpol"));

    let mut chain = Object::<Chain>::new();
    chain.text(&Chain::TABLE, c"nftpol").text(&Chain::NAME, c"c");
    chain.number(&Chain::HOOK, 2).number(&Chain::PRIORITY, -1);
    let read = parse::<Chain>(&written(libc::NFT_MSG_NEWCHAIN, Body::Chain(&chain)));
    let read = read.expect("a chain");
    assert_eq!(read.get().text(&Chain::NAME), Some(c"c"));
    assert_eq!(read.get().number(&Chain::PRIORITY), Some(-1));

    let mut set = Object::<Set>::new();
    set.text(&Set::TABLE, c"nftpol").text(&Set::NAME, c"s").number(&Set::KEY_TYPE, 461);
    let read = parse::<Set>(&written(libc::NFT_MSG_NEWSET, Body::Set(&set)));
    assert_eq!(read.expect("a set").get().number(&Set::KEY_TYPE), Some(461));
}

#[test]
fn messages_stand_one_after_the_other() {
    let mut all = Messages::new();
    let mut table = Object::<Table>::new();
    table.text(&Table::NAME, c"odd length");
    for number in 0..3 {
        all.push(libc::NFT_MSG_NEWTABLE, 0, 0, number, Body::Table(&table)).expect("it fits");
    }
    all.push(libc::NFT_MSG_GETGEN, 0, 0, 3, Body::Empty).expect("it fits");
    let numbers: Vec<u32> = messages(all.bytes()).map(|one| one.sequence).collect();
    assert_eq!(numbers, [0, 1, 2, 3]);
    all.clear();
    assert!(all.bytes().is_empty());
}

#[test]
fn the_bound_of_an_object_is_never_below_its_message() {
    let mut set = Object::<Set>::new();
    set.text(&Set::TABLE, c"nftpol").text(&Set::NAME, c"s");
    let mut rule = Object::<Rule>::new();
    for number in 0..100_u8 {
        let mut element = Object::<Element>::new();
        element.bytes(&Element::KEY, &vec![number; usize::from(number) % 64 + 1]);
        element.number(&Element::VERDICT, 1).text(&Element::CHAIN, c"a chain");
        set.push(element);
        let mut cmp = Object::<Cmp>::new();
        cmp.number(&Cmp::SREG, 1).number(&Cmp::OP, 0).bytes(&Cmp::DATA, &[number; 33]);
        rule.push(cmp);
        rule.push(Object::<Immediate>::new());
        let mut lookup = Object::<Lookup>::new();
        lookup.text(&Lookup::SET, c"abcde").number(&Lookup::SREG, 1);
        rule.push(lookup);
        for (size, body) in [(set.size(), Body::Elements(&set)), (rule.size(), Body::Rule(&rule))] {
            let length = written(0, body).len() - crate::netlink::HEADERS;
            assert!(length <= size, "{length} > {size}");
        }
    }
}

#[test]
fn what_does_not_fit_is_not_written() {
    let mut set = Object::<Set>::new();
    set.text(&Set::TABLE, c"nftpol").text(&Set::NAME, c"s");
    while set.size() <= LARGEST_BODY {
        let mut element = Object::<Element>::new();
        element.bytes(&Element::KEY, &[0; 4]);
        set.push(element);
    }
    let mut all = Messages::new();
    assert_eq!(all.push(0, 0, 0, 0, Body::Elements(&set)), Err(TooLong));
    assert!(all.bytes().is_empty());
    // The size of a parsed object is unknown, so it is never written.
    let mut table = Object::<Table>::new();
    table.text(&Table::NAME, c"nftpol");
    let read = parse::<Table>(&written(libc::NFT_MSG_NEWTABLE, Body::Table(&table)));
    assert_eq!(all.push(0, 0, 0, 0, Body::Table(&read.expect("a table"))), Err(TooLong));
}

#[test]
fn messages_that_lie_about_their_length_are_not_read() {
    let mut table = Object::<Table>::new();
    table.text(&Table::NAME, c"nftpol");
    let message = written(libc::NFT_MSG_NEWTABLE, Body::Table(&table));
    for length in 0..message.len() {
        assert!(parse::<Table>(&message[..length]).is_none(), "{length} bytes");
    }
    let mut long = message.clone();
    long[0] += 4;
    assert!(parse::<Table>(&long).is_none());
    assert!(parse::<Table>(&[16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]).is_none());
    // A name without a closing NUL ends at the end of the message.
    let mut open = message;
    open.truncate(24 + 4);
    open[0] = 28;
    open[20] = 8;
    assert_eq!(parse::<Table>(&open).expect("a table").get().text(&Table::NAME), Some(c"nftp"));
}

#[test]
fn an_expression_that_libnftnl_does_not_know_is_not_read() {
    let mut rule = Object::<Rule>::new();
    rule.text(&Rule::TABLE, c"nftpol");
    rule.push(Object::<Meta>::new());
    let mut message = written(libc::NFT_MSG_NEWRULE, Body::Rule(&rule));
    assert!(parse::<Rule>(&message).is_some());
    let at = message.windows(4).position(|bytes| bytes == b"meta").expect("the name");
    message[at..at + 4].copy_from_slice(b"zeta");
    assert!(parse::<Rule>(&message).is_none());
}
