//! A testbed with a real API server, and agents that watch it.
//!
//! The server knows the pods of the cluster and has the objects of `manifests/`.
//! The agents on the nodes have the rights from there. Never: rights or objects for
//! an agent that `manifests/` does not have.

use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use netbed::scenario::Scenario;
use netbed::testbed::Testbed;
use netbed::verdict::Counts;
use policy::Snapshot;
use samples::testbed_spec::TestbedSpec;
use watcher::{Store, api};

use crate::apiserver::ApiServer;
use crate::daemon::Daemon;

/// How long an agent may take to become ready.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// How long packets may take to follow the specification.
const SOON: Duration = Duration::from_secs(10);

/// The cluster and its API server, as long as this value lives.
pub struct World {
    /// The API server, in the switch's namespace.
    pub server: ApiServer,
    /// Nodes, pods, the outsider.
    pub cluster: Testbed,
    kubeconfig: PathBuf,
}

impl World {
    /// Builds it, as the only testbed of this process, and starts the server. Namespace
    /// names begin with `prefix`.
    ///
    /// # Errors
    /// When the cluster or the server does not start, or `manifests/` are refused.
    pub fn new(spec: TestbedSpec, prefix: &str) -> Result<Self> {
        Self::of(Testbed::new(spec, prefix)?)?.known()
    }

    /// As [`World::new`], and others may be there: for a test that mostly waits and
    /// measures no time shorter than seconds.
    ///
    /// # Errors
    /// As [`World::new`], and when it has too many endpoints for that.
    pub fn beside(spec: TestbedSpec, prefix: &str) -> Result<Self> {
        Self::of(Testbed::beside(spec, prefix)?)?.known()
    }

    /// As [`World::new`], but the server does not know the pods.
    ///
    /// # Errors
    /// As [`World::new`].
    pub fn without_objects(spec: TestbedSpec, prefix: &str) -> Result<Self> {
        Self::of(Testbed::new(spec, prefix)?)
    }

    /// The server has the objects of the cluster.
    fn known(self) -> Result<Self> {
        self.server.create_cluster(self.cluster.spec())?;
        Ok(self)
    }

    fn of(cluster: Testbed) -> Result<Self> {
        let address = cluster.services_address(false)?;
        let server = ApiServer::start(cluster.switch(), address)?;
        let kubeconfig = install(&server)?;
        Ok(Self { server, cluster, kubeconfig })
    }

    /// A kubeconfig with the rights of the DaemonSet's service account.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// The objects that the API server has now.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn snapshot(&self) -> Result<Snapshot> {
        let found = self.server.block_on(api::list(self.server.client()))?;
        let store: Store = found.into_iter().map(|found| found.object).collect();
        Ok(store.snapshot().clone())
    }

    /// Starts an agent on a node.
    ///
    /// # Errors
    /// When there is no such node, or the agent cannot be started.
    pub fn agent(&self, node: &str, options: &[&str]) -> Result<Daemon<'_>> {
        let namespace = &self.cluster.endpoint(node)?.namespace;
        Daemon::start(namespace, &self.kubeconfig, node, options)
    }

    /// Starts an agent on every node and waits until all are ready.
    ///
    /// # Errors
    /// When one does not become ready.
    pub fn agents(&self) -> Result<Vec<Daemon<'_>>> {
        self.agents_with(&[])
    }

    /// As [`Self::agents`], with these options.
    ///
    /// # Errors
    /// As [`Self::agents`].
    pub fn agents_with(&self, options: &[&str]) -> Result<Vec<Daemon<'_>>> {
        let nodes = &self.cluster.spec().nodes;
        let mut agents =
            nodes.iter().map(|node| self.agent(node, options)).collect::<Result<Vec<_>>>()?;
        for agent in &mut agents {
            agent.ready_within(PATIENCE)?;
        }
        Ok(agents)
    }
}

/// Applies `manifests/`. Returns a kubeconfig with the rights of the DaemonSet's
/// service account.
///
/// # Errors
/// When the server refuses something.
pub fn install(server: &ApiServer) -> Result<PathBuf> {
    let folder = manifests().display().to_string();
    server.kubectl(&["apply", "-k", &folder], "")?.success().context("apply manifests/")?;
    server.service_account_kubeconfig("kube-system", "nftpol")
}

/// The folder with the DaemonSet and its rights.
pub fn manifests() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../manifests")
}

/// Tries all flows until packets match the specification for the objects of the API
/// server.
///
/// # Errors
/// When they do not within ten seconds.
pub fn soon(world: &World, scenario: &Scenario<'_>) -> Result<Counts> {
    soon_as(&world.snapshot()?, scenario)
}

/// Tries all flows until packets match the specification for these objects.
///
/// # Errors
/// When they do not within ten seconds.
pub fn soon_as(snapshot: &Snapshot, scenario: &Scenario<'_>) -> Result<Counts> {
    let start = Instant::now();
    loop {
        match scenario.check_snapshot(snapshot) {
            Err(error) if start.elapsed() > SOON => return Err(error),
            Err(_) => sleep(Duration::from_millis(20)),
            counts => return counts,
        }
    }
}
