//! Connection tracking's table of flows: list entries and delete them.
//!
//! Never: an entry created or changed, or a whole dump in memory.
//!
//! A dump walks all buckets of the machine's only table (`nf_conntrack_hash`,
//! shared by all network namespaces), with any filter. The filter only saves the
//! cost of building and reading messages.

mod flow;
pub(crate) mod wire;

use std::fmt;
use std::io;

use nix::errno::Errno;

use crate::error::OpenError;
use crate::netlink::{self, Message, Request};
use crate::socket::Socket;
pub use flow::{Filter, Flow, Tuple, TupleId};

/// IPCTNL_MSG_CT_GET of `enum cntl_msg_types`
/// (include/uapi/linux/netfilter/nfnetlink_conntrack.h).
const GET: u16 = message_kind(1);
/// IPCTNL_MSG_CT_DELETE.
const DELETE: u16 = message_kind(2);

/// Attempts at a dump that is disturbed.
const DUMP_ATTEMPTS: u32 = 3;
/// Deletions in one datagram. Each takes about 100 bytes, and at worst an error
/// message of about a kilobyte in the receive buffer.
const DELETIONS_AT_ONCE: usize = 512;

/// A ctnetlink socket in the network namespace of the thread that opened it. Any
/// thread in any namespace may use it. It stays in its own.
pub struct Conntrack {
    socket: Socket,
    sequence: u32,
    request: Request,
    /// Whether the kernel has refused a filter by address. Some kernels do not
    /// support it.
    unfiltered: bool,
}

/// A request to connection tracking failed.
#[derive(Debug, thiserror::Error)]
pub enum ConntrackError {
    /// `CAP_NET_ADMIN` is missing. Give up.
    #[error("ask connection tracking: not permitted (CAP_NET_ADMIN is needed)")]
    Permission,
    /// The kernel has no ctnetlink. Give up.
    #[error("ask connection tracking: the kernel lacks it (module nf_conntrack_netlink)")]
    Missing,
    /// The table was resized or answers were lost during every attempt. Try again
    /// later.
    #[error("list connection tracking: disturbed during {0} attempts")]
    Disturbed(u32),
    /// The kernel refused the request for another reason.
    #[error("ask connection tracking: {0}")]
    Refused(Errno),
    /// The socket failed.
    #[error("ask connection tracking: {0}")]
    Io(#[source] io::Error),
    /// The kernel sent something that no known kernel sends.
    #[error("ask connection tracking: cannot understand the kernel: {0}")]
    Malformed(&'static str),
}

/// How one attempt at a dump ended.
enum Attempt {
    Whole(u64),
    Disturbed,
    FilterRefused,
}

impl Conntrack {
    /// Opens a socket.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open() -> Result<Self, OpenError> {
        let socket = Socket::open().map_err(OpenError)?;
        Ok(Self { socket, sequence: 1, request: Request::default(), unfiltered: false })
    }

    /// Passes the entries that match to `each`. Returns how many the kernel sent,
    /// which is more where it cannot filter. Entries that are created or deleted
    /// meanwhile may be included or not, and an entry may occur twice.
    ///
    /// # Errors
    /// See [`ConntrackError`].
    pub fn flows(
        &mut self,
        filter: &Filter,
        mut each: impl FnMut(&Flow),
    ) -> Result<u64, ConntrackError> {
        let mut attempts = 0;
        while attempts < DUMP_ATTEMPTS {
            match self.dump(filter, &mut each)? {
                Attempt::Whole(count) => return Ok(count),
                Attempt::Disturbed => attempts += 1,
                Attempt::FilterRefused => self.unfiltered = true,
            }
        }
        Err(ConntrackError::Disturbed(DUMP_ATTEMPTS))
    }

    fn dump(
        &mut self,
        filter: &Filter,
        each: &mut impl FnMut(&Flow),
    ) -> Result<Attempt, ConntrackError> {
        let family = wire::family(filter.family());
        let number = self.begin(GET, libc::NLM_F_DUMP, family);
        if !self.unfiltered {
            wire::push_filter(&mut self.request, filter);
        }
        let filtered = self.request.bytes().len() > netlink::HEADERS;
        self.send()?;
        let (mut count, mut disturbed) = (0, false);
        loop {
            let datagram = match self.socket.receive_patiently() {
                Ok(datagram) => datagram.ok_or(ConntrackError::Malformed("a dump without end"))?,
                Err(Errno::ENOBUFS) => return Ok(Attempt::Disturbed),
                Err(errno) => return Err(ConntrackError::Io(errno.into())),
            };
            for message in netlink::messages(datagram).filter(|one| one.sequence == number) {
                disturbed |= i32::from(message.flags) & libc::NLM_F_DUMP_INTR != 0;
                if let libc::NLMSG_ERROR | libc::NLMSG_DONE = i32::from(message.kind) {
                    return match message.error_code() {
                        None if disturbed => Ok(Attempt::Disturbed),
                        None => Ok(Attempt::Whole(count)),
                        Some(Errno::EINTR | Errno::EAGAIN) => Ok(Attempt::Disturbed),
                        Some(Errno::EINVAL | Errno::EOPNOTSUPP) if filtered => {
                            Ok(Attempt::FilterRefused)
                        }
                        // There is no such subsystem (`nfnetlink_rcv_msg`, net/netfilter/nfnetlink.c).
                        Some(Errno::EINVAL) => Err(ConntrackError::Missing),
                        Some(errno) => Err(refusal(errno)),
                    };
                }
                count += 1;
                let flow = entry(&message)?;
                if filter.matches(&flow) {
                    each(&flow);
                }
            }
        }
    }

    /// The entry with this original direction, if there is one.
    ///
    /// # Errors
    /// See [`ConntrackError`].
    pub fn get(&mut self, original: &Tuple, zone: u16) -> Result<Option<Flow>, ConntrackError> {
        let family = wire::family(Some(ruleset::Family::of(original.source)));
        let number = self.begin(GET, 0, family);
        wire::push_entry(&mut self.request, original, zone, None);
        self.send()?;
        while let Some(datagram) = self.socket.receive().map_err(socket_error)? {
            let mut messages = netlink::messages(datagram);
            let Some(message) = messages.find(|one| one.sequence == number) else { continue };
            return match message.failure() {
                None => entry(&message).map(Some),
                Some(failure) => match failure.errno {
                    None | Some(Errno::ENOENT) => Ok(None),
                    Some(errno) => Err(refusal(errno)),
                },
            };
        }
        Err(ConntrackError::Malformed("no answer"))
    }

    /// Deletes an entry, identified by its original direction, zone and id.
    /// Returns `false` if it no longer exists. A later entry with the same tuples
    /// is kept if it has another id. It is deleted if it occupies the same place
    /// in memory: see [`Flow::id`].
    ///
    /// # Errors
    /// See [`ConntrackError`].
    pub fn delete(&mut self, flow: &Flow) -> Result<bool, ConntrackError> {
        self.delete_all(std::slice::from_ref(flow)).map(|deleted| deleted == 1)
    }

    /// Deletes entries as [`Self::delete`] does, hundreds in one datagram.
    /// Returns how many existed.
    ///
    /// # Errors
    /// See [`ConntrackError`]. Entries before and after the one that failed may be
    /// deleted.
    pub fn delete_all(&mut self, flows: &[Flow]) -> Result<usize, ConntrackError> {
        flows.chunks(DELETIONS_AT_ONCE).map(|chunk| self.delete_chunk(chunk)).sum()
    }

    fn delete_chunk(&mut self, flows: &[Flow]) -> Result<usize, ConntrackError> {
        self.request.clear();
        let first = self.sequence;
        for flow in flows {
            let family = wire::family(Some(ruleset::Family::of(flow.original.source)));
            self.push(DELETE, 0, family);
            wire::push_entry(&mut self.request, &flow.original, flow.zone, Some(flow.id));
        }
        self.send()?;
        let mut missing = 0;
        // The kernel answers with errors only, before `sendmsg` returns.
        while let Some(datagram) = self.socket.receive().map_err(socket_error)? {
            for failure in netlink::messages(datagram).filter_map(|one| one.failure()) {
                let ours = failure.sequence.wrapping_sub(first) < flows.len() as u32;
                match failure.errno {
                    Some(Errno::ENOENT) if ours => missing += 1,
                    Some(errno) if ours => return Err(refusal(errno)),
                    _ => {}
                }
            }
        }
        Ok(flows.len() - missing)
    }

    /// Begins a request of one message. Returns the message's number.
    fn begin(&mut self, kind: u16, flags: i32, family: u8) -> u32 {
        self.request.clear();
        self.push(kind, flags, family)
    }

    /// Begins another message of a request. Returns the message's number.
    fn push(&mut self, kind: u16, flags: i32, family: u8) -> u32 {
        let number = self.sequence;
        self.sequence = number.wrapping_add(1);
        self.request.begin(kind, libc::NLM_F_REQUEST | flags, number, family, 0);
        number
    }

    fn send(&mut self) -> Result<(), ConntrackError> {
        self.socket.drain();
        self.socket.send(self.request.bytes()).map_err(ConntrackError::Io)
    }
}

impl fmt::Debug for Conntrack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Conntrack").field("socket", &self.socket).finish_non_exhaustive()
    }
}

const fn message_kind(message: u16) -> u16 {
    (libc::NFNL_SUBSYS_CTNETLINK as u16) << 8 | message
}

fn entry(message: &Message<'_>) -> Result<Flow, ConntrackError> {
    wire::flow(message).ok_or(ConntrackError::Malformed("an entry without addresses or id"))
}

fn socket_error(errno: Errno) -> ConntrackError {
    ConntrackError::Io(errno.into())
}

fn refusal(errno: Errno) -> ConntrackError {
    match errno {
        Errno::EPERM => ConntrackError::Permission,
        errno => ConntrackError::Refused(errno),
    }
}
