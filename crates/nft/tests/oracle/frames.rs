//! Rules about frames and interfaces, and the same rules in nftnl's expressions. Written
//! by hand from nft(8)'s own form of them.

use nftnl::expr::{
    Bitwise, Cmp, CmpOp, LLHeaderField, NetworkHeaderField, Payload, TransportHeaderField,
};
use nftnl::{Rule, nft_expr};
use ruleset::{
    EtherType, Family, InterfaceField, KeyAddress, KeyFields, MacField, Match, TableFamily, TagType,
};

use crate::rules::{Case, accept, family, lookup, protocol};
use crate::writer::name;

/// Tests the family as tables of this family do.
fn ip(rule: &mut Rule<'_>, table: TableFamily, of: Family) {
    if table == TableFamily::Inet {
        return family(rule, of);
    }
    rule.add_expr(&nft_expr!(meta proto));
    let number = match of {
        Family::V4 => 0x0800_u16,
        Family::V6 => 0x86dd,
    };
    rule.add_expr(&Cmp::new(CmpOp::Eq, number.to_be()));
}

fn frame_type(rule: &mut Rule<'_>, number: u16) {
    rule.add_expr(&Payload::LinkLayer(LLHeaderField::EtherType));
    rule.add_expr(&Cmp::new(CmpOp::Eq, number.to_be()));
}

// nftnl calls offset and length bits, but passes them to the kernel, which expects
// bytes.
fn link(rule: &mut Rule<'_>, offset_bits: u32, length_bits: u32) {
    rule.add_expr(&Payload::LinkLayer(LLHeaderField::Raw { offset_bits, length_bits }));
}

fn network(rule: &mut Rule<'_>, offset_bits: u32, length_bits: u32) {
    rule.add_expr(&Payload::Network(NetworkHeaderField::Raw { offset_bits, length_bits }));
}

fn transport(rule: &mut Rule<'_>, offset_bits: u32, length_bits: u32) {
    rule.add_expr(&Payload::Transport(TransportHeaderField::Raw { offset_bits, length_bits }));
}

/// Keys of one field. What nftnl cannot load into a second register is missing.
fn keys(table: TableFamily, cases: &mut Vec<Case>) {
    let key = |fields| vec![Match::Key(fields, name("keys"))];
    let interface = |one| KeyFields { interface: Some(one), ..KeyFields::NONE };
    let mac = |one| KeyFields { mac: Some(one), ..KeyFields::NONE };
    let address = |one| KeyFields { address: Some(one), ..KeyFields::NONE };
    cases.push(accept(key(interface(InterfaceField::In)), |rule| {
        rule.add_expr(&nft_expr!(meta iif));
        lookup(rule, c"keys");
    }));
    cases.push(accept(key(interface(InterfaceField::Out)), |rule| {
        rule.add_expr(&nft_expr!(meta oif));
        lookup(rule, c"keys");
    }));
    cases.push(accept(key(mac(MacField::Source)), |rule| {
        rule.add_expr(&Payload::LinkLayer(LLHeaderField::Saddr));
        lookup(rule, c"keys");
    }));
    cases.push(accept(key(mac(MacField::Destination)), |rule| {
        rule.add_expr(&Payload::LinkLayer(LLHeaderField::Daddr));
        lookup(rule, c"keys");
    }));
    // RFC 826: the sender's hardware address in byte 8, its IPv4 address in byte 14.
    cases.push(accept(key(mac(MacField::ArpSender)), |rule| {
        frame_type(rule, 0x0806);
        network(rule, 8, 6);
        lookup(rule, c"keys");
    }));
    cases.push(accept(key(address(KeyAddress::ArpSender)), |rule| {
        frame_type(rule, 0x0806);
        network(rule, 14, 4);
        lookup(rule, c"keys");
    }));
    // RFC 4861, 4.3: the target in byte 8 of the message.
    cases.push(accept(key(address(KeyAddress::Target)), move |rule| {
        ip(rule, table, Family::V6);
        protocol(rule, 58);
        transport(rule, 8, 16);
        lookup(rule, c"keys");
    }));
}

/// Every rule about frames and interfaces that nftnl can express.
pub(crate) fn cases(table: TableFamily) -> Vec<Case> {
    let mut cases = Vec::new();
    keys(table, &mut cases);
    for of in [Family::V4, Family::V6] {
        cases.push(accept(vec![Match::Family(of)], move |rule| ip(rule, table, of)));
    }
    for (kind, number) in
        [(EtherType::Ipv4, 0x0800), (EtherType::Ipv6, 0x86dd), (EtherType::Arp, 0x0806)]
    {
        let build = move |rule: &mut Rule<'_>| frame_type(rule, number);
        cases.push(accept(vec![Match::EtherType(kind)], build));
    }
    // The tag's type, then priority (3 bits), drop eligibility (1) and VLAN id (12).
    for (kind, tag) in [(TagType::Dot1q, [0x81_u8, 0, 0, 0]), (TagType::Dot1ad, [0x88, 0xa8, 0, 0])]
    {
        cases.push(accept(vec![Match::PriorityTag(kind)], move |rule| {
            link(rule, 12, 4);
            rule.add_expr(&Bitwise::new(&[0xff_u8, 0xff, 0x0f, 0xff][..], &[0_u8; 4][..]));
            rule.add_expr(&Cmp::new(CmpOp::Eq, &tag[..]));
        }));
    }
    for number in [1_u8, 58, 255] {
        cases.push(accept(vec![Match::NotProtocol(number)], move |rule| {
            rule.add_expr(&nft_expr!(meta l4proto));
            rule.add_expr(&nft_expr!(cmp != number));
        }));
        cases.push(accept(vec![Match::IcmpType(number)], move |rule| {
            ip(rule, table, Family::V4);
            protocol(rule, 1);
            transport(rule, 0, 1);
            rule.add_expr(&nft_expr!(cmp == number));
        }));
    }
    // RFC 9260, 3: the first chunk begins in byte 12, with its type; INIT is 1.
    cases.push(accept(vec![Match::NotInit], |rule| {
        protocol(rule, 132);
        transport(rule, 12, 1);
        rule.add_expr(&nft_expr!(cmp != 1_u8));
    }));
    cases
}
