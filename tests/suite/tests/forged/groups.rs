//! B6: multicast and broadcast. Isolated pods have no part in them; pods that nobody
//! isolates do, on the same bridge.

use std::net::IpAddr;

use anyhow::Result;
use netbed::arena::Way;
use samples::testbed_spec::pod_address;

use super::attack::{Attack, BRIDGE, Must, On, Try};

const BASE: Attack = Attack {
    point: "B6",
    name: "",
    networks: BRIDGE,
    families: On::Both,
    fits: |_| true,
    cases: &[("attacker", "victim"), ("stranger", "victim"), ("prisoner", "bystander")],
    ways: &[Way::Neighbour, Way::Broadcast],
    run: |_| Ok(false),
    must: Must::Stop,
};

pub const ATTACKS: &[Attack] = &[
    Attack { name: "group: under its own address", run: |t| to_group(t, t.source()?), ..BASE },
    Attack {
        name: "group: of the link, under its link-local address",
        families: On::V6,
        cases: &[("attacker", "victim"), ("prisoner", "bystander"), ("victim", "bystander")],
        run: |t| t.delivers(t.arena.link_local(t.from)?.into(), "ff02::fb".parse()?),
        ..BASE
    },
    Attack {
        name: "group: under a neighbour's link-local address",
        families: On::V6,
        cases: &[("prisoner", "bystander"), ("victim", "bystander")],
        run: |t| t.delivers(t.arena.link_local("friend")?.into(), "ff02::fb".parse()?),
        ..BASE
    },
    Attack {
        name: "group: as a pod that nobody isolates",
        cases: &[("prisoner", "bystander"), ("victim", "bystander")],
        run: |t| to_group(t, t.address("friend")?),
        ..BASE
    },
    Attack {
        name: "group: by a pod that is isolated for ingress",
        cases: &[("victim", "bystander"), ("victim", "prisoner")],
        run: |t| to_group(t, t.source()?),
        ..BASE
    },
    Attack {
        name: "broadcast: to all hosts",
        families: On::V4,
        run: |t| t.delivers(t.source()?, "255.255.255.255".parse()?),
        ..BASE
    },
    Attack {
        name: "broadcast: to all of the subnet",
        families: On::V4,
        run: |t| t.delivers(t.source()?, pod_address(t.arena.node(t.from)?, 255, false)),
        ..BASE
    },
    Attack {
        name: "broadcast: a frame for all, with the receiver's address",
        ways: &[Way::Broadcast],
        run: |t| t.delivers(t.source()?, t.target()?),
        ..BASE
    },
];

/// Between pods that nobody isolates.
pub const WAYS: &[Attack] = &[
    Attack {
        point: "honest",
        name: "groups of pods that nobody isolates",
        cases: &[("attacker", "bystander"), ("friend", "attacker")],
        run: |t| to_group(t, t.source()?),
        must: Must::Pass,
        ..BASE
    },
    Attack {
        point: "honest",
        name: "groups of the link of pods that nobody isolates",
        families: On::V6,
        cases: &[("attacker", "bystander"), ("friend", "attacker")],
        run: |t| t.delivers(t.arena.link_local(t.from)?.into(), "ff02::fb".parse()?),
        must: Must::Pass,
        ..BASE
    },
    Attack {
        point: "honest",
        name: "broadcast of pods that nobody isolates",
        families: On::V4,
        cases: &[("attacker", "bystander"), ("friend", "attacker")],
        ways: &[Way::Broadcast],
        run: |t| t.delivers(t.source()?, "255.255.255.255".parse()?),
        must: Must::Pass,
        ..BASE
    },
];

/// A group of several links.
fn to_group(t: &Try<'_>, source: IpAddr) -> Result<bool> {
    t.delivers(source, if t.v6 { "ff05::1:3" } else { "239.1.2.3" }.parse()?)
}
