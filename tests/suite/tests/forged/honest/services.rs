//! Services of every kind.

use std::net::{IpAddr, SocketAddr};

use anyhow::Result;
use netbed::arena::CLUSTER_IPS;

use super::BASE;
use super::sockets::serves;
use crate::attack::{Attack, Try};

pub const WAYS: &[Attack] = &[
    Attack {
        name: "a client outside that a block allows",
        cases: &[("outsider", "server"), ("outsider", "server-2")],
        run: |t| serves(t, SocketAddr::new(t.target()?, 8080)),
        ..BASE
    },
    Attack {
        name: "ClusterIP and load balancer's address",
        cases: &[
            ("friend", "server"),
            ("friend", "server-2"),
            ("friend-2", "server"),
            ("friend", "victim"),
            ("node-1", "server"),
            // From isolated pods.
            ("prisoner", "friend"),
            ("victim", "friend"),
            ("prisoner-2", "friend"),
        ],
        run: cluster_ips,
        ..BASE
    },
    Attack {
        name: "itself by its own ClusterIP",
        cases: &[("victim", "victim"), ("server", "server")],
        run: cluster_ips,
        ..BASE
    },
    Attack {
        name: "node port of the endpoint's node",
        cases: &[("friend", "server"), ("friend-2", "server"), ("outsider", "server")],
        run: |t| serves(t, node_port(t, 0, 30080)),
        ..BASE
    },
    Attack {
        name: "node port of another node",
        cases: &[("friend", "server-2"), ("friend-2", "server-2"), ("outsider", "server-2")],
        run: |t| serves(t, node_port(t, 0, 30081)),
        ..BASE
    },
    Attack {
        name: "node port of a node that is not the client's",
        cases: &[("friend-2", "server-2"), ("friend", "server-2"), ("outsider", "server-2")],
        run: |t| serves(t, node_port(t, 1, 30081)),
        ..BASE
    },
    Attack {
        name: "node port that keeps the client",
        cases: &[("friend", "server"), ("outsider", "server"), ("friend-2", "server")],
        run: |t| serves(t, node_port(t, 0, 30082)),
        ..BASE
    },
];

fn cluster_ips(t: &Try<'_>) -> Result<bool> {
    for service in CLUSTER_IPS.iter().filter(|service| service.pod == t.to) {
        let address: IpAddr = service.address[usize::from(t.v6)].parse()?;
        if !serves(t, SocketAddr::new(address, service.port))? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn node_port(t: &Try<'_>, node: usize, port: u16) -> SocketAddr {
    SocketAddr::new(t.arena.testbed().spec().node_address(node, t.v6), port)
}
