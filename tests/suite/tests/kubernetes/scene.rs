//! A cluster with nftpol, and the steps that all scenes share. The callers state what
//! they expect. A difference is an error. Never: an expectation that is not the caller's.

use std::net::{IpAddr, SocketAddr, TcpStream};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use kubebed::kubernetes::{AGNHOST, Kubernetes};
use netbed::testbed::Endpoint;
use serde_json::{Value, json};

/// How long to wait for something that happens by itself.
pub const PATIENCE: Duration = Duration::from_secs(120);
/// The same for kubectl, when pods start.
pub const WAIT: &str = "--timeout=120s";
/// How long to wait for a connection that must not open.
const SHUT: Duration = Duration::from_millis(800);
/// How long a connection that must open may take. On a busy machine a first packet can
/// be lost. TCP repeats it after 1, 3 and 7 seconds (tcp(7), `tcp_syn_retries`).
pub const CONNECT: Duration = Duration::from_secs(8);
/// The port on which pods serve.
pub const HTTP: u16 = 80;

/// The cluster.
pub struct Scene {
    pub kubernetes: Kubernetes,
    pub start: Instant,
}

/// One connection to try, and whether the specification allows it.
pub struct Try<'a> {
    pub what: String,
    pub from: &'a Endpoint,
    pub to: SocketAddr,
    pub passes: bool,
}

impl Scene {
    /// Prints how far the scene is.
    pub fn say(&self, line: &str) {
        say(self.start, line);
    }

    /// Prints the pods and the agents' logs, to investigate a failure.
    pub fn last_words(&self) {
        let pods = ["get", "pods", "--all-namespaces", "--output=wide", "--show-labels"];
        let agents = ["-n", "kube-system", "logs", "-l", "app.kubernetes.io/name=nftpol"];
        let agents = [&agents[..], &["--prefix", "--tail=50"]].concat();
        for words in [&pods[..], &agents] {
            match self.kubectl(words) {
                Ok(said) => eprintln!("{said}"),
                Err(error) => eprintln!("{error:#}"),
            }
        }
    }

    /// Waits until every node has a ready agent of the current template.
    pub fn agents_ready(&self) -> Result<()> {
        let wait = ["-n", "kube-system", "rollout", "status", "daemonset/nftpol", WAIT];
        self.kubectl(&wait).map(drop)
    }

    pub fn pods_ready(&self, namespace: &str) -> Result<()> {
        let wait = ["-n", namespace, "wait", "pod", "--all", "--for=condition=Ready", WAIT];
        self.kubectl(&wait).map(drop)
    }

    /// Applies a file of `tests/fixtures`.
    pub fn apply(&self, fixture: &str) -> Result<()> {
        self.kubernetes.server().apply(&samples::fixtures::read(fixture)?)
    }

    /// Applies objects.
    pub fn put(&self, objects: &[Value]) -> Result<()> {
        let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
        self.kubernetes.server().apply(&list.to_string())
    }

    /// Deletes namespaces without waiting. A caller that needs their addresses or
    /// ports must wait.
    pub fn remove(&self, namespaces: &[&str]) -> Result<()> {
        let delete = [&["delete", "namespace", "--wait=false"], namespaces].concat();
        self.kubectl(&delete).map(drop)
    }

    pub fn kubectl(&self, words: &[&str]) -> Result<String> {
        self.kubernetes.kubectl(words, "")?.success()
    }

    /// The objects of this kind that match the selector.
    pub fn list(&self, namespace: &str, kind: &str, selector: &str) -> Result<Vec<Value>> {
        let words = ["-n", namespace, "get", kind, "-l", selector, "-o", "json"];
        let mut list: Value = serde_json::from_str(&self.kubectl(&words)?)?;
        match list["items"].take() {
            Value::Array(items) => Ok(items),
            other => bail!("no list of {kind}: {other}"),
        }
    }

    pub fn nodes(&self) -> usize {
        self.kubernetes.options().nodes
    }

    /// Waits until the condition holds.
    pub fn until(&self, what: &str, is: impl Fn() -> Result<bool>) -> Result<()> {
        let start = Instant::now();
        while !is()? {
            ensure!(start.elapsed() < PATIENCE, "waited {PATIENCE:?} in vain until {what}");
            sleep(Duration::from_millis(50));
        }
        Ok(())
    }
}

/// A line for the log, with the time since the start.
pub fn say(start: Instant, line: &str) {
    eprintln!("{:6.1} s  {line}", start.elapsed().as_secs_f32());
}

/// Tries all connections at once until each is as expected, and then once more.
pub fn hold(tries: &[Try<'_>]) -> Result<()> {
    let start = Instant::now();
    loop {
        let wrong = wrong(tries)?;
        if wrong.is_empty() {
            break;
        }
        ensure!(start.elapsed() < PATIENCE, "not what the specification says: {wrong:#?}");
        sleep(Duration::from_millis(50));
    }
    let wrong = wrong(tries)?;
    ensure!(wrong.is_empty(), "right at first, then wrong: {wrong:#?}");
    Ok(())
}

fn wrong(tries: &[Try<'_>]) -> Result<Vec<String>> {
    let connected = thread::scope(|scope| {
        let started: Vec<_> = tries.iter().map(|one| scope.spawn(|| connects(one))).collect();
        let done = started.into_iter().map(|one| match one.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        });
        done.collect::<Result<Vec<_>>>()
    })?;
    let other = tries.iter().zip(connected).filter(|(one, connected)| one.passes != *connected);
    Ok(other.map(|(one, _)| format!("{} ({}): not {}", one.what, one.to, one.passes)).collect())
}

/// Whether a TCP connection opens.
fn connects(one: &Try<'_>) -> Result<bool> {
    let wait = if one.passes { CONNECT } else { SHUT };
    Ok(one.from.namespace.run(|| TcpStream::connect_timeout(&one.to, wait))?.is_ok())
}

/// A namespace with these labels.
pub fn namespace(name: &str, labels: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
}

/// The containers of a pod in these scenes: upstream's test server on port 80, and on
/// 8081 for datagrams.
pub fn serving() -> Value {
    json!({
        "terminationGracePeriodSeconds": 0,
        "containers": [{
            "name": "main",
            "image": AGNHOST,
            "args": ["netexec", format!("--http-port={HTTP}")],
            "ports": [{"containerPort": HTTP}],
            "readinessProbe": {
                "periodSeconds": 1,
                "failureThreshold": 1,
                "httpGet": {"path": "/healthz", "port": HTTP},
            },
        }],
    })
}

/// A pod on this node, `namespace/name`.
pub fn pod(name: &str, node: &str, labels: Value) -> Result<Value> {
    let (namespace, name) = name.split_once('/').context("a pod's name is namespace/name")?;
    let mut spec = serving();
    spec["nodeName"] = node.into();
    let metadata = json!({"name": name, "namespace": namespace, "labels": labels});
    Ok(json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}))
}

/// A policy, `namespace/name`.
pub fn policy(name: &str, spec: Value) -> Result<Value> {
    let (namespace, name) = name.split_once('/').context("a policy's name is namespace/name")?;
    Ok(json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec,
    }))
}

/// The addresses of a Pod or a Service.
pub fn addresses(object: &Value) -> Vec<IpAddr> {
    let pods = object["status"]["podIPs"].as_array().into_iter().flatten().map(|one| &one["ip"]);
    let services = object["spec"]["clusterIPs"].as_array().into_iter().flatten();
    pods.chain(services).filter_map(|one| one.as_str()?.parse().ok()).collect()
}
