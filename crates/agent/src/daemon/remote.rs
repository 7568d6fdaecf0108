//! The side of the agent that talks: watches, Events, health, signals.
//!
//! In: a configuration. Out: messages to the loop that enforces.
//! Never: that loop waiting for any of this; it runs in a thread of its own.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::mpsc::Sender;
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result};
use futures::StreamExt;
use kube::Client;
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{oneshot, watch};
use watcher::api::{self, Event};

use super::announce::{self, Problems};
use super::metrics::Metrics;
use super::server::{self, Pages, ServedState};
use crate::api_client::client;

/// To the loop that enforces.
#[derive(Debug)]
pub enum Message {
    /// A watch told something, at this time.
    Event(Instant, Event),
    /// Stop, and leave the rules.
    Stop,
}

/// What this side needs to know.
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
/// the last message is [`Message::Stop`].
///
/// # Errors
/// When the configuration names no API server, or there are no resources for
/// a thread.
pub fn start(
    settings: Settings,
    told: ServedState,
    messages: Sender<Message>,
    problems: watch::Receiver<Problems>,
    begin: oneshot::Receiver<()>,
) -> Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build().context("start a runtime")?;
    let client = runtime.block_on(client(settings.kubeconfig.as_deref()))?;
    thread::Builder::new()
        .name("remote".to_owned())
        .spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = run(client, settings, &told, &messages, problems, begin) => {}
                    () = stopped() => {}
                }
                // When the loop is gone, so is the process.
                let _ = messages.send(Message::Stop);
            })
        })
        .context("start a thread")?;
    Ok(())
}

async fn run(
    client: Client,
    settings: Settings,
    told: &ServedState,
    messages: &Sender<Message>,
    problems: watch::Receiver<Problems>,
    begin: oneshot::Receiver<()>,
) {
    let Settings { node, health, metrics, .. } = settings;
    tokio::spawn(server::serve(health, Pages::All, told.clone()));
    if let Some(address) = metrics {
        tokio::spawn(server::serve(address, Pages::Metrics, told.clone()));
    }
    tokio::spawn(announce::publish(client.clone(), node, problems));
    if begin.await.is_ok() {
        follow(client, &told.metrics, messages).await;
    }
}

/// Passes on what the watches tell, until the loop that enforces is gone.
async fn follow(client: Client, metrics: &Metrics, messages: &Sender<Message>) {
    let mut events = pin!(api::events(client));
    while let Some(event) = events.next().await {
        count(metrics, &event);
        if messages.send(Message::Event(Instant::now(), event)).is_err() {
            return;
        }
    }
}

fn count(metrics: &Metrics, event: &Event) {
    let (kind, what) = match event {
        Event::Listed { kind, .. } => (*kind, "listed"),
        Event::Applied(found) => (found.object.kind(), "applied"),
        Event::Deleted { kind, .. } => (*kind, "deleted"),
        Event::Failed { kind, error } => {
            tracing::warn!("{error}");
            let labels = [("kind", kind.name()), ("reason", error.reason().name())];
            metrics.watch_failures.get_or_create(&labels).inc();
            return;
        }
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
