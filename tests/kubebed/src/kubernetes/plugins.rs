//! The CNI plugins of each network, and their list.
//!
//! In: the options of a cluster, a node. Out: `conflist` files. Never: a plugin of
//! another one than the node itself, and never a link in the machine's own folders.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use anyhow::{Context, Result};
use samples::testbed_spec::{TestbedSpec, pod_address};
use serde_json::{Value, json};

use super::{Backend, Network, Options, second};

/// Where the plugins of Debian's containernetworking-plugins are.
const PLUGINS: &str = "/usr/lib/cni";
/// The name of the pods' network in the plugins, and the folder of its addresses.
pub(super) const NETWORK: &str = "pods";
/// The node's own interface among pods with macvlan.
pub(super) const SHIM: &str = "pods0";

/// A node, as plugins need to know it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'a> {
    /// Its number among the nodes, from 0.
    pub index: usize,
    /// Its name.
    pub node: &'a str,
    /// Access to the API server.
    pub kubeconfig: &'a Path,
}

/// Fills a folder of plugins for one node: links to those of the machine.
pub(super) fn link_all(folder: &Path) -> Result<()> {
    let entries = fs::read_dir(PLUGINS)
        .with_context(|| format!("read {PLUGINS} (Debian package containernetworking-plugins)"))?;
    for entry in entries {
        let entry = entry.with_context(|| format!("read {PLUGINS}"))?;
        link(&entry.path(), &folder.join(entry.file_name()))?;
    }
    Ok(())
}

/// A link at `at` to this file.
pub(super) fn link(to: &Path, at: &Path) -> Result<()> {
    symlink(to, at).with_context(|| format!("link {} to {}", at.display(), to.display()))
}

/// The list of plugins that connects a node's pods.
pub(super) fn list(options: &Options, place: Place<'_>) -> Value {
    let plugin = match options.network {
        Network::Bridge | Network::Flannel(_) => json!({
            "type": "bridge",
            "bridge": "cni0",
            "isGateway": true,
            "ipMasq": false,
            "hairpinMode": true,
            "mtu": mtu(options.network),
            "ipam": host_local(options, place, true),
        }),
        Network::Ptp => {
            json!({"type": "ptp", "ipMasq": false, "ipam": host_local(options, place, true)})
        }
        // As in daemonset/kubeadm-kuberouter.yaml of kube-router 2.1, with hairpin for
        // kube-proxy. kube-router itself adds the ranges.
        Network::KubeRouter => json!({
            "type": "bridge",
            "bridge": "kube-bridge",
            "isDefaultGateway": true,
            "hairpinMode": true,
            "ipam": {"type": "host-local"},
        }),
        // As in manifests/canal.yaml of Calico 3.28. Without routes, the plugin makes
        // its default routes.
        Network::Calico | Network::CalicoVxlan | Network::Canal => json!({
            "type": "calico",
            "log_level": "info",
            "datastore_type": "kubernetes",
            "nodename": place.node,
            "nodename_file_optional": true,
            "mtu": mtu(options.network),
            "ipam": host_local(options, place, false),
            "policy": {"type": "k8s"},
            "kubernetes": {"kubeconfig": place.kubeconfig},
        }),
        Network::Macvlan => json!({
            "type": "macvlan",
            "master": "eth0",
            "mode": "bridge",
            "ipam": on_the_wire(options, place),
        }),
    };
    // For hostPort, as in flannel's list.
    let ports = json!({"type": "portmap", "capabilities": {"portMappings": true}});
    let mut plugins = vec![plugin, ports];
    if options.second_network {
        plugins.push(second::settings(options, place));
    }
    json!({"cniVersion": "1.0.0", "name": NETWORK, "plugins": plugins})
}

/// Addresses from the node's own ranges, as in flannel and kubenet
/// (cni.dev/plugins/current/ipam/host-local).
fn host_local(options: &Options, place: Place<'_>, with_routes: bool) -> Value {
    let families = options.families();
    let ranges = families.iter().map(|&v6| TestbedSpec::pod_range(place.index, v6));
    let ranges: Vec<Value> = ranges.map(|range| json!([{"subnet": range}])).collect();
    let routes = if with_routes { defaults(families) } else { Vec::new() };
    json!({"type": "host-local", "ranges": ranges, "routes": routes})
}

/// Addresses of the node's ranges, with all pods of the cluster on one wire.
fn on_the_wire(options: &Options, place: Place<'_>) -> Value {
    let families = options.families();
    let ranges = families.iter().map(|&v6| {
        let address = |number| pod_address(place.index, number, v6);
        json!([{
            "subnet": TestbedSpec::pods_range(v6),
            "rangeStart": address(2),
            "rangeEnd": address(254),
            "gateway": address(1),
        }])
    });
    let ranges: Vec<Value> = ranges.collect();
    json!({"type": "host-local", "ranges": ranges, "routes": defaults(families)})
}

fn defaults(families: &[bool]) -> Vec<Value> {
    let all = families.iter().map(|&v6| if v6 { "::/0" } else { "0.0.0.0/0" });
    all.map(|all| json!({"dst": all})).collect()
}

/// The longest packet that a pod may send, in bytes: what a wire carries, without
/// the headers of flannel (overhead in pkg/backend of flannel 0.28) or Felix.
fn mtu(network: Network) -> u32 {
    const WIRE: u32 = 1500;
    match network.flannel() {
        None if network == Network::CalicoVxlan => WIRE - 70,
        None | Some(Backend::HostGw) => WIRE,
        Some(Backend::Udp) => WIRE - 28,
        // IPv6 headers are 20 bytes longer than IPv4 headers.
        Some(Backend::Vxlan | Backend::VxlanDirect) => WIRE - 70,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pods_on_the_wire_have_ranges_of_their_node_and_reach_all_others() {
        let options = Options { network: Network::Macvlan, dual_stack: true, ..Options::default() };
        let place = Place { index: 1, node: "node-2", kubeconfig: Path::new("/k") };
        let list = list(&options, place);
        let ranges = &list["plugins"][0]["ipam"]["ranges"];
        assert_eq!(
            ranges[0][0],
            json!({
                "subnet": "10.244.0.0/16",
                "rangeStart": "10.244.2.2",
                "rangeEnd": "10.244.2.254",
                "gateway": "10.244.2.1",
            })
        );
        assert_eq!(ranges[1][0]["gateway"], "fd00:10:244:2::1");
    }
}
