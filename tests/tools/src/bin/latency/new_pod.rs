//! A new pod: created without a process, found by its network namespace before its first
//! container is created, and watched until the API server calls it ready.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::pin::pin;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use futures::TryStreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{PostParams, WatchEvent, WatchParams};
use kubebed::apiserver::ApiServer;
use netbed::testbed::Endpoint;
use policy::ObjectKey;

use crate::changes::milliseconds;
use crate::scene::{NODES, Scene, pod, until};

/// How long a pod may take to be ready.
const READY: Duration = Duration::from_secs(60);

/// When the API server reported each fact.
#[derive(Clone, Copy, Debug)]
pub struct ReportTimes {
    /// The pod's addresses.
    pub known: Instant,
    pub ready: Instant,
}

/// A pod that was just created on the first node.
pub struct NewPod {
    key: ObjectKey,
    pub created: Instant,
    version: String,
    /// The network namespaces of the node's pods before.
    before: BTreeSet<PathBuf>,
}

impl NewPod {
    /// Creates it.
    pub fn create(
        scene: &Scene<'_>,
        namespace: &str,
        name: &str,
        labels: &serde_json::Value,
    ) -> Result<Self> {
        let server = scene.kubernetes.server();
        let before = scene.kubernetes.namespaces_of_pods(NODES[0])?;
        let object: Pod = serde_json::from_value(pod(namespace, name, NODES[0], labels))?;
        let api: Api<Pod> = Api::namespaced(server.client(), namespace);
        let made = server.block_on(api.create(&PostParams::default(), &object))?;
        let created = Instant::now();
        let version = made.metadata.resource_version.context("a pod without version")?;
        Ok(Self { key: ObjectKey::new(namespace, name), created, version, before })
    }

    /// Does this as soon as its network namespace has an address, which is given with that
    /// time. Returns when the API server reported each fact, too.
    pub fn watched<T>(
        &self,
        scene: &Scene<'_>,
        act: impl FnOnce(&Endpoint, Instant) -> Result<T>,
    ) -> Result<(T, ReportTimes)> {
        thread::scope(|scope| {
            let server = scene.kubernetes.server();
            let reported = scope.spawn(|| watch(server, &self.key, &self.version));
            let endpoint = scene.kubernetes.newcomer(NODES[0], &self.before, READY)?;
            let wired = Instant::now();
            let done = act(&endpoint.context("no network")?, wired)?;
            match reported.join() {
                Ok(reported) => Ok((done, reported?)),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
    }

    /// Deletes it, and waits until its network is gone.
    pub fn remove(self, scene: &Scene<'_>) -> Result<()> {
        scene.kubernetes.server().delete_pods(&[self.key])?;
        until("end of a pod's network", || {
            Ok(scene.kubernetes.namespaces_of_pods(NODES[0])?.is_subset(&self.before))
        })
    }
}

/// Milliseconds from one moment to the other, negative in reverse order.
pub fn since(from: Instant, to: Instant) -> f64 {
    milliseconds(to.saturating_duration_since(from))
        - milliseconds(from.saturating_duration_since(to))
}

/// Watches a pod until it is ready.
fn watch(server: &ApiServer, key: &ObjectKey, version: &str) -> Result<ReportTimes> {
    let api: Api<Pod> = Api::namespaced(server.client(), &key.namespace);
    let seconds = u32::try_from(READY.as_secs()).unwrap_or(u32::MAX);
    let name = format!("metadata.name={}", key.name);
    let params = WatchParams::default().fields(&name).timeout(seconds);
    server.block_on(async {
        let mut events = pin!(api.watch(&params, version).await?);
        let mut known = None;
        while let Some(event) = events.try_next().await? {
            let WatchEvent::Modified(pod) = event else { continue };
            let status = pod.status.unwrap_or_default();
            if status.pod_ips.is_some_and(|addresses| !addresses.is_empty()) {
                known.get_or_insert_with(Instant::now);
            }
            let mut conditions = status.conditions.into_iter().flatten();
            let is_ready = conditions.any(|one| one.type_ == "Ready" && one.status == "True");
            if let (true, Some(known)) = (is_ready, known) {
                return Ok(ReportTimes { known, ready: Instant::now() });
            }
        }
        bail!("{key} is not ready after {READY:?}")
    })
}
