//! How packets between pods travel from node to node.
//!
//! Creates a node's VXLAN devices and gives the next hop to another node's pods.
//! The TUN device is in `tunnel`.
//!
//! The shape is flannel's (v0.27, pkg/backend/vxlan): one device for each family
//! of the nodes' addresses, without learning. The device has the first address of
//! the node's pods, which is the next hop of the other nodes.

use std::fmt::Write;

use anyhow::{Context, Result, ensure};
use samples::testbed_spec::{Between, TestbedSpec, pod_address};

use super::build::add_address;
use crate::net::Namespace;

/// Where flannel's VXLAN listens. It is Linux' old default.
const PORT: u16 = 8472;
/// The TUN device.
pub(super) const TUN: &str = "flannel0";

/// The name of the VXLAN device of either family.
const fn vxlan(v6: bool) -> &'static str {
    if v6 { "flannel-v6.1" } else { "flannel.1" }
}

/// The hardware address of the VXLAN device of the node with this index.
pub const fn tunnel_hardware(node: usize, v6: bool) -> [u8; 6] {
    [0x02, 0x77, 0, 0, v6 as u8, node as u8]
}

fn hardware(node: usize, v6: bool) -> String {
    tunnel_hardware(node, v6).map(|byte| format!("{byte:02x}")).join(":")
}

/// Whether packets between the pods of two nodes use VXLAN.
fn is_vxlan(spec: &TestbedSpec, from: usize, to: usize) -> bool {
    match spec.between {
        Between::Vxlan => true,
        Between::DirectRouting => (spec.far == Some(from)) != (spec.far == Some(to)),
        Between::Routes | Between::Udp => false,
    }
}

/// The part of a node's route to another node's pods that follows the destination.
///
/// The node itself sends from the address that its pods report for their node.
/// flannel would use the device's address. Neither the pods nor the specification
/// know that address as the node's.
pub(super) fn hop(spec: &TestbedSpec, from: usize, to: usize, v6: bool) -> String {
    let source = spec.node_address(from, v6);
    if is_vxlan(spec, from, to) {
        let (gateway, device) = (pod_address(to, 0, v6), vxlan(v6));
        return format!("via {gateway} dev {device} onlink src {source}");
    }
    match spec.between {
        Between::Udp => format!("dev {TUN} src {source}"),
        _ => format!("via {}", spec.node_address(to, v6)),
    }
}

/// Creates a node's VXLAN devices, if it needs any.
pub(super) fn join(spec: &TestbedSpec, node: usize, namespace: &Namespace) -> Result<()> {
    let others: Vec<usize> =
        (0..spec.nodes.len()).filter(|&to| to != node && is_vxlan(spec, node, to)).collect();
    if others.is_empty() {
        return Ok(());
    }
    for v6 in [false, true] {
        let (device, address) = (vxlan(v6), hardware(node, v6));
        let local = spec.node_address(node, v6);
        let mut lines = format!(
            "link add {device} address {address} type vxlan id 1 dev eth0 local {local} \
             dstport {PORT} nolearning\n"
        );
        let length = if v6 { 128 } else { 32 };
        lines.push_str(&add_address(pod_address(node, 0, v6), length, device));
        let _ = writeln!(lines, "link set {device} up");
        for &to in &others {
            let (gateway, address) = (pod_address(to, 0, v6), hardware(to, v6));
            let _ =
                writeln!(lines, "neigh add {gateway} lladdr {address} dev {device} nud permanent");
        }
        namespace.ip(&lines).context("make a VXLAN device")?;
        for &to in &others {
            forward_to(
                namespace,
                (&hardware(to, v6), device),
                &spec.node_address(to, v6).to_string(),
            )?;
        }
    }
    Ok(())
}

/// Sends frames for this hardware address to that node.
fn forward_to(namespace: &Namespace, (address, device): (&str, &str), node: &str) -> Result<()> {
    let arguments = ["fdb", "add", address, "dev", device, "dst", node, "self", "permanent"];
    let output = namespace.command("bridge").args(arguments).output().context("run `bridge`")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "bridge {}: {said}", arguments.join(" "));
    Ok(())
}
