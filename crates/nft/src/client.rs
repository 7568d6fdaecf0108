//! Requests to the kernel and their answers.
//!
//! In: requests. Out: the messages that answer them.
//! Never: two requests at the same time.

use nix::errno::Errno;
use ruleset::TableFamily;

use crate::error::ReadError;
use crate::ffi::{Body, Messages};
use crate::netlink::{self, Message};
use crate::socket::Socket;
use crate::table_family::nfproto;

/// A socket that numbers its requests.
pub(crate) struct NetlinkClient {
    pub(crate) socket: Socket,
    sequence: u32,
    request: Messages,
}

/// How the kernel answered a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// All messages arrived.
    Whole,
    /// Others committed while the kernel listed. Messages may be missing or
    /// doubled. The kernel does not flag all such lists.
    Interrupted,
    /// The requested object does not exist.
    NotFound,
}

/// Whether a request asks for one object or for a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// One object of a family, or one without a family.
    One(TableFamily),
    /// All objects of a family.
    All(TableFamily),
    /// All objects of all families.
    AllFamilies,
}

impl NetlinkClient {
    pub(crate) fn open() -> std::io::Result<Self> {
        Ok(Self { socket: Socket::open()?, sequence: 1, request: Messages::new() })
    }

    /// The port of the socket.
    pub(crate) fn port(&self) -> std::io::Result<u32> {
        self.socket.port()
    }

    /// Reserves `count` numbers for requests. Returns the first.
    pub(crate) fn numbers(&mut self, count: u32) -> u32 {
        let first = self.sequence;
        self.sequence = first.wrapping_add(count);
        first
    }

    /// The number of the next request.
    pub(crate) const fn next_number(&self) -> u32 {
        self.sequence
    }

    /// Waits until no commit is under way in this network namespace. The kernel
    /// counts a commit's generation first, and only then removes what the commit
    /// deletes, object by object and visible to lists (`nf_tables_commit`,
    /// net/netfilter/nf_tables_api.c, Linux 6.18). It holds a lock until the last
    /// one is gone. This sends an empty batch, which takes that lock and commits
    /// nothing: the generation stays the same.
    pub(crate) fn wait_for_commits(&mut self) -> Result<(), ReadError> {
        let first = self.numbers(2);
        let end = first.wrapping_add(1);
        let begin = netlink::batch_mark(libc::NFNL_MSG_BATCH_BEGIN, first, None);
        let end_mark = netlink::batch_mark(libc::NFNL_MSG_BATCH_END, end, None);
        self.socket.drain();
        self.socket.send(&[begin, end_mark].concat()).map_err(ReadError::Io)?;
        // A refusal has arrived when `sendmsg` returns. Success has no answer.
        // Only a refusal can be lost, and the next request is refused, too.
        while let Some(datagram) = self.socket.receive_patiently().map_err(io)? {
            for message in netlink::messages(datagram) {
                if [first, end].contains(&message.sequence) {
                    outcome(&message)?;
                }
            }
        }
        Ok(())
    }

    /// Sends a request (NFT_MSG_GET*) and passes each message of the answer to
    /// `each`.
    pub(crate) fn request(
        &mut self,
        kind: i32,
        scope: Scope,
        body: Body<'_>,
        mut each: impl FnMut(&Message<'_>) -> Result<(), ReadError>,
    ) -> Result<Answer, ReadError> {
        let number = self.numbers(1);
        let (flags, family) = match scope {
            Scope::One(family) => (0, nfproto(family)),
            Scope::All(family) => (libc::NLM_F_DUMP, nfproto(family)),
            Scope::AllFamilies => (libc::NLM_F_DUMP, libc::NFPROTO_UNSPEC as u8),
        };
        self.request.clear();
        let pushed = self.request.push(kind, family, flags, number, body);
        pushed.map_err(|_| ReadError::Malformed("a request is too long"))?;
        self.socket.drain();
        self.socket.send(self.request.bytes()).map_err(ReadError::Io)?;

        let mut interrupted = false;
        loop {
            let datagram = match (self.socket.receive_patiently().map_err(io)?, scope) {
                (Some(datagram), _) => datagram,
                // Where memory was short, the answer is lost.
                (None, Scope::One(_)) => return Ok(Answer::Interrupted),
                (None, _) => return Err(ReadError::Malformed("a list without end")),
            };
            for message in netlink::messages(datagram).filter(|one| one.sequence == number) {
                interrupted |= i32::from(message.flags) & libc::NLM_F_DUMP_INTR != 0;
                let end = match i32::from(message.kind) {
                    libc::NLMSG_ERROR | libc::NLMSG_DONE => Some(outcome(&message)?),
                    _ => {
                        each(&message)?;
                        matches!(scope, Scope::One(_)).then_some(Answer::Whole)
                    }
                };
                match end {
                    Some(Answer::Whole) if interrupted => return Ok(Answer::Interrupted),
                    Some(answer) => return Ok(answer),
                    None => {}
                }
            }
        }
    }
}

/// What an error message or the end of a list means.
fn outcome(message: &Message<'_>) -> Result<Answer, ReadError> {
    match message.error_code() {
        None => Ok(Answer::Whole),
        Some(Errno::ENOENT) => Ok(Answer::NotFound),
        Some(Errno::EINTR | Errno::EAGAIN) => Ok(Answer::Interrupted),
        Some(Errno::EPERM) => Err(ReadError::Permission),
        Some(errno) => Err(io(errno)),
    }
}

fn io(errno: Errno) -> ReadError {
    ReadError::Io(errno.into())
}
