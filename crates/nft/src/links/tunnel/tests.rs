use super::*;
use crate::links::types::Tunnel::{Protocol, Udp};
use crate::netlink::Request;

/// Number and value.
type Attribute<'a> = (u16, &'a [u8]);

/// IFLA_INFO_DATA.
fn data(attributes: &[Attribute<'_>]) -> Vec<u8> {
    let mut request = Request::default();
    request.begin_with(0, 0, 0, &[]);
    for (kind, value) in attributes {
        request.attribute(*kind, value);
    }
    request.into_bytes().split_off(16)
}

fn tunnel(kind: &str, attributes: &[Attribute<'_>]) -> TunnelLink {
    let read = read(kind, "any0", &data(attributes)).unwrap();
    read.unwrap_or_else(|| panic!("{kind} is no tunnel"))
}

fn entrances(kind: &str, attributes: &[Attribute<'_>]) -> Vec<Tunnel> {
    tunnel(kind, attributes).entrances.into_iter().collect()
}

/// The attributes that `*_fill_info` of Linux 6.18 writes.
#[test]
fn each_kind_has_its_entrances() {
    let cases: [(&str, &[Attribute<'_>], &[Tunnel]); 19] = [
        ("vxlan", &[(15, &8472u16.to_be_bytes())], &[Udp(8472)]),
        ("geneve", &[(5, &6081u16.to_be_bytes())], &[Udp(6081)]),
        ("bareudp", &[(1, &6635u16.to_be_bytes())], &[Udp(6635)]),
        ("gtp", &[(3, &1024u32.to_ne_bytes())], &[Udp(2152), Udp(3386)]),
        ("ipip", &[(9, &[4])], &[Protocol(4)]),
        ("ipip", &[(9, &[137])], &[Protocol(137)]),
        ("ipip", &[(9, &[0])], &[Protocol(4), Protocol(137)]),
        ("sit", &[(9, &[41])], &[Protocol(41)]),
        ("sit", &[(9, &[4])], &[Protocol(4)]),
        ("sit", &[(9, &[0])], &[Protocol(4), Protocol(41), Protocol(137)]),
        ("ip6tnl", &[(9, &[41])], &[Protocol(41)]),
        ("ip6tnl", &[(9, &[4])], &[Protocol(4)]),
        ("ip6tnl", &[(9, &[0])], &[Protocol(4), Protocol(41), Protocol(137)]),
        ("gre", &[], &[Protocol(47)]),
        ("gretap", &[], &[Protocol(47)]),
        ("erspan", &[], &[Protocol(47)]),
        ("ip6gre", &[], &[Protocol(47)]),
        ("ip6gretap", &[], &[Protocol(47)]),
        ("ip6erspan", &[], &[Protocol(47)]),
    ];
    for (kind, attributes, expected) in cases {
        assert_eq!(entrances(kind, attributes), expected, "{kind} {attributes:?}");
    }
}

#[test]
fn fou_and_gue_below_a_tunnel_are_entrances_too() {
    const FOU: [u8; 2] = 1u16.to_ne_bytes();
    let ports = (5555u16.to_be_bytes(), 5556u16.to_be_bytes());
    let of = |base: u16, kind: &str, encapsulation: &[u8]| {
        let proto: &[Attribute<'_>] = if kind == "ipip" { &[(9, &[4])] } else { &[] };
        let attributes: Vec<Attribute<'_>> = proto
            .iter()
            .copied()
            .chain([(base, encapsulation), (base + 2, &ports.0), (base + 3, &ports.1)])
            .collect();
        entrances(kind, &attributes)
    };
    assert_eq!(of(15, "ipip", &FOU), [Udp(5555), Udp(5556), Protocol(4)]);
    assert_eq!(of(14, "gre", &FOU), [Udp(5555), Udp(5556), Protocol(47)]);
    assert_eq!(of(15, "ipip", &[0, 0]), [Protocol(4)], "TUNNEL_ENCAP_NONE");
}

#[test]
fn other_ends_are_hosts_not_groups() {
    let of = |kind: &str, attribute: u16, value: &[u8]| tunnel(kind, &[(attribute, value)]).remote;
    let six: std::net::Ipv6Addr = "fd00::9".parse().unwrap();
    assert_eq!(of("vxlan", 2, &[192, 0, 2, 1]), Some([192, 0, 2, 1].into()));
    assert_eq!(of("vxlan", 16, &six.octets()), Some(six.into()));
    assert_eq!(of("vxlan", 2, &[239, 1, 1, 1]), None);
    assert_eq!(of("geneve", 7, &six.octets()), Some(six.into()));
    assert_eq!(of("ipip", 3, &[192, 0, 2, 1]), Some([192, 0, 2, 1].into()));
    assert_eq!(of("ipip", 3, &[0; 4]), None);
    assert_eq!(of("gre", 7, &[192, 0, 2, 1]), Some([192, 0, 2, 1].into()));
    assert_eq!(of("ip6gre", 7, &six.octets()), Some(six.into()));
}

#[test]
fn a_tun_link_is_one_if_flannel_named_it() {
    let of = |kind: &str, name: &str| read(kind, name, &[]).unwrap().map(|link| link.entrances);
    assert_eq!(of("tun", "flannel0"), Some([Udp(8285)].into()));
    assert_eq!(of("tun", "tun0"), None);
    for kind in ["", "veth", "dummy", "wireguard", "macvlan", "vti", "xfrm"] {
        assert_eq!(of(kind, "flannel0"), None, "{kind}");
    }
}
