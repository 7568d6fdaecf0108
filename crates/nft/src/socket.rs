//! The netlink socket: sends whole batches, receives datagrams.
//!
//! In: messages as bytes. Out: the kernel's answers.
//! Never: waiting for an event. The kernel queues its answers before `sendmsg`
//! returns, or produces them while we receive.

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, getsockname,
    recvmsg, sendmsg, setsockopt, socket, sockopt,
};

/// Space for answers. An error message takes about a kilobyte of it
/// (`skb.truesize`), and a batch can have thousands of errors.
const RECEIVE_BUFFER_BYTES: usize = 8 << 20;
/// How often memory may be short while a list arrives.
const SHORTAGES: u32 = 1000;
/// Datagrams of a dump have at most 32 KiB (`netlink_recvmsg`: SKB_WITH_OVERHEAD(32768)).
const DATAGRAM_BYTES: usize = 64 << 10;

/// Options of level SOL_NETLINK.
mod options {
    use nix::{setsockopt_impl, sockopt_impl};

    sockopt_impl!(
        /// Error messages with a text.
        ExtendedErrors, SetOnly, libc::SOL_NETLINK, libc::NETLINK_EXT_ACK, bool);
    sockopt_impl!(
        /// Error messages without a copy of the request.
        ShortErrors, SetOnly, libc::SOL_NETLINK, libc::NETLINK_CAP_ACK, bool);
    sockopt_impl!(
        /// Requests that ask for something the kernel does not know are refused.
        StrictRequests, SetOnly, libc::SOL_NETLINK, libc::NETLINK_GET_STRICT_CHK, bool);
}

/// A socket in the network namespace of the thread that opened it.
#[derive(Debug)]
pub(crate) struct Socket {
    fd: OwnedFd,
    buffer: Vec<u8>,
    send_buffer: usize,
}

impl Socket {
    /// Opens a socket to netfilter.
    pub(crate) fn open() -> io::Result<Self> {
        Self::open_to(SockProtocol::NetlinkNetFilter, 0)
    }

    /// Opens a socket to netfilter that also receives the notifications of these groups.
    pub(crate) fn open_netfilter(groups: u32) -> io::Result<Self> {
        Self::open_to(SockProtocol::NetlinkNetFilter, groups)
    }

    /// Opens a socket to rtnetlink that also receives the events of these groups
    /// (RTMGRP_*). The kernel checks its requests strictly (Linux 4.20).
    pub(crate) fn open_route(groups: u32) -> io::Result<Self> {
        let socket = Self::open_to(SockProtocol::NetlinkRoute, groups)?;
        setsockopt(&socket.fd, options::StrictRequests, &true)?;
        Ok(socket)
    }

    /// Opens a socket to generic netlink that also receives the notifications of these
    /// groups.
    pub(crate) fn open_generic(groups: u32) -> io::Result<Self> {
        Self::open_to(SockProtocol::NetlinkGeneric, groups)
    }

    fn open_to(protocol: SockProtocol, groups: u32) -> io::Result<Self> {
        let fd = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol)?;
        bind(fd.as_raw_fd(), &NetlinkAddr::new(0, groups))?;
        setsockopt(&fd, options::ExtendedErrors, &true)?;
        setsockopt(&fd, options::ShortErrors, &true)?;
        if setsockopt(&fd, sockopt::RcvBufForce, &RECEIVE_BUFFER_BYTES).is_err() {
            setsockopt(&fd, sockopt::RcvBuf, &RECEIVE_BUFFER_BYTES)?;
        }
        Ok(Self { fd, buffer: vec![0; DATAGRAM_BYTES], send_buffer: 0 })
    }

    /// Sends messages as one datagram, as nf_tables requires for a batch.
    pub(crate) fn send(&mut self, messages: &[u8]) -> io::Result<()> {
        self.make_room(messages.len())?;
        let address = NetlinkAddr::new(0, 0);
        let parts = [IoSlice::new(messages)];
        loop {
            let flags = MsgFlags::empty();
            match sendmsg(self.fd.as_raw_fd(), &parts, &[], flags, Some(&address)) {
                Ok(sent) if sent == messages.len() => return Ok(()),
                Ok(_) => return Err(io::ErrorKind::WriteZero.into()),
                Err(Errno::EINTR) => {} // nothing was sent: `netlink_sendmsg` waits only before that
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// The next datagram that has arrived, if any.
    pub(crate) fn receive(&mut self) -> Result<Option<&[u8]>, Errno> {
        let length = self.arrived()?;
        Ok(length.map(|length| &self.buffer[..length]))
    }

    /// Puts the next datagram into the buffer, if one has arrived. Returns its length.
    fn arrived(&mut self) -> Result<Option<usize>, Errno> {
        loop {
            let mut parts = [IoSliceMut::new(&mut self.buffer)];
            let flags = MsgFlags::MSG_DONTWAIT;
            match recvmsg::<NetlinkAddr>(self.fd.as_raw_fd(), &mut parts, None, flags) {
                Ok(received) if received.address.is_some_and(|from| from.pid() != 0) => {} // not the kernel
                Ok(received) if received.flags.contains(MsgFlags::MSG_TRUNC) => {
                    return Err(Errno::EMSGSIZE);
                }
                Ok(received) => return Ok(Some(received.bytes)),
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return Ok(None),
                Err(errno) => return Err(errno),
            }
        }
    }

    /// The next datagram that has arrived, if any, also after memory was short. A single
    /// answer may be lost then. A list goes on at the same place: the kernel makes each of its datagrams only when we receive
    /// (`netlink_dump`, net/netlink/af_netlink.c, Linux 6.18).
    pub(crate) fn receive_patiently(&mut self) -> Result<Option<&[u8]>, Errno> {
        for _ in 0..SHORTAGES {
            match self.arrived() {
                Err(Errno::ENOBUFS) => {}
                Ok(length) => return Ok(length.map(|length| &self.buffer[..length])),
                Err(errno) => return Err(errno),
            }
        }
        Err(Errno::ENOBUFS)
    }

    /// The port by which the kernel knows this socket (netlink(7), `nl_pid`).
    pub(crate) fn port(&self) -> io::Result<u32> {
        Ok(getsockname::<NetlinkAddr>(self.fd.as_raw_fd())?.pid())
    }

    /// To wait for a datagram.
    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Discards what earlier requests left in the buffer.
    pub(crate) fn drain(&mut self) {
        while matches!(self.receive(), Ok(Some(_)) | Err(Errno::ENOBUFS)) {}
    }

    /// Enlarges the send buffer for a datagram of this size. The kernel doubles
    /// the value, and counts the datagram with overhead against it.
    fn make_room(&mut self, bytes: usize) -> io::Result<()> {
        const OVERHEAD_BYTES: usize = 64 << 10;
        let needed = bytes + OVERHEAD_BYTES;
        if needed <= self.send_buffer {
            return Ok(());
        }
        if setsockopt(&self.fd, sockopt::SndBufForce, &needed).is_err() {
            setsockopt(&self.fd, sockopt::SndBuf, &needed)?;
        }
        self.send_buffer = needed;
        Ok(())
    }
}
