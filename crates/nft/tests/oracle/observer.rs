//! What the kernel holds after our writer has committed. Another program reads it:
//! mnl. This file parses the few attributes.

use std::collections::BTreeMap;

use mnl::{Bus, Socket};
use nft::Kernel;
use nix::sched::{CloneFlags, unshare};
use ruleset::{
    AddressRange, AddressTest, BaseChain, Batch, Comment, Element, Family, Field, Finish, Hook,
    Match, Op, Rule, SetType, TableId, Verdict,
};

use crate::message::{Message, attribute, attributes, messages};
use crate::writer::name;

/// `enum nf_tables_msg_types`, and the subsystem of nf_tables.
const SUBSYSTEM: u16 = 10 << 8;
const GET_TABLE: u16 = 1;
const GET_CHAIN: u16 = 4;
const GET_RULE: u16 = 7;
const GET_SET: u16 = 10;
const GET_ELEMENTS: u16 = 13;
/// NFTA_SET_ELEM_LIST_ELEMENTS, NFTA_RULE_EXPRESSIONS.
const LIST_ELEMENTS: u16 = 3;
const RULE_EXPRESSIONS: u16 = 4;
/// NLM_F_REQUEST, and NLM_F_DUMP.
const REQUEST: u16 = 0x1;
const DUMP: u16 = 0x300;
const NFPROTO_INET: u8 = 1;

/// A request with strings as its attributes.
fn request(kind: u16, texts: &[(u16, &str)]) -> Vec<u8> {
    let mut body = vec![NFPROTO_INET, 0, 0, 0];
    for (attribute, text) in texts {
        let length = u16::try_from(4 + text.len() + 1).expect("a length");
        body.extend(length.to_ne_bytes());
        body.extend(attribute.to_ne_bytes());
        body.extend(text.bytes());
        body.push(0);
        body.resize(body.len().next_multiple_of(4), 0);
    }
    let mut all = Vec::new();
    all.extend(u32::try_from(16 + body.len()).expect("a length").to_ne_bytes());
    all.extend((SUBSYSTEM | kind).to_ne_bytes());
    all.extend((REQUEST | DUMP).to_ne_bytes());
    all.extend([1, 0, 0, 0, 0, 0, 0, 0]);
    all.extend(body);
    all
}

/// What the kernel lists.
fn list(socket: &Socket, kind: u16, texts: &[(u16, &str)]) -> Vec<Message> {
    /// NLMSG_DONE, and the first type that is not netlink's own.
    const DONE: u16 = 3;
    const ERROR: u16 = 2;
    const ENOENT: i32 = 2;
    const FIRST_TYPE: u16 = 0x10;
    socket.send(&request(kind, texts)).expect("a request");
    let mut found = Vec::new();
    let mut buffer = vec![0; 64 << 10];
    loop {
        let bytes = socket.recv_raw(&mut buffer).expect("an answer");
        for message in messages(&buffer[..bytes]) {
            // The kernel does not list the sets of a missing table.
            let is_missing = message.generic == (-ENOENT).to_ne_bytes();
            if message.kind == DONE || message.kind == ERROR && is_missing {
                return found;
            }
            assert!(message.kind >= FIRST_TYPE, "an error: {message:?}");
            found.push(message);
        }
    }
}

/// Hook and priority of a base chain, and the number of rules.
type SeenChain = (Option<(u32, i32)>, usize);
/// Type of key, length of key, flags, keys.
type SeenSet = (u32, u32, u32, Vec<Vec<u8>>);

/// What an outside observer sees of a table.
#[derive(Debug, PartialEq)]
struct Seen {
    /// Names of tables.
    tables: Vec<String>,
    /// Chains: name, hook and priority, how many rules.
    chains: BTreeMap<String, SeenChain>,
    /// Rules: chain, names of expressions.
    rules: Vec<(String, Vec<String>)>,
    /// Sets and maps: name, type of key, length of key, flags, keys.
    sets: BTreeMap<String, SeenSet>,
}

fn number(bytes: &[u8]) -> u32 {
    u32::from_be_bytes(bytes.try_into().expect("4 bytes"))
}

fn look(socket: &Socket) -> (Seen, BTreeMap<String, u64>) {
    let mut handles = BTreeMap::new();
    let mut handle = |what: String, message: &Message, kind: u16| {
        let bytes = message.attribute(kind).expect("a handle");
        handles.insert(what, u64::from_be_bytes(bytes.try_into().expect("8 bytes")));
    };
    let tables = list(socket, GET_TABLE, &[]);
    tables.iter().for_each(|one| handle(format!("table {}", one.text(1)), one, 4));
    let rules = list(socket, GET_RULE, &[(1, "nftpol")]);
    let mut chains = BTreeMap::new();
    for one in list(socket, GET_CHAIN, &[]) {
        let hook = one.attribute(4).map(|hook| {
            let part = |kind| number(attribute(hook, kind).expect("a number"));
            (part(1), part(2).cast_signed())
        });
        let name = one.text(3);
        handle(format!("chain {name}"), &one, 2);
        let count = rules.iter().filter(|rule| rule.text(2) == name).count();
        chains.insert(name, (hook, count));
    }
    let expressions = |rule: &Message| {
        let all = rule.attribute(RULE_EXPRESSIONS).map(attributes).unwrap_or_default();
        let name = |one: &[u8]| attribute(one, 1).expect("a name").to_vec();
        let text = |one: Vec<u8>| String::from_utf8_lossy(&one[..one.len() - 1]).into_owned();
        all.into_iter().map(|(_, one)| text(name(one))).collect()
    };
    let mut sets = BTreeMap::new();
    for one in list(socket, GET_SET, &[(1, "nftpol")]) {
        let part = |kind| one.attribute(kind).map_or(0, number);
        handle(format!("set {}", one.text(2)), &one, 16);
        sets.insert(one.text(2), (part(4), part(5), part(3), keys(socket, &one.text(2))));
    }
    let seen = Seen {
        tables: tables.iter().map(|one| one.text(1)).collect(),
        chains,
        rules: rules.iter().map(|one| (one.text(2), expressions(one))).collect(),
        sets,
    };
    (seen, handles)
}

/// The keys of a set, in order.
fn keys(socket: &Socket, set: &str) -> Vec<Vec<u8>> {
    let mut keys = Vec::new();
    for message in list(socket, GET_ELEMENTS, &[(1, "nftpol"), (2, set)]) {
        for (_, element) in message.attribute(LIST_ELEMENTS).map(attributes).unwrap_or_default() {
            let key = attribute(element, 1).and_then(|key| attribute(key, 1));
            keys.push(key.expect("a key").to_vec());
        }
    }
    keys.sort();
    keys
}

/// A table with a set of each type, a map, a base chain and rules.
fn creation() -> Vec<Op> {
    let ip = |text: &str| text.parse().expect("an address");
    let range = AddressRange::new(ip("10.0.0.0"), ip("10.0.0.255")).expect("a range");
    let of_set = |name| AddressTest::Set(Family::V4, name);
    let in_peers = Match::Address(Field::Source, of_set(name("peers")));
    let dispatch = Rule {
        matches: Vec::new(),
        log: None,
        finish: Some(Finish::Dispatch(Field::Source, Family::V4, name("egress4"))),
        comment: Some(Comment::new("sources")),
    };
    let set = |text, of, elements| {
        [Op::CreateSet(name(text), of, None), Op::AddElements(name(text), of, elements)]
    };
    let many = (0..=255).map(|one| Element::Address(std::net::Ipv4Addr::new(10, 1, 0, one).into()));
    let mut ops = vec![Op::CreateTable];
    ops.extend(set("peers", SetType::Address(Family::V4), many.collect()));
    ops.extend(set("blocks", SetType::AddressRange(Family::V4), vec![Element::Range(range)]));
    let pair = Element::AddressPort(ip("fd00::1"), 443);
    ops.extend(set("ports", SetType::AddressPort(Family::V6), vec![pair]));
    ops.push(Op::CreateMap(name("egress4"), Family::V4, None));
    ops.push(Op::CreateChain(
        name("forward"),
        Some(BaseChain { hook: Hook::Forward, priority: -5 }),
        None,
    ));
    ops.push(Op::CreateChain(name("e.one"), None, None));
    ops.push(Op::AddEntries(name("egress4"), Family::V4, vec![(ip("10.1.0.1"), name("e.one"))]));
    ops.push(Op::AddRule(name("forward"), dispatch));
    ops.push(Op::AddRule(name("e.one"), Rule::new([in_peers], Verdict::Return)));
    ops.push(Op::AddRule(name("e.one"), Rule::new([], Verdict::Drop)));
    ops
}

fn expected() -> Seen {
    let text = |texts: &[&str]| texts.iter().map(|one| (*one).to_owned()).collect::<Vec<_>>();
    let address = ["meta", "cmp", "payload", "lookup"];
    let peers: Vec<Vec<u8>> = (0..=255).map(|one| vec![10, 1, 0, one]).collect();
    let pair = [&[0xfd], &[0; 14][..], &[1, 1, 0xbb, 0, 0]].concat();
    // An interval: its first address, and the one after its last.
    let ends = vec![vec![10, 0, 0, 0], vec![10, 0, 1, 0]];
    let sets = [
        ("peers", (7, 4, 0, peers)),
        ("blocks", (7, 4, 4, ends)),
        ("ports", (8 << 6 | 13, 20, 0, vec![pair])),
        ("egress4", (7, 4, 8, vec![vec![10, 1, 0, 1]])),
    ];
    // The kernel lists NF_INET_FORWARD as 2.
    let chains = [("forward", (Some((2, -5)), 1)), ("e.one", (None, 2))];
    Seen {
        tables: text(&["nftpol"]),
        chains: chains.into_iter().map(|(name, one)| (name.to_owned(), one)).collect(),
        rules: vec![
            ("forward".to_owned(), text(&address)),
            ("e.one".to_owned(), text(&["meta", "cmp", "payload", "lookup", "immediate"])),
            ("e.one".to_owned(), text(&["immediate"])),
        ],
        sets: sets.into_iter().map(|(name, one)| (name.to_owned(), one)).collect(),
    }
}

/// A kernel handle and mnl's socket in a network namespace of their own.
fn in_namespace(body: impl FnOnce(&mut Kernel, &Socket) + Send) {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET)
                .expect("a new network namespace: these tests must run as root");
            let socket = Socket::new(Bus::Netfilter).expect("mnl's socket");
            body(&mut Kernel::open().expect("open"), &socket);
        });
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
}

fn table() -> TableId {
    TableId::inet(name("nftpol"))
}

fn commit(kernel: &mut Kernel, ops: Vec<Op>) {
    kernel.send(&table(), &Batch { ops }, None).expect("a commit");
}

#[test]
fn mnl_sees_what_was_committed() {
    in_namespace(|kernel, socket| {
        commit(kernel, creation());
        let (seen, before) = look(socket);
        assert_eq!(seen, expected());
        // A change affects only what it names. All other handles stay.
        let rule = Rule::new([], Verdict::Accept);
        commit(kernel, vec![Op::FlushChain(name("e.one")), Op::AddRule(name("e.one"), rule)]);
        let (seen, after) = look(socket);
        assert_eq!(seen.chains["e.one"], (None, 1));
        assert_eq!(before, after);
        let batch = Batch { ops: vec![Op::DeleteSet(name("none"))] };
        kernel.send(&table(), &batch, None).expect_err("a refusal");
        assert_eq!(look(socket), (seen, after));
        assert!(kernel.delete_table(&table()).expect("a deletion"));
        assert_eq!(look(socket).0.tables, Vec::<String>::new());
        println!("oracle: mnl saw {} objects in place", before.len());
    });
}
