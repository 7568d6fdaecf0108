//! What the kinds of tunnels take in.
//!
//! In: a link's kind, name and attributes. Out: by which ports and protocols
//! packets enter it, and where its other ends are named. Never: I/O.
//!
//! A link that is down counts, too: it may come up at any time.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::types::Tunnel;
use super::wire::{Garbled, each, ip};

/// A link that is the end of a tunnel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TunnelLink {
    /// How packets come in.
    pub(super) entrances: BTreeSet<Tunnel>,
    /// The other end, where the link has one only.
    pub(super) remote: Option<IpAddr>,
    /// Where else other ends are named.
    pub(super) peers: Peers,
}

/// Where the other ends of a tunnel are named beside the link itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Peers {
    /// In its forwarding entries (`vxlan_fdb_info`, drivers/net/vxlan).
    Forwarding,
    /// In the gateways of routes, while the link has no other end (`ip_tunnel_xmit`,
    /// net/ipv4/ip_tunnel.c: "NBMA tunnel").
    Routes,
    /// Nowhere that we can read.
    Nowhere,
}

/// How the names of flannel's links begin: `flannel.1` and `flannel-v6.1` (vxlan),
/// `flannel.ipip`, `flannel0` (udp); pkg/backend/{vxlan,ipip,udp}, 0.28.10.
pub(super) const FLANNEL: &str = "flannel";

/// IPPROTO_*.
mod protocol {
    pub(super) const IPIP: u8 = 4;
    pub(super) const IPV6: u8 = 41;
    pub(super) const GRE: u8 = 47;
    pub(super) const MPLS: u8 = 137;
}

/// UDP ports that no attribute of the link tells.
mod port {
    /// `GTP0_PORT` and `GTP1U_PORT`, include/net/gtp.h, Linux 6.18.
    pub(super) const GTP: [u16; 2] = [3386, 2152];
    /// `defaultPort`, flannel's pkg/backend/udp/udp_amd64.go, 0.28.10.
    pub(super) const FLANNEL: u16 = 8285;
}

/// Attributes of the kinds (include/uapi/linux/if_link.h, if_tunnel.h).
mod attribute {
    pub(super) const VXLAN_GROUP: u16 = 2;
    pub(super) const VXLAN_PORT: u16 = 15;
    pub(super) const VXLAN_GROUP6: u16 = 16;
    pub(super) const GENEVE_REMOTE: u16 = 2;
    pub(super) const GENEVE_PORT: u16 = 5;
    pub(super) const GENEVE_REMOTE6: u16 = 7;
    pub(super) const BAREUDP_PORT: u16 = 1;
    pub(super) const IPTUN_REMOTE: u16 = 3;
    pub(super) const IPTUN_PROTO: u16 = 9;
    pub(super) const IPTUN_ENCAP_TYPE: u16 = 15;
    pub(super) const IPTUN_ENCAP_SPORT: u16 = 17;
    pub(super) const IPTUN_ENCAP_DPORT: u16 = 18;
    pub(super) const GRE_REMOTE: u16 = 7;
    pub(super) const GRE_ENCAP_TYPE: u16 = 14;
    pub(super) const GRE_ENCAP_SPORT: u16 = 16;
    pub(super) const GRE_ENCAP_DPORT: u16 = 17;
}

/// Reads what a link is the end of. `None` if it is no tunnel, or one that takes
/// only what it can authenticate (WireGuard, IPsec).
///
/// | kind | takes | source, Linux 6.18 |
/// |---|---|---|
/// | vxlan, geneve, bareudp | its UDP port | `vxlan_fill_info`, `geneve_fill_info`, `bareudp_fill_info` |
/// | gtp | UDP 2152 and 3386 | drivers/net/gtp.c |
/// | ipip | 4, MPLS | `ipip_rcv`, `mplsip_rcv`, net/ipv4/ipip.c |
/// | sit | 41, 4, MPLS | `ipip6_rcv`, `ipip_rcv`, `mplsip_rcv`, net/ipv6/sit.c |
/// | ip6tnl | 41, 4, MPLS | `ip6ip6_rcv`, `ip4ip6_rcv`, `mplsip6_rcv`, net/ipv6/ip6_tunnel.c |
/// | gre, gretap, erspan, and ip6* | 47 | net/ipv4/ip_gre.c, net/ipv6/ip6_gre.c |
/// | tun named `flannel*` | UDP 8285 | `initTun`, flannel's pkg/backend/udp |
///
/// ipip, sit and ip6tnl take all of theirs if their protocol is 0, else that one
/// (IFLA_IPTUN_PROTO). With FOU or GUE below them they send to a port at which
/// the other end listens; usually both ends use the same one. What listens here
/// is listed by family `fou`, without a link.
///
/// Not seen: L2TP (`l2tp_eth` links have no kind), AMT, and programs that unwrap
/// packets themselves, but for flannel.
pub(super) fn read(kind: &str, name: &str, data: &[u8]) -> Result<Option<TunnelLink>, Garbled> {
    use attribute as a;
    Ok(Some(match kind {
        "vxlan" => {
            let remote = [a::VXLAN_GROUP, a::VXLAN_GROUP6];
            udp(data, a::VXLAN_PORT, &remote, Peers::Forwarding)?
        }
        "geneve" => {
            let remote = [a::GENEVE_REMOTE, a::GENEVE_REMOTE6];
            udp(data, a::GENEVE_PORT, &remote, Peers::Nowhere)?
        }
        "bareudp" => udp(data, a::BAREUDP_PORT, &[], Peers::Nowhere)?,
        "gtp" => without_attributes(port::GTP.map(Tunnel::Udp)),
        "tun" if name.starts_with(FLANNEL) => without_attributes([Tunnel::Udp(port::FLANNEL)]),
        "ipip" => ip_in_ip(data, &[protocol::IPIP, protocol::MPLS])?,
        "sit" | "ip6tnl" => ip_in_ip(data, &[protocol::IPV6, protocol::IPIP, protocol::MPLS])?,
        "gre" | "gretap" | "erspan" | "ip6gre" | "ip6gretap" | "ip6erspan" => gre(data)?,
        _ => return Ok(None),
    }))
}

fn without_attributes(entrances: impl IntoIterator<Item = Tunnel>) -> TunnelLink {
    let entrances = entrances.into_iter().collect();
    TunnelLink { entrances, remote: None, peers: Peers::Nowhere }
}

fn udp(data: &[u8], port: u16, remotes: &[u16], peers: Peers) -> Result<TunnelLink, Garbled> {
    let mut link = TunnelLink { peers, ..without_attributes([]) };
    each(data, 0, "a tunnel's attributes", |kind, value| {
        if kind == port {
            link.entrances.extend(udp_port(value)?);
        } else if remotes.contains(&kind) {
            link.remote = remote(value)?;
        }
        Ok(())
    })?;
    Ok(link)
}

fn ip_in_ip(data: &[u8], all: &[u8]) -> Result<TunnelLink, Garbled> {
    use attribute as a;
    let mut protocol = 0;
    each(data, 0, "a tunnel's attributes", |kind, value| {
        if kind == a::IPTUN_PROTO {
            protocol = *value.first().ok_or(Garbled("a tunnel's protocol"))?;
        }
        Ok(())
    })?;
    let taken = all.iter().filter(|one| protocol == 0 || protocol == **one);
    let mut link = TunnelLink {
        peers: Peers::Routes,
        ..without_attributes(taken.map(|one| Tunnel::Protocol(*one)))
    };
    let encapsulation = [a::IPTUN_ENCAP_TYPE, a::IPTUN_ENCAP_SPORT, a::IPTUN_ENCAP_DPORT];
    outer(&mut link, data, a::IPTUN_REMOTE, encapsulation)?;
    Ok(link)
}

fn gre(data: &[u8]) -> Result<TunnelLink, Garbled> {
    use attribute as a;
    let entrance = Tunnel::Protocol(protocol::GRE);
    let mut link = TunnelLink { peers: Peers::Routes, ..without_attributes([entrance]) };
    let encapsulation = [a::GRE_ENCAP_TYPE, a::GRE_ENCAP_SPORT, a::GRE_ENCAP_DPORT];
    outer(&mut link, data, a::GRE_REMOTE, encapsulation)?;
    Ok(link)
}

/// The other end, and the UDP ports of FOU and GUE.
fn outer(
    link: &mut TunnelLink,
    data: &[u8],
    remote: u16,
    [kind_of, source, destination]: [u16; 3],
) -> Result<(), Garbled> {
    let (mut is_encapsulated, mut ports) = (false, BTreeSet::new());
    each(data, 0, "a tunnel's attributes", |kind, value| {
        if kind == remote {
            link.remote = self::remote(value)?;
        } else if kind == kind_of {
            is_encapsulated = value != [0, 0]; // TUNNEL_ENCAP_NONE
        } else if kind == source || kind == destination {
            ports.extend(udp_port(value)?);
        }
        Ok(())
    })?;
    if is_encapsulated {
        link.entrances.extend(ports);
    }
    Ok(())
}

/// A port in network order. 0 is none.
pub(super) fn udp_port(value: &[u8]) -> Result<Option<Tunnel>, Garbled> {
    let bytes = value.try_into().map_err(|_| Garbled("a tunnel's port"))?;
    let port = u16::from_be_bytes(bytes);
    Ok((port != 0).then_some(Tunnel::Udp(port)))
}

fn remote(value: &[u8]) -> Result<Option<IpAddr>, Garbled> {
    Ok(Some(ip(value)?).filter(is_one_host))
}

/// Whether this is the address of one host: tunnels also name groups.
pub(super) fn is_one_host(address: &IpAddr) -> bool {
    !address.is_unspecified() && !address.is_multicast()
}

#[cfg(test)]
mod tests;
