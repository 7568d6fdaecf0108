//! B5: an isolated pod sends to an accomplice's MAC under an address that its policies
//! allow. A bridge delivers by the MAC.

use anyhow::Result;
use netbed::arena::Way;
use netbed::forge::{Packet, marker, udp};

use super::attack::{Attack, BRIDGE, Must, On, Try};

const BASE: Attack = Attack {
    point: "B5",
    name: "",
    networks: BRIDGE,
    families: On::Both,
    fits: |_| true,
    cases: &[("prisoner", "bystander"), ("prisoner", "attacker"), ("prisoner", "victim")],
    ways: &[Way::Neighbour],
    run: |_| Ok(false),
    must: Must::Stop,
};

pub const ATTACKS: &[Attack] = &[
    Attack { name: "accomplice: as to a friend", run: |t| as_to(t, "friend"), ..BASE },
    Attack {
        name: "accomplice: as to a friend of the other node",
        run: |t| as_to(t, "friend-2"),
        ..BASE
    },
    Attack {
        name: "accomplice: as to a friend, in fragments",
        run: |t| {
            let marker = marker();
            for piece in to(t, "friend", &[&marker[..], &[7; 600]].concat())?.fragments(64) {
                t.arena.bytes(t.from, t.way, t.to, &piece)?;
            }
            t.arrives(marker)
        },
        ..BASE
    },
    Attack {
        name: "accomplice: in a flow to a friend",
        run: in_a_flow,
        cases: &[("prisoner", "bystander")],
        ..BASE
    },
    Attack {
        name: "accomplice: as to a friend, in a broadcast frame",
        ways: &[Way::Broadcast],
        run: |t| as_to(t, "friend"),
        ..BASE
    },
    Attack {
        name: "accomplice: of a pod that is isolated for ingress",
        cases: &[("victim", "bystander"), ("victim", "attacker")],
        run: |t| as_to(t, "outsider"),
        ..BASE
    },
];

fn to(t: &Try<'_>, whom: &str, data: &[u8]) -> Result<Packet> {
    Ok(udp(t.fresh(t.source()?), t.fresh(t.address(whom)?), data))
}

/// To the accomplice's MAC, and to the address of another.
fn as_to(t: &Try<'_>, whom: &str) -> Result<bool> {
    let marker = marker();
    t.send(&to(t, whom, &marker)?)?;
    t.arrives(marker)
}

/// The friend answers before.
fn in_a_flow(t: &Try<'_>) -> Result<bool> {
    let (own, friend) = (t.fresh(t.source()?), t.fresh(t.address("friend")?));
    let (first, answer, data) = (marker(), marker(), marker());
    t.arena.packet(t.from, Way::Neighbour, "friend", &udp(own, friend, &first))?;
    let heard = t.arena.arrives("friend", first)?;
    t.arena.packet("friend", Way::Neighbour, t.from, &udp(friend, own, &answer))?;
    anyhow::ensure!(heard && t.arena.arrives(t.from, answer)?, "the friend is not reached");
    t.send(&udp(own, friend, &data))?;
    t.arrives(data)
}
