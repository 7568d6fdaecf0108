//! Compares our messages with nftnl's, byte by byte.
//!
//! Ignores NLM_F_ACK, which nftnl sets on every message, and sequence numbers.
//! [`Difference`] lists everything else that may differ, each with its reason. A
//! listed difference that does not occur fails, too.

use std::ffi::{CStr, CString};

use nftnl::set::{Set, SetKey};
use nftnl::{Batch, Chain, ChainType, Hook, MsgType, NlMsg, Policy, ProtoFamily, Rule, Table};
use ruleset::{BaseChain, Element, Name, Op, SetType, Store, TableFamily, TableId, Tag};

use crate::message::{Attribute, Message, messages};
use crate::{frames, rules, sets};

/// How the two may differ.
pub(crate) enum Difference {
    /// Flags of the header: ours, theirs, why.
    Flags(i32, i32, &'static str),
    /// Attributes of ours that nftnl cannot express, and why.
    OnlyOurs(fn(Attribute<'_>) -> bool, &'static str),
    /// Attributes of nftnl that we leave out, and why.
    OnlyTheirs(fn(Attribute<'_>) -> bool, &'static str),
}

use Difference::{Flags, OnlyOurs, OnlyTheirs};

/// Marks the number of a set in nftnl's look-ups.
pub(crate) const SET_ID: u32 = 0x5e7_1d5e;

/// What was compared.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    messages: usize,
    objects: usize,
    rules: usize,
    expressions: usize,
    bytes: usize,
}

pub(crate) fn name(text: &str) -> Name {
    Name::new(text).expect("a name")
}

pub(crate) fn table() -> Table {
    table_of(TableFamily::Inet)
}

pub(crate) fn table_of(family: TableFamily) -> Table {
    Table::new(c"nftpol", proto_family(family))
}

pub(crate) const fn proto_family(family: TableFamily) -> ProtoFamily {
    match family {
        TableFamily::Inet => ProtoFamily::Inet,
        TableFamily::Bridge => ProtoFamily::Bridge,
    }
}

/// Our messages of an operation, without the marks of the batch.
fn ours(family: TableFamily, op: Op) -> Vec<Message> {
    let batch = ruleset::Batch { ops: vec![op] };
    let table = TableId { family, name: name("nftpol") };
    let bytes = nft::inspect::encoded(&table, &batch).expect("a batch");
    let all = within_marks(&bytes);
    for message in &all {
        assert_eq!(message, &message.without(&|_| false).0, "padding that is not zero");
    }
    all
}

fn within_marks(bytes: &[u8]) -> Vec<Message> {
    let mut all = messages(bytes);
    assert!(all.len() > 2, "a begin, messages, an end");
    all.pop();
    all.remove(0);
    all
}

/// nftnl's messages for what is put into a batch.
fn theirs(fill: impl FnOnce(&mut Batch)) -> Vec<Message> {
    let mut batch = Batch::new();
    fill(&mut batch);
    let bytes: Vec<u8> = batch.finalize().iter().flatten().copied().collect();
    let mut all = within_marks(&bytes);
    for message in &mut all {
        message.flags &= !(libc_flags::ACK as u16);
        // Its padding is whatever the buffer contained before.
        (*message, _) = message.without(&|_| false);
    }
    all
}

/// NLM_F_*, include/uapi/linux/netlink.h.
mod libc_flags {
    pub(crate) const REQUEST: i32 = 0x1;
    pub(crate) const ACK: i32 = 0x4;
    pub(crate) const EXCL: i32 = 0x200;
    pub(crate) const CREATE: i32 = 0x400;
    pub(crate) const APPEND: i32 = 0x800;
}
use libc_flags::{APPEND, CREATE, EXCL, REQUEST};

fn compare(
    what: &str,
    mut ours: Vec<Message>,
    mut theirs: Vec<Message>,
    differences: &[Difference],
    counts: &mut Counts,
) {
    counts.messages += ours.len();
    counts.expressions += ours.iter().map(Message::expressions).sum::<usize>();
    counts.bytes += ours.iter().map(|one| one.attributes.len()).sum::<usize>();
    for difference in differences {
        match difference {
            Flags(our, their, why) => {
                for (mine, other) in ours.iter_mut().zip(&theirs) {
                    assert_eq!(i32::from(mine.flags), our | REQUEST, "{what}: {why}");
                    assert_eq!(i32::from(other.flags), their | REQUEST, "{what}: {why}");
                    mine.flags = other.flags;
                }
            }
            OnlyOurs(is_so, why) => remove(&mut ours, is_so, &format!("{what}: {why}")),
            OnlyTheirs(is_so, why) => remove(&mut theirs, is_so, &format!("{what}: {why}")),
        }
    }
    assert!(ours == theirs, "{what} differs\nours:   {ours:?}\ntheirs: {theirs:?}");
}

fn remove(messages: &mut [Message], is_so: &fn(Attribute<'_>) -> bool, what: &str) {
    let mut all = 0;
    for message in messages {
        let removed;
        (*message, removed) = message.without(is_so);
        all += removed;
    }
    assert!(all > 0, "a listed difference does not occur: {what}");
}

/// NFTA_SET_FLAGS, NFTA_SET_USERDATA, NFTA_CHAIN_*.
const IS_SET_FLAGS: fn(Attribute<'_>) -> bool = |(depth, kind, _)| depth == 0 && kind == 3;
const IS_SET_USERDATA: fn(Attribute<'_>) -> bool = |(depth, kind, _)| depth == 0 && kind == 13;
/// NFTA_SET_FLAGS, KEY_TYPE, KEY_LEN, ID.
const IS_SET_SHAPE: fn(Attribute<'_>) -> bool =
    |(depth, kind, _)| depth == 0 && matches!(kind, 3 | 4 | 5 | 10);
/// NFTA_SET_ELEM_LIST_SET_ID.
const IS_LIST_SET_ID: fn(Attribute<'_>) -> bool = |(depth, kind, _)| depth == 0 && kind == 4;
/// NFTA_LOOKUP_SET_ID.
pub(crate) const IS_LOOKUP_SET_ID: fn(Attribute<'_>) -> bool =
    |(_, kind, value)| kind == 4 && value == SET_ID.to_be_bytes();

/// NFTA_BITWISE_OP, NFT_BITWISE_BOOL.
const IS_BITWISE_DEFAULT: fn(Attribute<'_>) -> bool =
    |(depth, kind, value)| depth == 3 && kind == 6 && value == [0; 4];

const NOT_TWICE: &str = "ours refuses an object that is there; nftnl takes it";

/// Adds one message.
fn one<T: NlMsg>(message: &T, kind: MsgType) -> Vec<Message> {
    theirs(|batch| batch.add(message, kind))
}

fn tables_and_chains(family: TableFamily, counts: &mut Counts) {
    let ours = |op| ours(family, op);
    let table = table_of(family);
    let creates = "ours makes the table; nftnl's message can only wake one that is there";
    compare(
        "a table",
        ours(Op::CreateTable),
        one(&table, MsgType::Add),
        &[Flags(CREATE, 0, creates)],
        counts,
    );
    let mut chain = Chain::new(c"e.one", &table);
    let create = |base| Op::CreateChain(name("e.one"), base, None);
    let differences = [Flags(CREATE | EXCL, CREATE, NOT_TWICE)];
    compare("a chain", ours(create(None)), one(&chain, MsgType::Add), &differences, counts);
    let delete = ours(Op::DeleteChain(name("e.one")));
    compare("a chain's end", delete, one(&chain, MsgType::Del), &[], counts);
    let flush = Rule::new(&chain);
    let ours_flush = ours(Op::FlushChain(name("e.one")));
    compare("all rules' end", ours_flush, one(&flush, MsgType::Del), &[], counts);
    drop(flush);
    let hooks = [
        (ruleset::Hook::Prerouting, Hook::PreRouting),
        (ruleset::Hook::Input, Hook::In),
        (ruleset::Hook::Forward, Hook::Forward),
        (ruleset::Hook::Output, Hook::Out),
        (ruleset::Hook::Postrouting, Hook::PostRouting),
    ];
    for (hook, their_hook) in hooks {
        for priority in [0, -310, 300] {
            chain.set_type(ChainType::Filter);
            chain.set_hook(their_hook, priority);
            chain.set_policy(Policy::Accept);
            let base = ours(create(Some(BaseChain { hook, priority })));
            compare("a base chain", base, one(&chain, MsgType::Add), &differences, counts);
            counts.objects += 1;
        }
    }
    counts.objects += 4;
}

/// A set with elements: created, filled, emptied, deleted.
pub(crate) fn set<K: SetKey>(
    family: TableFamily,
    set_type: SetType,
    elements: Vec<(Element, K)>,
    counts: &mut Counts,
) {
    let ours = |op| ours(family, op);
    let (what, table) = (format!("{set_type:?}"), table_of(family));
    // Ours numbers a set by its message: the first after the batch's begin.
    let mut set = Set::<K>::new_named(c"set", 2, &table, proto_family(family));
    let differences = [
        Flags(CREATE | EXCL, CREATE | APPEND, NOT_TWICE),
        OnlyOurs(IS_SET_FLAGS, "nftnl leaves out flags that are 0"),
        OnlyOurs(IS_SET_USERDATA, "nftnl says no user data of sets; nft(8) reads ours"),
    ];
    let create = ours(Op::CreateSet(name("set"), set_type, None));
    compare(&what, create, one(&set, MsgType::Add), &differences, counts);
    let whole = [
        Flags(0, CREATE | APPEND, "nftnl sends a deletion with the flags of a new set"),
        OnlyTheirs(IS_SET_SHAPE, "nftnl says a set's type when it deletes it"),
    ];
    let delete = ours(Op::DeleteSet(name("set")));
    compare(&what, delete, one(&set, MsgType::Del), &whole, counts);
    let (elements, keys): (Vec<Element>, Vec<K>) = elements.into_iter().unzip();
    keys.iter().for_each(|key| set.add(key));
    let by_name = OnlyTheirs(IS_LIST_SET_ID, "nftnl says a set's number beside its name");
    let exclusive = Flags(CREATE, CREATE | EXCL, "ours takes an element that is there");
    let add = ours(Op::AddElements(name("set"), set_type, elements.clone()));
    let added = theirs(|batch| batch.add_iter(set.elems_iter(), MsgType::Add));
    compare(&what, add, added, &[exclusive, by_name], counts);
    let by_name = OnlyTheirs(IS_LIST_SET_ID, "nftnl says a set's number beside its name");
    let remove = ours(Op::DeleteElements(name("set"), set_type, elements));
    let removed = theirs(|batch| batch.add_iter(set.elems_iter(), MsgType::Del));
    compare(&what, remove, removed, &[by_name], counts);
    counts.objects += 2 + 2 * keys.len();
}

/// A store, and elements of a set in it. Their keys begin with the tag.
pub(crate) fn stored<K: SetKey>(store: Store, elements: Vec<(Element, K)>, counts: &mut Counts) {
    let family = TableFamily::Inet;
    let (what, table) = (format!("{store:?}"), table_of(family));
    let of_store = CString::new(store.name()).expect("a name");
    let mut set = Set::<K>::new_named(&of_store, 2, &table, proto_family(family));
    let differences = [
        Flags(CREATE | EXCL, CREATE | APPEND, NOT_TWICE),
        OnlyOurs(IS_SET_FLAGS, "nftnl leaves out flags that are 0"),
        OnlyOurs(IS_SET_USERDATA, "nftnl says no user data of sets; nft(8) reads ours"),
    ];
    let create = Op::CreateSet(Name::of_store(store), SetType::Store(store), None);
    compare(&what, ours(family, create), one(&set, MsgType::Add), &differences, counts);
    let (elements, keys): (Vec<Element>, Vec<K>) = elements.into_iter().unzip();
    keys.iter().for_each(|key| set.add(key));
    let name = Name::in_store(store, Tag::new(sets::TAG));
    let by_name = || OnlyTheirs(IS_LIST_SET_ID, "nftnl says a set's number beside its name");
    let exclusive = Flags(CREATE, CREATE | EXCL, "ours takes an element that is there");
    let add = Op::AddElements(name.clone(), store.stores(), elements.clone());
    let added = theirs(|batch| batch.add_iter(set.elems_iter(), MsgType::Add));
    compare(&what, ours(family, add), added, &[exclusive, by_name()], counts);
    let remove = Op::DeleteElements(name, store.stores(), elements);
    let removed = theirs(|batch| batch.add_iter(set.elems_iter(), MsgType::Del));
    compare(&what, ours(family, remove), removed, &[by_name()], counts);
    counts.objects += 1 + 2 * keys.len();
}

fn rules(family: TableFamily, cases: Vec<rules::Case>, counts: &mut Counts) {
    let ours = |op| ours(family, op);
    let table = table_of(family);
    let chain = Chain::new(c"e.one", &table);
    for rules::Case { rule, build } in cases {
        let what = format!("{rule:?}");
        let mut other = Rule::new(&chain);
        build(&mut other);
        if let Some(comment) = &rule.comment {
            let comment = CString::new(comment.as_str()).expect("text");
            other.set_comment::<&CStr>(&comment).expect("a comment");
        }
        let mut differences = vec![Flags(
            CREATE | APPEND,
            CREATE | APPEND | EXCL,
            "nftnl refuses to replace a rule; ours names none to replace",
        )];
        if rule.lookups().next().is_some() {
            let why = "nftnl says a set's number beside its name";
            differences.push(OnlyTheirs(IS_LOOKUP_SET_ID, why));
        }
        let mine = ours(Op::AddRule(name("e.one"), rule));
        if mine.iter().any(|one| one.attributes.windows(8).any(|name| name == b"bitwise\0")) {
            let why = "nftnl leaves out the operation that is the kernel's default";
            differences.push(OnlyOurs(IS_BITWISE_DEFAULT, why));
        }
        compare(&what, mine, one(&other, MsgType::Add), &differences, counts);
        counts.rules += 1;
    }
}

#[test]
fn nftnl_makes_the_same_messages() {
    let mut counts = Counts::default();
    for family in [TableFamily::Inet, TableFamily::Bridge] {
        tables_and_chains(family, &mut counts);
        rules(family, frames::cases(family), &mut counts);
        sets::keys(family, &mut counts);
    }
    sets::sets(&mut counts);
    sets::stored_sets(&mut counts);
    rules(TableFamily::Inet, rules::cases(), &mut counts);
    println!("oracle: nftnl makes the same of {counts:?}");
    for (what, why) in rules::NOT_COMPARED {
        println!("oracle: not compared: {what}: {why}");
    }
    assert!(counts.rules > 300 && counts.expressions > 1000, "{counts:?}");
}
