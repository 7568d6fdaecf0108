//! `/healthz`, `/readyz` and `/metrics` over HTTP.
//!
//! In: addresses to listen on. Out: answers. Never: a request that changes the
//! node.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use agent::metrics::Metrics;
use agent::status::Status;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::CONTENT_TYPE;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

/// Connections at a time. A prober and a scraper need one each.
const CONNECTIONS: usize = 32;
/// How long a client may hold its connection.
const PATIENCE: Duration = Duration::from_secs(10);
/// The pause before another attempt to listen on an address in use. The agent
/// before this one may still hold it.
const RETRY: Duration = Duration::from_secs(1);

/// What an address answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pages {
    /// All there is.
    All,
    /// `/metrics` alone.
    Metrics,
}

/// What the pages show.
#[derive(Clone, Debug)]
pub struct ServedState {
    /// For the probes.
    pub status: Status,
    /// For `/metrics`.
    pub metrics: Arc<Metrics>,
}

/// Serves until the process ends.
pub async fn serve(address: SocketAddr, pages: Pages, served: ServedState) {
    let listener = listen(address).await;
    let connections = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(permit) = Arc::clone(&connections).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let served = served.clone();
                tokio::spawn(async move {
                    // A slow client is cut off, and delays nobody else.
                    let _ = timeout(PATIENCE, connection(stream, pages, served)).await;
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::debug!(%address, "accept a connection: {error}");
                sleep(RETRY).await;
            }
        }
    }
}

async fn listen(address: SocketAddr) -> TcpListener {
    let mut was_logged = false;
    loop {
        match TcpListener::bind(address).await {
            Ok(listener) => return listener,
            Err(error) if !was_logged => {
                was_logged = true;
                tracing::warn!(%address, "cannot listen, trying again: {error}");
            }
            Err(_) => {}
        }
        sleep(RETRY).await;
    }
}

async fn connection(
    stream: TcpStream,
    pages: Pages,
    served: ServedState,
) -> Result<(), hyper::Error> {
    let service = service_fn(move |request: Request<Incoming>| {
        let answer = answer(request.method(), request.uri().path(), pages, &served);
        async { Ok::<_, Infallible>(answer) }
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .serve_connection(TokioIo::new(stream), service)
        .await
}

fn answer(
    method: &Method,
    path: &str,
    pages: Pages,
    served: &ServedState,
) -> Response<Full<Bytes>> {
    if *method != Method::GET && *method != Method::HEAD {
        return text(StatusCode::METHOD_NOT_ALLOWED, "only GET\n".to_owned());
    }
    let status = &served.status;
    match (path, pages) {
        ("/metrics", _) => match served.metrics.text(status) {
            Ok(metrics) => {
                // The media type of OpenMetrics 1.0, which Prometheus asks for.
                let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
                with_type(StatusCode::OK, metrics, kind)
            }
            Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
        },
        ("/healthz", Pages::All) if status.is_alive() => text(StatusCode::OK, "ok\n".to_owned()),
        ("/healthz", Pages::All) => {
            text(StatusCode::SERVICE_UNAVAILABLE, "the loop that enforces is stuck\n".to_owned())
        }
        ("/readyz", Pages::All) if status.is_ready() => text(StatusCode::OK, status.report()),
        ("/readyz", Pages::All) => text(StatusCode::SERVICE_UNAVAILABLE, status.report()),
        _ => text(StatusCode::NOT_FOUND, "no such page\n".to_owned()),
    }
}

fn text(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    with_type(status, body, "text/plain; charset=utf-8")
}

fn with_type(status: StatusCode, body: String, kind: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static(kind));
    response
}
