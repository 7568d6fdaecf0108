//! Rules as text.
//!
//! What a match implies (`meta nfproto`, `meta l4proto`) is left to nft, which
//! puts it in by itself, but for what [`spelled_out`] adds.

use super::store::{PORTS, look_up, port};
use crate::implied::spelled_out;
use crate::{
    AddressTest, CtStates, Family, Field, Finish, FlowSide, Log, Match, PortRange, Rule,
    TableFamily, TagType, Verdict,
};

/// See [`super::rule`].
pub(super) fn line(table: TableFamily, rule: &Rule) -> String {
    let mut words: Vec<String> =
        spelled_out(table, rule).map(|condition| text(table, &condition)).collect();
    words.extend(rule.log.as_ref().map(log));
    words.extend(rule.finish.as_ref().map(finish));
    words.extend(rule.comment.as_ref().map(super::comment));
    words.join(" ")
}

fn text(table: TableFamily, condition: &Match) -> String {
    match condition {
        Match::CtState(states) => format!("ct state {}", ct_states(*states)),
        Match::CtTranslated => "ct status dnat".to_owned(),
        Match::SourceIsLocal => "fib saddr type local".to_owned(),
        Match::NotToHost => "meta pkttype != host".to_owned(),
        Match::Family(family) => family_test(table, *family).to_owned(),
        Match::HopLimit(hops) => format!("ip6 hoplimit {hops}"),
        Match::Protocol(number) => format!("meta l4proto {number}"),
        Match::NotOpening => "tcp flags != syn / fin,syn,rst,ack".to_owned(),
        Match::Address(field, test) => {
            let field = address(*field, test.family());
            match test {
                AddressTest::In(range) => format!("{field} {range}"),
                AddressTest::Set(_, set) => look_up(field, set),
            }
        }
        Match::Port(transport, PortRange(first, last)) => match first == last {
            true => format!("{} dport {first}", transport.keyword()),
            false => format!("{} dport {first}-{last}", transport.keyword()),
        },
        Match::Ports(set) => look_up(PORTS, set),
        Match::SourcePort(transport, port) => format!("{} sport {port}", transport.keyword()),
        Match::AddressPort(field, family, transport, set) => {
            look_up(&format!("{} . {}", address(*field, *family), port(*transport)), set)
        }
        Match::AddressPair(family, set) => {
            let (source, destination) =
                (address(Field::Source, *family), address(Field::Destination, *family));
            format!("{source} . {destination} @{set}")
        }
        Match::FlowSource(side, family, set) => {
            let source = address(Field::Source, *family);
            format!("{source} . ct {} {source} @{set}", side.keyword())
        }
        Match::FlowOpener(family, set) => {
            let side = FlowSide::Original.keyword();
            format!("ct {side} {} @{set}", address(Field::Source, *family))
        }
        Match::Icmpv6Type(set) => format!("icmpv6 type @{set}"),
        Match::Key(fields, set) => format!("{} @{set}", super::key::fields(fields)),
        Match::EtherType(ether_type) => format!("ether type {}", ether_type.keyword()),
        Match::PriorityTag(tag) => {
            format!("@ll,96,32 & {:#x} == {:#x}", TagType::MASK, tag.priority_tagged())
        }
        Match::NotProtocol(number) => format!("meta l4proto != {number}"),
        Match::IcmpType(number) => format!("icmp type {number}"),
        Match::NotInit => format!("@th,96,8 != {}", Match::SCTP_INIT),
    }
}

const fn family_test(table: TableFamily, family: Family) -> &'static str {
    match (table, family) {
        (TableFamily::Inet, Family::V4) => "meta nfproto ipv4",
        (TableFamily::Inet, Family::V6) => "meta nfproto ipv6",
        (TableFamily::Bridge, Family::V4) => "meta protocol ip",
        (TableFamily::Bridge, Family::V6) => "meta protocol ip6",
    }
}

fn log(log: &Log) -> String {
    let Log { field, family, set, per_second, prefix, group } = log;
    format!(
        "update @{set} {{ {} counter limit rate {per_second}/second burst {} packets }} \
         log prefix \"{}\" group {group}",
        address(*field, *family),
        Log::BURST_PACKETS,
        prefix.as_str()
    )
}

fn finish(finish: &Finish) -> String {
    match finish {
        Finish::Verdict(Verdict::Accept) => "accept".to_owned(),
        Finish::Verdict(Verdict::Drop) => "drop".to_owned(),
        Finish::Verdict(Verdict::Return) => "return".to_owned(),
        Finish::Verdict(Verdict::Jump(chain)) => format!("jump {chain}"),
        Finish::Verdict(Verdict::Goto(chain)) => format!("goto {chain}"),
        Finish::Dispatch(field, family, map) => {
            format!("{} vmap @{map}", address(*field, *family))
        }
    }
}

pub(super) const fn address(field: Field, family: Family) -> &'static str {
    match (family, field) {
        (Family::V4, Field::Source) => "ip saddr",
        (Family::V4, Field::Destination) => "ip daddr",
        (Family::V6, Field::Source) => "ip6 saddr",
        (Family::V6, Field::Destination) => "ip6 daddr",
    }
}

/// The test is a bit mask; of no states it is zero and never holds.
const fn ct_states(states: CtStates) -> &'static str {
    match (states.established, states.related) {
        (true, true) => "established,related",
        (true, false) => "established",
        (false, true) => "related",
        (false, false) => "0x0",
    }
}
