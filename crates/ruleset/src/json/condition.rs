//! Matches as JSON.

use serde_json::{Value, json};

use super::{one_or_many, range};
use crate::{
    AddressTest, Family, Field, FlowSide, InterfaceField, KeyAddress, KeyFields, MacField, Match,
    Name, PortRange, TableFamily, TagType, Transport,
};

/// A match of a rule.
pub(super) fn condition(table: TableFamily, condition: &Match) -> Value {
    match condition {
        Match::CtState(states) => {
            let all = [("established", states.established), ("related", states.related)];
            let named: Vec<&str> =
                all.into_iter().filter_map(|(name, on)| on.then_some(name)).collect();
            match_value("in", &json!({"ct": {"key": "state"}}), &json!(named))
        }
        Match::SourceIsLocal => {
            let of_source = json!({"fib": {"result": "type", "flags": ["saddr"]}});
            match_value("==", &of_source, &json!("local"))
        }
        Match::CtTranslated => match_value("in", &json!({"ct": {"key": "status"}}), &json!("dnat")),
        Match::NotToHost => match_value("!=", &meta("pkttype"), &json!("host")),
        Match::Family(family) => equal_family(table, *family),
        Match::HopLimit(hops) => equal(payload("ip6", "hoplimit"), json!(hops)),
        Match::Protocol(number) => equal(meta("l4proto"), json!(number)),
        Match::NotOpening => {
            let flags = payload("tcp", "flags");
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
        Match::Port(transport, PortRange(first, last)) => {
            let right = match first == last {
                true => json!(first),
                false => json!({"range": [first, last]}),
            };
            equal(port(*transport), right)
        }
        Match::Ports(set) => {
            let protocol = json!({"meta": {"key": "l4proto"}});
            equal(json!({"concat": [protocol, payload("th", "dport")]}), reference(set))
        }
        Match::SourcePort(transport, port) => {
            equal(payload(transport.keyword(), "sport"), json!(port))
        }
        Match::AddressPort(field, family, transport, set) => {
            equal(json!({"concat": [address(*field, *family), port(*transport)]}), reference(set))
        }
        Match::AddressPair(family, set) => {
            let pair = [Field::Source, Field::Destination].map(|field| address(field, *family));
            equal(json!({"concat": pair}), reference(set))
        }
        Match::FlowSource(side, family, set) => {
            let of_flow = flow_source(*side, *family);
            let pair = json!({"concat": [address(Field::Source, *family), of_flow]});
            equal(pair, reference(set))
        }
        Match::FlowOpener(family, set) => {
            equal(flow_source(FlowSide::Original, *family), reference(set))
        }
        Match::Icmpv6Type(set) => equal(payload("icmpv6", "type"), reference(set)),
        Match::Key(fields, set) => equal(key(fields), reference(set)),
        Match::EtherType(ether_type) => {
            equal(payload("ether", "type"), json!(ether_type.keyword()))
        }
        Match::PriorityTag(tag) => {
            let masked = json!({"&": [raw("ll", 96, 32), TagType::MASK]});
            equal(masked, json!(tag.priority_tagged()))
        }
        Match::NotProtocol(number) => match_value("!=", &meta("l4proto"), &json!(number)),
        Match::IcmpType(number) => equal(payload("icmp", "type"), json!(number)),
        Match::NotInit => match_value("!=", &raw("th", 96, 8), &json!(Match::SCTP_INIT)),
    }
}

fn equal(left: Value, right: Value) -> Value {
    match_value("==", &left, &right)
}

fn equal_family(table: TableFamily, family: Family) -> Value {
    match (table, family) {
        (TableFamily::Inet, Family::V4) => equal(meta("nfproto"), json!("ipv4")),
        (TableFamily::Inet, Family::V6) => equal(meta("nfproto"), json!("ipv6")),
        (TableFamily::Bridge, Family::V4) => equal(meta("protocol"), json!("ip")),
        (TableFamily::Bridge, Family::V6) => equal(meta("protocol"), json!("ip6")),
    }
}

fn key(fields: &KeyFields) -> Value {
    let KeyFields { interface, mac, address: of_key } = fields;
    let interface = interface.map(|interface| match interface {
        InterfaceField::In => meta("iif"),
        InterfaceField::Out => meta("oif"),
    });
    let mac = mac.map(|mac| match mac {
        MacField::Source => payload("ether", "saddr"),
        MacField::Destination => payload("ether", "daddr"),
        MacField::ArpSender => payload("arp", "saddr ether"),
    });
    let of_key = of_key.map(|field| match field {
        KeyAddress::Source(family) => address(Field::Source, family),
        KeyAddress::Destination(family) => address(Field::Destination, family),
        KeyAddress::ArpSender => payload("arp", "saddr ip"),
        KeyAddress::Target => raw("th", 64, 128),
    });
    one_or_many(
        [interface, mac, of_key].into_iter().flatten().collect(),
        |all| json!({"concat": all}),
    )
}

/// The source of a side of the packet's flow.
fn flow_source(side: FlowSide, family: Family) -> Value {
    let key = match family {
        Family::V4 => "ip saddr",
        Family::V6 => "ip6 saddr",
    };
    json!({"ct": {"key": key, "dir": side.keyword()}})
}

fn payload(protocol: &str, field: &str) -> Value {
    json!({"payload": {"protocol": protocol, "field": field}})
}

/// Bits of a header, from its start.
fn raw(base: &str, offset: u8, length: u8) -> Value {
    json!({"payload": {"base": base, "offset": offset, "len": length}})
}

fn match_value(op: &str, left: &Value, right: &Value) -> Value {
    json!({"match": {"op": op, "left": left, "right": right}})
}

fn meta(key: &str) -> Value {
    json!({"meta": {"key": key}})
}

pub(super) fn address(field: Field, family: Family) -> Value {
    let protocol = match family {
        Family::V4 => "ip",
        Family::V6 => "ip6",
    };
    let field = match field {
        Field::Source => "saddr",
        Field::Destination => "daddr",
    };
    payload(protocol, field)
}

fn port(transport: Transport) -> Value {
    payload(transport.keyword(), "dport")
}

pub(super) fn reference(name: &Name) -> Value {
    json!(format!("@{name}"))
}
