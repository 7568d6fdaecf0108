//! A thread in a network namespace that drives sockets and timers.
//!
//! It runs futures and commands. Every socket and process is created in that
//! namespace. Never: a future that is polled elsewhere.

use std::future::Future;
use std::process::{Child, Command};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use anyhow::{Context, Result};
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

use netbed::net::Namespace;

/// The thread, as long as this value lives.
#[derive(Debug)]
pub(crate) struct Inside {
    namespace: Namespace,
    handle: Handle,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Inside {
    pub fn enter(namespace: &Namespace) -> Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.context("make a tokio runtime")?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel();
        let (entered, confirmed) = mpsc::channel();
        let theirs = borrowed(namespace)?;
        let thread = thread::spawn(move || {
            // The other end of `entered` sees an error.
            let _ = theirs.run(|| {
                let _ = entered.send(());
                // In both cases the owner is gone.
                let _ = runtime.block_on(stopped);
                runtime.shutdown_background();
            });
        });
        confirmed.recv().with_context(|| format!("enter namespace {}", namespace.name()))?;
        let namespace = borrowed(namespace)?;
        Ok(Self { namespace, handle, stop: Some(stop), thread: Some(thread) })
    }

    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Runs a future to its end. The future may borrow.
    pub fn block_on<T, E>(&self, future: impl Future<Output = Result<T, E>> + Send) -> Result<T>
    where
        T: Send,
        E: Into<anyhow::Error> + Send,
    {
        self.namespace.run(|| self.handle.block_on(future))?.map_err(Into::into)
    }

    /// Starts a command from the thread itself. A process that asks for a signal at
    /// its parent's death means the thread that forked it (PR_SET_PDEATHSIG in
    /// prctl(2)).
    pub fn spawn(&self, mut command: Command) -> Result<Child> {
        let spawned = self.handle.spawn(async move { command.spawn() });
        self.block_on(async { spawned.await.context("start a process in the namespace") })?
            .context("start a process")
    }
}

/// The same namespace. It stays when this value is dropped.
pub(super) fn borrowed(namespace: &Namespace) -> Result<Namespace> {
    let mut borrowed = Namespace::existing(namespace.name())?;
    borrowed.keep();
    Ok(borrowed)
}

impl Drop for Inside {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // Its panic has been printed. Nothing else depends on it.
            let _ = thread.join();
        }
    }
}
