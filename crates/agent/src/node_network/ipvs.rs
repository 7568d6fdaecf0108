//! Whether IPVS forwards packets on this node.
//!
//! In: files below /proc of this thread's network namespace. Out: whether it is there,
//! whether it serves, whether it tells connection tracking. Never: a module loaded, a
//! service read.

use std::fs;
use std::path::Path;

/// There while the module ip_vs is loaded (`ip_vs_control_net_init`,
/// net/netfilter/ipvs/ip_vs_ctl.c, 6.18), in every network namespace.
const SERVICES: &str = "/proc/thread-self/net/ip_vs";
/// Three lines, then the services (`ip_vs_info_seq_show`, the same file).
const HEADING: usize = 3;
const DEVICES: &str = "/proc/thread-self/net/dev";
/// Those on which kube-proxy and kube-router keep the addresses of Services. Both make
/// them before the first service.
const INTERFACES: [&str; 2] = ["kube-ipvs0:", "kube-dummy-if:"];
/// Documentation/networking/ipvs-sysctl.rst, 6.18. The kernel's default is 0. kube-proxy
/// and kube-router set 1.
const CONNTRACK: &str = "/proc/sys/net/ipv4/vs/conntrack";

/// Whether the kernel has IPVS: services can come at any moment.
pub fn is_there() -> bool {
    Path::new(SERVICES).exists() || has_interface()
}

/// Whether somebody uses IPVS for Services here.
pub fn is_used() -> bool {
    let services = fs::read_to_string(SERVICES).unwrap_or_default();
    services.lines().count() > HEADING || has_interface()
}

/// Whether IPVS takes the packets that it forwards out of connection tracking.
pub fn is_untracked() -> bool {
    fs::read_to_string(CONNTRACK).is_ok_and(|value| value.trim() == "0")
}

fn has_interface() -> bool {
    let devices = fs::read_to_string(DEVICES).unwrap_or_default();
    devices.lines().any(|line| INTERFACES.iter().any(|one| line.trim_start().starts_with(one)))
}
