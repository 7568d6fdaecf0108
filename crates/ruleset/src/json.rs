//! A table in libnftables' JSON, for `nft -j -f` and for programs.
//!
//! In: a [`Ruleset`]. Out: a document as libnftables-json(5) has it. Each stored set is
//! a set of its own there: nft's JSON has no way to name the type of a tag before
//! version 1.1.2.
//! Never: another meaning than [`crate::text`] gives.

mod condition;

use serde_json::{Value, json};

use crate::implied::spelled_out;
use crate::text;
use crate::{
    AddressRange, Chain, Element, Family, Finish, KeyAddressType, KeyShape, Log, Name, Rule,
    Ruleset, Set, SetType, TableId, Verdict, VerdictMap,
};
use condition::{address, reference};

/// The whole table as one document.
pub fn ruleset(ruleset: &Ruleset) -> Value {
    let table = &ruleset.id();
    let mut objects = vec![
        json!({"metainfo": {"json_schema_version": 1}}),
        json!({"table": {"family": table.family.to_string(), "name": table.name.as_str()}}),
    ];
    let is_store = |set: &Set| matches!(set.set_type, SetType::Store(_));
    let sets = ruleset.sets.iter().filter(|(_, one)| !is_store(one));
    objects.extend(sets.map(|(name, one)| set(table, name, one)));
    let chains = || ruleset.chains.iter();
    objects.extend(chains().map(|(name, one)| chain(table, name, one)));
    objects.extend(ruleset.maps.iter().map(|(name, one)| map(table, name, one)));
    for (name, chain) in chains() {
        objects.extend(chain.rules.iter().map(|one| rule(table, name, one)));
    }
    json!({"nftables": objects})
}

/// An object of the table.
fn object(table: &TableId, kind: &str, mut body: Value) -> Value {
    body["family"] = json!(table.family.to_string());
    body["table"] = json!(table.name.as_str());
    json!({kind: body})
}

fn set(table: &TableId, name: &Name, set: &Set) -> Value {
    let mut body = json!({
        "name": name.as_str(), "type": type_of(set.set_type),
    });
    if let Some(comment) = &set.comment {
        body["comment"] = json!(comment.as_str());
    }
    match set.set_type {
        SetType::AddressRange(_) => body["flags"] = json!(["interval"]),
        SetType::RateLimit(_) => {
            body["flags"] = json!(["dynamic", "timeout"]);
            body["size"] = json!(SetType::RATE_LIMIT_SIZE);
            body["timeout"] = json!(SetType::RATE_LIMIT_TIMEOUT_SECONDS);
        }
        _ => {}
    }
    if !set.elements.is_empty() {
        body["elem"] = set.elements.iter().map(|one| element(set.set_type, one)).collect();
    }
    object(table, "set", body)
}

fn type_of(set_type: SetType) -> Value {
    let address = |family| match family {
        Family::V4 => "ipv4_addr",
        Family::V6 => "ipv6_addr",
    };
    match set_type {
        SetType::Address(family) | SetType::AddressRange(family) | SetType::RateLimit(family) => {
            json!(address(family))
        }
        SetType::AddressPort(family) => json!([address(family), "inet_service"]),
        SetType::AddressPair(family) => json!([address(family), address(family)]),
        SetType::ProtocolPort => json!(["inet_proto", "inet_service"]),
        SetType::Icmpv6Type => json!("icmpv6_type"),
        SetType::Key(shape) => key_type(shape),
        SetType::Store(of) => type_of(of.stores()),
    }
}

/// nft 1.0.6 shows a target as an `integer`. It does not load that: JSON has no
/// `typeof` there.
fn key_type(KeyShape { interface, mac, address }: KeyShape) -> Value {
    let parts = [
        interface.then_some("iface_index"),
        mac.then_some("ether_addr"),
        address.map(|address| match address {
            KeyAddressType::V4 => "ipv4_addr",
            KeyAddressType::V6 => "ipv6_addr",
            KeyAddressType::Target => "integer",
        }),
    ];
    one_or_many(parts.into_iter().flatten().map(Value::from).collect(), Value::from)
}

/// A part alone, or several as `concatenated`.
fn one_or_many(mut parts: Vec<Value>, concatenated: fn(Vec<Value>) -> Value) -> Value {
    match parts.len() {
        1 => parts.remove(0),
        _ => concatenated(parts),
    }
}

fn element(set_type: SetType, element: &Element) -> Value {
    match element {
        Element::Address(address) => json!(address),
        Element::Range(one) => range(one),
        Element::AddressPort(..) | Element::AddressPair(..) | Element::ProtocolPort(..) => {
            json!({"concat": fields(set_type, element)})
        }
        Element::Icmpv6Type(number) => json!(number),
        Element::Key(_) => one_or_many(fields(set_type, element), |all| json!({"concat": all})),
    }
}

/// The fields of an element.
fn fields(set_type: SetType, element: &Element) -> Vec<Value> {
    match element {
        Element::AddressPort(address, port) => vec![json!(address), json!(port)],
        Element::AddressPair(one, other) => vec![json!(one), json!(other)],
        Element::ProtocolPort(transport, port) => vec![json!(transport.keyword()), json!(port)],
        Element::Key(one) => {
            text::key_parts(set_type, one).into_iter().flatten().map(Value::from).collect()
        }
        Element::Address(_) | Element::Range(_) | Element::Icmpv6Type(_) => {
            vec![self::element(set_type, element)]
        }
    }
}

fn range(range: &AddressRange) -> Value {
    match range.prefix_len() {
        Some(length) if length == range.family().bits() => json!(range.first()),
        Some(length) => json!({"prefix": {"addr": range.first(), "len": length}}),
        None => json!({"range": [range.first(), range.last()]}),
    }
}

fn map(table: &TableId, name: &Name, map: &VerdictMap) -> Value {
    let mut body = json!({
        "name": name.as_str(), "type": type_of(SetType::Address(map.family)), "map": "verdict",
    });
    if let Some(comment) = &map.comment {
        body["comment"] = json!(comment.as_str());
    }
    if !map.entries.is_empty() {
        let entries = map.entries.iter();
        let entry = entries.map(|(key, to)| json!([key, verdict(&Verdict::Goto(to.clone()))]));
        body["elem"] = entry.collect();
    }
    object(table, "map", body)
}

fn chain(table: &TableId, name: &Name, chain: &Chain) -> Value {
    let mut body = json!({"name": name.as_str()});
    if let Some(base) = chain.base {
        body["type"] = json!("filter");
        body["hook"] = json!(base.hook.to_string());
        body["prio"] = json!(base.priority);
        body["policy"] = json!("accept");
    }
    if let Some(comment) = &chain.comment {
        body["comment"] = json!(comment.as_str());
    }
    object(table, "chain", body)
}

fn rule(table: &TableId, chain: &Name, rule: &Rule) -> Value {
    let mut expressions: Vec<Value> = spelled_out(table.family, rule)
        .map(|one| condition::condition(table.family, &one))
        .collect();
    expressions.extend(rule.log.iter().flat_map(log));
    expressions.extend(rule.finish.as_ref().map(|finish| match finish {
        Finish::Verdict(one) => verdict(one),
        Finish::Dispatch(field, family, map) => {
            json!({"vmap": {"key": address(*field, *family), "data": reference(map)}})
        }
    }));
    let mut body = json!({"chain": chain.as_str(), "expr": expressions});
    if let Some(comment) = &rule.comment {
        body["comment"] = json!(comment.as_str());
    }
    object(table, "rule", body)
}

fn log(log: &Log) -> [Value; 2] {
    let limit = json!({"limit": {"rate": log.per_second, "per": "second", "burst": 5}});
    [
        json!({"set": {
            "op": "update", "elem": address(log.field, log.family), "set": reference(&log.set),
            "stmt": [{"counter": null}, limit],
        }}),
        json!({"log": {"prefix": log.prefix.as_str(), "group": log.group}}),
    ]
}

fn verdict(verdict: &Verdict) -> Value {
    match verdict {
        Verdict::Accept => json!({"accept": null}),
        Verdict::Drop => json!({"drop": null}),
        Verdict::Return => json!({"return": null}),
        Verdict::Jump(to) => json!({"jump": {"target": to.as_str()}}),
        Verdict::Goto(to) => json!({"goto": {"target": to.as_str()}}),
    }
}
