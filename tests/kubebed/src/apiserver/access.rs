//! Access to the API server: kubectl, kubeconfigs, clients.
//!
//! Each has the rights of the user that you name. Never: grants rights. They come
//! from RBAC objects that a test applies.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use netbed::program::{self, Finished};
use serde_json::{Value, json};

use super::certificates::Certificates;
use super::{ApiServer, programs};

impl ApiServer {
    /// A client with administrator rights that never retries. Its futures work only
    /// in [`ApiServer::block_on`].
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// A client with the rights of a service account.
    ///
    /// # Errors
    /// As [`ApiServer::service_account_kubeconfig`].
    pub fn service_account_client(&self, namespace: &str, name: &str) -> Result<Client> {
        let kubeconfig = self.service_account_kubeconfig(namespace, name)?;
        self.inside.block_on(connect(&kubeconfig))
    }

    /// A kubeconfig with administrator rights.
    pub fn admin_kubeconfig(&self) -> PathBuf {
        self.folder.path().join("admin.kubeconfig")
    }

    /// A kubeconfig with a client certificate for this user in this group.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn user_kubeconfig(&self, user: &str, group: Option<&str>) -> Result<PathBuf> {
        let name = user.replace(':', ".");
        self.certificates.client(&name, user, group)?;
        let path = self.folder.path().join(format!("{name}.kubeconfig"));
        let user = json!({
            "client-certificate": self.certificates.path(&format!("{name}.crt")),
            "client-key": self.certificates.path(&format!("{name}.key")),
        });
        write_kubeconfig(&path, &cluster(self.address, &self.certificates), user)?;
        Ok(path)
    }

    /// One of the control plane's files: `ca.crt`, `service-accounts.key`.
    pub fn file(&self, name: &str) -> PathBuf {
        self.certificates.path(name)
    }

    /// A kubeconfig with a token of this service account, valid for an hour.
    ///
    /// # Errors
    /// When the service account does not exist or the server does not answer.
    pub fn service_account_kubeconfig(&self, namespace: &str, name: &str) -> Result<PathBuf> {
        let path = self.folder.path().join(format!("{namespace}.{name}.kubeconfig"));
        let user = json!({"token": self.token(namespace, name)?});
        write_kubeconfig(&path, &cluster(self.address, &self.certificates), user)?;
        Ok(path)
    }

    /// A folder like `/var/run/secrets/kubernetes.io/serviceaccount` in pods of
    /// this service account: `token`, `ca.crt`, `namespace`.
    ///
    /// # Errors
    /// As [`ApiServer::service_account_kubeconfig`], and when a file cannot
    /// be written.
    pub fn service_account_folder(&self, namespace: &str, name: &str) -> Result<PathBuf> {
        let folder = self.folder.path().join(format!("{namespace}.{name}.serviceaccount"));
        fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
        let authority = self.certificates.path("ca.crt");
        fs::copy(authority, folder.join("ca.crt")).context("copy ca.crt")?;
        fs::write(folder.join("token"), self.token(namespace, name)?).context("write token")?;
        fs::write(folder.join("namespace"), namespace).context("write namespace")?;
        Ok(folder)
    }

    /// Runs kubectl in the server's namespace as administrator.
    ///
    /// # Errors
    /// When it has not been built or cannot be started. A failure of kubectl
    /// itself is in [`Finished`].
    pub fn kubectl(&self, arguments: &[&str], input: &str) -> Result<Finished> {
        let mut command = self.inside.namespace().command(programs::path("kubectl")?);
        command.arg("--kubeconfig").arg(self.admin_kubeconfig()).args(arguments);
        // It caches the API in `$HOME/.kube`.
        command.env("HOME", self.folder.path()).env("NO_PROXY", "*");
        program::finish(command, input).context("kubectl")
    }

    /// `kubectl apply --server-side` of YAML documents.
    ///
    /// # Errors
    /// When kubectl or the server refuses them, with its output.
    pub fn apply(&self, yaml: &str) -> Result<()> {
        let arguments = ["apply", "--server-side", "--force-conflicts", "-f", "-"];
        self.kubectl(&arguments, yaml)?.success().map(drop)
    }

    fn token(&self, namespace: &str, name: &str) -> Result<String> {
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client(), namespace);
        let spec = TokenRequestSpec { expiration_seconds: Some(3600), ..Default::default() };
        let request = TokenRequest { spec: Some(spec), ..Default::default() };
        let parameters = Default::default();
        let answer = self
            .block_on(accounts.create_token_request(name, &parameters, &request))
            .with_context(|| format!("get a token of service account {namespace}/{name}"))?;
        answer.status.and_then(|status| status.token).context("an answer without a token")
    }
}

/// A kubeconfig's entry for the cluster.
pub(super) fn cluster(address: SocketAddr, certificates: &Certificates) -> Value {
    json!({
        "server": format!("https://{address}"),
        "certificate-authority": certificates.path("ca.crt"),
    })
}

/// Writes a kubeconfig (JSON is YAML).
pub(super) fn write_kubeconfig(path: &Path, cluster: &Value, user: Value) -> Result<()> {
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "tests", "cluster": cluster}],
        "users": [{"name": "tests", "user": user}],
        "contexts": [{"name": "tests", "context": {"cluster": "tests", "user": "tests"}}],
        "current-context": "tests",
    });
    fs::write(path, config.to_string()).with_context(|| format!("write {}", path.display()))
}

/// A client for this kubeconfig that uses no proxy and never retries.
pub(super) async fn connect(kubeconfig: &Path) -> Result<Client> {
    let config = Kubeconfig::read_from(kubeconfig)
        .with_context(|| format!("read {}", kubeconfig.display()))?;
    let mut config = Config::from_custom_kubeconfig(config, &KubeConfigOptions::default()).await?;
    config.proxy_url = None;
    config.default_retry = false;
    Ok(Client::try_from(config)?)
}
