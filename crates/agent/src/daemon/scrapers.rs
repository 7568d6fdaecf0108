//! The thread that serves metrics to scrapers of other nodes (`--metrics-address`).
//!
//! In: an address, who may read. Out: metrics. Never: work on the thread that follows the
//! API server: anybody who reaches the port can cause handshakes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;

use anyhow::{Context, Result};
use tokio::runtime::Builder;
use tokio::sync::oneshot;
use watcher::api::Access;

use super::server::{self, Certificate, Files, Gate, Pages, Readers, Reviews, ServedState};

/// Where metrics are served, and to whom.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// Where to listen.
    pub address: SocketAddr,
    /// To whom.
    pub readers: Allowed,
}

/// Who may read.
#[derive(Clone, Debug)]
pub enum Allowed {
    /// Everybody who reaches the address.
    All,
    /// Those with a token that may get /metrics. The certificate, where there is one.
    Token(Option<Files>),
}

/// Starts the thread. What is returned ends with it.
///
/// # Errors
/// The certificate cannot be used, or there are no resources for a thread.
pub fn start(
    metrics: &Metrics,
    node: &str,
    access: Access,
    served: ServedState,
) -> Result<oneshot::Receiver<()>> {
    let address = metrics.address;
    let certificate = match &metrics.readers {
        Allowed::Token(files) => Some(Certificate::new(files.clone(), node)?),
        Allowed::All => None,
    };
    if certificate.is_none() && !address.ip().is_loopback() {
        tracing::warn!(
            %address,
            "metrics are served without encryption to everybody who reaches the address; \
             --metrics-access=token serves them over TLS to those whom the API server allows"
        );
    }
    let runtime = Builder::new_current_thread().enable_all().build().context("start a runtime")?;
    let (lives, ended) = oneshot::channel();
    let serve = move || {
        // Dropped when the thread ends, by a panic, too.
        let _lives: oneshot::Sender<()> = lives;
        runtime.block_on(async move {
            let readers = match certificate {
                None => Readers::All,
                Some(certificate) => match access.client().await {
                    Ok(client) => Readers::Allowed(Arc::new(Gate {
                        certificate,
                        reviews: Reviews::by(client),
                    })),
                    Err(error) => return tracing::warn!("serve metrics: {error}"),
                },
            };
            server::serve(address, Pages::Metrics, readers, served).await;
        });
    };
    thread::Builder::new().name("scrapers".to_owned()).spawn(serve).context("start a thread")?;
    Ok(ended)
}

/// Returns when the thread has ended, if there is one.
pub async fn ended(thread: Option<oneshot::Receiver<()>>) {
    match thread {
        Some(thread) => drop(thread.await),
        None => std::future::pending().await,
    }
}
