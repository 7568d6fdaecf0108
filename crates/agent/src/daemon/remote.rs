//! The thread that talks to others: watches, Events, health, signals.
//!
//! In: a configuration. Out: messages to the loop that enforces, which never
//! waits for this thread.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::mpsc::Sender;
use std::thread;
use std::time::Instant;

use agent::enforcer::Message;
use agent::metrics::Metrics;
use agent::problems::Problems;
use anyhow::{Context, Result};
use futures::StreamExt;
use kube::Client;
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;
use watcher::api::{self, Event, WatchError};
use watcher::{Kind, Known};

use super::announce;
use super::server::{self, Pages, ServedState};
use crate::api_client::client;

/// The configuration of this thread.
#[derive(Debug)]
pub struct Settings {
    /// The node, for Events.
    pub node: String,
    /// A kubeconfig; else $KUBECONFIG, ~/.kube/config, or the ServiceAccount
    /// of the pod.
    pub kubeconfig: Option<PathBuf>,
    /// Where to serve all pages.
    pub health: SocketAddr,
    /// Where to serve metrics alone.
    pub metrics: Option<SocketAddr>,
}

/// Starts the thread. Watches start with `begin`; when a signal asks to stop,
/// the last message is [`Message::Stop`]. A thread that ends without that
/// message died.
///
/// # Errors
/// When the configuration names no API server, or there are no resources for
/// a thread.
pub fn start(
    settings: Settings,
    served: ServedState,
    messages: Sender<Message>,
    problems: watch::Receiver<Problems>,
    begin: oneshot::Receiver<Known>,
) -> Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build().context("start a runtime")?;
    let client = runtime.block_on(client(settings.kubeconfig.as_deref()))?;
    let thread = thread::Builder::new().name("remote".to_owned());
    thread
        .spawn(move || {
            let is_asked = runtime.block_on(async {
                tokio::select! {
                    () = run(client, settings, &served, &messages, problems, begin) => false,
                    () = stopped() => true,
                }
            });
            if is_asked {
                // When the loop is gone, so is the process.
                let _ = messages.send(Message::Stop);
            }
        })
        .context("start a thread")?;
    Ok(())
}

/// Runs until a task panics, or the loop that enforces is gone.
async fn run(
    client: Client,
    settings: Settings,
    served: &ServedState,
    messages: &Sender<Message>,
    problems: watch::Receiver<Problems>,
    begin: oneshot::Receiver<Known>,
) {
    let Settings { node, health, metrics, .. } = settings;
    let mut tasks = JoinSet::new();
    tasks.spawn(server::serve(health, Pages::All, served.clone()));
    if let Some(address) = metrics {
        tasks.spawn(server::serve(address, Pages::Metrics, served.clone()));
    }
    tasks.spawn(announce::publish(client.clone(), node, problems));
    let watches = async {
        if let Ok(known) = begin.await {
            follow(client, known, &served.metrics, messages).await;
        }
    };
    tokio::select! {
        () = watches => {}
        () = panicked(&mut tasks) => {}
    }
}

/// Returns when one of the tasks has panicked.
async fn panicked(tasks: &mut JoinSet<()>) {
    while let Some(ended) = tasks.join_next().await {
        if ended.is_err() {
            return;
        }
    }
    std::future::pending().await
}

/// Passes on the events of the watches, until the loop that enforces is gone.
async fn follow(client: Client, known: Known, metrics: &Metrics, messages: &Sender<Message>) {
    let mut events = pin!(api::events(client, known));
    while let Some(event) = events.next().await {
        count(metrics, &event);
        if messages.send(Message::Event(Instant::now(), event)).is_err() {
            return;
        }
    }
}

fn count(metrics: &Metrics, event: &Event) {
    let failed = |kind: Kind, error: &WatchError| {
        tracing::warn!("{error}");
        let labels = [("kind", kind.name()), ("reason", error.failure_kind().name())];
        metrics.watch_failures.get_or_create(&labels).inc();
    };
    let (kind, what) = match event {
        Event::Listed { kind, .. } => (*kind, "listed"),
        Event::Applied(found) => (found.object.kind(), "applied"),
        Event::Deleted { kind, .. } => (*kind, "deleted"),
        Event::Unreadable { stand_in, error, .. } => return failed(stand_in.identity().0, error),
        Event::Failed { kind, error } => return failed(*kind, error),
    };
    metrics.watch_events.get_or_create(&[("kind", kind.name()), ("type", what)]).inc();
}

/// Returns when the process is asked to stop.
async fn stopped() {
    let signals = [SignalKind::terminate(), SignalKind::interrupt()].map(signal);
    let [Ok(mut terminate), Ok(mut interrupt)] = signals else {
        tracing::warn!("cannot listen to signals: SIGTERM ends the process at once");
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}
