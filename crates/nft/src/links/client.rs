//! Requests to rtnetlink and generic netlink.
//!
//! In: headers and attributes. Out: the messages that answer. Never: a request
//! that changes something.

use nix::errno::Errno;

use super::error::LinksError;
use super::wire::Garbled;
use crate::netlink::{self, Message, Request};
use crate::socket::Socket;

/// A socket that numbers its requests.
pub(super) struct Client {
    socket: Socket,
    sequence: u32,
    request: Request,
    /// How many requests were sent.
    pub(super) requests: u64,
}

/// How a list ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// Everything arrived.
    Whole,
    /// What is listed changed meanwhile: parts may be missing or doubled.
    Disturbed,
    /// The kernel refused.
    Refused(Errno),
}

impl Client {
    pub(super) fn new(socket: Socket) -> Self {
        Self { socket, sequence: 1, request: Request::default(), requests: 0 }
    }

    /// Asks for a list. Passes each message of this kind to `each`.
    pub(super) fn list(
        &mut self,
        ask: u16,
        header: &[u8],
        fill: impl FnOnce(&mut Request),
        mut each: impl FnMut(&Message<'_>) -> Result<(), Garbled>,
    ) -> Result<Ended, LinksError> {
        self.request.clear();
        let number = self.begin(ask, libc::NLM_F_DUMP, header);
        fill(&mut self.request);
        self.send()?;
        let mut disturbed = false;
        loop {
            let datagram = match self.socket.receive_patiently() {
                Ok(datagram) => datagram.ok_or(LinksError::Malformed("a list without end"))?,
                Err(Errno::ENOBUFS) => return Ok(Ended::Disturbed),
                Err(errno) => return Err(LinksError::Io(errno.into())),
            };
            for message in netlink::messages(datagram).filter(|one| one.sequence == number) {
                disturbed |= i32::from(message.flags) & libc::NLM_F_DUMP_INTR != 0;
                match i32::from(message.kind) {
                    libc::NLMSG_ERROR | libc::NLMSG_DONE => {
                        return Ok(match message.error_code() {
                            None if disturbed => Ended::Disturbed,
                            None => Ended::Whole,
                            Some(Errno::EINTR | Errno::EAGAIN | Errno::EBUSY) => Ended::Disturbed,
                            Some(errno) => Ended::Refused(errno),
                        });
                    }
                    _ => each(&message)?,
                }
            }
        }
    }

    /// Asks for single objects, all in one datagram. Passes each answer to
    /// `each`; the kernel's errors are left out.
    pub(super) fn ask_all<T>(
        &mut self,
        kind: u16,
        objects: &[T],
        header: impl Fn(&T) -> Vec<u8>,
        fill: impl Fn(&mut Request, &T),
        mut each: impl FnMut(&T, &Message<'_>) -> Result<(), Garbled>,
    ) -> Result<(), LinksError> {
        self.request.clear();
        let first = self.sequence;
        for object in objects {
            self.begin(kind, 0, &header(object));
            fill(&mut self.request, object);
        }
        self.send()?;
        // The kernel answers before `sendmsg` returns.
        loop {
            let datagram = match self.socket.receive() {
                Ok(Some(datagram)) => datagram,
                Ok(None) => return Ok(()),
                // What is missing is read the next time.
                Err(Errno::ENOBUFS) => continue,
                Err(errno) => return Err(LinksError::Io(errno.into())),
            };
            for message in netlink::messages(datagram) {
                let object = objects.get(message.sequence.wrapping_sub(first) as usize);
                if let Some(object) = object.filter(|_| message.failure().is_none()) {
                    each(object, &message)?;
                }
            }
        }
    }

    /// Begins a message of a request. Returns its number.
    fn begin(&mut self, kind: u16, flags: i32, header: &[u8]) -> u32 {
        let number = self.sequence;
        self.sequence = number.wrapping_add(1);
        self.request.begin_with(kind, libc::NLM_F_REQUEST | flags, number, header);
        self.requests += 1;
        number
    }

    fn send(&mut self) -> Result<(), LinksError> {
        self.socket.drain();
        self.socket.send(self.request.bytes()).map_err(LinksError::Io)
    }
}
