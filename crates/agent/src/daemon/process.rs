//! How an agent begins and ends: `nftpol agent` and `nftpol pod-agent` alike.
//!
//! In: settings of the thread that talks to others, a loop that enforces. Out: what both
//! threads share; the end of the process. Never: rules.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::Duration;

use agent::enforcer::{Message, ThreadDied};
use agent::metrics::Metrics;
use agent::problems::Problems;
use agent::status::{Condition, Status};
use anyhow::{Context, Result, anyhow};
use nft::{Features, Kernel};
use tokio::sync::{oneshot, watch};
use watcher::api::Following;

use super::remote::{self, Settings};
use super::server::ServedState;
use super::surroundings;
use crate::lock::Lock;
use crate::open_files;

/// How often an agent tries again while it waits for another one to end, or for
/// a feature of the kernel.
const RETRY: Duration = Duration::from_millis(500);

/// What an agent has when its other thread runs.
#[derive(Debug)]
pub struct Begun {
    /// From the watches, and from signals.
    pub messages: Receiver<Message>,
    /// To the thread that writes Events.
    pub problems: watch::Sender<Problems>,
    /// Lets the watches start.
    pub begin: oneshot::Sender<Following>,
    /// For probes.
    pub status: Status,
    /// For scrapers.
    pub metrics: Arc<Metrics>,
}

/// Starts the thread that talks to others. Its watches wait for `begin`.
///
/// # Errors
/// The configuration names no API server, or the system gives no thread.
pub fn begin(settings: Settings) -> Result<Begun> {
    tracing::info!(node = settings.node, "nftpol {} starts", env!("CARGO_PKG_VERSION"));
    open_files::raise_limit()?;
    let (status, metrics) = (Status::new(), Arc::new(Metrics::new()));
    let (to_enforcer, messages) = mpsc::channel();
    let (problems, to_announce) = watch::channel(Problems::new());
    let served = ServedState { status: status.clone(), metrics: Arc::clone(&metrics) };
    let (begin, begun) = oneshot::channel();
    remote::start(settings, served, to_enforcer, to_announce, begun)?;
    Ok(Begun { messages, problems, begin, status, metrics })
}

/// Runs a loop until it is asked to stop.
///
/// # Errors
/// A thread died: the process has to be started again. The rules stay in force.
pub fn run<E>(mut enforcer: E, run: impl FnOnce(&mut E) -> Result<(), ThreadDied>) -> Result<()> {
    let result = catch_unwind(AssertUnwindSafe(|| run(&mut enforcer)));
    ended(result, enforcer)?;
    tracing::info!("stopped; the rules stay in force");
    Ok(())
}

/// Why the loop ended, for the exit code of the process. The loop is dropped only
/// if it was asked to stop: the drop waits for a thread, which may hang when
/// something is wrong, and then the process must exit at once.
fn ended<E>(
    result: Result<Result<(), ThreadDied>, Box<dyn Any + Send>>,
    enforcer: E,
) -> Result<()> {
    let died = match result {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(died)) => died,
        Err(_) => ThreadDied("enforcer"),
    };
    std::mem::forget(enforcer);
    Err(died.into())
}

/// Whether this process has the lock. `taken`: what it means if another one has it.
pub fn alone(lock: Option<Lock>, taken: &str, status: &Status) -> Option<Lock> {
    match lock {
        Some(_) => status.holds(Condition::Alone),
        None => status.fails(Condition::Alone, format!("{taken}; waiting until it stops")),
    }
    lock
}

/// The kernel, if it has all features that the rules need. `prepare`: what else is done first.
pub fn kernel(
    status: &Status,
    metrics: &Metrics,
    prepare: impl FnOnce(&mut Kernel) -> Result<()>,
) -> Option<(Kernel, Features)> {
    let probed = Kernel::open().context("open nf_tables").and_then(|mut kernel| {
        let features = kernel.probe().context("probe the kernel's nf_tables")?;
        prepare(&mut kernel)?;
        Ok((kernel, features))
    });
    match probed {
        Ok((kernel, features)) => {
            surroundings::features(&features, status, metrics);
            status.problem(Condition::Kernel).is_none().then_some((kernel, features))
        }
        Err(error) => {
            status.fails(
                Condition::Kernel,
                format!(
                    "{error:#}; nftpol needs the kernel module nf_tables and CAP_NET_ADMIN \
                     (securityContext.capabilities.add: [NET_ADMIN])"
                ),
            );
            None
        }
    }
}

/// Tries until there is a value; `None` if asked to stop meanwhile.
pub fn patiently<T>(
    messages: &Receiver<Message>,
    status: &Status,
    mut attempt: impl FnMut() -> Result<Option<T>>,
) -> Result<Option<T>> {
    loop {
        status.heartbeat();
        if let Some(value) = attempt()? {
            return Ok(Some(value));
        }
        match messages.recv_timeout(RETRY) {
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Err(anyhow!(ThreadDied("remote"))),
            Ok(_) => return Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_died_is_an_error_that_names_it() {
        assert!(ended(Ok(Ok(())), ()).is_ok());
        let died = ended(Ok(Err(ThreadDied("remote"))), ()).unwrap_err().to_string();
        assert_eq!(died, "the thread \"remote\" died; the rules stay in force");
        let panicked = ended(Err(Box::new("boom")), ()).unwrap_err().to_string();
        assert_eq!(panicked, "the thread \"enforcer\" died; the rules stay in force");
    }

    #[test]
    fn only_an_orderly_end_waits_for_other_threads() {
        let loops = [(); 3].map(|()| Arc::new(()));
        ended(Ok(Ok(())), Arc::clone(&loops[0])).unwrap();
        ended(Ok(Err(ThreadDied("remote"))), Arc::clone(&loops[1])).unwrap_err();
        ended(Err(Box::new("boom")), Arc::clone(&loops[2])).unwrap_err();
        let left = loops.each_ref().map(|one| Arc::strong_count(one) - 1);
        assert_eq!(left, [0, 1, 1], "those that were not dropped");
    }

    #[test]
    fn a_remote_side_that_dies_while_the_agent_waits_is_an_error() {
        let (sender, messages) = mpsc::channel();
        drop(sender);
        let result = patiently(&messages, &Status::new(), || Ok(None::<()>));
        assert!(result.unwrap_err().is::<ThreadDied>());
        let (sender, messages) = mpsc::channel();
        sender.send(Message::Stop).unwrap();
        assert!(patiently(&messages, &Status::new(), || Ok(None::<()>)).unwrap().is_none());
    }
}
