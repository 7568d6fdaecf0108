//! A table in libnftables' JSON, for `nft -j -f` and for programs.
//!
//! In: a [`Ruleset`]. Out: a document as libnftables-json(5) has it.
//! Never: another meaning than [`crate::text`] gives.

use serde_json::{Value, json};

use crate::{
    AddressRange, AddressTest, Chain, Element, Family, Field, Finish, Log, Match, Name, PortTest,
    Rule, Ruleset, Set, SetType, Transport, Verdict, VerdictMap,
};

/// The whole table as one document.
pub fn ruleset(ruleset: &Ruleset) -> Value {
    let table = ruleset.table.as_str();
    let mut objects = vec![
        json!({"metainfo": {"json_schema_version": 1}}),
        json!({"table": {"family": "inet", "name": table}}),
    ];
    objects.extend(ruleset.sets.iter().map(|(name, one)| set(table, name, one)));
    let chains = || ruleset.chains.iter();
    objects.extend(chains().map(|(name, one)| chain(table, name, one)));
    objects.extend(ruleset.maps.iter().map(|(name, one)| map(table, name, one)));
    for (name, chain) in chains() {
        objects.extend(chain.rules.iter().map(|one| rule(table, name, one)));
    }
    json!({"nftables": objects})
}

fn set(table: &str, name: &Name, set: &Set) -> Value {
    let mut body = json!({
        "family": "inet", "table": table, "name": name.as_str(),
        "type": type_of(set.set_type),
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
        body["elem"] = set.elements.iter().map(element).collect();
    }
    json!({"set": body})
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
        SetType::Port => json!("inet_service"),
        SetType::Icmpv6Type => json!("icmpv6_type"),
    }
}

fn element(element: &Element) -> Value {
    match element {
        Element::Address(address) => json!(address),
        Element::Range(one) => range(one),
        Element::AddressPort(address, port) => json!({"concat": [address, port]}),
        Element::AddressPair(one, other) => json!({"concat": [one, other]}),
        Element::Port(port) => json!(port),
        Element::Icmpv6Type(number) => json!(number),
    }
}

fn range(range: &AddressRange) -> Value {
    match range.prefix_len() {
        Some(length) if length == range.family().bits() => json!(range.first()),
        Some(length) => json!({"prefix": {"addr": range.first(), "len": length}}),
        None => json!({"range": [range.first(), range.last()]}),
    }
}

fn map(table: &str, name: &Name, map: &VerdictMap) -> Value {
    let mut body = json!({
        "family": "inet", "table": table, "name": name.as_str(),
        "type": type_of(SetType::Address(map.family)), "map": "verdict",
    });
    if let Some(comment) = &map.comment {
        body["comment"] = json!(comment.as_str());
    }
    if !map.entries.is_empty() {
        let entries = map.entries.iter();
        let entry = entries.map(|(key, to)| json!([key, verdict(&Verdict::Goto(to.clone()))]));
        body["elem"] = entry.collect();
    }
    json!({"map": body})
}

fn chain(table: &str, name: &Name, chain: &Chain) -> Value {
    let mut body = json!({"family": "inet", "table": table, "name": name.as_str()});
    if let Some(base) = chain.base {
        body["type"] = json!("filter");
        body["hook"] = json!(base.hook.to_string());
        body["prio"] = json!(base.priority);
        body["policy"] = json!("accept");
    }
    if let Some(comment) = &chain.comment {
        body["comment"] = json!(comment.as_str());
    }
    json!({"chain": body})
}

fn rule(table: &str, chain: &Name, rule: &Rule) -> Value {
    let mut expressions: Vec<Value> = rule.matches.iter().map(condition).collect();
    expressions.extend(rule.log.iter().flat_map(log));
    expressions.extend(rule.finish.as_ref().map(|finish| match finish {
        Finish::Verdict(one) => verdict(one),
        Finish::Dispatch(field, family, map) => {
            json!({"vmap": {"key": address(*field, *family), "data": reference(map)}})
        }
    }));
    let mut body = json!({
        "family": "inet", "table": table, "chain": chain.as_str(), "expr": expressions,
    });
    if let Some(comment) = &rule.comment {
        body["comment"] = json!(comment.as_str());
    }
    json!({"rule": body})
}

fn condition(condition: &Match) -> Value {
    let equal = |left: Value, right: Value| match_value("==", &left, &right);
    match condition {
        Match::CtState(states) => {
            let all = [("established", states.established), ("related", states.related)];
            let named: Vec<&str> =
                all.into_iter().filter_map(|(name, on)| on.then_some(name)).collect();
            match_value("in", &json!({"ct": {"key": "state"}}), &json!(named))
        }
        Match::NotToHost => match_value("!=", &meta("pkttype"), &json!("host")),
        Match::Family(Family::V4) => equal(meta("nfproto"), json!("ipv4")),
        Match::Family(Family::V6) => equal(meta("nfproto"), json!("ipv6")),
        Match::HopLimit(hops) => {
            equal(json!({"payload": {"protocol": "ip6", "field": "hoplimit"}}), json!(hops))
        }
        Match::Protocol(number) => equal(meta("l4proto"), json!(number)),
        Match::NotOpening => {
            let flags = json!({"payload": {"protocol": "tcp", "field": "flags"}});
            let masked = json!({"&": [flags, ["fin", "syn", "rst", "ack"]]});
            match_value("!=", &masked, &json!("syn"))
        }
        Match::Address(field, test) => {
            let right = match test {
                AddressTest::In(one) => range(one),
                AddressTest::Set(_, name) => reference(name),
            };
            equal(address(*field, test.family()), right)
        }
        Match::Port(transport, test) => {
            let right = match test {
                PortTest::In(first, last) if first == last => json!(first),
                PortTest::In(first, last) => json!({"range": [first, last]}),
                PortTest::Set(name) => reference(name),
            };
            equal(port(*transport), right)
        }
        Match::AddressPort(field, family, transport, set) => {
            equal(json!({"concat": [address(*field, *family), port(*transport)]}), reference(set))
        }
        Match::AddressPair(family, set) => {
            let pair = [Field::Source, Field::Destination].map(|field| address(field, *family));
            equal(json!({"concat": pair}), reference(set))
        }
        Match::Icmpv6Type(set) => {
            equal(json!({"payload": {"protocol": "icmpv6", "field": "type"}}), reference(set))
        }
    }
}

fn match_value(op: &str, left: &Value, right: &Value) -> Value {
    json!({"match": {"op": op, "left": left, "right": right}})
}

fn meta(key: &str) -> Value {
    json!({"meta": {"key": key}})
}

fn address(field: Field, family: Family) -> Value {
    let protocol = match family {
        Family::V4 => "ip",
        Family::V6 => "ip6",
    };
    let field = match field {
        Field::Source => "saddr",
        Field::Destination => "daddr",
    };
    json!({"payload": {"protocol": protocol, "field": field}})
}

fn port(transport: Transport) -> Value {
    json!({"payload": {"protocol": transport.keyword(), "field": "dport"}})
}

fn reference(name: &Name) -> Value {
    json!(format!("@{name}"))
}

fn log(log: &Log) -> [Value; 2] {
    let limit = json!({"limit": {"rate": log.per_second, "per": "second", "burst": 5}});
    [
        json!({"set": {
            "op": "add", "elem": address(log.field, log.family), "set": reference(&log.set),
            "stmt": [limit],
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
