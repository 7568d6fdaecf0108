//! A client of the API server.
//!
//! In: a kubeconfig, or the environment. Out: a client; all objects, listed
//! once. Never: a write.

use std::path::Path;

use anyhow::{Context, Result};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use tokio::runtime::Builder;
use watcher::api::{self, Found};

/// A client of the API server that a kubeconfig names: this one, else
/// `$KUBECONFIG` or `~/.kube/config`, else the pod's ServiceAccount.
///
/// # Errors
/// When there is none, or it cannot be used.
pub async fn client(kubeconfig: Option<&Path>) -> Result<Client> {
    let config = match kubeconfig {
        Some(path) => {
            let file = Kubeconfig::read_from(path)
                .with_context(|| format!("read the kubeconfig {}", path.display()))?;
            Config::from_custom_kubeconfig(file, &KubeConfigOptions::default())
                .await
                .with_context(|| format!("use the kubeconfig {}", path.display()))?
        }
        None => Config::infer().await.context(
            "find the API server: there is no kubeconfig (--kubeconfig, $KUBECONFIG, \
             ~/.kube/config), and this is no pod with a ServiceAccount",
        )?,
    };
    api::client(config).context("use the configuration of the API server")
}

/// The present NetworkPolicies, Pods and Namespaces.
///
/// # Errors
/// As [`client`]; a request fails or an object cannot be read.
pub fn objects(kubeconfig: Option<&Path>) -> Result<Vec<Found>> {
    let runtime = Builder::new_current_thread().enable_all().build().context("start a runtime")?;
    runtime.block_on(async {
        let client = client(kubeconfig).await?;
        api::list(client).await.context("read the cluster")
    })
}
