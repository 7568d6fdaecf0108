//! Which lane each test program runs in, and why.
//!
//! A program that is in no list here is alone in the foreground: it may measure time, fire
//! packets at full speed, or change what the machine shares.

use crate::programs::Program;

/// How a program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// In the background: it only computes, and gives way to all others.
    Computes,
    /// In the foreground, alone.
    Alone,
    /// In the foreground, beside others that wait.
    Waits,
}

/// Packages whose tests only compute. `xtask edges` keeps most of them from
/// sockets and clocks.
pub const COMPUTING_PACKAGES: [&str; 6] =
    ["compiler", "fuzz", "policy", "samples", "verify", "xtask"];

/// Programs of other packages whose tests only compute. `ruleset text` is not
/// one of them: it makes a network namespace and runs `nft`. That takes a lock
/// of the kernel that all namespaces share (`rtnl_mutex`), and a program that
/// gives way to others can hold it for long.
pub const COMPUTING_PROGRAMS: [&str; 13] = [
    "ruleset lib",
    "ruleset limits",
    "suite coverage",
    "suite docs",
    "suite incremental",
    "suite meaning",
    "suite mended",
    "suite mutations",
    "suite suspects",
    "suite verify",
    "watcher broken",
    "watcher fuzz",
    "watcher oracle",
];

/// Programs that mostly wait, and what for. None fires packets at full speed or changes what
/// the machine shares. Their shortest bound is the quarter of a second in which an allowed
/// packet must arrive; a machine with twenty times more to do keeps it.
pub const WAITING: [(&str, &str); 4] = [
    ("suite author_cluster", "answers of an API server, to commands that follow it"),
    ("suite multi_network", "an agent that asks for a missing kind once a minute"),
    ("suite networks", "packets that must not arrive, under 17 sets of policies on each network"),
    ("suite pod_agent", "an agent that looks for processes and tables, and the end of an audit"),
];

/// How many tests of a program run at once, where that is not the number of processors. Most
/// of them wait until they have a place (`netbed::testbed::Turn`).
pub const THREADS: [(&str, usize, &str); 1] =
    [("suite agent", 24, "the tests that fire or measure wait until all others are done")];

/// The lane of a program.
pub fn kind(program: &Program) -> Kind {
    let name = program.name();
    if COMPUTING_PACKAGES.contains(&program.package.as_str())
        || COMPUTING_PROGRAMS.contains(&name.as_str())
    {
        Kind::Computes
    } else if WAITING.iter().any(|(one, _)| *one == name) {
        Kind::Waits
    } else {
        Kind::Alone
    }
}

/// How many tests of this program run at once. `None`: libtest chooses.
pub fn threads(program: &Program) -> Option<usize> {
    let name = program.name();
    THREADS.iter().find(|(one, ..)| *one == name).map(|(_, threads, _)| *threads)
}
