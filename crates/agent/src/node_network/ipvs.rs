//! Whether IPVS forwards packets on this node.
//!
//! In: files below /proc of this thread's network namespace. Out: whether it is there,
//! whether it serves and by which methods, whether it tells connection tracking. Never: a
//! module loaded.

use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

/// There while the module ip_vs is loaded (`ip_vs_control_net_init`,
/// net/netfilter/ipvs/ip_vs_ctl.c, 6.1), in every network namespace. IPVS takes no packet of
/// a namespace before its first service, which since Linux 5.8 registers the hooks there
/// (`ip_vs_register_hooks`, ip_vs_core.c); before, they asked `netns_ipvs.enable`.
const SERVICES: &str = "/proc/thread-self/net/ip_vs";
/// Three lines, then the services (`ip_vs_info_seq_show`, the same file).
const HEADING: usize = 3;
/// What stands before another end in that file, and the methods that leave a packet's
/// address as it is (`ip_vs_fwd_name`, the same file; ipvsadm's `-i` and `-g`).
const ARROW: &str = "->";
const DIRECT: [&str; 2] = ["Tunnel", "Route"];
const DEVICES: &str = "/proc/thread-self/net/dev";
/// Those on which kube-proxy and kube-router keep the addresses of Services. Both make
/// them before the first service.
const INTERFACES: [&str; 2] = ["kube-ipvs0:", "kube-dummy-if:"];
/// Documentation/networking/ipvs-sysctl.rst, 6.18. The kernel's default is 0. kube-proxy
/// and kube-router set 1.
const CONNTRACK: &str = "/proc/sys/net/ipv4/vs/conntrack";

/// Whether the kernel has IPVS: services can come at any moment.
pub fn is_there() -> bool {
    is_loaded() || has_interface()
}

/// Whether its module is loaded. The first service is a request to it.
pub fn is_loaded() -> bool {
    Path::new(SERVICES).exists()
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

/// The other ends to which IPVS sends packets as they are, through a tunnel or by direct
/// routing. Policies for these ends are not asked.
pub fn direct_ends() -> BTreeSet<IpAddr> {
    directly_in(&fs::read_to_string(SERVICES).unwrap_or_default())
}

fn directly_in(services: &str) -> BTreeSet<IpAddr> {
    let end = |line: &str| {
        let mut words = line.split_whitespace();
        let (arrow, end, method) = (words.next()?, words.next()?, words.next()?);
        (arrow == ARROW && DIRECT.contains(&method)).then(|| address(end)).flatten()
    };
    services.lines().filter_map(end).collect()
}

/// `0AF40104:1F90` (IPv4 in hexadecimal), `[fd00:0000:...:0004]:1F90`.
fn address(end: &str) -> Option<IpAddr> {
    let (address, _port) = end.rsplit_once(':')?;
    match address.strip_prefix('[') {
        Some(six) => six.strip_suffix(']')?.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        None => Some(Ipv4Addr::from(u32::from_str_radix(address, 16).ok()?).into()),
    }
}

fn has_interface() -> bool {
    let devices = fs::read_to_string(DEVICES).unwrap_or_default();
    devices.lines().any(|line| INTERFACES.iter().any(|one| line.trim_start().starts_with(one)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As Linux 6.1 prints it.
    const LISTED: &str = "\
IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port Forward Weight ActiveConn InActConn
TCP  0A600101:0050 rr 
  -> 0AF40104:1F90      Masq    1      0          0         
UDP  [fd00:0096:0000:0000:0000:0000:0000:0011]:0050 rr 
  -> [fd00:0244:0001:0000:0000:0000:0000:0004]:1F90      Route   1      0          0         
  -> [fd00:0244:0001:0000:0000:0000:0000:0005]:1F90      Local   1      0          0         
FWM  00000001 rr persistent 300 FFFFFFFF
  -> 0AF40105:0000      Tunnel  1      0          0         
";

    #[test]
    fn ends_that_get_packets_as_they_are_are_known() {
        let ends = ["10.244.1.5", "fd00:244:1::4"].map(|end| end.parse().unwrap());
        assert_eq!(directly_in(LISTED), ends.into());
    }

    #[test]
    fn what_is_no_list_has_no_ends() {
        for text in ["", "->", "-> x Route", "-> 0:1 Route", "-> [::1:2 Tunnel", "a -> 1:2 Route"] {
            let expected = if text == "-> 0:1 Route" { vec![[0, 0, 0, 0].into()] } else { vec![] };
            assert_eq!(directly_in(text), expected.into_iter().collect(), "{text}");
        }
    }
}
