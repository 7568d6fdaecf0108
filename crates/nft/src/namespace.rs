//! Another network namespace, to open sockets in.
//!
//! In: a file of the namespace: `/proc/<pid>/ns/net`, or a mount of it as ip-netns(8) and
//! CNI runtimes make them. Out: what a closure returns that ran inside, on a thread of its
//! own. A socket that it opened stays in that namespace, whichever thread uses it later.
//! Never: `setns` in a thread of the caller.
//!
//! Entering takes CAP_SYS_ADMIN in the own user namespace and in the one that owns the
//! namespace (setns(2)). Opening `/proc/<pid>/ns/net` takes CAP_SYS_PTRACE
//! (namespaces(7)). What is then done inside takes CAP_NET_ADMIN, as on the node.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::thread;

use nix::sched::{CloneFlags, setns};

/// A network namespace. It lives at least as long as this value.
#[derive(Debug)]
pub struct Namespace {
    handle: File,
    id: NamespaceId,
}

/// Tells a namespace from all others that exist at the same time (namespaces(7): device and
/// inode of its file).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NamespaceId {
    device: u64,
    inode: u64,
}

impl Namespace {
    /// Opens a file of a namespace.
    ///
    /// # Errors
    /// The file cannot be opened. That it is none of a network namespace shows when it is
    /// entered.
    pub fn open(path: &Path) -> io::Result<Self> {
        // A FIFO must not make the caller wait.
        let options = libc::O_CLOEXEC | libc::O_NONBLOCK;
        let handle = OpenOptions::new().read(true).custom_flags(options).open(path)?;
        let about = handle.metadata()?;
        let id = NamespaceId { device: about.dev(), inode: about.ino() };
        Ok(Self { handle, id })
    }

    /// The namespace of this process.
    ///
    /// # Errors
    /// Without `/proc`.
    pub fn own() -> io::Result<Self> {
        Self::open(Path::new("/proc/self/ns/net"))
    }

    /// One more handle of it.
    ///
    /// # Errors
    /// There is no room for one more open file.
    pub fn again(&self) -> io::Result<Self> {
        Ok(Self { handle: self.handle.try_clone()?, id: self.id })
    }

    /// Which one it is.
    #[must_use]
    pub const fn id(&self) -> NamespaceId {
        self.id
    }

    /// Runs a closure inside, in a thread of its own.
    ///
    /// # Errors
    /// See setns(2): EINVAL if the file is none of a network namespace, EPERM without
    /// CAP_SYS_ADMIN. A panic of the closure continues in the caller.
    pub fn inside<T: Send>(&self, run: impl FnOnce() -> T + Send) -> io::Result<T> {
        let entered = thread::scope(|scope| {
            let thread = thread::Builder::new().spawn_scoped(scope, || {
                setns(&self.handle, CloneFlags::CLONE_NEWNET)?;
                Ok::<T, io::Error>(run())
            })?;
            Ok::<_, io::Error>(thread.join())
        })?;
        match entered {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_no_namespace_is_refused_and_nobody_waits() {
        let own = Namespace::own().unwrap();
        assert_eq!(own.id(), Namespace::open(Path::new("/proc/self/ns/net")).unwrap().id());
        let other = Namespace::open(Path::new("/proc/self/ns/uts")).unwrap();
        assert_ne!(own.id(), other.id());
        for path in ["/proc/self/ns/uts", "/dev/null"] {
            let error = Namespace::open(Path::new(path)).unwrap().inside(|| ()).unwrap_err();
            let expected = [libc::EINVAL, libc::EPERM].map(Some);
            assert!(expected.contains(&error.raw_os_error()), "{path}: {error}");
        }
        assert!(Namespace::open(Path::new("/nowhere")).is_err());
    }
}
