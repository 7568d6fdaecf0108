//! The thread that talks to others: watches, Events, health, signals.
//!
//! In: a configuration. Out: messages to the loop that enforces, which never
//! waits for this thread.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::mpsc::Sender;
use std::thread;
use std::time::{Duration, Instant};

use agent::api_contact::{ContactReport, FailureLog};
use agent::enforcer::Message;
use agent::metrics::Metrics;
use agent::node_ranges::NodeRanges;
use agent::problems::Problems;
use anyhow::{Context, Result};
use futures::{StreamExt, stream};
use k8s_openapi::jiff::Timestamp;
use kube::Client;
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::sleep;
use watcher::Kind;
use watcher::api::{self, Access, Cluster, Contact, Event, FailureKind, Following, WatchError};

use super::announce;
use super::scrapers::{self, Metrics as MetricsAddress};
use super::server::{self, Pages, Readers, ServedState};

/// How often the contact is looked at.
const REPORT_EVERY: Duration = Duration::from_millis(500);

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
    /// Where to serve metrics alone, and to whom.
    pub metrics: Option<MetricsAddress>,
    /// Whether MultiNetworkPolicies are followed, too.
    pub multi_network_policies: bool,
    /// Where to tell what the Node object says of its pods' addresses; `None`: it is not read.
    pub node_ranges: Option<watch::Sender<NodeRanges>>,
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
    begin: oneshot::Receiver<Following>,
) -> Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build().context("start a runtime")?;
    let access = Access { kubeconfig: settings.kubeconfig.clone(), ..Access::default() };
    let client = runtime.block_on(access.client())?;
    let scrapers = match &settings.metrics {
        Some(metrics) => Some(scrapers::start(metrics, &settings.node, access, served.clone())?),
        None => None,
    };
    let thread = thread::Builder::new().name("remote".to_owned());
    thread
        .spawn(move || {
            let is_asked = runtime.block_on(async {
                tokio::select! {
                    () = run(client, settings, &served, &messages, problems, begin) => false,
                    () = scrapers::ended(scrapers) => false,
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
    begin: oneshot::Receiver<Following>,
) {
    let Settings { node, health, multi_network_policies, node_ranges, .. } = settings;
    let mut tasks = JoinSet::new();
    tasks.spawn(server::serve(health, Pages::All, Readers::All, served.clone()));
    tasks.spawn(announce::publish(client.clone(), node.clone(), problems));
    let watches = async {
        if let Ok(following) = begin.await {
            let reports = report(following.contact.clone(), served.clone());
            let of_node = follow_node(client.clone(), following.cluster.clone(), node, node_ranges);
            let follows =
                follow(client, following, multi_network_policies, &served.metrics, messages);
            tokio::select! {
                () = follows => {}
                () = reports => {}
                () = of_node => {}
            }
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
async fn follow(
    client: Client,
    following: Following,
    multi_network_policies: bool,
    metrics: &Metrics,
    messages: &Sender<Message>,
) {
    let optional = match multi_network_policies {
        true => {
            // What fails here says nothing of the kinds that are needed.
            let following = Following { contact: Contact::default(), ..following.clone() };
            api::multi_network_policies(client.clone(), following).boxed()
        }
        false => stream::pending().boxed(),
    };
    let mut events = pin!(stream::select(api::events(client, following), optional));
    let mut log = FailureLog::default();
    while let Some(event) = events.next().await {
        count(metrics, &mut log, &event);
        if messages.send(Message::Event(Instant::now(), event)).is_err() {
            return;
        }
    }
}

/// Passes on what the Node object says of its pods' addresses, if somebody wants it. Without end.
async fn follow_node(
    client: Client,
    cluster: Cluster,
    node: String,
    ranges: Option<watch::Sender<NodeRanges>>,
) {
    let Some(ranges) = ranges else { return std::future::pending().await };
    let mut answers = pin!(api::own_node(client, cluster, node));
    while let Some(answer) = answers.next().await {
        ranges.send_if_modified(|ranges| {
            let before = ranges.clone();
            match answer {
                Ok(node) => ranges.read(&node),
                Err(error) => ranges.failed(error.to_string()),
            }
            *ranges != before
        });
    }
}

fn count(metrics: &Metrics, log: &mut FailureLog, event: &Event) {
    let mut failed = |kind: Kind, error: &WatchError| {
        say(log, kind, error);
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

fn say(log: &mut FailureLog, kind: Kind, error: &WatchError) {
    // Each is about an object of its own.
    if error.failure_kind() == FailureKind::Decode {
        return tracing::warn!("{error}");
    }
    match log.failed(kind, error.failure_kind(), Instant::now()) {
        None => tracing::debug!("{error}"),
        Some(age) if age < Duration::from_secs(1) => tracing::warn!("{error}"),
        Some(age) => tracing::warn!("for {} min: {error}", age.as_secs() / 60),
    }
}

/// Keeps the condition and the gauges of the contact.
async fn report(contact: Contact, served: ServedState) {
    let ServedState { status, metrics } = served;
    let (mut report, start) = (ContactReport::default(), Instant::now());
    loop {
        report.report(&contact, &status, now);
        metrics.api_connected.set(contact.is_complete().into());
        // What was never heard was silent since the start.
        let age = contact.age().unwrap_or_else(|| start.elapsed());
        metrics.api_contact_age.set(age.as_secs_f64());
        sleep(REPORT_EVERY).await;
    }
}

/// The present time, to the second.
fn now() -> String {
    let seconds = Timestamp::now().as_second();
    Timestamp::from_second(seconds).map(|time| time.to_string()).unwrap_or_default()
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
