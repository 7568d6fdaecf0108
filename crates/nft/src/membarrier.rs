//! A barrier on all CPUs, for use before a table is deleted.

use nix::errno::Errno;

/// `MEMBARRIER_CMD_GLOBAL` (include/uapi/linux/membarrier.h).
const MEMBARRIER_CMD_GLOBAL: libc::c_int = 1;

/// Returns when every CPU has passed a quiescent state since the call. Packets
/// that were in the old ruleset have then left it. Takes 10 to 30 ms.
///
/// # Errors
/// See membarrier(2). `ENOSYS` and `EINVAL` if the kernel does not support it or
/// runs with `nohz_full`. `EPERM` under a seccomp filter.
pub fn membarrier() -> Result<(), Errno> {
    // SAFETY: the call takes three integers and accesses no memory of ours.
    #[expect(unsafe_code, reason = "libc and nix have no wrapper of this system call")]
    let result = unsafe { libc::syscall(libc::SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0) };
    Errno::result(result).map(|_| ())
}
