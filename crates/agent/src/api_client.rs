//! A client of the API server.
//!
//! In: a kubeconfig, or the environment. Out: a client; all objects, listed
//! once. Never: a write.

use std::env;
use std::error::Error;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use futures::FutureExt;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use tokio::runtime::Builder;
use watcher::api::{self, Found, Load, Loaded};

/// A client of the API server that a kubeconfig names: this one, else
/// `$KUBECONFIG` or `~/.kube/config`, else the pod's ServiceAccount. It follows the
/// files when they change.
///
/// # Errors
/// When there is none, or it cannot be used.
pub async fn client(kubeconfig: Option<&Path>) -> Result<Client> {
    let first = loaded(kubeconfig).await?;
    let path = kubeconfig.map(Path::to_owned);
    let load: Load = Box::new(move || {
        let path = path.clone();
        let loaded = async move { loaded(path.as_deref()).await.map_err(described) };
        loaded.boxed()
    });
    api::renewing_client(first, load).context("use the configuration of the API server")
}

/// An error with its causes.
fn described(error: anyhow::Error) -> Box<dyn Error + Send + Sync> {
    format!("{error:#}").into()
}

async fn loaded(kubeconfig: Option<&Path>) -> Result<Loaded> {
    let Some(path) = kubeconfig else {
        let config = Config::infer().await.context(
            "find the API server: there is no kubeconfig (--kubeconfig, $KUBECONFIG, \
             ~/.kube/config), and this is no pod with a ServiceAccount",
        )?;
        let mut files = usual_files();
        let read = files.iter().filter_map(|file| Kubeconfig::read_from(file).ok());
        let named: Vec<PathBuf> = read.flat_map(|file| authorities(&file)).collect();
        files.extend(named);
        return Ok(Loaded { config, files });
    };
    let file = Kubeconfig::read_from(path)
        .with_context(|| format!("read the kubeconfig {}", path.display()))?;
    let mut files = authorities(&file);
    files.push(path.to_owned());
    let config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default())
        .await
        .with_context(|| format!("use the kubeconfig {}", path.display()))?;
    Ok(Loaded { config, files })
}

/// Where a kubeconfig is if none is given (kubernetes.io, "Organizing Cluster Access
/// Using kubeconfig Files").
fn usual_files() -> Vec<PathBuf> {
    match (env::var_os("KUBECONFIG"), env::home_dir()) {
        (Some(paths), _) => env::split_paths(&paths).collect(),
        (None, Some(home)) => vec![home.join(".kube/config")],
        (None, None) => Vec::new(),
    }
}

/// The files of certificate authorities that a kubeconfig names.
fn authorities(file: &Kubeconfig) -> Vec<PathBuf> {
    let clusters = file.clusters.iter().filter_map(|named| named.cluster.as_ref());
    clusters.filter_map(|one| one.certificate_authority.as_ref().map(PathBuf::from)).collect()
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
