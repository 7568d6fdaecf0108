//! Where FOU and GUE listen: UDP ports without a link.
//!
//! In: generic netlink. Out: the ports. Never: a module loaded. The kernel loads
//! one for a family that is asked for by name (`ctrl_getfamily`,
//! net/netlink/genetlink.c, Linux 6.18), so all families are listed.
//!
//! Layouts: include/uapi/linux/genetlink.h, fou.h.

use std::collections::BTreeSet;

use super::client::{Client, Ended};
use super::error::LinksError;
use super::tunnel::udp_port;
use super::types::Tunnel;
use super::wire::{Garbled, each, text};
use crate::error::OpenError;
use crate::netlink::Message;
use crate::socket::Socket;

/// The family that lists the others (GENL_ID_CTRL).
mod control {
    pub(super) const ID: u16 = libc::GENL_ID_CTRL as u16;
    pub(super) const GETFAMILY: u8 = 3;
    pub(super) const FAMILY_ID: u16 = 1;
    pub(super) const FAMILY_NAME: u16 = 2;
}

/// `FOU_*`.
mod listeners {
    pub(super) const NAME: &str = "fou";
    pub(super) const CMD_GET: u8 = 3;
    pub(super) const ATTR_PORT: u16 = 1;
}

/// `genlmsghdr`: command, version, reserved.
const GENLMSGHDR: usize = 4;

/// A socket to generic netlink.
pub(super) struct Fou {
    client: Client,
}

impl Fou {
    pub(super) fn open() -> Result<Self, OpenError> {
        let socket = Socket::open_generic(0).map_err(OpenError)?;
        Ok(Self { client: Client::new(socket) })
    }

    /// The ports at which FOU and GUE listen. Empty where the kernel tells us
    /// nothing: it lacks `fou`, or tells only the initial user namespace
    /// (GENL_ADMIN_PERM in net/ipv4/fou_nl.c).
    pub(super) fn ports(&mut self) -> Result<BTreeSet<Tunnel>, LinksError> {
        let mut ports = BTreeSet::new();
        let Some(family) = self.family(listeners::NAME)? else { return Ok(ports) };
        self.list(family, listeners::CMD_GET, |message| {
            ports.extend(port(message)?);
            Ok(())
        })?;
        Ok(ports)
    }

    pub(super) const fn requests(&self) -> u64 {
        self.client.requests
    }

    /// The number of a family that is loaded.
    fn family(&mut self, name: &str) -> Result<Option<u16>, LinksError> {
        let mut found = None;
        self.list(control::ID, control::GETFAMILY, |message| {
            let (id, read) = family(message)?;
            if read == name {
                found = Some(id);
            }
            Ok(())
        })?;
        Ok(found)
    }

    fn list(
        &mut self,
        family: u16,
        command: u8,
        each: impl FnMut(&Message<'_>) -> Result<(), Garbled>,
    ) -> Result<(), LinksError> {
        /// Of both families.
        const VERSION: u8 = 1;
        let header = [command, VERSION, 0, 0];
        match self.client.list(family, &header, |_| {}, each)? {
            Ended::Whole | Ended::Disturbed | Ended::Refused(_) => Ok(()),
        }
    }
}

fn family(message: &Message<'_>) -> Result<(u16, String), Garbled> {
    const WRONG: Garbled = Garbled("a family of generic netlink");
    let (mut id, mut name) = (None, String::new());
    each(message.body(), GENLMSGHDR, WRONG.0, |kind, value| {
        match kind {
            control::FAMILY_ID => id = Some(value.try_into().map_err(|_| WRONG)?),
            control::FAMILY_NAME => name = text(value),
            _ => {}
        }
        Ok(())
    })?;
    Ok((u16::from_ne_bytes(id.ok_or(WRONG)?), name))
}

fn port(message: &Message<'_>) -> Result<Option<Tunnel>, Garbled> {
    let mut port = None;
    each(message.body(), GENLMSGHDR, "a port of FOU", |kind, value| {
        if kind == listeners::ATTR_PORT {
            port = udp_port(value)?;
        }
        Ok(())
    })?;
    Ok(port)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::{self, Request};

    #[test]
    fn families_are_found_by_name() {
        let mut open = Fou::open().unwrap();
        assert_eq!(open.family("nlctrl").unwrap(), Some(control::ID));
        assert_eq!(open.family("no such family").unwrap(), None);
    }

    /// As `fou_fill_info` of Linux 6.18 writes it.
    #[test]
    fn a_port_is_read() {
        let mut request = Request::default();
        request.begin_with(0x20, libc::NLM_F_MULTI, 1, &[3, 1, 0, 0]);
        request.attribute(2, &[libc::AF_INET as u8]); // FOU_ATTR_AF
        request.attribute(listeners::ATTR_PORT, &5555u16.to_be_bytes());
        request.attribute(3, &[4]); // FOU_ATTR_IPPROTO
        let bytes = request.into_bytes();
        let message = netlink::messages(&bytes).next().unwrap();
        assert_eq!(port(&message), Ok(Some(Tunnel::Udp(5555))));
        for length in 16..bytes.len() {
            let mut cut = bytes[..length].to_vec();
            cut[..4].copy_from_slice(&(length as u32).to_ne_bytes());
            let message = netlink::messages(&cut).next().unwrap();
            let _ = (port(&message), family(&message));
        }
    }
}
