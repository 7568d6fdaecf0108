//! A barrier on all CPUs, between making a table and deleting its predecessor.

use nix::errno::Errno;

/// `MEMBARRIER_CMD_GLOBAL` (include/uapi/linux/membarrier.h).
const MEMBARRIER_CMD_GLOBAL: libc::c_int = 1;

/// Returns once every CPU has passed a quiescent state since the call: packets
/// that were in the old ruleset have left it. Takes 10 to 30 ms.
///
/// # Errors
/// `ENOSYS` and `EINVAL` where the kernel lacks it (or runs with `nohz_full`),
/// `EPERM` under a seccomp filter: membarrier(2).
pub fn membarrier() -> Result<(), Errno> {
    // SAFETY: the call takes three integers and touches no memory of ours.
    #[expect(unsafe_code, reason = "libc and nix have no wrapper of this system call")]
    let result = unsafe { libc::syscall(libc::SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0) };
    Errno::result(result).map(|_| ())
}
