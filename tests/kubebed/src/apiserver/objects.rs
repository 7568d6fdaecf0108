//! Creates objects by the thousand.
//!
//! It takes pods and namespaces of the policy model, and sets their status, too. It
//! does not read the bodies of the answers.

use std::collections::BTreeMap;
use std::net::IpAddr;

use anyhow::{Context, Result, ensure};
use futures::{StreamExt, TryStreamExt, stream};
use http_body_util::BodyExt;
use hyper::header::{ACCEPT, CONTENT_TYPE};
use hyper::{Method, Request};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::Client;
use policy::{Labels, Namespace, ObjectKey, Phase, Pod};
use samples::testbed_spec::TestbedSpec;
use serde_json::{Value, json};

use super::{ApiServer, policies};

/// How many requests run at the same time.
const CONCURRENCY: usize = 32;
const JSON: &str = "application/json";
const MERGE: &str = "application/merge-patch+json";
const APPLY: &str = "application/apply-patch+yaml";
/// Asks for answers without spec and status, which are much smaller
/// (kubernetes.io/docs/reference/using-api/api-concepts).
const METADATA_ONLY: &str = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";

/// One request, not yet sent.
struct Draft {
    method: Method,
    path: String,
    content: &'static str,
    body: Vec<u8>,
}

impl ApiServer {
    /// Creates the namespaces and pods of a described cluster.
    ///
    /// # Errors
    /// At the first object that the server refuses.
    pub fn create_cluster(&self, spec: &TestbedSpec) -> Result<()> {
        self.apply_namespaces(&spec.namespaces())?;
        self.create_pods(&spec.pods())
    }

    /// Creates namespaces, or gives those that exist these labels.
    ///
    /// # Errors
    /// At the first that the server refuses.
    pub fn apply_namespaces(&self, namespaces: &[Namespace]) -> Result<()> {
        self.send_all(namespaces.iter().map(|namespace| {
            let Namespace { name, labels, is_ending: _, switch } = namespace;
            let metadata = json!({
                "name": name, "labels": by_key(labels), "annotations": policies::annotations(switch),
            });
            let body = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata});
            let path = format!("/api/v1/namespaces/{name}?fieldManager=tests&force=true");
            vec![Draft::new(Method::PATCH, path, APPLY, &body)]
        }))
    }

    /// Creates pods and sets their status. The server sets `created`.
    ///
    /// # Errors
    /// At the first pod or status that the server refuses.
    pub fn create_pods(&self, pods: &[Pod]) -> Result<()> {
        self.send_all(pods.iter().map(|pod| {
            let path = format!("/api/v1/namespaces/{}/pods", pod.key.namespace);
            vec![Draft::new(Method::POST, path, JSON, &manifest(pod)), set_status(pod)]
        }))
    }

    /// Sets phase and addresses of existing pods.
    ///
    /// # Errors
    /// At the first that the server refuses.
    pub fn set_pods_status(&self, pods: &[Pod]) -> Result<()> {
        self.send_all(pods.iter().map(|pod| vec![set_status(pod)]))
    }

    /// Replaces the labels of existing pods.
    ///
    /// # Errors
    /// At the first that the server refuses.
    pub fn relabel_pods(&self, pods: &[(ObjectKey, Labels)]) -> Result<()> {
        self.send_all(pods.iter().map(|(key, labels)| {
            // The one JSON Patch operation that replaces a whole map (RFC 6902).
            let patch = json!([{"op": "add", "path": "/metadata/labels", "value": by_key(labels)}]);
            let content = "application/json-patch+json";
            vec![Draft::new(Method::PATCH, pod_path(key), content, &patch)]
        }))
    }

    /// Deletes pods immediately, without a grace period.
    ///
    /// # Errors
    /// At the first that the server refuses.
    pub fn delete_pods(&self, keys: &[ObjectKey]) -> Result<()> {
        self.send_all(keys.iter().map(|key| {
            let body = json!({"gracePeriodSeconds": 0});
            vec![Draft::new(Method::DELETE, pod_path(key), JSON, &body)]
        }))
    }

    /// Deletes an empty namespace. Marks it and removes its finalizer, as the
    /// namespace controller does at the end.
    ///
    /// # Errors
    /// When the server refuses one of the two steps.
    pub fn delete_namespace(&self, name: &str) -> Result<()> {
        let path = format!("/api/v1/namespaces/{name}");
        let body = json!({
            "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name},
            "spec": {"finalizers": []},
        });
        self.send_all([vec![
            Draft::new(Method::DELETE, path.clone(), JSON, &json!({})),
            Draft::new(Method::PUT, format!("{path}/finalize"), JSON, &body),
        ]])
    }

    /// Creates network policies. Each names its namespace.
    ///
    /// # Errors
    /// At the first that the server refuses.
    pub fn create_policies(&self, policies: &[NetworkPolicy]) -> Result<()> {
        let orders: Result<Vec<_>> = policies
            .iter()
            .map(|policy| {
                let namespace = policy.metadata.namespace.as_ref();
                let namespace = namespace.context("a policy without namespace")?;
                let path =
                    format!("/apis/networking.k8s.io/v1/namespaces/{namespace}/networkpolicies");
                let body = serde_json::to_value(policy).context("write a policy as JSON")?;
                Ok(vec![Draft::new(Method::POST, path, JSON, &body)])
            })
            .collect();
        self.send_all(orders?)
    }

    /// Sends many requests. Those in one list are sent one after another.
    fn send_all(&self, orders: impl IntoIterator<Item = Vec<Draft>>) -> Result<()> {
        let client = self.client();
        let lists: Vec<_> =
            orders.into_iter().map(|list| send_list(client.clone(), list)).collect();
        self.block_on(stream::iter(lists).buffer_unordered(CONCURRENCY).try_collect::<()>())
    }
}

async fn send_list(client: Client, orders: Vec<Draft>) -> Result<()> {
    for Draft { method, path, content, body } in orders {
        let request = Request::builder().method(&method).uri(&path);
        let request = request.header(CONTENT_TYPE, content).header(ACCEPT, METADATA_ONLY);
        let answer = client.send(request.body(body.into())?).await;
        let answer = answer.with_context(|| format!("{method} {path}"))?;
        let status = answer.status();
        // Read the body to its end, so that the connection can be used again.
        let body = answer.into_body().collect().await.context("read an answer")?.to_bytes();
        let said = String::from_utf8_lossy(&body);
        ensure!(status.is_success(), "{method} {path}: {status}: {said}");
    }
    Ok(())
}

impl Draft {
    fn new(method: Method, path: String, content: &'static str, body: &Value) -> Self {
        Self { method, path, content, body: body.to_string().into_bytes() }
    }
}

fn pod_path(key: &ObjectKey) -> String {
    format!("/api/v1/namespaces/{}/pods/{}", key.namespace, key.name)
}

pub(super) fn by_key(labels: &Labels) -> BTreeMap<&str, &str> {
    labels.iter().collect()
}

pub(super) fn manifest(pod: &Pod) -> Value {
    let port = |port: &policy::NamedPort| {
        let protocol = port.protocol.to_string();
        json!({"name": port.name, "containerPort": port.port, "protocol": protocol})
    };
    // A name may occur once per container, and in several containers.
    let mut containers: Vec<Vec<&policy::NamedPort>> = vec![Vec::new()];
    for one in &pod.ports {
        let has =
            |container: &Vec<&policy::NamedPort>| container.iter().any(|p| p.name == one.name);
        match containers.iter_mut().find(|container| !has(container)) {
            Some(container) => container.push(one),
            None => containers.push(vec![one]),
        }
    }
    let containers: Vec<Value> = containers
        .iter()
        .enumerate()
        .map(|(index, ports)| {
            let ports: Vec<Value> = ports.iter().map(|one| port(one)).collect();
            json!({"name": format!("c{index}"), "image": "example.org/main:1", "ports": ports})
        })
        .collect();
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": pod.key.name,
            "namespace": pod.key.namespace,
            "labels": by_key(&pod.labels),
        },
        "spec": {
            "nodeName": pod.node,
            "hostNetwork": pod.host_network,
            "containers": containers,
        },
    })
}

fn set_status(pod: &Pod) -> Draft {
    let path = format!("{}/status", pod_path(&pod.key));
    Draft::new(Method::PATCH, path, MERGE, &json!({"status": status(pod)}))
}

pub(super) fn status(pod: &Pod) -> Value {
    let many = |addresses: &[IpAddr]| -> Vec<Value> {
        addresses.iter().map(|address| json!({"ip": address})).collect()
    };
    json!({
        "phase": phase(pod.phase),
        "podIP": pod.addresses.first(),
        "podIPs": many(&pod.addresses),
        "hostIP": pod.host_addresses.first(),
        "hostIPs": many(&pod.host_addresses),
    })
}

fn phase(phase: Phase) -> &'static str {
    match phase {
        Phase::Pending => "Pending",
        Phase::Running => "Running",
        Phase::Succeeded => "Succeeded",
        Phase::Failed => "Failed",
        Phase::Unknown => "Unknown",
    }
}
