//! News of the node's links.
//!
//! In: rtnetlink's events. Out: that it is time to look. Never: what changed: an
//! event can be lost, so only a look tells.

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

/// A socket that receives the events of the network namespace of the thread that
/// opened it.
#[derive(Debug)]
pub struct LinkEvents {
    socket: Socket,
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
    /// Something changed.
    Changed,
    /// Events were lost: anything may have changed.
    Overrun,
    /// A [`LinkWaker`] ended it.
    Woken,
    /// Nothing happened in the time given.
    Timeout,
}

impl LinkEvents {
    /// Opens a socket. Events count from now on.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open() -> Result<Self, OpenError> {
        let socket = Socket::open_route(GROUPS.cast_unsigned()).map_err(OpenError)?;
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        let wake = EventFd::from_flags(flags).map_err(|errno| OpenError(errno.into()))?;
        Ok(Self { socket, wake: Arc::new(wake) })
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
        let mut found = LinkEvent::Timeout;
        loop {
            match self.socket.receive() {
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

    fn poll(&self, timeout: Duration) -> Result<(), LinksError> {
        // Rounded up: a wait of less than a millisecond must not become none.
        let milliseconds = timeout.as_nanos().div_ceil(1_000_000);
        let timeout = PollTimeout::try_from(milliseconds).unwrap_or(PollTimeout::MAX);
        let mut sources =
            [self.socket.as_fd(), self.wake.as_fd()].map(|fd| PollFd::new(fd, PollFlags::POLLIN));
        match poll(&mut sources, timeout) {
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(errno) => Err(LinksError::Io(errno.into())),
        }
    }
}
