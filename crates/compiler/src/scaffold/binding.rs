//! The binding of pods to their interfaces, for IP packets.
//!
//! In: nothing. Out: the chains and sets of the `inet` table.
//!
//! ```text
//! bind -+- from its interface, its own address, no ICMP -> accept   (the policy of the hook)
//!       +- bind.other -+- from its interface, its own address -> bind.icmp - what routers send -> drop
//!                      +- a pod's address, from elsewhere -> drop
//!                      +- from a pod's port, not its own -> bind.stranger -+- before it has an address: discovery -> accept
//!                                                                          +- drop
//!
//! strays (forward hook, new flows) -+- out by an interface to its own address -> return
//!                                   +- to an isolated pod's port -> drop
//! ```
//!
//! An interface is a routed pod's port. For a bridged pod it is the bridge: which
//! port of the bridge it was is looked at in [`super::bridge`]. What comes from that
//! port itself was sent to a link-local group of bridges (`br_handle_frame`,
//! net/bridge/br_input.c, 6.18): no hook of the bridge family saw it, and no address
//! is its own.
//!
//! Before connection tracking, because a packet that is dropped later still moves
//! the state of flows; after defragmentation, so that each packet has its ports.

use ruleset::{
    AddressTest, BaseChain, Chain, Comment, Family, Field, Hook, InterfaceField, KeyAddress,
    KeyAddressType, KeyFields, KeyShape, Match, Name, Rule, Set, SetType, Verdict,
};

use super::addresses::unspecified6;
use super::{LISTENER_DISCOVERY, OF_ROUTERS, REDIRECT, muted_set, of_routers, plain, types};
use crate::names::constant;

/// After defragmentation (-400), before tables that exempt packets from connection
/// tracking (-300) and connection tracking itself (-200; `nf_ip_hook_priorities`,
/// linux/netfilter_ipv4.h).
const PRIORITY: i32 = -310;

/// ICMPv6's neighbour solicitation (RFC 4861, 4.3).
pub(super) const SOLICITATION: u8 = 135;

/// The base chain of the prerouting hook.
pub fn base_chain() -> Name {
    constant("bind")
}

/// The set of (interface, address): who may say it is that address, and to which
/// interface it is sent.
pub fn own_set(family: Family) -> Name {
    constant(&format!("own{}", family.digit()))
}

/// The set of addresses that are bound.
pub fn owned_set(family: Family) -> Name {
    constant(&format!("owned{}", family.digit()))
}

/// The set of (bound address, the same address): who is an end of a flow.
pub fn ends_set(family: Family) -> Name {
    constant(&format!("ends{}", family.digit()))
}

/// The set of bound ports.
pub fn ports_set() -> Name {
    constant("ports")
}

/// The set of bound ports of isolated pods.
pub fn guarded_set() -> Name {
    constant("guarded")
}

/// The chain of new flows that no policy judges.
pub(super) fn strays_chain() -> Name {
    constant("strays")
}

/// The sets, empty but for the constant ones.
pub(super) fn sets() -> Vec<(Name, Set)> {
    let set = |set_type, comment: &str| Set::new(set_type, Some(Comment::new(comment)));
    let mut sets = vec![
        (ports_set(), set(interfaces(), "ports of pods")),
        (guarded_set(), set(interfaces(), "ports of isolated routed pods")),
        (muted_set(), set(SetType::Address(Family::V6), "link-local addresses of isolated pods")),
        types(of_routers(), "what only routers send", &OF_ROUTERS),
        types(unaddressed(), "what a host sends before it has an address", &before_address()),
    ];
    for family in Family::BOTH {
        let key = KeyShape { interface: true, mac: false, address: Some(address_type(family)) };
        sets.push((own_set(family), set(SetType::Key(key), "interfaces and their own addresses")));
        sets.push((owned_set(family), set(SetType::Address(family), "addresses that are bound")));
        let pair = SetType::AddressPair(family);
        sets.push((ends_set(family), set(pair, "a bound address and itself, as an end of a flow")));
    }
    sets
}

/// The chains.
pub(super) fn chains() -> Vec<(Name, Chain)> {
    let comment = Some("neither its own, nor without ICMP");
    vec![
        (base_chain(), bind()),
        (constant("bind.other"), plain(comment, other())),
        (constant("bind.icmp"), plain(Some("ICMP from its own address"), icmp())),
        (constant("bind.stranger"), plain(Some("not its own, from a pod"), stranger())),
        (strays_chain(), plain(Some("to an isolated pod, not its own address"), strays())),
    ]
}

fn bind() -> Chain {
    let own = |family, icmp| Rule::new([own(family), Match::NotProtocol(icmp)], Verdict::Accept);
    let rules = vec![
        own(Family::V4, Match::ICMP),
        own(Family::V6, Match::ICMPV6),
        Rule::new([], Verdict::Goto(constant("bind.other"))),
    ];
    Chain { base: Some(BaseChain::new(Hook::Prerouting, PRIORITY)), comment: None, rules }
}

fn other() -> Vec<Rule> {
    let to_icmp = |family| Rule::new([own(family)], Verdict::Goto(constant("bind.icmp")));
    let owned = |family| Rule::new([from_owned(family)], Verdict::Drop);
    let by_family = Family::BOTH.map(to_icmp).into_iter().chain(Family::BOTH.map(owned));
    let stranger = Rule::new([from_port()], Verdict::Goto(constant("bind.stranger")));
    by_family.chain([stranger]).collect()
}

fn icmp() -> Vec<Rule> {
    let of_routers = [Match::IcmpType(REDIRECT), Match::Icmpv6Type(of_routers())];
    of_routers.map(|condition| Rule::new([condition], Verdict::Drop)).into()
}

fn stranger() -> Vec<Rule> {
    let nobody = Match::Address(Field::Source, AddressTest::In(unspecified6()));
    vec![
        Rule::new([nobody, Match::Icmpv6Type(unaddressed())], Verdict::Accept),
        Rule::new([], Verdict::Drop),
    ]
}

fn strays() -> Vec<Rule> {
    let own = Family::BOTH.map(|family| Rule::new([to_own(family)], Verdict::Return));
    let guarded = interface(InterfaceField::Out, guarded_set());
    own.into_iter().chain([Rule::new([guarded], Verdict::Drop)]).collect()
}

fn own(family: Family) -> Match {
    let fields = KeyFields {
        interface: Some(InterfaceField::In),
        mac: None,
        address: Some(KeyAddress::Source(family)),
    };
    Match::Key(fields, own_set(family))
}

/// To a pod's address, by the interface that leads to the pod.
pub(super) fn to_own(family: Family) -> Match {
    let fields = KeyFields {
        interface: Some(InterfaceField::Out),
        mac: None,
        address: Some(KeyAddress::Destination(family)),
    };
    Match::Key(fields, own_set(family))
}

/// From an address that is bound.
pub(super) fn from_owned(family: Family) -> Match {
    Match::Address(Field::Source, AddressTest::Set(family, owned_set(family)))
}

fn from_port() -> Match {
    interface(InterfaceField::In, ports_set())
}

/// Whether a set holds an interface of the packet.
pub(super) fn interface(field: InterfaceField, set: Name) -> Match {
    Match::Key(KeyFields { interface: Some(field), ..KeyFields::NONE }, set)
}

/// The type of a set of interfaces.
pub(super) fn interfaces() -> SetType {
    SetType::Key(KeyShape { interface: true, mac: false, address: None })
}

pub(super) const fn address_type(family: Family) -> KeyAddressType {
    match family {
        Family::V4 => KeyAddressType::V4,
        Family::V6 => KeyAddressType::V6,
    }
}

fn unaddressed() -> Name {
    constant("unaddressed")
}

/// Neighbour solicitation for its own address to be (RFC 4862, 5.4.2), and the
/// groups for that (RFC 3590, 4).
fn before_address() -> Vec<u8> {
    [SOLICITATION].into_iter().chain(LISTENER_DISCOVERY).collect()
}
