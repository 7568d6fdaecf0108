//! Policies on every kind of network: how pods are attached to their node, and how
//! packets get from node to node. All pairs do what the specification says, over TCP
//! and UDP, IPv4 and IPv6.
//!
//! Docker's four models are among the endpoints: pods on a bridge; pods of two
//! containers (`docker.rs`); pods in their node's network namespace, which are the
//! nodes' endpoints, although policies name them by label; and a pod without an
//! address.

mod beside;
mod docker;
mod grid;
mod round;
mod secondary;

use anyhow::Result;
use samples::testbed_spec::{Between, Network};

#[test]
fn networks_bridge_with_routes() -> Result<()> {
    grid::row(Network::Bridge, Between::Routes)
}

#[test]
fn networks_bridge_with_vxlan() -> Result<()> {
    grid::row(Network::Bridge, Between::Vxlan)
}

#[test]
fn networks_bridge_with_direct_routing() -> Result<()> {
    grid::row(Network::Bridge, Between::DirectRouting)
}

#[test]
fn networks_bridge_with_udp() -> Result<()> {
    grid::row(Network::Bridge, Between::Udp)
}

#[test]
fn networks_routed_with_routes() -> Result<()> {
    grid::row(Network::Routed, Between::Routes)
}

#[test]
fn networks_routed_with_vxlan() -> Result<()> {
    grid::row(Network::Routed, Between::Vxlan)
}

#[test]
fn networks_routed_with_direct_routing() -> Result<()> {
    grid::row(Network::Routed, Between::DirectRouting)
}

/// Policies are enforced in the pods' own namespaces.
#[test]
fn networks_macvlan() -> Result<()> {
    grid::row(Network::Macvlan, Between::Routes)
}

/// As with SR-IOV. This kernel has no such card: see `Network::Moved`.
#[test]
fn networks_moved_device() -> Result<()> {
    grid::row(Network::Moved, Between::Routes)
}

#[test]
fn networks_routed_with_udp() -> Result<()> {
    grid::row(Network::Routed, Between::Udp)
}
