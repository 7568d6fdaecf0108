//! What the Node object of one node says of addresses.
//!
//! In: a client, the node's name. Out: `spec.podCIDRs` as it is written, and the node's own
//! addresses, again and again. Never: a list or watch of Nodes, which takes the right to read
//! all of them at once; an answer of another cluster.
//!
//! `get` cannot be granted for the own Node alone: a DaemonSet has one ServiceAccount, and
//! a ClusterRole names resources, not the one who asks.
//!
//! | the Node | is read again after |
//! |---|---|
//! | has ranges | [`SETTLED`]: they cannot be changed (`ValidateNodeUpdate`, pkg/apis/core/validation, 1.36), but a Node that is made again can have others |
//! | has none, or cannot be read | a pause that doubles from [`FIRST`] to [`LAST`] |
//!
//! A random part of each pause keeps the agents of a large cluster apart.

use std::error::Error;
use std::net::IpAddr;
use std::time::Duration;

use futures::{Stream, stream};
use http_body_util::{BodyExt, Limited};
use kube::Client;
use kube::api::GetParams;
use kube::client::Body;
use kube::core::{Request, Status};
use serde::Deserialize;
use tokio::time::{Instant, sleep, timeout};

use super::backoff::random;
use super::cluster::Cluster;
use super::error::{WatchError, innermost};

/// The longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// No Node is longer: etcd takes requests of 1.5 MiB (`--max-request-bytes`), and an object
/// in JSON is a few times longer.
const LONGEST: usize = 16 << 20;

/// Between two looks at a Node that has ranges.
const SETTLED: Duration = Duration::from_secs(300);
/// The pause after the first look that showed none; twice as long after each more.
const FIRST: Duration = Duration::from_millis(250);
/// The longest pause of these.
const LAST: Duration = Duration::from_secs(30);

/// What a Node says of addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeAddresses {
    /// `spec.podCIDRs`, as it is written: "the IP ranges assigned to the node for usage by Pods
    /// on that node", at most one of each family (API reference, `NodeSpec`, 1.36).
    pub pod_cidrs: Vec<String>,
    /// The addresses in `status.addresses`; names are left out.
    pub own: Vec<IpAddr>,
}

/// Why a Node cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The API server answered 403.
    #[error(
        "cannot get nodes: forbidden: {0}; a ClusterRole must grant the verb get on nodes \
         (manifests/components/node-ranges)"
    )]
    Forbidden(String),
    /// Any other answer, or none that can be read.
    #[error("cannot get nodes: {0}")]
    Failed(String),
    /// The API server is of another cluster, or does not tell of which.
    #[error("cannot get nodes: {0}")]
    Cluster(#[source] WatchError),
}

/// The fields of a Node that are read.
#[derive(Deserialize)]
struct NodeFields {
    #[serde(default)]
    spec: Spec,
    #[serde(default)]
    status: NodeStatus,
}

#[derive(Default, Deserialize)]
struct Spec {
    #[serde(default, rename = "podCIDRs")]
    pod_cidrs: Option<Vec<String>>,
}

#[derive(Default, Deserialize)]
struct NodeStatus {
    #[serde(default)]
    addresses: Option<Vec<NodeAddress>>,
}

#[derive(Deserialize)]
struct NodeAddress {
    address: String,
}

/// What the Node of this name says, and why it could not be read, without end. The first
/// comes at once.
pub fn own_node(
    client: Client,
    cluster: Cluster,
    name: String,
) -> impl Stream<Item = Result<NodeAddresses, NodeError>> + Send + 'static {
    let start = (Duration::ZERO, FIRST);
    stream::unfold(start, move |(wait, pause)| {
        let (client, cluster, name) = (client.clone(), cluster.clone(), name.clone());
        async move {
            sleep(wait + random(wait / 3)).await;
            let read = read(&client, &cluster, &name).await;
            let next = match &read {
                Ok(node) if !node.pod_cidrs.is_empty() => (SETTLED, FIRST),
                Ok(_) | Err(_) => (pause, (pause * 2).min(LAST)),
            };
            Some((read, next))
        }
    })
}

/// The Node as it is now.
async fn read(client: &Client, cluster: &Cluster, name: &str) -> Result<NodeAddresses, NodeError> {
    let asked = Instant::now();
    let answer = timeout(PATIENCE, get(client, name)).await;
    let silent = |_| NodeError::Failed("the API server does not answer".to_owned());
    let node: NodeFields = serde_json::from_slice(&answer.map_err(silent)??)
        .map_err(|error| NodeError::Failed(format!("the answer is no Node: {error}")))?;
    cluster.confirm(client, asked).await.map_err(NodeError::Cluster)?;
    let addresses = node.status.addresses.unwrap_or_default();
    Ok(NodeAddresses {
        pod_cidrs: node.spec.pod_cidrs.unwrap_or_default(),
        own: addresses.iter().filter_map(|one| one.address.parse().ok()).collect(),
    })
}

async fn get(client: &Client, name: &str) -> Result<Vec<u8>, NodeError> {
    let failed = |error: &(dyn Error + 'static)| NodeError::Failed(innermost(error).to_string());
    let request = Request::new("/api/v1/nodes").get(name, &GetParams::default());
    let request = request.map_err(|error| failed(&error))?;
    let answer = client.send(request.map(Body::from)).await.map_err(|error| failed(&error))?;
    let (parts, body) = answer.into_parts();
    let bytes = Limited::new(body, LONGEST).collect().await.map_err(|error| failed(&*error))?;
    let bytes = bytes.to_bytes().to_vec();
    if parts.status.is_success() {
        return Ok(bytes);
    }
    let message = match serde_json::from_slice::<Status>(&bytes) {
        Ok(status) if !status.message.is_empty() => status.message,
        Ok(_) | Err(_) => "without an explanation".to_owned(),
    };
    match parts.status.as_u16() {
        403 => Err(NodeError::Forbidden(message)),
        code => Err(NodeError::Failed(format!("the API server answers {code}: {message}"))),
    }
}
