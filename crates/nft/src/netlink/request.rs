//! Messages to the kernel, attribute by attribute.
//!
//! In: headers and attributes. Out: bytes to send, one or more messages in a
//! row. All lengths are computed here.

use super::NLMSGHDR;

/// The flag of an attribute that holds attributes (`struct nlattr`).
const NLA_F_NESTED: u16 = libc::NLA_F_NESTED as u16;

/// Messages as bytes.
#[derive(Debug, Default)]
pub(crate) struct Request {
    bytes: Vec<u8>,
    /// The offset of the last message.
    start: usize,
}

impl Request {
    /// Begins a message: `nlmsghdr` and `nfgenmsg`.
    pub(crate) fn begin(
        &mut self,
        kind: u16,
        flags: i32,
        sequence: u32,
        family: u8,
        resource: u16,
    ) {
        let [high, low] = resource.to_be_bytes();
        let header = [family, libc::NFNETLINK_V0 as u8, high, low];
        self.begin_with(kind, flags, sequence, &header);
    }

    /// Begins a message: `nlmsghdr` and another header, such as `ifinfomsg`. Its
    /// length must be a multiple of 4.
    pub(crate) fn begin_with(&mut self, kind: u16, flags: i32, sequence: u32, header: &[u8]) {
        self.start = self.bytes.len();
        self.bytes.extend(((NLMSGHDR + header.len()) as u32).to_ne_bytes());
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend((flags as u16).to_ne_bytes());
        self.bytes.extend(sequence.to_ne_bytes());
        self.bytes.extend(0u32.to_ne_bytes()); // to the kernel
        self.bytes.extend(header);
    }

    /// Adds an attribute to the last message. Values must be shorter than 64 KiB.
    pub(crate) fn attribute(&mut self, kind: u16, value: &[u8]) {
        let start = self.open(kind);
        self.bytes.extend(value);
        self.close(start);
    }

    /// Adds an attribute that holds what `fill` adds.
    pub(crate) fn nested(&mut self, kind: u16, fill: impl FnOnce(&mut Self)) {
        let start = self.open(kind | NLA_F_NESTED);
        fill(self);
        self.close(start);
    }

    /// All messages.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// All messages, owned.
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Removes all messages.
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.start = 0;
    }

    fn open(&mut self, kind: u16) -> usize {
        let start = self.bytes.len();
        self.bytes.extend(0u16.to_ne_bytes());
        self.bytes.extend(kind.to_ne_bytes());
        start
    }

    fn close(&mut self, start: usize) {
        let length = self.bytes.len() - start;
        self.bytes[start..start + 2].copy_from_slice(&(length as u16).to_ne_bytes());
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        let length = self.bytes.len() - self.start;
        self.bytes[self.start..self.start + 4].copy_from_slice(&(length as u32).to_ne_bytes());
    }
}

/// The begin or end message of a batch. With `generation`, the kernel checks it.
pub(crate) fn batch_mark(kind: i32, sequence: u32, generation: Option<u32>) -> Vec<u8> {
    /// `enum nfnl_batch_attributes`.
    const NFNL_BATCH_GENID: u16 = 1;
    let mut request = Request::default();
    let flags = libc::NLM_F_REQUEST;
    let resource = libc::NFNL_SUBSYS_NFTABLES as u16;
    request.begin(kind as u16, flags, sequence, libc::AF_UNSPEC as u8, resource);
    if let Some(generation) = generation {
        request.attribute(NFNL_BATCH_GENID, &generation.to_be_bytes());
    }
    request.into_bytes()
}
