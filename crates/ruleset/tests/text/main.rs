//! The text of a table that uses every form: as agreed, and as `nft` and the kernel
//! accept it.
//!
//! Needs root, `unshare` and `nft`, and fails without them.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod fixture;
mod frames;
mod stores;

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use fixture::{address, every_form, name};
use proptest::prelude::{ProptestConfig, any, prop_assert, proptest};
use ruleset::{Batch, Name, Op, Ruleset, SetType, text};

/// The output of `sh -c script`, in a network namespace of its own, with this
/// input.
fn in_new_namespace(script: &str, input: &str) -> Result<String, String> {
    let mut child = Command::new("unshare")
        .args(["--net", "sh", "-c", script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("cannot run unshare, which this test needs: {error}"));
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!said.contains("unshare failed"), "this test needs root: {said}");
    let printed = String::from_utf8(output.stdout).unwrap();
    if output.status.success() { Ok(printed) } else { Err(said) }
}

/// Compares with a file of `tests/golden`. `NFTPOL_BLESS=1` rewrites the file.
fn check_golden(file: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(file);
    if std::env::var_os("NFTPOL_BLESS").is_some_and(|value| value == "1") {
        std::fs::write(&path, text).unwrap();
        return;
    }
    let golden = std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{}: {error}; NFTPOL_BLESS=1 writes it", path.display()));
    for (index, (line, expected)) in text.lines().zip(golden.lines()).enumerate() {
        assert_eq!(line, expected, "{file}:{}; NFTPOL_BLESS=1 rewrites the file", index + 1);
    }
    assert!(text == golden, "{file} has more or fewer lines; NFTPOL_BLESS=1 rewrites it");
}

/// A rule in the form of `nft list`, which omits a default burst and prints names
/// of protocols.
fn as_listed(rule: &str) -> String {
    rule.replace(" burst 5 packets", "")
        .replace("l4proto 6", "l4proto tcp")
        .replace("l4proto 47", "l4proto gre")
        .replace("0x01234567", "0x1234567")
}

/// A rule in the form of `nft list` where frames are concerned. nft leaves out what
/// the next match implies, tag or no tag.
fn frame_as_listed(rule: &str) -> String {
    let implied = ["ip iif", "ip6 iif", "arp iif", "arp arp", "ip oif", "ip6 icmpv6"];
    let rule = implied.into_iter().fold(rule.to_owned(), |rule, words| {
        rule.replace(&format!("ether type {words}"), words.split(' ').nth(1).unwrap())
    });
    rule.replace("meta protocol ip6 icmpv6", "icmpv6")
        .replace("meta protocol ip icmp", "icmp")
        .replace("l4proto != 1 ", "l4proto != icmp ")
        .replace("l4proto != 58 ", "l4proto != ipv6-icmp ")
        .replace("l4proto 4 ", "l4proto ipencap ")
        .replace("l4proto 132 ", "l4proto sctp ")
        .replace("icmp type 5", "icmp type redirect")
        .replace("!= 1 drop", "!= 0x1 drop")
        .replace(" fe80::1", "")
}

#[test]
fn the_text_is_the_agreed_one() {
    check_golden("every_form.nft", &text::ruleset(&every_form()));
    check_golden("frames_bridge.nft", &text::ruleset(&frames::bridge()));
    check_golden("frames_inet.nft", &text::ruleset(&frames::inet()));
}

#[test]
fn nft_checks_the_text() {
    for table in [every_form(), frames::bridge(), frames::inet()] {
        in_new_namespace("nft -c -f -", &text::ruleset(&table)).unwrap();
    }
}

fn without_targets(mut table: Ruleset) -> Ruleset {
    let holds_targets = |set: &Name| set.as_str().ends_with("targets");
    table.sets = table.sets.into_iter().filter(|(set, _)| !holds_targets(set)).collect();
    for chain in table.chains.clone().keys() {
        let chain = std::sync::Arc::make_mut(&mut table.chains[chain]);
        chain.rules.retain(|rule| !rule.lookups().any(holds_targets));
    }
    table
}

/// But for a target, which nft 1.0.6 has no type for in JSON.
#[test]
fn json_and_text_make_the_same_tables_of_frames() {
    for table in [without_targets(frames::bridge()), frames::inet()] {
        let list = format!("list table {}", table.id());
        let json = ruleset::json::ruleset(&table).to_string();
        let from_json = in_new_namespace(&format!("nft -j -f - && nft {list}"), &json).unwrap();
        let text = text::ruleset(&table);
        let from_text = in_new_namespace(&format!("nft -f - && nft {list}"), &text).unwrap();
        assert_eq!(from_json, from_text);
    }
}

/// The listing leaves out which of two tests comes before `icmpv6 type`, so the
/// expressions are compared.
#[test]
fn a_tag_does_not_hide_icmpv6_unless_the_rule_says_so() {
    let table = frames::bridge();
    let script = text::ruleset(&table);
    let expressions = in_new_namespace("nft --debug=netlink -f -", &script).unwrap();
    let rules: Vec<&str> = expressions.split("\n\n").collect();
    let of = |wanted: &str| rules.iter().filter(|rule| rule.contains(wanted)).count();
    let icmpv6 = "cmp eq reg 1 0x0000003a ]\n  [ payload load 1b @ transport header + 0";
    let before = |test: &str| {
        of(&format!(
            "{test} => reg 1 ]\n  [ cmp eq reg 1 0x0000dd86 ]\n  [ meta load l4proto => reg 1 ]\n  [ {icmpv6}"
        ))
    };
    assert_eq!(before("meta load protocol"), 1, "{expressions}");
    assert_eq!(before("payload load 2b @ link header + 12"), 1, "{expressions}");
}

#[test]
fn the_kernel_holds_what_the_text_says_of_frames() {
    for table in [frames::bridge(), frames::inet()] {
        let list = format!("nft -f - && nft --numeric-priority list table {}", table.id());
        let listed = in_new_namespace(&list, &text::ruleset(&table)).unwrap();
        let lines: Vec<&str> = listed.lines().map(str::trim).collect();
        for rule in table.chains.values().flat_map(|chain| &chain.rules) {
            let line = frame_as_listed(&text::rule(table.family, rule));
            assert!(lines.contains(&line.as_str()), "{line}\nis not in\n{listed}");
        }
        for (set, contents) in &table.sets {
            let elements = contents.elements.iter();
            for element in elements.filter(|_| contents.set_type != SetType::Icmpv6Type) {
                let short = |text: &str| text.replace("0x00000000000000000000000000000001", "0x1");
                let element = short(&text::element(contents.set_type, element));
                let line = format!("elements = {{ {element} }}");
                assert!(lines.contains(&line.as_str()), "{line} of {set} is not in\n{listed}");
            }
        }
    }
}

#[test]
fn the_kernel_holds_what_the_text_says() {
    let table = every_form();
    let listed = in_new_namespace(
        "nft -f - && nft --numeric-priority list table inet nftpol",
        &text::ruleset(&table),
    )
    .unwrap();
    let lines: Vec<&str> = listed.lines().map(str::trim).collect();
    for rule in table.chains.values().flat_map(|chain| &chain.rules) {
        let line = as_listed(&text::rule(table.family, rule));
        assert!(lines.contains(&line.as_str()), "{line}\nis not in\n{listed}");
    }
    // A `{` in a comment must not open anything, and so on.
    let again = in_new_namespace("nft -f - && nft list table inet nftpol", &listed).unwrap();
    assert_eq!(again.lines().count(), listed.lines().count());
    for (set, contents) in &table.sets {
        let (block, tag) = match set.stored() {
            Some((store, tag)) => (store.name(), text::tag(store, tag).replace(" ", "") + "."),
            None => (set.as_str(), String::new()),
        };
        let block = listed.split(&format!("\tset {block} {{\n")).nth(1).unwrap();
        let elements: String = block.split("\n\t}\n").next().unwrap().split_whitespace().collect();
        for element in contents.elements.iter().filter(|_| contents.set_type != SetType::Icmpv6Type)
        {
            let element: String =
                text::element(contents.set_type, element).split_whitespace().collect();
            let element = as_listed(&(tag.clone() + &element));
            let found = elements.split(['{', '}', ',', '=']).any(|one| one == element);
            assert!(found, "{element} is not in {set}: {elements}");
        }
    }
}

/// The operations that create a table.
fn building(table: &Ruleset) -> Batch {
    let mut ops = vec![Op::CreateTable];
    for (name, set) in &table.sets {
        ops.push(Op::CreateSet(name.clone(), set.set_type, set.comment.clone()));
        if !set.elements.is_empty() {
            let elements = set.elements.iter().copied().collect();
            ops.push(Op::AddElements(name.clone(), set.set_type, elements));
        }
    }
    for (name, chain) in &table.chains {
        ops.push(Op::CreateChain(name.clone(), chain.base, chain.comment.clone()));
    }
    for (name, map) in &table.maps {
        ops.push(Op::CreateMap(name.clone(), map.family, map.comment.clone()));
        if !map.entries.is_empty() {
            let entries = map.entries.iter().map(|(key, chain)| (*key, chain.clone())).collect();
            ops.push(Op::AddEntries(name.clone(), map.family, entries));
        }
    }
    for (name, chain) in &table.chains {
        ops.extend(chain.rules.iter().map(|rule| Op::AddRule(name.clone(), rule.clone())));
    }
    Batch { ops }
}

/// The operations that delete everything but the bare table.
fn dismantling(table: &Ruleset) -> Batch {
    let mut ops: Vec<Op> = table.chains.keys().cloned().map(Op::FlushChain).collect();
    for (name, map) in &table.maps {
        if !map.entries.is_empty() {
            let keys = map.entries.keys().copied().collect();
            ops.push(Op::DeleteEntries(name.clone(), map.family, keys));
        }
        ops.push(Op::DeleteMap(name.clone()));
    }
    // Stored sets before their stores.
    for (name, set) in table.sets.iter().rev() {
        if !set.elements.is_empty() {
            let elements = set.elements.iter().copied().collect();
            ops.push(Op::DeleteElements(name.clone(), set.set_type, elements));
        }
        ops.push(Op::DeleteSet(name.clone()));
    }
    ops.extend(table.chains.keys().cloned().map(Op::DeleteChain));
    Batch { ops }
}

fn script(table: &Ruleset, batch: &Batch) -> String {
    batch.ops.iter().map(|op| text::op(&table.id(), op) + "\n").collect()
}

#[test]
fn operations_build_the_same_table_and_take_it_down() {
    let table = every_form();
    let (up, down) = (script(&table, &building(&table)), script(&table, &dismantling(&table)));
    check_golden("every_op.nft", &format!("{up}{down}"));
    let listing = "nft -f - && nft list table inet nftpol";
    let sorted = |script: &str| {
        let listed = in_new_namespace(listing, script).unwrap();
        let mut blocks: Vec<String> =
            listed.split("\n\n").map(|one| one.trim().to_owned()).collect();
        blocks.sort();
        blocks.join("\n").replace("table inet nftpol {\n\t", "").replace('}', "")
    };
    let mut one: Vec<String> = sorted(&up).lines().map(str::to_owned).collect();
    let mut other: Vec<String> =
        sorted(&text::ruleset(&table)).lines().map(str::to_owned).collect();
    one.sort();
    other.sort();
    assert_eq!(one, other);
    let taken_down = in_new_namespace(listing, &format!("{up}{down}")).unwrap();
    assert_eq!(taken_down, "table inet nftpol {\n}\n");
}

#[test]
fn longest_names_load() {
    let mut table = Ruleset::new(name("nftpol"));
    let long = name(&format!("e.{}", "x".repeat(253)));
    table.chains.insert(long.clone(), ruleset::Chain::default().into());
    table.sets.insert(long.clone(), ruleset::Set::new(SetType::ProtocolPort, None));
    let mut map = ruleset::VerdictMap::new(ruleset::Family::V4, None);
    map.entries.insert(address("10.0.0.1"), long);
    table.maps.insert(name("m"), map);
    in_new_namespace("nft -f -", &text::ruleset(&table)).unwrap();
}

/// A word of nft's grammar is not accepted as a name. This is why our names contain
/// a dot.
#[test]
fn keywords_are_no_names_but_load_with_a_dot() {
    for word in ["accept", "ip", "set", "tcp", "drop", "policy", "e", "dead.beef", "a--b", "x-"] {
        let script = |chain: &str| {
            let mut table = Ruleset::new(name("nftpol"));
            table.chains.insert(name(chain), ruleset::Chain::default().into());
            text::ruleset(&table)
        };
        let keyword = ["accept", "ip", "set", "tcp", "drop", "policy"].contains(&word);
        assert_eq!(in_new_namespace("nft -f -", &script(word)).is_err(), keyword, "{word}");
        in_new_namespace("nft -f -", &script(&format!("{word}.e"))).unwrap();
        in_new_namespace("nft -f -", &script(&format!("e.{word}"))).unwrap();
    }
}

/// A chain with this name and comment, and a rule that logs with this prefix.
fn add_chain(table: &mut Ruleset, chain: &str, text: &str) {
    let log = ruleset::Log {
        field: ruleset::Field::Source,
        family: ruleset::Family::V4,
        set: name("logged4"),
        per_second: 10,
        prefix: ruleset::LogPrefix::new(text),
        group: 1,
    };
    let comment = Some(ruleset::Comment::new(text));
    let rule = ruleset::Rule { matches: vec![], log: Some(log), finish: None, comment };
    let chain_comment = Some(ruleset::Comment::new(text));
    let rules = vec![rule];
    table
        .chains
        .insert(name(chain), ruleset::Chain { base: None, comment: chain_comment, rules }.into());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20))]

    #[test]
    fn whatever_the_names_and_texts_the_script_loads(
        names in proptest::collection::btree_set("[a-zA-Z][a-zA-Z0-9/_-]{0,5}\\.[a-zA-Z0-9/_.-]{0,9}", 20..30),
        texts in proptest::collection::vec(any::<String>(), 30),
    ) {
        let mut table = Ruleset::new(name("nftpol"));
        let limits = ruleset::Set::new(SetType::RateLimit(ruleset::Family::V4), None);
        table.sets.insert(name("logged4"), limits);
        for (chain, text) in names.iter().zip(&texts) {
            add_chain(&mut table, chain, text);
        }
        let listed = in_new_namespace("nft -f - && nft list table inet nftpol", &text::ruleset(&table)).unwrap();
        for (chain, contents) in &table.chains {
            prop_assert!(listed.contains(&format!("\tchain {chain} {{\n")), "{}", chain);
            let line = as_listed(&text::rule(table.family, &contents.rules[0]));
            prop_assert!(listed.contains(&line), "{} is not in {}", line, listed);
        }
    }
}
