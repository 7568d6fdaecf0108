//! Why links could not be read.

use std::io;

use nix::errno::Errno;

use super::wire::Garbled;

/// The node's links could not be read.
#[derive(Debug, thiserror::Error)]
pub enum LinksError {
    /// Links changed during every attempt. Try again soon.
    #[error("read the node's links: they kept changing during {0} attempts")]
    KeepChanging(u32),
    /// The kernel refused a request.
    #[error("read the node's links: {0}")]
    Refused(Errno),
    /// The socket failed.
    #[error("read the node's links: {0}")]
    Io(#[source] io::Error),
    /// The kernel sent something that no known kernel sends.
    #[error("read the node's links: cannot understand the kernel: {0}")]
    Malformed(&'static str),
}

impl From<Garbled> for LinksError {
    fn from(Garbled(what): Garbled) -> Self {
        Self::Malformed(what)
    }
}
