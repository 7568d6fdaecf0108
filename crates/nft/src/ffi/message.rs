//! Objects to netlink messages, and netlink messages to objects.

use std::ffi::c_int;

use nftnl_sys as sys;

use super::kinds::{Chain, Rule, Set, Table};
use super::object::{Kind, Object};

/// The largest body that [`Messages`] writes. Lists of elements and expressions
/// are one attribute each, and its length has 16 bits (`nlattr.nla_len`).
pub(crate) const LARGEST_BODY: usize = u16::MAX as usize;

/// Space for the largest body and the headers before it (20 bytes).
const SCRATCH_WORDS: usize = (LARGEST_BODY + 1024) / size_of::<u64>();

/// The object is too large for one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooLong;

/// The body of a message.
#[derive(Clone, Copy)]
pub(crate) enum Body<'a> {
    /// Nothing.
    Empty,
    /// A table.
    Table(&'a Object<Table>),
    /// A chain.
    Chain(&'a Object<Chain>),
    /// A rule.
    Rule(&'a Object<Rule>),
    /// A set without its elements.
    Set(&'a Object<Set>),
    /// The elements that the object holds.
    Elements(&'a Object<Set>),
}

/// A sequence of messages, ready to send.
pub(crate) struct Messages {
    scratch: Box<[u64]>,
    bytes: Vec<u8>,
}

impl Messages {
    /// No messages.
    pub(crate) fn new() -> Self {
        Self { scratch: vec![0; SCRATCH_WORDS].into_boxed_slice(), bytes: Vec::new() }
    }

    /// All messages so far.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Removes all messages.
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
    }

    /// Appends bytes that are complete messages.
    pub(crate) fn push_raw(&mut self, message: &[u8]) {
        self.bytes.extend_from_slice(message);
    }

    /// Appends a message. `kind` is one of NFT_MSG_*, `family` of NFPROTO_*. `flags`
    /// are NLM_F_* flags in addition to NLM_F_REQUEST.
    ///
    /// # Errors
    /// If the body may be too long for a message. Nothing is appended.
    pub(crate) fn push(
        &mut self,
        kind: c_int,
        family: u8,
        flags: c_int,
        sequence: u32,
        body: Body<'_>,
    ) -> Result<(), TooLong> {
        if body.size() > LARGEST_BODY {
            return Err(TooLong);
        }
        let family = u16::from(family);
        let flags = (flags | libc::NLM_F_REQUEST) as u16;
        // SAFETY: the scratch buffer is aligned for an `nlmsghdr` and has space
        // for the headers and the largest body. The bound that the object keeps
        // shows that this body is not larger. `nlmsg_len` is then the number of
        // bytes written, a multiple of 4, all inside the buffer.
        let written = unsafe {
            let buffer = self.scratch.as_mut_ptr().cast();
            let header = sys::nftnl_nlmsg_build_hdr(buffer, kind as u16, family, flags, sequence);
            match body {
                Body::Empty => {}
                Body::Table(table) => {
                    sys::nftnl_table_nlmsg_build_payload(header, table.as_ptr());
                }
                Body::Chain(chain) => {
                    sys::nftnl_chain_nlmsg_build_payload(header, chain.as_ptr());
                }
                Body::Rule(rule) => sys::nftnl_rule_nlmsg_build_payload(header, rule.as_ptr()),
                Body::Set(set) => sys::nftnl_set_nlmsg_build_payload(header, set.as_ptr()),
                Body::Elements(set) => {
                    sys::nftnl_set_elems_nlmsg_build_payload(header, set.as_ptr());
                }
            }
            std::slice::from_raw_parts(header.cast::<u8>(), (*header).nlmsg_len as usize)
        };
        self.bytes.extend_from_slice(written);
        Ok(())
    }
}

impl Body<'_> {
    fn size(&self) -> usize {
        match self {
            Self::Empty => 0,
            Self::Table(table) => table.size(),
            Self::Chain(chain) => chain.size(),
            Self::Rule(rule) => rule.size(),
            Self::Set(set) | Self::Elements(set) => set.size(),
        }
    }
}

/// A kind of object that the kernel lists.
///
/// # Safety
/// `parse` must be libnftnl's reader for this type.
pub(crate) unsafe trait Listed: Kind {
    /// Sets the attributes that a message holds. Negative on failure.
    ///
    /// # Safety
    /// `message` must be aligned and `nlmsg_len` bytes long, and `raw` alive.
    unsafe fn parse(message: *const libc::nlmsghdr, raw: *mut Self::Raw) -> c_int;
}

macro_rules! listed {
    ($($kind:ident: $parse:ident;)*) => {$(
        // SAFETY: these are libnftnl's functions for this type, by name.
        unsafe impl Listed for $kind {
            unsafe fn parse(message: *const libc::nlmsghdr, raw: *mut Self::Raw) -> c_int {
                // SAFETY: the caller guarantees it.
                unsafe { sys::$parse(message.cast(), raw) }
            }
        }
    )*};
}

listed! {
    Table: nftnl_table_nlmsg_parse;
    Chain: nftnl_chain_nlmsg_parse;
    Rule: nftnl_rule_nlmsg_parse;
    Set: nftnl_set_nlmsg_parse;
}

/// Words of zeros after a message, so that a string without a NUL ends inside our
/// buffer.
const GUARD_WORDS: usize = 2;

/// The object that a message describes. `None` if libnftnl cannot read it.
pub(crate) fn parse<K: Listed>(message: &[u8]) -> Option<Object<K>> {
    parse_with(message, K::parse)
}

/// A set object with the elements that a message lists.
pub(crate) fn parse_elements(message: &[u8]) -> Option<Object<Set>> {
    /// # Safety
    /// As for [`Listed::parse`].
    unsafe fn reader(message: *const libc::nlmsghdr, raw: *mut sys::nftnl_set) -> c_int {
        // SAFETY: the caller guarantees it.
        unsafe { sys::nftnl_set_elems_nlmsg_parse(message.cast(), raw) }
    }
    parse_with(message, reader)
}

fn parse_with<K: Kind>(
    message: &[u8],
    reader: unsafe fn(*const libc::nlmsghdr, *mut K::Raw) -> c_int,
) -> Option<Object<K>> {
    let stated = u32::from_ne_bytes(*message.first_chunk()?) as usize;
    if stated != message.len() || stated < crate::netlink::HEADERS {
        return None;
    }
    let mut words = vec![0u64; message.len() / size_of::<u64>() + 1 + GUARD_WORDS];
    for (word, bytes) in words.iter_mut().zip(message.chunks(size_of::<u64>())) {
        let mut whole = [0; size_of::<u64>()];
        whole[..bytes.len()].copy_from_slice(bytes);
        *word = u64::from_ne_bytes(whole);
    }
    let mut object = Object::<K>::new();
    object.grow(usize::MAX); // the reader's attributes are not counted: never write this object
    // SAFETY: the copy is aligned, as long as its header states, and holds both
    // headers. libmnl checks each attribute against the remaining length.
    let result = unsafe { reader(words.as_ptr().cast(), object.as_ptr()) };
    (result >= 0).then_some(object)
}
