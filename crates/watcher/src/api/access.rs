//! How to reach an API server: a kubeconfig, or a pod's ServiceAccount.
//!
//! In: what a command line says of it. Out: a client that follows the files when they
//! change.
//! Never: a request.

use std::env;
use std::error::Error;
use std::path::PathBuf;

use futures::FutureExt;
use kube::config::{InferConfigError, KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Client, Config};

use super::client::{Load, Loaded, renewing_client};

/// Which API server, and as whom.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// The kubeconfig; `None`: `$KUBECONFIG` or `~/.kube/config`, else the pod's
    /// ServiceAccount.
    pub kubeconfig: Option<PathBuf>,
    /// The context in it; `None`: the one that it names as current.
    pub context: Option<String>,
}

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AccessError {
    /// No file and no ServiceAccount.
    #[error(
        "find the API server: there is no kubeconfig (--kubeconfig, $KUBECONFIG, \
         ~/.kube/config), and this is no pod with a ServiceAccount"
    )]
    Nowhere(#[source] InferConfigError),
    /// A file that cannot be read.
    #[error("read the kubeconfig {path}")]
    Unreadable {
        /// The file.
        path: String,
        /// Why.
        #[source]
        source: KubeconfigError,
    },
    /// A file that names no usable server, or not this context.
    #[error("use the kubeconfig {path}")]
    Unusable {
        /// The file.
        path: String,
        /// Why.
        #[source]
        source: KubeconfigError,
    },
    /// Certificates, keys or credentials that cannot be used.
    #[error("use the configuration of the API server")]
    Client(#[source] kube::Error),
}

impl Access {
    /// A client. It follows the files when they change.
    ///
    /// # Errors
    /// See [`AccessError`].
    pub async fn client(&self) -> Result<Client, AccessError> {
        let first = self.loaded().await?;
        let access = self.clone();
        let load: Load = Box::new(move || {
            let access = access.clone();
            async move { access.loaded().await.map_err(described) }.boxed()
        });
        renewing_client(first, load).map_err(AccessError::Client)
    }

    async fn loaded(&self) -> Result<Loaded, AccessError> {
        let options =
            KubeConfigOptions { context: self.context.clone(), ..KubeConfigOptions::default() };
        let Some(path) = &self.kubeconfig else {
            let config = match &self.context {
                None => Config::infer().await.map_err(AccessError::Nowhere)?,
                Some(_) => Config::from_kubeconfig(&options).await.map_err(|source| {
                    AccessError::Unusable { path: "that is found".to_owned(), source }
                })?,
            };
            let mut files = usual_files();
            let read = files.iter().filter_map(|file| Kubeconfig::read_from(file).ok());
            let named: Vec<PathBuf> = read.flat_map(|file| authorities(&file)).collect();
            files.extend(named);
            return Ok(Loaded { config, files });
        };
        let shown = || path.display().to_string();
        let file = Kubeconfig::read_from(path)
            .map_err(|source| AccessError::Unreadable { path: shown(), source })?;
        let mut files = authorities(&file);
        files.push(path.clone());
        let config = Config::from_custom_kubeconfig(file, &options)
            .await
            .map_err(|source| AccessError::Unusable { path: shown(), source })?;
        Ok(Loaded { config, files })
    }
}

/// An error with its causes.
fn described(error: AccessError) -> Box<dyn Error + Send + Sync> {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(one) = cause {
        text += &format!(": {one}");
        cause = one.source();
    }
    text.into()
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
