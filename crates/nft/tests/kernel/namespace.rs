//! A network namespace for each test, and names.

use nft::Kernel;
use nix::sched::{CloneFlags, unshare};
use ruleset::{Name, TableId};

/// Runs `body` in a thread with a new network namespace. The namespace ends with
/// the thread.
pub(crate) fn in_namespace<T: Send>(body: impl FnOnce(&mut Kernel) -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET)
                .expect("a new network namespace: these tests must run as root");
            body(&mut Kernel::open().expect("open"))
        });
        match thread.join() {
            Ok(value) => value,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

pub(crate) fn name(text: &str) -> Name {
    Name::new(text).expect("a name")
}

pub(crate) fn table() -> TableId {
    TableId::inet(name("nftpol"))
}
