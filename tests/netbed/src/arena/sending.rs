//! How endpoints of the arena send.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use anyhow::{Context, Result};

use super::{Arena, Shot, Way};
use crate::forge::{self, Marker, Packet};

impl Arena {
    /// Sends a frame.
    ///
    /// # Errors
    /// When the kernel does not take it.
    pub fn send(&self, from: &str, frame: &[u8]) -> Result<()> {
        self.station(from)?.send(frame).with_context(|| format!("send a frame from {from}"))
    }

    /// Sends an IP packet under the sender's own hardware address.
    ///
    /// # Errors
    /// As [`Arena::send`].
    pub fn packet(&self, from: &str, way: Way, to: &str, packet: &Packet) -> Result<()> {
        self.bytes(from, way, to, &packet.to_bytes())
    }

    /// The same with the bytes of a packet.
    ///
    /// # Errors
    /// As [`Arena::send`].
    pub fn bytes(&self, from: &str, way: Way, to: &str, packet: &[u8]) -> Result<()> {
        self.send(from, &self.framed(from, way, to, packet)?)
    }

    fn framed(&self, from: &str, way: Way, to: &str, packet: &[u8]) -> Result<Vec<u8>> {
        let destination = match way {
            Way::Gateway => self.gateway(from)?,
            Way::Neighbour => self.mac(to)?,
            Way::Broadcast => [0xff; 6],
        };
        let v6 = packet.first().is_some_and(|byte| byte >> 4 == 6);
        let types = if v6 { forge::EtherTypes::V6 } else { forge::EtherTypes::V4 };
        Ok(forge::frame(destination, self.mac(from)?, types.0, packet))
    }

    /// Sends a datagram from an ordinary socket, as a process without any
    /// capability can.
    ///
    /// # Errors
    /// When it cannot be sent.
    pub fn datagram(&self, from: &str, to: SocketAddr, data: &[u8]) -> Result<()> {
        self.datagram_by(from, 0, to, data)
    }

    /// The same from this port.
    ///
    /// # Errors
    /// As [`Arena::datagram`].
    pub fn datagram_by(&self, from: &str, port: u16, to: SocketAddr, data: &[u8]) -> Result<()> {
        let endpoint = self.endpoint(from)?;
        let any: IpAddr =
            if to.is_ipv6() { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() };
        endpoint
            .namespace
            .run(|| {
                let socket = UdpSocket::bind((any, port))?;
                if to.is_ipv4() {
                    socket.set_broadcast(true)?;
                }
                socket.send_to(data, to)
            })?
            .with_context(|| format!("send from {from} to {to}"))?;
        Ok(())
    }

    /// An IP packet that [`crate::fire`] sends again and again, as [`Arena::packet`] does.
    ///
    /// # Errors
    /// When there is no such endpoint.
    pub fn shot(
        &self,
        name: &str,
        (from, way, to): (&str, Way, &str),
        packet: &Packet,
        marker: Marker,
    ) -> Result<Shot> {
        let (sender, link) = self.station(from)?.gun()?;
        let (name, frame) = (name.to_owned(), self.framed(from, way, to, &packet.to_bytes())?);
        Ok(Shot { name, marker, honest: false, sender, link, frame })
    }

    /// What [`crate::fire`] counts at: a socket of its own.
    ///
    /// # Errors
    /// When there is no such endpoint.
    pub fn ear(&self, at: &str) -> Result<std::os::fd::OwnedFd> {
        Ok(super::station::Station::at(&self.testbed, self.endpoint(at)?)?.into_ear())
    }
}
