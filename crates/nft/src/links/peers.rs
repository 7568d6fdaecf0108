//! Who is at the other ends of the node's tunnels.
//!
//! In: the tunnels among the links. Out: the addresses that links, forwarding
//! entries and routes name, and which tunnels none is named of. Never: an address that a packet taught.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use nix::errno::Errno;

use super::client::{Client, Ended};
use super::error::LinksError;
use super::tunnel::{FLANNEL, Peers, is_one_host};
use super::types::{Ends, Tunnel};
use super::wire::{self, Garbled, Link, LinkKind, rta, rtm};
use crate::netlink::{Message, Request};

/// Attempts at a list that is disturbed. Then what all of them showed counts.
const ATTEMPTS: u32 = 3;

/// The other ends of each tunnel, by the index of the link. A tunnel of which
/// nothing names one has none.
pub(super) type PeersOf = BTreeMap<u32, BTreeSet<IpAddr>>;

/// Reads the other ends of all tunnels.
pub(super) fn read(client: &mut Client, links: &[Link]) -> Result<PeersOf, LinksError> {
    let mut all = PeersOf::new();
    for link in links {
        let LinkKind::Tunnel(tunnel) = &link.kind else { continue };
        let mut found: BTreeSet<IpAddr> = tunnel.remote.into_iter().collect();
        match tunnel.peers {
            Peers::Forwarding => forwarding(client, link.index, &mut found)?,
            Peers::Routes if tunnel.remote.is_none() => {
                gateways(client, link.index, &mut found)?;
            }
            Peers::Routes | Peers::Nowhere => {}
        }
        found.retain(is_one_host);
        all.insert(link.index, found);
    }
    Ok(all)
}

/// What is known of the other ends, by entrance. Where FOU and GUE are listening, a
/// link tells, if any sends to the same port.
pub(super) fn ends(
    links: &[Link],
    peers: &PeersOf,
    listening: &BTreeSet<Tunnel>,
) -> BTreeMap<Tunnel, Ends> {
    let mut all: BTreeMap<Tunnel, BTreeSet<Ends>> =
        listening.iter().map(|tunnel| (*tunnel, BTreeSet::new())).collect();
    for link in links {
        let LinkKind::Tunnel(tunnel) = &link.kind else { continue };
        let is_named = link.name.starts_with(FLANNEL)
            || peers.get(&link.index).is_some_and(|peers| !peers.is_empty());
        for entrance in &tunnel.entrances {
            let ends = all.entry(*entrance).or_default();
            match (is_named, link.is_up) {
                (true, _) => drop(ends.insert(Ends::Named)),
                (false, true) => drop(ends.insert(Ends::Unknown)),
                (false, false) => {}
            }
        }
    }
    let worst = |ends: BTreeSet<Ends>| ends.last().copied().unwrap_or(Ends::Unknown);
    all.into_iter().map(|(tunnel, ends)| (tunnel, worst(ends))).collect()
}

/// The destinations in the forwarding entries of a link.
fn forwarding(
    client: &mut Client,
    link: u32,
    found: &mut BTreeSet<IpAddr>,
) -> Result<(), LinksError> {
    // `ndmsg`: family, padding, index, ...
    let mut header = [0; 12];
    header[0] = libc::AF_BRIDGE as u8;
    header[4..8].copy_from_slice(&link.to_ne_bytes());
    repeat(
        client,
        rtm::GETNEIGH,
        &header,
        |_| {},
        |message| {
            if message.kind == rtm::NEWNEIGH {
                found.extend(wire::forwarding_destination(message)?);
            }
            Ok(())
        },
    )
}

/// The gateways of routes through a link.
fn gateways(
    client: &mut Client,
    link: u32,
    found: &mut BTreeSet<IpAddr>,
) -> Result<(), LinksError> {
    for family in [libc::AF_INET, libc::AF_INET6] {
        // `rtmsg`: family, ...
        let mut header = [0; 12];
        header[0] = family as u8;
        let only = |request: &mut Request| request.attribute(rta::OIF, &link.to_ne_bytes());
        repeat(client, rtm::GETROUTE, &header, only, |message| {
            if message.kind == rtm::NEWROUTE {
                found.extend(wire::gateways(message, link)?);
            }
            Ok(())
        })?;
    }
    Ok(())
}

/// Asks for a list until it is whole, a few times. A link that is gone has no
/// entries.
fn repeat(
    client: &mut Client,
    ask: u16,
    header: &[u8],
    fill: impl Fn(&mut Request),
    mut each: impl FnMut(&Message<'_>) -> Result<(), Garbled>,
) -> Result<(), LinksError> {
    for _ in 0..ATTEMPTS {
        match client.list(ask, header, &fill, &mut each)? {
            Ended::Whole | Ended::Refused(Errno::ENODEV | Errno::ENOENT) => break,
            Ended::Disturbed => {}
            Ended::Refused(errno) => return Err(LinksError::Refused(errno)),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use nix::sched::{CloneFlags, unshare};

    use super::*;
    use crate::socket::Socket;

    /// Runs `ip` in this thread's namespace. It needs root.
    fn ip(commands: &[&str]) {
        for command in commands {
            let status = Command::new("ip").args(command.split(' ')).status();
            assert!(status.unwrap().success(), "{command}");
        }
    }

    /// The kernel takes the strict request. A bridge stands for the tunnel: not
    /// every kernel has one without a remote.
    #[test]
    fn gateways_of_routes_through_the_link_are_listed() {
        let tried = std::thread::spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
            ip(&[
                "link add one type bridge",
                "link add other type bridge",
                "link set one up",
                "link set other up",
                "addr add 192.0.2.1/24 dev one",
                "addr add 198.51.100.1/24 dev other",
                "addr add fd00::1/64 dev one nodad",
                "route add 10.1.0.0/24 via 192.0.2.2 dev one onlink",
                "route add 10.2.0.0/24 via 192.0.2.3 dev one table 77",
                "route add 10.3.0.0/24 via 198.51.100.4 dev other",
                "route add 10.4.0.0/24 nexthop via 192.0.2.5 dev one nexthop via 198.51.100.6",
                "route add 10.5.0.0/24 via inet6 fd00::7 dev one",
                "route add fd01::/64 via fd00::8 dev one",
            ]);
            let index = nix::net::if_::if_nametoindex("one").unwrap();
            let mut client = Client::new(Socket::open_route(0).unwrap());
            let mut found = BTreeSet::new();
            gateways(&mut client, index, &mut found).unwrap();
            gateways(&mut client, 4321, &mut found).unwrap(); // there is no such link
            found
        });
        let expected = ["192.0.2.2", "192.0.2.3", "192.0.2.5", "fd00::7", "fd00::8"];
        let expected: BTreeSet<IpAddr> =
            expected.iter().map(|text| text.parse().unwrap()).collect();
        assert_eq!(tried.join().unwrap(), expected);
    }
}
