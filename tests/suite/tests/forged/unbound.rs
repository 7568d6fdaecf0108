//! What comes from a port of the bridge that is bound to no pod: the port of a pod
//! that `nftpol` does not know yet, of one that is opted out, of the LAN.
//!
//! It may say what it likes, but for what belongs to a pod of the node or to the
//! bridge. Receivers strip tags with VLAN id 0, however many there are, so these
//! hide nothing.

use std::net::IpAddr;

use anyhow::Result;
use netbed::arena::{Arena, Way};
use netbed::forge::{self, arp, marker, udp};
use samples::testbed_spec::{Between, Network, pod_address};

use super::attack::{Attack, BRIDGE, Must, On, Try, check};

/// The pod without a Pod object, and the number of its addresses.
const STRANGER: (&str, usize) = ("stranger", 90);

const BASE: Attack = Attack {
    point: "A4",
    name: "",
    networks: BRIDGE,
    families: On::Both,
    fits: |_| true,
    cases: &[("stranger", "victim"), ("stranger", "bystander"), ("stranger", "victim-2")],
    ways: &[Way::Gateway],
    run: |_| Ok(false),
    must: Must::Stop,
};

const ARP: Attack = Attack {
    families: On::V4,
    cases: &[("stranger", "node-1"), ("stranger", "friend"), ("stranger", "prisoner")],
    ..BASE
};

/// Among neighbours that no policy isolates.
const HONEST: Attack = Attack {
    point: "honest",
    cases: &[("stranger", "bystander")],
    ways: &[Way::Neighbour],
    must: Must::Pass,
    ..BASE
};

const Q: [u8; 4] = [0x81, 0x00, 0, 0];
/// With the highest priority.
const Q7: [u8; 4] = [0x81, 0x00, 0xe0, 0];
const AD: [u8; 4] = [0x88, 0xa8, 0, 0];
const VLAN5: [u8; 4] = [0x81, 0x00, 0, 5];

const ATTACKS: &[Attack] = &[
    Attack { name: "unbound: as a pod", run: |t| as_friend(t, &[]), ..BASE },
    Attack { name: "unbound: as a pod, VLAN 0", run: |t| as_friend(t, &[Q]), ..BASE },
    Attack { name: "unbound: as a pod, 802.1ad 0", run: |t| as_friend(t, &[AD]), ..BASE },
    Attack { name: "unbound: as a pod, VLAN 0 twice", run: |t| as_friend(t, &[Q, Q]), ..BASE },
    Attack { name: "unbound: as a pod, priority 7", run: |t| as_friend(t, &[Q7, Q7]), ..BASE },
    Attack { name: "unbound: as a pod, 802.1ad, .1Q", run: |t| as_friend(t, &[AD, Q]), ..BASE },
    Attack { name: "unbound: as a pod, 802.1Q, .1ad", run: |t| as_friend(t, &[Q, AD]), ..BASE },
    Attack { name: "unbound: as a pod, three tags", run: |t| as_friend(t, &[Q, Q, Q]), ..BASE },
    Attack { name: "unbound: ARP as a pod", run: |t| claims(t, &[]), ..ARP },
    Attack { name: "unbound: ARP as a pod, VLAN 0", run: |t| claims(t, &[Q]), ..ARP },
    Attack { name: "unbound: ARP as a pod, 802.1ad 0", run: |t| claims(t, &[AD]), ..ARP },
    Attack { name: "unbound: ARP as a pod, VLAN 0 twice", run: |t| claims(t, &[Q, Q]), ..ARP },
    Attack { name: "unbound: ARP as a pod, 802.1ad, .1Q", run: |t| claims(t, &[AD, Q]), ..ARP },
    Attack { name: "unbound: its own packet", run: |t| own(t, &[]), ..HONEST },
    Attack { name: "unbound: its own, VLAN 0", run: |t| own(t, &[Q]), ..HONEST },
    Attack { name: "unbound: its own, 802.1ad 0", run: |t| own(t, &[AD]), ..HONEST },
    Attack { name: "unbound: its own, VLAN 5", run: |t| own(t, &[VLAN5]), ..HONEST },
    Attack { name: "unbound: its own, VLANs 5 and 0", run: |t| own(t, &[VLAN5, Q]), ..HONEST },
];

#[test]
fn a_port_that_is_bound_to_no_pod() -> Result<()> {
    let mut arena = Arena::new(Network::Bridge, Between::Routes)?;
    let (name, number) = STRANGER;
    let addresses = [false, true].map(|v6| pod_address(0, number, v6));
    arena.add(name, number, &addresses)?;
    check(&[ATTACKS.to_vec()], arena)
}

/// A packet under a friend's address, for the node to pass on.
fn as_friend(t: &Try<'_>, tags: &[[u8; 4]]) -> Result<bool> {
    sent(t, t.arena.gateway(t.from)?, t.address("friend")?, tags)
}

fn own(t: &Try<'_>, tags: &[[u8; 4]]) -> Result<bool> {
    sent(t, t.arena.mac(t.to)?, t.source()?, tags)
}

fn sent(t: &Try<'_>, to: forge::Mac, source: IpAddr, tags: &[[u8; 4]]) -> Result<bool> {
    let marker = marker();
    let packet = udp(t.fresh(source), t.fresh(t.target()?), &marker).to_bytes();
    let types = [tags.concat().as_slice(), forge::ether_type(source).0].concat();
    t.arena.send(t.from, &forge::frame(to, t.arena.mac(t.from)?, &types, &packet))?;
    t.arrives(marker)
}

/// An answer to nobody's question: the friend has the sender's hardware address.
fn claims(t: &Try<'_>, tags: &[[u8; 4]]) -> Result<bool> {
    let (IpAddr::V4(friend), IpAddr::V4(target)) = (t.address("friend")?, t.target()?) else {
        return Ok(false);
    };
    let (marker, mac, to) = (marker(), t.arena.mac(t.from)?, t.arena.mac(t.to)?);
    let claim = arp(true, (mac, friend), (to, target), marker);
    let types = [tags.concat().as_slice(), forge::EtherTypes::ARP.0].concat();
    t.arena.send(t.from, &forge::frame(to, mac, &types, &claim))?;
    t.arrives(marker)
}
