//! News of the node's links and of the kernel's modules.
//!
//! In: the events of rtnetlink and of generic netlink. Out: that it is time to look. Never:
//! what changed: an event can be lost, so only a look tells.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};

use super::error::LinksError;
use crate::error::OpenError;
use crate::socket::Socket;

/// Links, and addresses of the node's own links. There is no event of what
/// happens in another namespace, except that its end of a pair goes up, goes
/// down, or is deleted.
const GROUPS: i32 = libc::RTMGRP_LINK | libc::RTMGRP_IPV4_IFADDR | libc::RTMGRP_IPV6_IFADDR;

/// The group `notify` of the family that lists the others: a family came or went, with its
/// module. All network namespaces are told of one that exists in all of them, as IPVS does
/// (`genl_ctrl_event` and `genl_validate_assign_mc_groups`, net/netlink/genetlink.c;
/// `ip_vs_genl_family`, net/netfilter/ipvs/ip_vs_ctl.c, 6.1). Anybody may listen.
const FAMILIES: u32 = 1 << (libc::GENL_ID_CTRL - 1);

/// Sockets that receive the events of the network namespace of the thread that
/// opened them.
#[derive(Debug)]
pub struct LinkEvents {
    socket: Socket,
    families: Socket,
    wake: Arc<EventFd>,
}

/// Ends a wait from another thread.
#[derive(Clone, Debug)]
pub struct LinkWaker(Arc<EventFd>);

impl LinkWaker {
    /// Ends the present wait, or else the next one.
    pub fn wake(&self) {
        // It fails when the counter is full: then a wake is pending.
        let _ = self.0.write(1);
    }
}

/// Why a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkEvent {
    /// Links or addresses changed.
    Changed,
    /// Events were lost: anything may have changed.
    Overrun,
    /// No link changed, but a module of the kernel came or went.
    Module,
    /// A [`LinkWaker`] ended it.
    Woken,
    /// Nothing happened in the time given.
    Timeout,
}

impl LinkEvents {
    /// Opens the sockets. Events count from now on.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open() -> Result<Self, OpenError> {
        let socket = Socket::open_route(GROUPS.cast_unsigned()).map_err(OpenError)?;
        let families = Socket::open_generic(FAMILIES).map_err(OpenError)?;
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        let wake = EventFd::from_flags(flags).map_err(|errno| OpenError(errno.into()))?;
        Ok(Self { socket, families, wake: Arc::new(wake) })
    }

    /// Ends waits from another thread.
    #[must_use]
    pub fn waker(&self) -> LinkWaker {
        LinkWaker(Arc::clone(&self.wake))
    }

    /// Waits for an event. Takes all that have arrived.
    ///
    /// # Errors
    /// See [`LinksError`].
    pub fn wait(&mut self, timeout: Duration) -> Result<LinkEvent, LinksError> {
        let mut found = self.take()?;
        if found == LinkEvent::Timeout {
            self.poll(timeout)?;
            found = self.take()?;
        }
        let is_woken = self.wake.read().is_ok();
        Ok(if is_woken && found == LinkEvent::Timeout { LinkEvent::Woken } else { found })
    }

    /// Takes all events that have arrived.
    fn take(&mut self) -> Result<LinkEvent, LinksError> {
        let of_modules = take_all(&mut self.families)?;
        let of_links = take_all(&mut self.socket)?;
        Ok(match (of_links, of_modules) {
            (LinkEvent::Timeout, LinkEvent::Timeout) => LinkEvent::Timeout,
            (LinkEvent::Timeout, _) => LinkEvent::Module,
            (of_links, _) => of_links,
        })
    }

    fn poll(&self, timeout: Duration) -> Result<(), LinksError> {
        // Rounded up: a wait of less than a millisecond must not become none.
        let milliseconds = timeout.as_nanos().div_ceil(1_000_000);
        let timeout = PollTimeout::try_from(milliseconds).unwrap_or(PollTimeout::MAX);
        let mut sources = [self.socket.as_fd(), self.families.as_fd(), self.wake.as_fd()]
            .map(|fd| PollFd::new(fd, PollFlags::POLLIN));
        match poll(&mut sources, timeout) {
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(errno) => Err(LinksError::Io(errno.into())),
        }
    }
}

/// Takes all events of one socket.
fn take_all(socket: &mut Socket) -> Result<LinkEvent, LinksError> {
    let mut found = LinkEvent::Timeout;
    loop {
        match socket.receive() {
            Ok(Some(_)) if found == LinkEvent::Overrun => {}
            Ok(Some(_)) => found = LinkEvent::Changed,
            Ok(None) => return Ok(found),
            // The receive buffer was full (`netlink_overrun`,
            // net/netlink/af_netlink.c), or an event is larger than ours.
            Err(Errno::ENOBUFS | Errno::EMSGSIZE) => found = LinkEvent::Overrun,
            Err(errno) => return Err(LinksError::Io(errno.into())),
        }
    }
}
