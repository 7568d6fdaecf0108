//! Sends frames at one interface, and sees all that arrive there.

use std::cell::RefCell;
use std::net::Ipv6Addr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::ifaddrs::getifaddrs;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, LinkAddr, MsgFlags, SockFlag, SockProtocol, SockType, bind, recvfrom, sendto,
    setsockopt, socket, sockopt,
};
use samples::testbed_spec::Network;

use crate::forge::{Mac, Marker};
use crate::net::Namespace;
use crate::testbed::{Endpoint, Role, Testbed};

/// PACKET_OUTGOING (include/uapi/linux/if_packet.h).
pub(super) const OUTGOING: u8 = 4;
const RECEIVE_BUFFER_BYTES: usize = 4 << 20;

/// The interface of an endpoint: `eth0`, or the bridge of a node whose pods are
/// bridged.
#[derive(Debug)]
pub(super) struct Station {
    sender: OwnedFd,
    ear: OwnedFd,
    link: LinkAddr,
    /// Frames that arrived and were not asked for yet.
    seen: RefCell<Vec<Vec<u8>>>,
    pub mac: Mac,
    pub gateway: Mac,
    pub link_local: Ipv6Addr,
}

impl Station {
    pub fn at(testbed: &Testbed, endpoint: &Endpoint) -> Result<Self> {
        let network = testbed.spec().network;
        let bridge = matches!(endpoint.role, Role::Node { .. }) && network == Network::Bridge;
        let interface = if bridge { "cni0" } else { "eth0" };
        let (link, mac, link_local) = look(&endpoint.namespace, interface)?;
        let (sender, ear) = endpoint.namespace.run(|| {
            let open = |flags, protocol: Option<SockProtocol>| {
                let flags = SockFlag::SOCK_CLOEXEC | flags;
                socket(AddressFamily::Packet, SockType::Raw, flags, protocol)
            };
            let sender = open(SockFlag::empty(), None)?;
            let ear = open(SockFlag::SOCK_NONBLOCK, Some(SockProtocol::EthAll))?;
            setsockopt(&ear, sockopt::RcvBufForce, &RECEIVE_BUFFER_BYTES)?;
            bind(ear.as_raw_fd(), &link)?;
            Ok::<_, Errno>((sender, ear))
        })??;
        let gateway = gateway(testbed, endpoint)?;
        let seen = RefCell::new(Vec::new());
        Ok(Self { sender, ear, link, seen, mac, gateway, link_local })
    }

    /// A socket for frames from here, and its address.
    pub fn gun(&self) -> Result<(OwnedFd, LinkAddr)> {
        Ok((self.sender.try_clone()?, self.link))
    }

    /// The socket that sees what arrives here.
    pub fn into_ear(self) -> OwnedFd {
        self.ear
    }

    pub fn send(&self, frame: &[u8]) -> Result<()> {
        sendto(self.sender.as_raw_fd(), frame, &self.link, MsgFlags::empty())?;
        Ok(())
    }

    /// The frame that contains these bytes, if it arrives within this time.
    pub fn catch(&self, marker: Marker, patience: Duration) -> Result<Option<Vec<u8>>> {
        let deadline = Instant::now() + patience;
        let mut seen = self.seen.borrow_mut();
        let has = |frame: &Vec<u8>| frame.windows(marker.len()).any(|part| part == marker);
        loop {
            self.drain(&mut seen)?;
            if let Some(found) = seen.iter().position(has) {
                return Ok(Some(seen.swap_remove(found)));
            }
            seen.clear();
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
            poll(&mut [PollFd::new(self.ear.as_fd(), PollFlags::POLLIN)], timeout)?;
        }
    }

    fn drain(&self, seen: &mut Vec<Vec<u8>>) -> Result<()> {
        let mut buffer = [0; 65_536];
        loop {
            match recvfrom::<LinkAddr>(self.ear.as_raw_fd(), &mut buffer) {
                Ok((length, Some(from))) if from.pkttype() != OUTGOING => {
                    seen.push(buffer[..length].to_vec());
                }
                Ok(_) => {}
                Err(Errno::EAGAIN) => return Ok(()),
                Err(error) => return Err(error).context("see frames"),
            }
        }
    }
}

/// The hardware address that packets to other networks go to.
fn gateway(testbed: &Testbed, endpoint: &Endpoint) -> Result<Mac> {
    let (node, interface) = match (endpoint.role, testbed.spec().network) {
        (Role::Pod { .. }, Network::Routed) => return Ok([0xee; 6]),
        (Role::Pod { node }, Network::Bridge) => (node, "cni0"),
        (Role::Pod { node }, Network::Macvlan | Network::Moved) => (node, "eth0"),
        (Role::Outsider, _) => (0, "eth0"),
        (Role::Node { node }, _) => (1 - node, "eth0"),
    };
    let node = testbed.nodes().nth(node).context("a node")?;
    Ok(look(&node.namespace, interface)?.1)
}

/// An interface, its hardware address and its link-local address.
fn look(namespace: &Namespace, interface: &str) -> Result<(LinkAddr, Mac, Ipv6Addr)> {
    let found = namespace.run(|| {
        let (mut link, mut local) = (None, None);
        for one in getifaddrs()?.filter(|one| one.interface_name == interface) {
            let Some(address) = one.address else { continue };
            link = link.or(address.as_link_addr().copied());
            let v6 = address.as_sockaddr_in6().map(|address| address.ip());
            local = local.or(v6.filter(Ipv6Addr::is_unicast_link_local));
        }
        Ok::<_, Errno>((link, local))
    })??;
    let link = found.0.with_context(|| format!("no {interface}"))?;
    let mac = link.addr().context("a hardware address")?;
    Ok((link, mac, found.1.unwrap_or(Ipv6Addr::UNSPECIFIED)))
}
