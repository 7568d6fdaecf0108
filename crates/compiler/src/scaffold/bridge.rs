//! The binding of pods to their ports of bridges, for frames.
//!
//! In: nothing. Out: the table of family `bridge`, without a port.
//!
//! ```text
//! from -+- IP from its port, its own MAC and address, no ICMPv6 -> accept
//!       +- from.other -+- the same, ICMPv6 -> from.icmp6 -+- what routers send -> drop
//!                      |                                  +- advertises another's address -> drop
//!                      +- ARP that says its own MAC and address -> accept
//!                      +- from a pod's port, not its own -> from.odd -+- asks whether its own address is free -> accept
//!                      |                                             +- listener discovery without an address -> accept
//!                      |                                             +- IP, ARP -> drop
//!                      |                                             +- from an isolated pod -> drop
//!                      |                                             +- a tag that receivers ignore -> drop
//!                      |                                             +- its own MAC -> accept
//!                      |                                             +- drop
//!                      +- from another port: a pod's MAC, a pod's or a bridge's address, in IP, ARP or an advertisement -> drop
//!                      +- from another port, a tag that receivers strip -> from.tag -+- IP -> accept
//!                                                                                    +- drop
//!
//! across -+- from an isolated pod's port -> across.guarded -+- IP to the receiver's own MAC and address -> accept
//!                                                           +- to a pod's port -> across.pod -+- ARP, neighbour or listener discovery -> accept
//!                                                                                             +- drop
//!
//! to -+- to an isolated pod's port -> to.guarded -+- IP to its own MAC and address -> accept
//!     |                                           +- ARP, neighbour or listener discovery -> to.place
//!     |                                           +- drop
//!     +- to.place -+- to a pod's port, its own MAC -> accept
//!                  +- to another pod's MAC -> drop
//! ```
//!
//! `to.place`: a bridge learns the MAC of a frame to a group that bridges do not
//! forward before any hook (`__br_handle_local_finish`, net/bridge/br_input.c, 6.18).
//! So a pod can make the bridge take it for its neighbour. It then gets no frame of
//! the neighbour's, which is out of reach until it sends again.
//!
//! `across`: a bridge delivers by the MAC, and policies judge the address. Without it, an
//! isolated pod could send to an accomplice's MAC what policies let it send to others.
//! A frame that a bridge floods from a port that leaves to one that comes in the same
//! change may be dropped there. What is for the pod of that port is not.
//!
//! Before the bridge learns a MAC, and before br_netfilter hands the packet to the
//! hooks of `inet`. `ether type ip` holds for untagged frames only. `ip saddr` looks
//! through one tag, so that a tag does not hide another's address. A receiver strips
//! any number of tags with VLAN id 0 (`check_vlan_id` in `__netif_receive_skb_core`,
//! net/core/dev.c, 6.18), so nothing but IP passes behind one.
//!
//! There is no defragmentation here. For a later fragment, a rule takes data for an
//! ICMP type: loads of 1, 2 and 4 bytes do not ask for the fragment's offset
//! (`nft_payload_fast_eval`, net/netfilter/nf_tables_core.c, 6.18). So the redirects
//! of IPv4 are judged by [`super::binding`], where packets are whole. 6.18 was seen to
//! do this in IPv4 alone. Neighbour discovery has hop limit 255, and receivers ignore
//! it otherwise, so that no other ICMPv6 is judged.

mod delivery;

use std::sync::Arc;

use ruleset::{
    AddressTest, BaseChain, Chain, Comment, EtherType, Family, Field, Hook, InterfaceField,
    KeyAddress, KeyAddressType, KeyFields, KeyShape, MacField, Match, Name, Rule, Ruleset, Set,
    SetType, TagType, Verdict,
};

use super::addresses::unspecified6;
use super::binding::{
    SOLICITATION, address_type, guarded_set, interface, interfaces, own_set, owned_set, ports_set,
};
use super::forward::NEIGHBOUR_HOP_LIMIT;
use super::{LISTENER_DISCOVERY, OF_ROUTERS, listener_discovery, of_routers, plain, types};
use crate::names::constant;
use delivery::{across, across_guarded, across_pod, to, to_guarded, to_place};

/// Before br_netfilter, at `NF_BR_PRI_BRNF` 0, and before the bridge learns
/// (`br_handle_frame_finish` comes after the hook; net/bridge/br_input.c, 6.18).
const FROM_PRIORITY: i32 = -310;

/// Before br_netfilter, at `NF_BR_PRI_BRNF - 1`, hands the packet to the forward hook of
/// `inet` (net/bridge/br_netfilter_hooks.c, 6.18). Policies need not judge what goes
/// nowhere.
const ACROSS_PRIORITY: i32 = -310;

/// After all others (`NF_BR_PRI_NAT_SRC` is 300; linux/netfilter_bridge.h).
const TO_PRIORITY: i32 = 310;

/// ICMPv6's neighbour advertisement (RFC 4861, 4.4).
const ADVERTISEMENT: u8 = 136;

/// What a host must hear on its link: listener discovery, router advertisements,
/// neighbour discovery. Those that no pod may send are dropped where they come in.
/// Reports of listeners (131, 132, 143) go to all that listen, too (RFC 2710, 4).
const LOCAL: [u8; 7] = [130, 131, 132, 134, SOLICITATION, ADVERTISEMENT, 143];

/// The base chain of the prerouting hook.
pub fn from_chain() -> Name {
    constant("from")
}

/// The base chain of the forward hook.
pub fn across_chain() -> Name {
    constant("across")
}

/// The base chain of the postrouting hook.
pub fn to_chain() -> Name {
    constant("to")
}

/// The set of (port, MAC, target of neighbour discovery).
pub fn targets_set() -> Name {
    constant("targets")
}

/// The set of (port, MAC).
pub fn speakers_set() -> Name {
    constant("speakers")
}

/// The set of MACs that are bound.
pub fn macs_set() -> Name {
    constant("macs")
}

/// The set of addresses that are bound, as targets of neighbour discovery.
pub fn owned_targets_set() -> Name {
    constant("owned-targets")
}

/// The table without a port.
pub fn of() -> Ruleset {
    let mut ruleset = Ruleset::bridge(super::table());
    ruleset.sets.extend(sets());
    let chains = [
        (from_chain(), base(Hook::Prerouting, FROM_PRIORITY, from())),
        (constant("from.other"), plain(Some("not its own, or ICMPv6"), from_other())),
        (constant("from.icmp6"), plain(Some("ICMPv6 from its own address"), from_icmp6())),
        (constant("from.tag"), plain(Some("in a tag that receivers strip"), from_tag())),
        (constant("from.odd"), plain(Some("from a pod, not its own IP or ARP"), from_odd())),
        (across_chain(), base(Hook::Forward, ACROSS_PRIORITY, across())),
        (constant("across.guarded"), plain(Some("from an isolated pod"), across_guarded())),
        (constant("across.pod"), plain(Some("to a pod, not its own address"), across_pod())),
        (to_chain(), base(Hook::Postrouting, TO_PRIORITY, to())),
        (constant("to.guarded"), plain(Some("to an isolated pod"), to_guarded())),
        (constant("to.place"), plain(Some("a pod's MAC is at its own port"), to_place())),
    ];
    ruleset.chains.extend(chains.map(|(name, chain)| (name, Arc::new(chain))));
    ruleset
}

fn sets() -> Vec<(Name, Set)> {
    let set = |set_type, comment: &str| Set::new(set_type, Some(Comment::new(comment)));
    let key = |interface, mac, address| SetType::Key(KeyShape { interface, mac, address });
    let target = Some(KeyAddressType::Target);
    let mut sets = vec![
        (targets_set(), set(key(true, true, target), "ports, their MACs and own addresses")),
        (speakers_set(), set(key(true, true, None), "ports and their MACs")),
        (ports_set(), set(interfaces(), "ports of pods")),
        (guarded_set(), set(interfaces(), "ports of isolated pods")),
        (macs_set(), set(key(false, true, None), "MACs that are bound")),
        (owned_targets_set(), set(key(false, false, target), "addresses that are bound")),
        types(constant("advert"), "neighbour advertisement", &[ADVERTISEMENT]),
        types(constant("solicit"), "neighbour solicitation", &[SOLICITATION]),
        types(constant("local"), "what a host must hear on its link", &LOCAL),
        types(listener_discovery(), "multicast listener discovery", &LISTENER_DISCOVERY),
        types(of_routers(), "what only routers send", &OF_ROUTERS),
    ];
    for family in Family::BOTH {
        let own = key(true, true, Some(address_type(family)));
        sets.push((own_set(family), set(own, "ports, their MACs and own addresses")));
        sets.push((owned_set(family), set(SetType::Address(family), "addresses that are bound")));
    }
    sets
}

fn base(hook: Hook, priority: i32, rules: Vec<Rule>) -> Chain {
    Chain { base: Some(BaseChain::new(hook, priority)), comment: None, rules }
}

fn from() -> Vec<Rule> {
    let [is_v6, own6] = own(Family::V6);
    vec![
        Rule::new(own(Family::V4), Verdict::Accept),
        Rule::new([is_v6, own6, Match::NotProtocol(Match::ICMPV6)], Verdict::Accept),
        Rule::new([], Verdict::Goto(constant("from.other"))),
    ]
}

fn from_other() -> Vec<Rule> {
    let owned = |family| {
        let test = AddressTest::Set(family, owned_set(family));
        Rule::new([Match::Address(Field::Source, test)], Verdict::Drop)
    };
    let sender = KeyFields { address: Some(KeyAddress::ArpSender), ..KeyFields::NONE };
    let target = KeyFields { address: Some(KeyAddress::Target), ..KeyFields::NONE };
    let mac = KeyFields { mac: Some(MacField::Source), ..KeyFields::NONE };
    let arp = Match::EtherType(EtherType::Arp);
    let says_own = [MacField::Source, MacField::ArpSender]
        .map(|mac| key(Some(mac), Some(KeyAddress::ArpSender), own_set(Family::V4)));
    let [from_own, of_own] = says_own;
    let mut rules = vec![
        Rule::new(own(Family::V6), Verdict::Goto(constant("from.icmp6"))),
        Rule::new([arp.clone(), from_own, of_own], Verdict::Accept),
        Rule::new(
            [interface(InterfaceField::In, ports_set())],
            Verdict::Goto(constant("from.odd")),
        ),
        Rule::new([Match::Key(mac, macs_set())], Verdict::Drop),
        owned(Family::V4),
        owned(Family::V6),
        Rule::new([arp, Match::Key(sender, owned_set(Family::V4))], Verdict::Drop),
        Rule::new([advertisement(), Match::Key(target, owned_targets_set())], Verdict::Drop),
    ];
    let to_tag = |tag| Rule::new([tag], Verdict::Goto(constant("from.tag")));
    rules.extend(priority_tags().map(to_tag));
    rules
}

fn from_tag() -> Vec<Rule> {
    let ip = Family::BOTH.map(|family| Rule::new([Match::Family(family)], Verdict::Accept));
    ip.into_iter().chain([Rule::new([], Verdict::Drop)]).collect()
}

fn from_icmp6() -> Vec<Rule> {
    let on_link = || Match::HopLimit(NEIGHBOUR_HOP_LIMIT);
    vec![
        Rule::new([on_link(), Match::Icmpv6Type(of_routers())], Verdict::Drop),
        Rule::new([on_link(), advertisement(), own_target()], Verdict::Accept),
        Rule::new([on_link(), advertisement()], Verdict::Drop),
    ]
}

fn from_odd() -> Vec<Rule> {
    let unaddressed = |types: &str, by: Match| {
        let nobody = Match::Address(Field::Source, AddressTest::In(unspecified6()));
        let ether_type = Match::EtherType(EtherType::Ipv6);
        let types = Match::Icmpv6Type(constant(types));
        Rule::new([ether_type, nobody, types, by], Verdict::Accept)
    };
    let speaker = || key(Some(MacField::Source), None, speakers_set());
    let mut rules = vec![unaddressed("solicit", own_target()), unaddressed("mld", speaker())];
    let ether_types = [EtherType::Ipv4, EtherType::Ipv6, EtherType::Arp];
    rules.extend(ether_types.map(|one| Rule::new([Match::EtherType(one)], Verdict::Drop)));
    let guarded = interface(InterfaceField::In, guarded_set());
    rules.push(Rule::new([guarded], Verdict::Drop));
    rules.extend(priority_tags().map(|tag| Rule::new([tag], Verdict::Drop)));
    rules.push(Rule::new([speaker()], Verdict::Accept));
    rules.push(Rule::new([], Verdict::Drop));
    rules
}

/// An untagged IP packet from a port, with the port's MAC and address.
fn own(family: Family) -> [Match; 2] {
    let source = KeyAddress::Source(family);
    let own = key(Some(MacField::Source), Some(source), own_set(family));
    [Match::EtherType(ether_type(family)), own]
}

/// A port's own address as the target of neighbour discovery.
fn own_target() -> Match {
    key(Some(MacField::Source), Some(KeyAddress::Target), targets_set())
}

/// A tag of either type with VLAN id 0.
fn priority_tags() -> [Match; 2] {
    [TagType::Dot1q, TagType::Dot1ad].map(Match::PriorityTag)
}

fn advertisement() -> Match {
    Match::Icmpv6Type(constant("advert"))
}

/// A key that begins with the port where the frame comes in.
fn key(mac: Option<MacField>, address: Option<KeyAddress>, set: Name) -> Match {
    Match::Key(KeyFields { interface: Some(InterfaceField::In), mac, address }, set)
}

const fn ether_type(family: Family) -> EtherType {
    match family {
        Family::V4 => EtherType::Ipv4,
        Family::V6 => EtherType::Ipv6,
    }
}
