//! The kernel alone: a socket that sends bytes that are there already.
//!
//! In: a batch as the `nft` crate encodes it. Out: how long sending it took, which
//! includes the commit. Never: anything that nftpol does besides.

use std::io::IoSlice;
use std::os::fd::{AsRawFd, OwnedFd};

use anyhow::{Context, Result, ensure};
use netbed::net::Namespace;
use nft::inspect::encoded;
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, sendmsg,
    setsockopt, socket, sockopt,
};
use ruleset::{Batch, TableId};

use crate::figures::{Cost, measured};

/// A socket to nf_tables in a namespace of its own.
pub struct Raw {
    socket: OwnedFd,
    _namespace: Namespace,
}

impl Raw {
    pub fn new() -> Result<Self> {
        let namespace = Namespace::new("nbr")?;
        let open = || {
            let kind = SockFlag::SOCK_CLOEXEC;
            socket(AddressFamily::Netlink, SockType::Raw, kind, SockProtocol::NetlinkNetFilter)
        };
        let socket = namespace.run(open)?.context("open a netlink socket")?;
        bind(socket.as_raw_fd(), &NetlinkAddr::new(0, 0)).context("bind a netlink socket")?;
        Ok(Self { socket, _namespace: namespace })
    }

    /// Sends these batches, each as one datagram.
    pub fn send(&self, table: &TableId, batches: &[Batch]) -> Result<Cost> {
        let datagrams: Option<Vec<_>> = batches.iter().map(|batch| encoded(table, batch)).collect();
        let datagrams = datagrams.context("a batch does not fit its messages")?;
        let largest = datagrams.iter().map(Vec::len).max().unwrap_or_default();
        setsockopt(&self.socket, sockopt::SndBufForce, &(2 * largest + 4096))
            .context("make room for a batch")?;
        let (result, cost) =
            measured(|| datagrams.iter().try_for_each(|datagram| self.one(datagram)))?;
        result.map(|()| cost)
    }

    fn one(&self, datagram: &[u8]) -> Result<()> {
        let (fd, kernel) = (self.socket.as_raw_fd(), NetlinkAddr::new(0, 0));
        let sent = sendmsg(fd, &[IoSlice::new(datagram)], &[], MsgFlags::empty(), Some(&kernel))?;
        ensure!(sent == datagram.len(), "the kernel did not take the whole batch");
        // A commit has no answer.
        match recv(fd, &mut [0; 64], MsgFlags::MSG_DONTWAIT) {
            Err(Errno::EAGAIN) => Ok(()),
            answer => anyhow::bail!("the kernel refused a batch: {answer:?}"),
        }
    }
}
