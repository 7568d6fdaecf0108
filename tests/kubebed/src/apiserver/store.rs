//! Writes objects into etcd that the API server has not checked.
//!
//! An older or newer server, or one with other admission plugins, may have left
//! such objects. The server does not check stored objects again when it reads them.
//! And it is the fast way to a large cluster.
//! Never: an object that the server cannot read at all.

use std::collections::BTreeMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};

use anyhow::{Context, Result};
use futures::{StreamExt, TryStreamExt, stream};
use hyper::Request;
use hyper::header::CONTENT_TYPE;
use k8s_openapi::ByteString;
use kube::{Client, Config};
use policy::Snapshot;
use serde_json::{Value, json};

use super::objects::{by_key, manifest, status};
use super::policies;
use super::{ApiServer, ETCD};

/// Objects of one transaction. etcd takes 128 at most (`--max-txn-ops`).
const OBJECTS: usize = 100;
/// How many transactions run at the same time.
const TRANSACTIONS: usize = 4;

/// An object and its key in etcd, both as etcd's JSON gateway expects them.
struct Stored {
    key: ByteString,
    value: ByteString,
}

impl ApiServer {
    /// Puts a NetworkPolicy into etcd through its JSON gateway. kube-apiserver
    /// reads stored objects in several forms, and JSON is one of them (the storage
    /// codec's decoder in apiserver/pkg/server/storage, Kubernetes 1.36).
    ///
    /// # Errors
    /// When the policy has no name, or etcd refuses it.
    pub fn store_policy(&self, policy: &Value) -> Result<()> {
        let part = |name: &str| policy["metadata"][name].as_str().context("no name");
        let key = format!("/registry/networkpolicies/{}/{}", part("namespace")?, part("name")?);
        let Stored { key, value } = Stored::new(key, policy);
        self.ask_etcd("/v3/kv/put", vec![json!({"key": key, "value": value})])
            .context("put a policy into etcd")
    }

    /// Puts all objects of a cluster into etcd, with what the API server would have added.
    /// The server learns of them as of any other change.
    ///
    /// # Errors
    /// When etcd refuses some.
    pub fn store_cluster(&self, cluster: &Snapshot) -> Result<()> {
        let stored = stored(cluster)?;
        let transactions = stored.chunks(OBJECTS).map(|objects| {
            let puts = objects
                .iter()
                .map(|Stored { key, value }| json!({"requestPut": {"key": key, "value": value}}));
            json!({"success": puts.collect::<Vec<_>>()})
        });
        self.ask_etcd("/v3/kv/txn", transactions.collect()).context("put a cluster into etcd")
    }

    /// Puts what differs between two states of a cluster into etcd, and deletes what is gone.
    /// Any change works, also one that the API server would not take, such as a pod that
    /// comes to another node.
    ///
    /// # Errors
    /// When etcd refuses some.
    pub fn store_changes(&self, before: &Snapshot, after: &Snapshot) -> Result<()> {
        let stored = |cluster| -> Result<BTreeMap<String, Value>> {
            Ok(objects(cluster)?.into_iter().collect())
        };
        let (before, after) = (stored(before)?, stored(after)?);
        let put = after.iter().filter(|(key, object)| before.get(*key) != Some(object));
        let put = put.map(|(key, object)| {
            let Stored { key, value } = Stored::new(key.clone(), object);
            json!({"requestPut": {"key": key, "value": value}})
        });
        let gone = before.keys().filter(|key| !after.contains_key(*key));
        let gone = gone.map(
            |key| json!({"requestDeleteRange": {"key": ByteString(key.clone().into_bytes())}}),
        );
        let all: Vec<Value> = put.chain(gone).collect();
        let transactions = all.chunks(OBJECTS).map(|some| json!({"success": some})).collect();
        self.ask_etcd("/v3/kv/txn", transactions).context("change a cluster in etcd")
    }

    /// Sends requests to etcd's JSON gateway.
    fn ask_etcd(&self, path: &str, bodies: Vec<Value>) -> Result<()> {
        let gateway = format!("http://127.0.0.1:{}", ETCD[0]).parse().context("etcd's address")?;
        self.block_on(async {
            let client = Client::try_from(Config::new(gateway))?;
            let requests = bodies.into_iter().map(|body| {
                let client = client.clone();
                async move {
                    let request = Request::post(path).header(CONTENT_TYPE, "application/json");
                    client.request_text(request.body(body.to_string().into_bytes())?).await?;
                    anyhow::Ok(())
                }
            });
            let requests: Vec<_> = requests.collect();
            stream::iter(requests).buffer_unordered(TRANSACTIONS).try_collect::<()>().await
        })
    }
}

impl Stored {
    /// etcd expects base64, as Kubernetes writes bytes in JSON.
    fn new(key: String, object: &Value) -> Self {
        let bytes = |text: String| ByteString(text.into_bytes());
        Self { key: bytes(key), value: bytes(object.to_string()) }
    }
}

fn stored(cluster: &Snapshot) -> Result<Vec<Stored>> {
    let mut objects = objects(cluster)?;
    for (number, (_, object)) in objects.iter_mut().enumerate() {
        object["metadata"]["uid"] = json!(uid(number as u64));
    }
    Ok(objects.into_iter().map(|(key, object)| Stored::new(key, &object)).collect())
}

fn uid(number: u64) -> String {
    format!("00000000-0000-4000-8000-{:012x}", number & 0xffff_ffff_ffff)
}

/// All objects are created within one minute.
fn created(second: i64) -> String {
    format!("2026-01-01T00:00:{:02}Z", second.rem_euclid(60))
}

/// The objects with their keys in etcd.
fn objects(cluster: &Snapshot) -> Result<Vec<(String, Value)>> {
    let mut stored: Vec<(String, Value)> = Vec::new();
    let mut add = |key: String, mut object: Value| {
        let metadata = &mut object["metadata"];
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        metadata["uid"] = json!(uid(hasher.finish()));
        if metadata["creationTimestamp"].is_null() {
            metadata["creationTimestamp"] = json!(created(0));
        }
        stored.push((key, object));
    };
    for namespace in cluster.namespaces.values() {
        let metadata = json!({"name": namespace.name, "labels": by_key(&namespace.labels)});
        let rest = json!({"finalizers": ["kubernetes"]});
        let object = json!({
            "apiVersion": "v1", "kind": "Namespace", "metadata": metadata, "spec": rest,
            "status": {"phase": "Active"},
        });
        add(format!("/registry/namespaces/{}", namespace.name), object);
    }
    for policy in cluster.policies.values() {
        let mut object = serde_json::to_value(policies::object(policy)?)?;
        object["apiVersion"] = json!("networking.k8s.io/v1");
        object["kind"] = json!("NetworkPolicy");
        let key = &policy.key;
        add(format!("/registry/networkpolicies/{}/{}", key.namespace, key.name), object);
    }
    for pod in cluster.pods.values() {
        let mut object = manifest(pod);
        object["status"] = status(pod);
        object["metadata"]["managedFields"] = managed_fields();
        object["spec"]["tolerations"] = tolerations();
        object["metadata"]["creationTimestamp"] = json!(created(pod.created));
        add(format!("/registry/pods/{}/{}", pod.key.namespace, pod.key.name), object);
    }
    Ok(stored)
}

/// Who set which field of a pod, as the API server notes it when one client creates the
/// pod and another sets its status. Half of a pod's bytes.
fn managed_fields() -> Value {
    let container = json!({
        ".": {}, "f:image": {}, "f:imagePullPolicy": {}, "f:name": {}, "f:resources": {},
        "f:terminationMessagePath": {}, "f:terminationMessagePolicy": {},
    });
    let entry = |manager: &str, fields: Value| {
        json!({
            "manager": manager, "operation": "Update", "apiVersion": "v1",
            "time": "2026-01-01T00:00:00Z", "fieldsType": "FieldsV1", "fieldsV1": fields,
        })
    };
    let created = json!({
        "f:metadata": {"f:labels": {".": {}, "f:app": {}}},
        "f:spec": {
            "f:containers": {"k:{\"name\":\"c0\"}": container},
            "f:dnsPolicy": {}, "f:enableServiceLinks": {}, "f:nodeName": {},
            "f:restartPolicy": {}, "f:schedulerName": {}, "f:securityContext": {},
            "f:terminationGracePeriodSeconds": {},
        },
    });
    let reported = json!({
        "f:status": {
            "f:hostIP": {}, "f:hostIPs": {}, "f:phase": {}, "f:podIP": {}, "f:podIPs": {},
        },
    });
    let mut status = entry("kubelet", reported);
    status["subresource"] = json!("status");
    json!([entry("kube-controller-manager", created), status])
}

/// What the admission plugin DefaultTolerationSeconds gives a pod.
fn tolerations() -> Value {
    json!(["not-ready", "unreachable"].map(|condition| {
        json!({
            "key": format!("node.kubernetes.io/{condition}"), "operator": "Exists",
            "effect": "NoExecute", "tolerationSeconds": 300,
        })
    }))
}
