//! A ruleset as text that `nft -f` loads and people read.
//!
//! In: a [`Ruleset`], a [`Rule`] or an [`Op`]. Out: nft's own language, as
//! nft 1.0.6 takes it, the same for equal values.
//! Never: reading text back, and what only a kernel can know (handles).
//!
//! A [`Name`] that is one of nft's keywords (`accept`, `ip`, `set`, ...) cannot be
//! written in nft's grammar, quoted or not. A name with a dot or a slash is never a
//! keyword. If you use a plain word, check that nft loads it.
//!
//! The order inside the table is free: nft creates all sets, maps and chains of a
//! script before their elements and rules.

mod key;
mod operation;
mod rule;
mod store;

use std::net::IpAddr;

use crate::{
    Chain, Comment, Element, Family, Key, Name, Op, Rule, Ruleset, Set, SetType, Store,
    TableFamily, TableId, Tag, VerdictMap,
};

/// Lines of elements are filled up to this many characters.
const LINE_WIDTH: usize = 96;

/// The whole table as a script for `nft -f`, into a network namespace without
/// the table: `nft` would add to one that is there.
pub fn ruleset(ruleset: &Ruleset) -> String {
    pieces(ruleset).collect()
}

/// The pieces of [`ruleset`], one for each set of the kernel, map and chain. They are made one
/// by one, so that the whole text is never in memory.
pub fn pieces(ruleset: &Ruleset) -> impl Iterator<Item = String> {
    let sets = ruleset.sets.iter().filter(|(name, _)| name.stored().is_none());
    let sets = sets.map(|(name, set)| set_block(ruleset, name, set));
    let maps = ruleset.maps.iter().map(|(name, map)| map_block(name, map));
    // The base chain first: it is where a packet, and a reader, starts.
    let of = |is_base: bool| {
        ruleset.chains.iter().filter(move |(_, chain)| chain.base.is_some() == is_base)
    };
    let chains =
        of(true).chain(of(false)).map(|(name, chain)| chain_block(ruleset.family, name, chain));
    let blocks = sets.chain(maps).chain(chains).enumerate();
    std::iter::once(format!("table {} {{\n", ruleset.id()))
        .chain(blocks.map(|(index, block)| if index == 0 { block } else { format!("\n{block}") }))
        .chain(std::iter::once("}\n".to_owned()))
}

/// A rule of a table of this family, without its chain, on one line.
pub fn rule(family: TableFamily, rule: &Rule) -> String {
    rule::line(family, rule)
}

/// An operation as one command of nft, on one line. One with an empty list of
/// elements has no form that nft takes. One that makes or deletes a stored set is a
/// comment: the kernel knows only the elements.
pub fn op(table: &TableId, op: &Op) -> String {
    operation::line(table, op)
}

/// An element of a set of this type as nft writes it.
pub fn element(set_type: SetType, element: &Element) -> String {
    match element {
        Element::Address(address) => address.to_string(),
        Element::Range(range) => range.to_string(),
        Element::AddressPort(address, port) => format!("{address} . {port}"),
        Element::AddressPair(source, destination) => format!("{source} . {destination}"),
        Element::ProtocolPort(transport, port) => format!("{} . {port}", transport.keyword()),
        Element::Icmpv6Type(number) => number.to_string(),
        Element::Key(one) => key::joined(key::parts(set_type, one)),
    }
}

/// The tag of a stored set, as its elements begin.
pub fn tag(store: Store, tag: Tag) -> String {
    store::tag(store, tag)
}

/// The parts of a key in a set of this type, as nft writes them.
pub(crate) fn key_parts(set_type: SetType, key: &Key) -> [Option<String>; 3] {
    key::parts(set_type, key)
}

/// An entry of a verdict map.
fn entry(address: IpAddr, chain: &Name) -> String {
    format!("{address} : goto {chain}")
}

fn set_block(ruleset: &Ruleset, name: &Name, set: &Set) -> String {
    let mut lines = set_type(set.set_type);
    lines.extend(set.comment.as_ref().map(comment));
    lines.extend(match set.set_type {
        SetType::Store(store) => {
            let stored = ruleset.stored_in(store);
            element_lines(stored.flat_map(|(name, _, set)| elements_of(name, set)))
        }
        _ => element_lines(elements_of(name, set)),
    });
    block(&format!("set {name}"), &lines)
}

/// The elements of a set as the kernel's set holds them.
fn elements_of(name: &Name, set: &Set) -> impl Iterator<Item = String> {
    let tag = name.stored();
    set.elements.iter().map(move |one| tagged(tag, element(set.set_type, one)))
}

/// A key or a field of one, after the tag of a stored set.
fn tagged(tag: Option<(Store, Tag)>, key: String) -> String {
    match tag {
        Some((store, tag)) => format!("{} . {key}", store::tag(store, tag)),
        None => key,
    }
}

fn map_block(name: &Name, map: &VerdictMap) -> String {
    let mut lines = vec![map_type(map.family)];
    lines.extend(map.comment.as_ref().map(comment));
    lines.extend(element_lines(map.entries.iter().map(|(&address, chain)| entry(address, chain))));
    block(&format!("map {name}"), &lines)
}

fn chain_block(family: TableFamily, name: &Name, chain: &Chain) -> String {
    let mut lines: Vec<String> = chain.comment.iter().map(comment).collect();
    lines.extend(chain.base.map(|base| format!("{base};")));
    lines.extend(chain.rules.iter().map(|one| rule(family, one)));
    block(&format!("chain {name}"), &lines)
}

/// An object of the table, one tab in; its lines two.
fn block(head: &str, lines: &[String]) -> String {
    let body: String = lines.iter().map(|line| format!("\t\t{line}\n")).collect();
    format!("\t{head} {{\n{body}\t}}\n")
}

/// `elements = { ... }`, several a line; nothing when there are none.
fn element_lines(elements: impl Iterator<Item = String>) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut current = String::new();
    for element in elements {
        if !current.is_empty() && current.len() + element.len() + 2 > LINE_WIDTH {
            lines.push(std::mem::take(&mut current));
        }
        current.push_str(if current.is_empty() { "\t" } else { " " });
        current.push_str(&element);
        current.push(',');
    }
    if current.is_empty() {
        return lines;
    }
    lines.push(current);
    lines.insert(0, "elements = {".to_owned());
    lines.push("}".to_owned());
    lines
}

/// The clauses of a set's type.
fn set_type(set_type: SetType) -> Vec<String> {
    let one = |text: &str| vec![format!("type {text}")];
    match set_type {
        SetType::Address(family) => one(address_type(family)),
        SetType::AddressRange(family) => {
            vec![format!("type {}", address_type(family)), "flags interval".to_owned()]
        }
        SetType::AddressPort(family) => one(&format!("{} . inet_service", address_type(family))),
        SetType::AddressPair(family) => one(&format!("{0} . {0}", address_type(family))),
        SetType::ProtocolPort => one("inet_proto . inet_service"),
        SetType::Icmpv6Type => one("icmpv6_type"),
        SetType::RateLimit(family) => vec![
            format!("type {}", address_type(family)),
            format!("size {}", SetType::RATE_LIMIT_SIZE),
            "flags dynamic,timeout".to_owned(),
            format!("timeout {}s", SetType::RATE_LIMIT_TIMEOUT_SECONDS),
        ],
        SetType::Key(shape) => vec![key::set_type(shape)],
        SetType::Store(of) => vec![store::set_type(of)],
    }
}

fn map_type(family: Family) -> String {
    format!("type {} : verdict", address_type(family))
}

/// [`Comment::new`] left nothing in it that would end the quotes.
fn comment(comment: &Comment) -> String {
    format!("comment \"{}\"", comment.as_str())
}

const fn address_type(family: Family) -> &'static str {
    match family {
        Family::V4 => "ipv4_addr",
        Family::V6 => "ipv6_addr",
    }
}
