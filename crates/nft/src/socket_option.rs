//! Options of sockets that hold more than a number.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

/// Asks for an option. The buffer holds what the kernel is asked for, and then its answer,
/// which is as long.
///
/// # Errors
/// See getsockopt(2).
pub(crate) fn socket_option(
    socket: &impl AsFd,
    level: libc::c_int,
    name: libc::c_int,
    buffer: &mut [u8],
) -> io::Result<()> {
    let descriptor = socket.as_fd().as_raw_fd();
    let mut length = libc::socklen_t::try_from(buffer.len()).map_err(io::Error::other)?;
    // SAFETY: the buffer is ours alone during the call, and the kernel writes no more than the
    // length that it is told, which is the buffer's.
    #[expect(unsafe_code, reason = "nix has only options of known types")]
    let result = unsafe {
        libc::getsockopt(descriptor, level, name, buffer.as_mut_ptr().cast(), &raw mut length)
    };
    nix::errno::Errno::result(result)?;
    Ok(())
}
