//! Multicast, broadcast and link-local addresses, while a pod of the node is isolated.
//!
//! In: for whom they are shut. Out: the chain `edges`.
//! Never: an interface. In `inet`, a frame between two ports of a bridge has the bridge on
//! both sides, whichever ports they are: `br_nf_forward_ip` calls the forward hook once for
//! each copy of a frame, and gives the bridge as both devices
//! (net/bridge/br_netfilter_hooks.c, 6.18). The port of a copy is seen by the hooks of the
//! `bridge` table alone.
//!
//! ```text
//! edges -+- neighbour discovery that no router has passed on -> accept
//!        +- multicast listener discovery -> accept
//!        +- shut for all: drop
//!        +- shut for isolated pods, whose ports are guarded:
//!           +- from an address of an isolated pod, link-local ones included -> drop
//!           +- to an IPv6 group -> return
//!           +- from or to link-local -> drop
//! ```
//!
//! Packets reach an isolated pod here although they are not sent to an address that it
//! reports. Listener discovery passes only here: it is sent to groups (RFC 3810, 5.1.15
//! and 5.2.14), so it always reaches this chain.
//!
//! What returns goes on as any packet. `strays` drops what is routed out to an isolated
//! pod's own interface, [`super::bridge`] what goes out of an isolated pod's port of a
//! bridge. Nothing else judges who hears a group, so it needs no order with the policies:
//! a packet to a pod that becomes isolated is judged by the guard of its port alone. But
//! a pod that is isolated in both states must be guarded before this chain lets groups
//! pass, and as long as it does. So the `inet` table goes from shut to guarded only when
//! the `bridge` table in force has all guards ([`policy::NodeNetwork::guards_pending`]).
//!
//! A pod whose port is bound sends from its own addresses alone, before this hook. So its
//! addresses tell what it sends.

use policy::Direction;
use policy::spec::edges::Edges;
use ruleset::{AddressTest, Chain, Family, Field, Match, Rule, Verdict};

use super::addresses::{link_local, multicast6};
use super::forward::neighbour_rule;
use super::{isolated_set, listener_discovery, muted_set, plain};

/// The comment is that of all forms, as a chain keeps its comment for life.
pub(super) fn chain(edges: Edges) -> Chain {
    let rest = match edges {
        Edges::Open => return plain(Some(COMMENT), vec![]),
        Edges::Guarded => guarded(),
        Edges::Shut => vec![Rule::new([], Verdict::Drop)],
    };
    let listeners = Match::Icmpv6Type(listener_discovery());
    let mut rules = vec![neighbour_rule(), Rule::new([listeners], Verdict::Accept)];
    rules.extend(rest);
    plain(Some(COMMENT), rules)
}

const COMMENT: &str = "beside the pods' addresses; shut while a pod here is isolated";

fn guarded() -> Vec<Rule> {
    let isolated = Family::BOTH.into_iter().flat_map(|family| {
        Direction::BOTH.map(|one| AddressTest::Set(family, isolated_set(one, family)))
    });
    let muted = isolated.chain([AddressTest::Set(Family::V6, muted_set())]);
    let rule = |field, test, verdict| Rule::new([Match::Address(field, test)], verdict);
    let mut rules: Vec<Rule> = muted.map(|test| rule(Field::Source, test, Verdict::Drop)).collect();
    rules.push(rule(Field::Destination, AddressTest::In(multicast6()), Verdict::Return));
    rules.extend(
        [Field::Source, Field::Destination]
            .map(|field| rule(field, AddressTest::In(link_local()), Verdict::Drop)),
    );
    rules
}
