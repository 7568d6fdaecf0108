//! Writes objects into etcd that the API server has not checked.
//!
//! An older or newer server, or one with other admission plugins, may have left
//! such objects. The server does not check stored objects again when it reads them.
//! Never: an object that the server cannot read at all.

use anyhow::{Context, Result};
use hyper::Request;
use hyper::header::CONTENT_TYPE;
use k8s_openapi::ByteString;
use kube::{Client, Config};
use serde_json::{Value, json};

use super::{ApiServer, ETCD};

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
        // etcd expects base64, as Kubernetes writes bytes in JSON.
        let bytes = |text: String| ByteString(text.into_bytes());
        let body = json!({"key": bytes(key), "value": bytes(policy.to_string())});
        let gateway = format!("http://127.0.0.1:{}", ETCD[0]).parse().context("etcd's address")?;
        self.block_on(async {
            let client = Client::try_from(Config::new(gateway))?;
            let request = Request::post("/v3/kv/put").header(CONTENT_TYPE, "application/json");
            client.request_text(request.body(body.to_string().into_bytes())?).await?;
            anyhow::Ok(())
        })
        .context("put a policy into etcd")
    }
}
