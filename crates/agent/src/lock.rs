//! One writer in a network namespace.
//!
//! The lock is an abstract socket: it belongs to the network namespace, and
//! vanishes with its process, however that ends (unix(7)).

use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use agent::report;

const NAME: &str = "nftpol";
/// The name of the lock of who enforces in pods' namespaces. It belongs to the node's, so
/// that no pod can take it.
const OF_PODS: &str = "nftpol-pods";
/// How long to wait for another process, such as a one-shot `apply`.
const PATIENCE: Duration = Duration::from_secs(10);
/// A one-shot command rarely takes longer. Later, the wait is announced.
const SHORT: Duration = Duration::from_millis(500);
const RETRY: Duration = Duration::from_millis(20);

/// Held until dropped.
#[derive(Debug)]
pub struct Lock(#[expect(dead_code, reason = "held, not used")] UnixListener);

impl Lock {
    /// Takes the lock of this network namespace. `None` if another process has
    /// it.
    ///
    /// # Errors
    /// The kernel refuses a socket.
    pub fn try_acquire() -> Result<Option<Self>> {
        Self::try_named(NAME)
    }

    /// As [`Self::try_acquire`], of who enforces in pods' namespaces.
    ///
    /// # Errors
    /// The kernel refuses a socket.
    pub fn try_acquire_of_pods() -> Result<Option<Self>> {
        Self::try_named(OF_PODS)
    }

    fn try_named(name: &str) -> Result<Option<Self>> {
        let address = SocketAddr::from_abstract_name(name).context("name of the lock")?;
        match UnixListener::bind_addr(&address) {
            Ok(listener) => Ok(Some(Self(listener))),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => Ok(None),
            Err(error) => Err(error).with_context(|| format!("take the lock @{name}")),
        }
    }

    /// Takes the lock of this network namespace; waits for it for a while.
    ///
    /// # Errors
    /// Another nftpol keeps it.
    pub fn acquire() -> Result<Self> {
        let start = Instant::now();
        let mut is_announced = false;
        loop {
            if let Some(lock) = Self::try_acquire()? {
                return Ok(lock);
            }
            if start.elapsed() > SHORT && !is_announced {
                is_announced = true;
                report::notice(format_args!(
                    "another nftpol is at work in this network namespace; waiting for it, \
                     {} s at most",
                    PATIENCE.as_secs()
                ));
            }
            if start.elapsed() > PATIENCE {
                bail!(
                    "another nftpol enforces in this network namespace \
                     (it holds the socket @{NAME}); stop it first"
                );
            }
            sleep(RETRY);
        }
    }
}
