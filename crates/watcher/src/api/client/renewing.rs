//! A client whose credentials and certificates are those that the files have now.
//!
//! In: a way to load the configuration, and the files that it is made of.
//! Out: a client. Before each request it looks whether a file has changed. After an
//! answer 401 it asks programs for credentials again, too.
//! Never: a clock. kubelet renews the token of a ServiceAccount, and the certificate
//! of a node, long before the old one ends, and a clock that is set back must not matter.

use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::{Hash, Hasher};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use hyper::{Request, Response, StatusCode};
use kube::client::Body;
use kube::{Client, Config};
use tokio::sync::Mutex;
use tokio::time::timeout;
use tower::{BoxError, service_fn};

/// How long it may take to load a configuration: a program may have to be run.
const PATIENCE: Duration = Duration::from_secs(10);

/// A configuration.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// The files that it came from, beside those that it names.
    pub files: Vec<PathBuf>,
}

/// Loads a configuration.
pub type Load = Box<dyn Fn() -> BoxFuture<'static, Result<Loaded, BoxError>> + Send + Sync>;

/// A client that begins with this configuration, and loads it again when it changes.
///
/// # Errors
/// See [`super::client`].
pub fn renewing_client(first: Loaded, load: Load) -> Result<Client, kube::Error> {
    let namespace = first.config.default_namespace.clone();
    let renewing = Renewing { load, current: Mutex::new(Current::new(first)?) };
    let renewing = Arc::new(renewing);
    let service = service_fn(move |request: Request<Body>| {
        let renewing = Arc::clone(&renewing);
        async move { renewing.send(request).await }
    });
    Ok(Client::new(service, namespace))
}

struct Renewing {
    load: Load,
    current: Mutex<Current>,
}

struct Current {
    client: Client,
    /// All files that have a part in it.
    files: Vec<PathBuf>,
    /// Of their content as it was loaded.
    hash: u64,
    /// Whether a program gives the credentials.
    has_program: bool,
    /// The server answered 401.
    refused: bool,
    /// Why it could not be loaded again.
    problem: Option<String>,
}

impl Renewing {
    async fn send(&self, request: Request<Body>) -> Result<Response<Body>, kube::Error> {
        let client = self.client().await;
        let answer = client.send(request).await?;
        if answer.status() == StatusCode::UNAUTHORIZED {
            self.current.lock().await.refused = true;
        }
        Ok(answer)
    }

    /// The client of the files as they are now. If they cannot be used, the one before:
    /// somebody may be writing them.
    async fn client(&self) -> Client {
        let mut current = self.current.lock().await;
        if current.is_outdated() {
            match self.loaded().await {
                Ok(renewed) => {
                    tracing::info!("read the credentials for the API server again");
                    *current = renewed;
                }
                Err(problem) => current.stays(problem),
            }
        }
        current.client.clone()
    }

    async fn loaded(&self) -> Result<Current, String> {
        let loaded = timeout(PATIENCE, (self.load)()).await;
        let loaded = loaded.map_err(|_| "it takes too long".to_owned())?;
        let loaded = loaded.map_err(|error| error.to_string())?;
        Current::new(loaded).map_err(|error| error.to_string())
    }
}

impl Current {
    fn new(Loaded { config, mut files }: Loaded) -> Result<Self, kube::Error> {
        let named = &config.auth_info;
        let of_auth = [&named.token_file, &named.client_certificate, &named.client_key];
        files.extend(of_auth.into_iter().flatten().map(PathBuf::from));
        files.extend(config.root_cert_file.clone());
        // Before it is used: a change in between is then seen with the next request.
        let hash = hash(&files);
        let has_program = named.exec.is_some() || named.auth_provider.is_some();
        let client = super::client(config)?;
        Ok(Self { client, files, hash, has_program, refused: false, problem: None })
    }

    fn is_outdated(&self) -> bool {
        self.refused && self.has_program || hash(&self.files) != self.hash
    }

    fn stays(&mut self, problem: String) {
        if self.problem.as_ref() != Some(&problem) {
            tracing::warn!("cannot read the credentials for the API server again: {problem}");
        }
        self.problem = Some(problem);
    }
}

/// Of what the files hold.
fn hash(files: &[PathBuf]) -> u64 {
    let mut hasher = DefaultHasher::new();
    for file in files {
        fs::read(file).ok().hash(&mut hasher);
    }
    hasher.finish()
}

#[cfg(test)]
mod tests;
