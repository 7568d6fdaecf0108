//! The packets that our rules drop and log.
//!
//! In: a group of NFLOG. Out: each logged packet's headers, the log's prefix, and the
//! destination that the sender asked for; how many packets were lost on the way.
//! Never: a wait for more than the time given, or trust in what a packet says of itself:
//! pods write any bytes.
//!
//! Layout: include/uapi/linux/netfilter/nfnetlink_log.h. Numbers are in network order.

mod packet;

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::conntrack::{TupleId, wire};
use crate::error::OpenError;
use crate::netlink::{self, Message, Request};
use crate::socket::Socket;
pub use packet::LoggedHeaders;

/// `enum nfulnl_msg_types`.
const PACKET: u16 = message_kind(0);
const CONFIG: u16 = message_kind(1);

/// `enum nfulnl_attr_config`.
mod cfg {
    pub(super) const CMD: u16 = 1;
    pub(super) const MODE: u16 = 2;
    pub(super) const QTHRESH: u16 = 5;
    pub(super) const FLAGS: u16 = 6;
}

/// NFULNL_CFG_CMD_BIND of `enum nfulnl_msg_config_cmds`.
const BIND: u8 = 1;
/// NFULNL_COPY_PACKET.
const COPY_PACKET: u8 = 2;
/// NFULNL_CFG_F_SEQ: packets are numbered.
const F_SEQ: u16 = 1;
/// NFULNL_CFG_F_CONNTRACK: packets come with their connection tracking entry (Linux 4.4).
const F_CONNTRACK: u16 = 4;

/// `enum nfulnl_attr_type`.
mod nfula {
    pub(super) const PAYLOAD: u16 = 9;
    pub(super) const PREFIX: u16 = 10;
    pub(super) const SEQ: u16 = 12;
    pub(super) const CT: u16 = 18;
    pub(super) const CT_INFO: u16 = 19;
}

/// CTA_TUPLE_ORIG (include/uapi/linux/netfilter/nfnetlink_conntrack.h).
const TUPLE_ORIG: u16 = 1;
/// IP_CT_NEW (include/uapi/linux/netfilter/nf_conntrack_common.h): the packet opens a flow, so
/// its destination is what the entry's first direction names.
const NEW: u32 = 2;
/// How much of each packet is copied: the headers of both layers with their options.
const COPY_BYTES: u32 = 192;
/// Datagrams taken at once, so that a flood ends a wait, too.
const AT_ONCE: usize = 512;

/// A socket that reads a group of NFLOG in the network namespace of the thread that opened
/// it. The group is free again when it is dropped.
#[derive(Debug)]
pub struct DropLog {
    socket: Socket,
    /// The number of the last packet.
    last: Option<u32>,
}

/// The packets of a group cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum DropLogError {
    /// Another program reads the group. Try again later.
    #[error("read NFLOG group {0}: another program reads it")]
    Taken(u16),
    /// The kernel lacks nfnetlink_log. Give up.
    #[error("read NFLOG group {0}: the kernel lacks it (module nfnetlink_log)")]
    Missing(u16),
    /// The kernel refused for another reason.
    #[error("read NFLOG group {0}: {1}")]
    Refused(u16, Errno),
    /// There is no socket.
    #[error("read NFLOG: {0}")]
    Open(#[from] OpenError),
    /// The socket failed.
    #[error("read NFLOG: {0}")]
    Io(#[source] io::Error),
}

/// A packet that a rule logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggedPacket {
    /// The prefix of the rule's log statement.
    pub prefix: String,
    /// What the packet's headers say; `None` if they cannot be read.
    pub headers: Option<LoggedHeaders>,
    /// Destination and port that the sender asked for, before any translation, if
    /// connection tracking knows them and they are not the packet's own.
    pub asked: Option<(IpAddr, Option<u16>)>,
}

impl DropLog {
    /// Begins to read a group.
    ///
    /// # Errors
    /// See [`DropLogError`].
    pub fn open(group: u16) -> Result<Self, DropLogError> {
        let socket = Socket::open().map_err(OpenError)?;
        let mut log = Self { socket, last: None };
        log.configure(group, 1, |request| request.attribute(cfg::CMD, &[BIND]))?;
        let [a, b, c, d] = COPY_BYTES.to_be_bytes();
        log.configure(group, 2, |request| {
            // `nfulnl_msg_config_mode`, packed.
            request.attribute(cfg::MODE, &[a, b, c, d, COPY_PACKET, 0]);
            // Each packet at once: by default a hundred are awaited, for a second.
            request.attribute(cfg::QTHRESH, &1u32.to_be_bytes());
            request.attribute(cfg::FLAGS, &F_SEQ.to_be_bytes());
        })?;
        // Not every kernel can do this (`nfulnl_recv_config`: EOPNOTSUPP, or EAGAIN while it
        // loads nf_conntrack_netlink).
        let flags = (F_SEQ | F_CONNTRACK).to_be_bytes();
        for number in 3..5 {
            match log.configure(group, number, |request| request.attribute(cfg::FLAGS, &flags)) {
                Err(DropLogError::Refused(_, Errno::EAGAIN)) => {}
                Ok(()) | Err(DropLogError::Refused(..)) => break,
                Err(error) => return Err(error),
            }
        }
        Ok(log)
    }

    /// Sends one request, and waits for its answer, which is there when `sendmsg` returns.
    fn configure(
        &mut self,
        group: u16,
        number: u32,
        fill: impl FnOnce(&mut Request),
    ) -> Result<(), DropLogError> {
        let mut request = Request::default();
        let flags = libc::NLM_F_REQUEST | libc::NLM_F_ACK;
        request.begin(CONFIG, flags, number, libc::AF_UNSPEC as u8, group);
        fill(&mut request);
        self.socket.send(request.bytes()).map_err(DropLogError::Io)?;
        loop {
            let datagram = match self.socket.receive() {
                Ok(Some(datagram)) => datagram,
                Ok(None) => return Err(DropLogError::Refused(group, Errno::ENODATA)),
                Err(errno) => return Err(DropLogError::Io(errno.into())),
            };
            let mut failures = netlink::messages(datagram).filter_map(|one| one.failure());
            let Some(answer) = failures.find(|one| one.sequence == number) else { continue };
            return match answer.errno {
                None => Ok(()),
                // The instance has another port (`nfulnl_recv_config`, Linux 6.18). The same
                // without CAP_NET_ADMIN, which nf_tables has asked for before.
                Some(Errno::EPERM | Errno::EBUSY) => Err(DropLogError::Taken(group)),
                // There is no such subsystem (`nfnetlink_rcv_msg`).
                Some(Errno::EINVAL) if number == 1 => Err(DropLogError::Missing(group)),
                Some(errno) => Err(DropLogError::Refused(group, errno)),
            };
        }
    }

    /// Waits for packets, and passes on those that have arrived. Returns how many were lost
    /// before them, because nobody read them in time.
    ///
    /// # Errors
    /// The socket failed.
    pub fn wait(
        &mut self,
        timeout: Duration,
        mut each: impl FnMut(LoggedPacket),
    ) -> Result<u64, DropLogError> {
        let timeout = PollTimeout::try_from(timeout.as_millis()).unwrap_or(PollTimeout::MAX);
        let mut sources = [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)];
        match poll(&mut sources, timeout) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(DropLogError::Io(errno.into())),
        }
        let mut lost = 0;
        for _ in 0..AT_ONCE {
            let datagram = match self.socket.receive() {
                Ok(Some(datagram)) => datagram,
                Ok(None) => break,
                // The numbers tell how many.
                Err(Errno::ENOBUFS | Errno::EMSGSIZE) => continue,
                Err(errno) => return Err(DropLogError::Io(errno.into())),
            };
            for message in netlink::messages(datagram).filter(|one| one.kind == PACKET) {
                if let Some(number) = number(&message) {
                    let expected = self.last.map_or(number, |last| last.wrapping_add(1));
                    lost += u64::from(number.wrapping_sub(expected));
                    self.last = Some(number);
                }
                each(logged(&message));
            }
        }
        Ok(lost)
    }
}

fn number(message: &Message<'_>) -> Option<u32> {
    Some(u32::from_be_bytes(*message.attribute(nfula::SEQ)?.first_chunk()?))
}

fn logged(message: &Message<'_>) -> LoggedPacket {
    let prefix = message.attribute(nfula::PREFIX).unwrap_or_default();
    let end = prefix.iter().position(|byte| *byte == 0).unwrap_or(prefix.len());
    let headers = message.attribute(nfula::PAYLOAD).and_then(packet::headers);
    let own = headers.map(|headers| headers.destination);
    let opens = message.attribute(nfula::CT_INFO) == Some(NEW.to_be_bytes().as_slice());
    let entry = message.attribute(nfula::CT).filter(|_| opens);
    let asked = entry.and_then(|entry| {
        let tuple = wire::tuple_of(netlink::attribute(entry, TUPLE_ORIG)?)?;
        let port = match tuple.transport {
            TupleId::Ports { destination, .. } => Some(destination),
            TupleId::Icmp { .. } | TupleId::Nothing => None,
        };
        Some((tuple.destination, port))
    });
    LoggedPacket {
        prefix: String::from_utf8_lossy(&prefix[..end]).into_owned(),
        headers,
        asked: asked.filter(|(address, _)| Some(*address) != own),
    }
}

const fn message_kind(message: u16) -> u16 {
    (libc::NFNL_SUBSYS_ULOG as u16) << 8 | message
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conntrack::Tuple;

    /// A UDP packet from 10.0.0.1 to 10.0.0.2, port 53, of a flow that its sender opens, or
    /// answers, to 10.96.0.10.
    fn message(info: u32, asked: &str) -> Vec<u8> {
        let mut packet = vec![0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
        packet.extend([0x12, 0x34, 0, 53, 0, 8, 0, 0]);
        let original = Tuple {
            source: [10, 0, 0, 1].into(),
            destination: asked.parse().expect("an address"),
            protocol: 17,
            transport: TupleId::Ports { source: 0x1234, destination: 53 },
        };
        let mut request = Request::default();
        request.begin(PACKET, 0, 0, 2, 7);
        request.attribute(nfula::PAYLOAD, &packet);
        request.attribute(nfula::PREFIX, b"i.dev/p.0\0");
        request.attribute(nfula::SEQ, &9u32.to_be_bytes());
        request.nested(nfula::CT, |request| wire::push_entry(request, &original, 0, None));
        request.attribute(nfula::CT_INFO, &info.to_be_bytes());
        request.into_bytes()
    }

    fn read(bytes: &[u8]) -> LoggedPacket {
        let message = netlink::messages(bytes).next().expect("a message");
        assert_eq!((message.kind, number(&message)), (PACKET, Some(9)));
        logged(&message)
    }

    /// Not every kernel sends entries (CONFIG_NETFILTER_NETLINK_GLUE_CT).
    #[test]
    fn a_packet_tells_what_its_sender_asked_for() {
        let packet = read(&message(NEW, "10.96.0.10"));
        assert_eq!(packet.prefix, "i.dev/p.0");
        assert_eq!(packet.headers.and_then(|one| one.ports), Some((0x1234, 53)));
        assert_eq!(packet.asked, Some(([10, 96, 0, 10].into(), Some(53))));
        assert_eq!(read(&message(NEW, "10.0.0.2")).asked, None, "nothing was translated");
        assert_eq!(read(&message(3, "10.96.0.10")).asked, None, "an answer");
    }

    #[test]
    fn a_message_that_is_cut_or_garbled_is_no_panic() {
        let whole = message(NEW, "10.96.0.10");
        for end in 0..whole.len() {
            netlink::messages(&whole[..end]).for_each(|message| drop(logged(&message)));
            let mut garbled = whole.clone();
            garbled[end] ^= 0xff;
            netlink::messages(&garbled).for_each(|message| drop(logged(&message)));
        }
    }
}
