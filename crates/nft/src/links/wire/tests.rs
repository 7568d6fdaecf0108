use proptest::prelude::*;

use super::*;
use crate::links::types::Tunnel;
use crate::netlink::{self, Request};

fn message(kind: u16, header: &[u8], fill: impl FnOnce(&mut Request)) -> Vec<u8> {
    let mut request = Request::default();
    request.begin_with(kind, libc::NLM_F_MULTI, 7, header);
    fill(&mut request);
    request.into_bytes()
}

/// `ifinfomsg` of link 5, as Linux 6.18 writes it.
const IFINFOMSG: [u8; 16] = [0, 0, 1, 0, 5, 0, 0, 0, 3, 16, 0, 0, 0, 0, 0, 0];

fn veth() -> Vec<u8> {
    message(rtm::NEWLINK, &IFINFOMSG, |request| {
        request.attribute(ifla::IFNAME, b"veth1a2b\0");
        request.attribute(ifla::ADDRESS, &[2, 0, 0, 0, 0, 9]);
        request.attribute(ifla::MASTER, &3u32.to_ne_bytes());
        request.attribute(ifla::LINK, &2u32.to_ne_bytes());
        request.attribute(ifla::LINK_NETNSID, &4i32.to_ne_bytes());
        request.nested(ifla::LINKINFO, |request| request.attribute(ifla::INFO_KIND, b"veth\0"));
    })
}

fn ipip() -> Vec<u8> {
    message(rtm::NEWLINK, &IFINFOMSG, |request| {
        request.attribute(ifla::IFNAME, b"tunl0\0");
        request.attribute(ifla::ADDRESS, &[10, 0, 0, 1]);
        request.nested(ifla::LINKINFO, |request| {
            request.attribute(ifla::INFO_KIND, b"ipip\0");
            request.nested(ifla::INFO_DATA, |request| request.attribute(9, &[4]));
        });
    })
}

fn bridge(filtering: u8) -> Vec<u8> {
    message(rtm::NEWLINK, &IFINFOMSG, |request| {
        request.nested(ifla::LINKINFO, |request| {
            request.attribute(ifla::INFO_KIND, b"bridge\0");
            request.nested(ifla::INFO_DATA, |request| {
                request.attribute(ifla::BR_VLAN_FILTERING, &[filtering]);
            });
        });
    })
}

/// An address between two ends.
fn peer_address() -> Vec<u8> {
    let ifaddrmsg = [libc::AF_INET as u8, 32, 0x80, 0, 5, 0, 0, 0];
    message(rtm::NEWADDR, &ifaddrmsg, |request| {
        request.attribute(ifa::ADDRESS, &[10, 0, 0, 1]);
        request.attribute(ifa::LOCAL, &[10, 0, 0, 2]);
        let cacheinfo = [u32::MAX, u32::MAX, 1234, 5678].map(u32::to_ne_bytes).concat();
        request.attribute(ifa::CACHEINFO, &cacheinfo);
        request.attribute(ifa::TARGET_NETNSID, &4i32.to_ne_bytes());
    })
}

fn forwarding_entry(state: u16, destination: &[u8]) -> Vec<u8> {
    let mut ndmsg = [libc::AF_BRIDGE as u8, 0, 0, 0, 5, 0, 0, 0, 0, 0, 2, 0];
    ndmsg[8..10].copy_from_slice(&state.to_ne_bytes());
    message(rtm::NEWNEIGH, &ndmsg, |request| request.attribute(nda::DST, destination))
}

const RTMSG: [u8; 12] = [libc::AF_INET as u8, 26, 0, 0, 254, 3, 0, 1, 0, 0, 0, 0];

fn route(link: u32) -> Vec<u8> {
    message(rtm::NEWROUTE, &RTMSG, |request| {
        request.attribute(rta::OIF, &link.to_ne_bytes());
        request.attribute(rta::GATEWAY, &[192, 0, 2, 2]);
    })
}

/// Two next hops, through links 5 and 6; the first gateway is an IPv6 one.
fn multipath() -> Vec<u8> {
    let hop = |link: u32, kind: u16, value: &[u8]| {
        let mut attributes = Request::default();
        attributes.begin_with(0, 0, 0, &[]);
        attributes.attribute(kind, value);
        let attributes = attributes.into_bytes().split_off(16);
        let mut hop = ((attributes.len() + 8) as u16).to_ne_bytes().to_vec();
        hop.extend([0, 0]);
        hop.extend(link.to_ne_bytes());
        hop.extend(attributes);
        hop
    };
    let mut via = (libc::AF_INET6 as u16).to_ne_bytes().to_vec();
    via.extend(v6("fd00::7"));
    let hops = [hop(5, rta::VIA, &via), hop(6, rta::GATEWAY, &[192, 0, 2, 6])].concat();
    message(rtm::NEWROUTE, &RTMSG, |request| request.attribute(rta::MULTIPATH, &hops))
}

fn v6(text: &str) -> [u8; 16] {
    text.parse::<Ipv6Addr>().unwrap().octets()
}

fn ips(texts: &[&str]) -> Vec<IpAddr> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn first(bytes: &[u8]) -> Message<'_> {
    netlink::messages(bytes).next().unwrap()
}

#[test]
fn a_pair_into_another_namespace_is_read() {
    let expected = Link {
        index: 5,
        name: "veth1a2b".to_owned(),
        is_up: true,
        mac: [2, 0, 0, 0, 0, 9],
        master: Some(3),
        link: Some(2),
        link_namespace: Some(4),
        namespace: None,
        kind: LinkKind::Pair,
    };
    assert_eq!(link(&first(&veth())), Ok(expected));
}

/// `netkit_get_iflink` and `netkit_get_link_net` (drivers/net/netkit.c, Linux
/// 6.18) answer as veth's do. In L3 mode it has no MAC.
#[test]
fn netkit_is_a_pair_too() {
    let netkit = message(rtm::NEWLINK, &IFINFOMSG, |request| {
        request.attribute(ifla::ADDRESS, &[0; 6]);
        request.attribute(ifla::LINK, &2u32.to_ne_bytes());
        request.attribute(ifla::LINK_NETNSID, &0i32.to_ne_bytes());
        request.nested(ifla::LINKINFO, |request| {
            request.attribute(ifla::INFO_KIND, b"netkit\0");
            request.nested(ifla::INFO_DATA, |request| request.attribute(2, &[0; 4]));
        });
    });
    let read = link(&first(&netkit)).unwrap();
    assert_eq!((read.kind, read.link_namespace), (LinkKind::Pair, Some(0)));
}

#[test]
fn tunnels_and_bridges_are_read() {
    let tunnel = link(&first(&ipip())).unwrap();
    assert_eq!(tunnel.mac, [0; 6], "it has an IP address there");
    let LinkKind::Tunnel(read) = tunnel.kind else { panic!("{tunnel:?}") };
    assert_eq!(read.entrances, [Tunnel::Protocol(4)].into());
    for filtering in [0, 1] {
        let kind = link(&first(&bridge(filtering))).unwrap().kind;
        assert_eq!(kind, LinkKind::Bridge { vlan_filtering: filtering == 1 });
    }
}

#[test]
fn of_two_ends_our_own_address_is_read() {
    let expected = LinkAddress {
        link: 5,
        address: Ipv4Addr::new(10, 0, 0, 2).into(),
        prefix: 32,
        created: 1234,
        namespace: Some(4),
    };
    assert_eq!(address(&first(&peer_address())), Ok(Some(expected)));
}

#[test]
fn an_address_of_another_family_is_left_out() {
    let phonet = message(rtm::NEWADDR, &[35, 0, 0, 0, 5, 0, 0, 0], |_| {});
    assert_eq!(address(&first(&phonet)), Ok(None));
}

#[test]
fn forwarding_entries_that_packets_taught_are_left_out() {
    const NUD_REACHABLE: u16 = 2;
    const NUD_NOARP: u16 = 0x40;
    const NUD_PERMANENT: u16 = 0x80;
    let of = |state, bytes: &[u8]| {
        forwarding_destination(&first(&forwarding_entry(state, bytes))).unwrap()
    };
    assert_eq!(of(NUD_PERMANENT, &[192, 0, 2, 1]), Some(ips(&["192.0.2.1"])[0]));
    assert_eq!(of(NUD_NOARP, &v6("fd00::1")), Some(ips(&["fd00::1"])[0]));
    assert_eq!(of(NUD_REACHABLE, &[192, 0, 2, 1]), None);
}

#[test]
fn gateways_through_the_link_are_read() {
    let of = |bytes: &[u8]| gateways(&first(bytes), 5).unwrap();
    assert_eq!(of(&route(5)), ips(&["192.0.2.2"]));
    assert_eq!(of(&route(6)), ips(&[]));
    assert_eq!(of(&multipath()), ips(&["fd00::7"]));
}

/// All messages of this file.
fn samples() -> Vec<Vec<u8>> {
    vec![
        veth(),
        ipip(),
        bridge(1),
        peer_address(),
        forwarding_entry(0x80, &[192, 0, 2, 1]),
        route(5),
        multipath(),
    ]
}

/// Reads a message as if it were of each kind.
fn read_all(bytes: &[u8]) -> Vec<Result<(), Garbled>> {
    let read = |message: Message<'_>| {
        [
            link(&message).map(|_| ()),
            address(&message).map(|_| ()),
            forwarding_destination(&message).map(|_| ()),
            gateways(&message, 5).map(|_| ()),
        ]
    };
    netlink::messages(bytes).flat_map(read).collect()
}

/// The message states its own length: the kernel's bytes end early.
#[test]
fn a_message_that_is_cut_is_garbled_or_left_out() {
    for sample in samples() {
        for length in 0..sample.len() {
            assert_eq!(read_all(&sample[..length]), [], "{length} bytes of {sample:?}");
            let mut cut = sample[..length].to_vec();
            if let Some(stated) = cut.first_chunk_mut() {
                *stated = (length as u32).to_ne_bytes();
            }
            read_all(&cut);
        }
    }
}

#[test]
fn attributes_of_a_wrong_length_are_named() {
    let short = message(rtm::NEWLINK, &IFINFOMSG, |request| {
        request.attribute(ifla::LINK_NETNSID, &[1, 2]);
    });
    assert_eq!(link(&first(&short)), Err(Garbled("a number's length")));
    let long = message(rtm::NEWADDR, &[2, 0, 0, 0, 5, 0, 0, 0], |request| {
        request.attribute(ifa::LOCAL, &[1, 2, 3, 4, 5]);
    });
    assert_eq!(address(&first(&long)), Err(Garbled("an address's length")));
    let mut beyond = veth();
    let at = 16 + IFINFOMSG.len(); // the first attribute's length
    beyond[at..at + 2].copy_from_slice(&200u16.to_ne_bytes());
    assert_eq!(link(&first(&beyond)), Err(Garbled("a link's attributes")));
    let empty = message(rtm::NEWLINK, &[], |_| {});
    assert_eq!(link(&first(&empty)), Err(Garbled("a link without index")));
}

proptest! {
    #[test]
    fn no_garbled_message_makes_it_panic(
        sample in prop::sample::select(samples()),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut bytes = sample;
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        read_all(&bytes);
    }

    #[test]
    fn nor_do_any_bytes(mut bytes in prop::collection::vec(any::<u8>(), 16..200)) {
        let length = bytes.len() as u32;
        bytes[..4].copy_from_slice(&length.to_ne_bytes());
        read_all(&bytes);
    }
}
