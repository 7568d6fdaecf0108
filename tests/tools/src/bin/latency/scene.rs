//! The pods that are measured, and the controller.
//!
//! Pods run on both nodes, and writes to the API return the time of the request and
//! of the answer. No write starts a process.
//!
//! ```text
//!   node-1: client, near, stranger       node-2: far, friend
//!   client -> near, client -> far        streams; each node's own agent judges
//!   friend, stranger, outsider -> guest  a new pod on node-1
//! ```

use std::net::IpAddr;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use kubebed::kubernetes::{AGNHOST, Kubernetes};
use kubebed::world::manifests;
use netbed::testbed::Endpoint;
use policy::{Labels, ObjectKey};
use serde_json::{Value, json};
use tools::interrupt;

use crate::arguments::Controller;

pub const NAMESPACE: &str = "latency";
pub const NODES: [&str; 2] = ["node-1", "node-2"];
/// Selects all pods of [`NAMESPACE`], for kubectl.
pub const OURS: [&str; 3] = ["--namespace", NAMESPACE, "--all"];
const PODS: [(&str, &str); 5] = [
    ("client", NODES[0]),
    ("near", NODES[0]),
    ("stranger", NODES[0]),
    ("far", NODES[1]),
    ("friend", NODES[1]),
];
/// How long to wait for something that happens by itself.
const PATIENCE: Duration = Duration::from_secs(180);

pub struct Scene<'a> {
    pub kubernetes: &'a Kubernetes,
    pub client: Endpoint,
    pub near: Endpoint,
    pub far: Endpoint,
    pub friend: Endpoint,
    pub stranger: Endpoint,
}

/// When a write was sent, and when its answer arrived.
#[derive(Clone, Copy, Debug)]
pub struct Written {
    pub request: Instant,
    pub answer: Instant,
}

impl<'a> Scene<'a> {
    pub fn new(kubernetes: &'a Kubernetes, controller: &Controller) -> Result<Self> {
        deploy(kubernetes, controller)?;
        let pods = PODS.map(|(name, node)| pod(NAMESPACE, name, node, &json!({"role": name})));
        let namespace = json!({
            "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE},
        });
        kubernetes.server().apply(&namespace.to_string())?;
        accounts(kubernetes, &[NAMESPACE.to_owned()])?;
        create(kubernetes, &pods)?;
        ready(kubernetes, &OURS)?;
        let endpoint = |name: &str| kubernetes.pod(&format!("{NAMESPACE}/{name}"));
        Ok(Self {
            kubernetes,
            client: endpoint("client")?,
            near: endpoint("near")?,
            far: endpoint("far")?,
            friend: endpoint("friend")?,
            stranger: endpoint("stranger")?,
        })
    }

    /// The endpoint that is neither pod nor node.
    pub fn outsider(&self) -> Result<&Endpoint> {
        self.kubernetes.cluster().endpoint("outsider")
    }

    /// All pods of the namespace accept these peers.
    pub fn create_policy(&self, name: &str, ingress: Value) -> Result<Written> {
        let policy: NetworkPolicy = serde_json::from_value(json!({
            "metadata": {"name": name, "namespace": NAMESPACE},
            "spec": {"podSelector": {}, "policyTypes": ["Ingress"], "ingress": ingress},
        }))?;
        let api = self.policies();
        self.write(|| self.block_on(api.create(&PostParams::default(), &policy)))
    }

    pub fn delete_policy(&self, name: &str) -> Result<Written> {
        let api = self.policies();
        self.write(|| self.block_on(api.delete(name, &DeleteParams::default())))
    }

    /// Gives the client this role.
    pub fn relabel_client(&self, role: &str) -> Result<Written> {
        let labels: Labels = [("role".to_owned(), role.to_owned())].into();
        let server = self.kubernetes.server();
        let key = ObjectKey::new(NAMESPACE, "client");
        self.write(|| server.relabel_pods(&[(key, labels)]))
    }

    pub fn write<T>(&self, write: impl FnOnce() -> Result<T>) -> Result<Written> {
        interrupt::check()?;
        let request = Instant::now();
        write()?;
        Ok(Written { request, answer: Instant::now() })
    }

    fn policies(&self) -> Api<NetworkPolicy> {
        Api::namespaced(self.kubernetes.server().client(), NAMESPACE)
    }

    fn block_on<T: Send, E: Into<anyhow::Error> + Send>(
        &self,
        future: impl Future<Output = Result<T, E>> + Send,
    ) -> Result<T> {
        self.kubernetes.server().block_on(future)
    }
}

/// A pod whose server echoes over UDP.
pub fn pod(namespace: &str, name: &str, node: &str, labels: &Value) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "spec": {
            "nodeName": node,
            "terminationGracePeriodSeconds": 0,
            "containers": [{
                "name": "main",
                "image": AGNHOST,
                "imagePullPolicy": "IfNotPresent",
                "args": ["netexec", "--http-port=8080", format!("--udp-port={ECHO}")],
            }],
        },
    })
}

/// The port of the echo servers in the pods.
pub const ECHO: u16 = 8081;

/// Creates objects with one call of kubectl.
pub fn create(kubernetes: &Kubernetes, objects: &[Value]) -> Result<()> {
    let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
    kubernetes.kubectl(&["create", "-f", "-"], &list.to_string())?.success().map(drop)
}

/// Waits until the pods that these options of kubectl select are ready.
pub fn ready(kubernetes: &Kubernetes, which: &[&str]) -> Result<()> {
    let wait = ["wait", "pod", "--for=condition=Ready", "--timeout=180s"];
    kubernetes.kubectl(&[&wait, which].concat(), "")?.success().map(drop)
}

/// Waits until the controller-manager has created the service account that pods need,
/// in each of these namespaces.
pub fn accounts(kubernetes: &Kubernetes, namespaces: &[String]) -> Result<()> {
    until("service accounts", || {
        let names = "jsonpath={range .items[*]}{.metadata.namespace}/{.metadata.name} {end}";
        let all = kubernetes.kubectl(&["get", "serviceaccounts", "-A", "-o", names], "")?;
        let all = all.success()?;
        let has = |name: &String| all.split(' ').any(|one| one == format!("{name}/default"));
        Ok(namespaces.iter().all(has))
    })
}

/// The first address of a pod.
pub fn address(endpoint: &Endpoint) -> Result<IpAddr> {
    endpoint.addresses.first().copied().with_context(|| format!("{} has none", endpoint.name))
}

/// Waits until the condition holds.
pub fn until(what: &str, mut holds: impl FnMut() -> Result<bool>) -> Result<()> {
    let start = Instant::now();
    while !holds()? {
        interrupt::check()?;
        ensure!(start.elapsed() < PATIENCE, "no {what} after {PATIENCE:?}");
        sleep(Duration::from_millis(200));
    }
    Ok(())
}

/// Does nothing for this long.
pub fn pause(long: Duration) -> Result<()> {
    let start = Instant::now();
    while start.elapsed() < long {
        interrupt::check()?;
        sleep(Duration::from_millis(100));
    }
    Ok(())
}

/// The arguments of kubectl that name the controller's manifests.
fn source(controller: &Controller) -> Result<Option<[String; 2]>> {
    let path = |path: std::path::PathBuf| {
        let path = std::path::absolute(&path).context("find a manifest")?;
        Ok::<_, anyhow::Error>(path.display().to_string())
    };
    Ok(match controller {
        Controller::Nobody => None,
        Controller::Nftpol(_) => Some(["-k".to_owned(), path(manifests())?]),
        Controller::Other { manifest, .. } => Some(["-f".to_owned(), path(manifest.clone())?]),
    })
}

/// Starts the controller and waits until all its pods are ready.
fn deploy(kubernetes: &Kubernetes, controller: &Controller) -> Result<()> {
    let Some(flags) = source(controller)? else { return Ok(()) };
    if let Controller::Other { images, .. } = controller {
        images.iter().try_for_each(|image| kubernetes.import_file(image))?;
    }
    let server_side = ["apply", "--server-side", "--force-conflicts"];
    let words = [&server_side[..], &[flags[0].as_str(), flags[1].as_str()]].concat();
    kubernetes.kubectl(&words, "")?.success()?;
    let options = match controller {
        Controller::Nftpol(options) => options.as_slice(),
        Controller::Nobody | Controller::Other { .. } => &[],
    };
    for option in options {
        let path = "/spec/template/spec/containers/0/args/-";
        let patch = json!([{"op": "add", "path": path, "value": option}]).to_string();
        let of = ["-n", "kube-system", "patch", "daemonset", "nftpol", "--type=json", "-p"];
        kubernetes.kubectl(&[&of[..], &[patch.as_str()]].concat(), "")?.success()?;
    }
    until("controller that is ready", || {
        let get = ["get", "daemonsets,deployments", "-A", "-o", "json"];
        let all: Value = serde_json::from_str(&kubernetes.kubectl(&get, "")?.success()?)?;
        let all = all["items"].as_array().context("no list")?;
        Ok(!all.is_empty() && all.iter().all(is_ready))
    })
}

/// Whether all pods of a DaemonSet or Deployment are ready.
fn is_ready(object: &Value) -> bool {
    let (status, spec) = (&object["status"], &object["spec"]);
    let (wanted, ready) = match spec["replicas"].as_u64() {
        Some(replicas) => (replicas, &status["readyReplicas"]),
        None => {
            (status["desiredNumberScheduled"].as_u64().unwrap_or(0).max(1), &status["numberReady"])
        }
    };
    let is_current = status["observedGeneration"] == object["metadata"]["generation"];
    is_current && ready.as_u64() == Some(wanted)
}
