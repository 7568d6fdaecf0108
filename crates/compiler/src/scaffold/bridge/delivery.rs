//! Where frames go out of a bridge's port.
//!
//! In: nothing. Out: the rules of the chains `across` and `to` that [`super`] draws.
//! Never: where a frame came from, but for the port of an isolated pod.

use ruleset::{
    EtherType, Family, InterfaceField, KeyAddress, KeyFields, MacField, Match, Rule, Verdict,
};

use super::super::binding::{guarded_set, interface, own_set, ports_set};
use super::{ether_type, macs_set, speakers_set};
use crate::names::constant;

pub(super) fn across() -> Vec<Rule> {
    let guarded = interface(InterfaceField::In, guarded_set());
    vec![Rule::new([guarded], Verdict::Goto(constant("across.guarded")))]
}

pub(super) fn across_guarded() -> Vec<Rule> {
    let port = interface(InterfaceField::Out, ports_set());
    let to_pod = Rule::new([port], Verdict::Goto(constant("across.pod")));
    Family::BOTH.map(to_own).into_iter().chain([to_pod]).collect()
}

pub(super) fn across_pod() -> Vec<Rule> {
    about_neighbours(Verdict::Accept).into()
}

pub(super) fn to() -> Vec<Rule> {
    let guarded = interface(InterfaceField::Out, guarded_set());
    vec![
        Rule::new([guarded], Verdict::Goto(constant("to.guarded"))),
        Rule::new([], Verdict::Goto(constant("to.place"))),
    ]
}

pub(super) fn to_guarded() -> Vec<Rule> {
    let rest = about_neighbours(Verdict::Goto(constant("to.place")));
    Family::BOTH.map(to_own).into_iter().chain(rest).collect()
}

/// For what no address decides. The policy of the hook accepts what is left.
pub(super) fn to_place() -> Vec<Rule> {
    let interface = Some(InterfaceField::Out);
    let mac = KeyFields { mac: Some(MacField::Destination), ..KeyFields::NONE };
    let own = KeyFields { interface, ..mac };
    vec![
        Rule::new([Match::Key(own, speakers_set())], Verdict::Accept),
        Rule::new([Match::Key(mac, macs_set())], Verdict::Drop),
    ]
}

/// What goes to the MAC and an address of the port that it leaves by.
fn to_own(family: Family) -> Rule {
    let fields = KeyFields {
        interface: Some(InterfaceField::Out),
        mac: Some(MacField::Destination),
        address: Some(KeyAddress::Destination(family)),
    };
    let own = Match::Key(fields, own_set(family));
    Rule::new([Match::EtherType(ether_type(family)), own], Verdict::Accept)
}

/// What hosts of a link say to each other about their addresses, and no more.
fn about_neighbours(verdict: Verdict) -> [Rule; 3] {
    let local = Match::Icmpv6Type(constant("local"));
    [
        Rule::new([Match::EtherType(EtherType::Arp)], verdict.clone()),
        Rule::new([Match::EtherType(EtherType::Ipv6), local], verdict),
        Rule::new([], Verdict::Drop),
    ]
}
