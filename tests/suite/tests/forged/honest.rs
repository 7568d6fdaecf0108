//! What must pass beside the attacks, under the same policies.
//!
//! Most ways are tried with ordinary sockets and an answer.

mod errors;
mod links;
mod services;
mod sockets;

use std::time::Duration;

use anyhow::Result;
use netbed::arena::further_address;
use netbed::forge::marker;
use sockets::{endpoint, tcp_answers, udp_answers, udp_at, udp_by};

use super::attack::{ANYWHERE, Attack, GATEWAY, Must, On, Try};

const PATIENCE: Duration = Duration::from_millis(300);

const BASE: Attack = Attack {
    point: "honest",
    name: "",
    networks: ANYWHERE,
    families: On::Both,
    fits: |_| true,
    cases: ALLOWED,
    ways: GATEWAY,
    run: |_| Ok(false),
    must: Must::Pass,
};

/// What the policies allow, or do not speak of.
const ALLOWED: &[(&str, &str)] = &[
    ("friend", "victim"),
    ("friend-2", "victim"),
    ("friend", "victim-2"),
    ("attacker", "bystander"),
    ("attacker", "bystander-2"),
    ("victim", "attacker"),
    ("victim", "bystander-2"),
    ("prisoner", "friend"),
    ("prisoner", "friend-2"),
    ("attacker", "prisoner"),
];
const NODES: &[(&str, &str)] = &[
    ("node-1", "victim"),
    ("node-1", "prisoner"),
    ("victim", "node-1"),
    ("prisoner", "node-1"),
    ("attacker", "node-2"),
    ("victim-2", "node-2"),
    ("node-1", "bystander-2"),
    ("node-1", "node-2"),
];
const OUTSIDE: &[(&str, &str)] =
    &[("victim", "outsider"), ("attacker", "outsider"), ("attacker-2", "outsider")];

const WAYS: &[Attack] = &[
    Attack { name: "UDP between pods", run: |t| udp_answers(t, t.target()?), ..BASE },
    Attack { name: "TCP between pods", run: |t| tcp_answers(t, t.target()?), ..BASE },
    Attack {
        name: "UDP from and to nodes",
        cases: NODES,
        run: |t| udp_answers(t, t.target()?),
        ..BASE
    },
    Attack {
        name: "TCP from and to nodes",
        cases: NODES,
        run: |t| tcp_answers(t, t.target()?),
        ..BASE
    },
    Attack {
        name: "UDP to the outside, masqueraded",
        cases: OUTSIDE,
        run: |t| udp_answers(t, t.target()?),
        ..BASE
    },
    Attack {
        name: "TCP to the outside, masqueraded",
        cases: OUTSIDE,
        run: |t| tcp_answers(t, t.target()?),
        ..BASE
    },
    Attack {
        name: "UDP to another address of a node, masqueraded",
        cases: &[("attacker", "node-2"), ("victim", "node-2"), ("attacker-2", "node-1")],
        run: |t| udp_answers(t, further_address(t.arena.node(t.to)?, t.v6)),
        ..BASE
    },
    Attack {
        name: "UDP from a tunnel's port, to the own node",
        cases: &[("attacker", "node-1"), ("victim", "node-1")],
        run: |t| udp_by(t, 8472, t.fresh(t.target()?), None, &marker()),
        ..BASE
    },
    Attack { name: "neighbours forgotten", run: forgotten, ..BASE },
    Attack { name: "large datagrams in fragments", run: large, ..BASE },
];

/// All of them.
pub fn ways() -> Vec<Attack> {
    [WAYS, services::WAYS, errors::WAYS, links::WAYS].concat()
}

fn forgotten(t: &Try<'_>) -> Result<bool> {
    for name in [t.from, t.to] {
        endpoint(t, name)?.namespace.ip("neigh flush all")?;
    }
    udp_answers(t, t.target()?)
}

fn large(t: &Try<'_>) -> Result<bool> {
    let data = [7; 4000];
    // The first ones find out how much a tunnel takes, in each direction.
    for _ in 0..3 {
        if udp_at(t, t.fresh(t.target()?), None, &data)? {
            return Ok(true);
        }
    }
    Ok(false)
}
