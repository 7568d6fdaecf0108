//! `/healthz`, `/readyz` and `/metrics` over HTTP, and `/metrics` over TLS.
//!
//! In: addresses to listen on, and to whom. Out: answers. Never: a request that changes the
//! node.

mod certificate;
mod review;

use std::collections::VecDeque;
use std::convert::Infallible;
use std::error::Error;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use agent::metrics::Metrics;
use agent::status::Status;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ACCEPT, CONTENT_TYPE, HeaderValue, WWW_AUTHENTICATE};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

pub use certificate::{Certificate, Files};
use review::Refusal;
pub use review::Reviews;

/// Connections at a time. A prober and a scraper need one each.
const CONNECTIONS: usize = 32;
/// How long a client may hold its connection.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a client may take to ask.
const HEADER: Duration = Duration::from_secs(1);
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

/// To whom an address answers.
#[derive(Clone)]
pub enum Readers {
    /// Everybody, without encryption.
    All,
    /// Those whose token the API server allows, over TLS.
    Allowed(Arc<Gate>),
}

/// What stands before the metrics.
pub struct Gate {
    /// For the handshake.
    pub certificate: Certificate,
    /// Who may read.
    pub reviews: Reviews,
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
pub async fn serve(address: SocketAddr, pages: Pages, readers: Readers, served: ServedState) {
    let listener = listen(address).await;
    let mut open = OpenConnections::default();
    loop {
        match listener.accept().await {
            Ok((stream, from)) => open.add(|has_asked| {
                let (readers, served) = (readers.clone(), served.clone());
                let connection = async move {
                    match readers {
                        Readers::All => plain(stream, pages, served, has_asked).await,
                        Readers::Allowed(gate) => {
                            secured(stream, from.ip(), gate, served, has_asked).await
                        }
                    }
                };
                // A slow client is cut off, and delays nobody else.
                let limited = async { drop(timeout(PATIENCE, connection).await) };
                tokio::spawn(limited).abort_handle()
            }),
            Err(error) => {
                tracing::debug!(%address, "accept a connection: {error}");
                sleep(RETRY).await;
            }
        }
    }
}

/// The connections, oldest first. When there are too many, one is closed for the new
/// one: those that hold a connection without asking for anything keep nobody out.
#[derive(Debug, Default)]
struct OpenConnections(VecDeque<OpenConnection>);

#[derive(Debug)]
struct OpenConnection {
    task: AbortHandle,
    has_asked: Arc<AtomicBool>,
}

impl OpenConnections {
    fn add(&mut self, start: impl FnOnce(Arc<AtomicBool>) -> AbortHandle) {
        self.0.retain(|one| !one.task.is_finished());
        if self.0.len() >= CONNECTIONS {
            let idle = self.0.iter().position(|one| !one.has_asked.load(Ordering::Relaxed));
            if let Some(oldest) = self.0.remove(idle.unwrap_or(0)) {
                oldest.task.abort();
            }
        }
        let has_asked = Arc::new(AtomicBool::new(false));
        self.0.push_back(OpenConnection { task: start(Arc::clone(&has_asked)), has_asked });
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

async fn plain(
    stream: TcpStream,
    pages: Pages,
    served: ServedState,
    has_asked: Arc<AtomicBool>,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    let service = service_fn(move |request: Request<Incoming>| {
        has_asked.store(true, Ordering::Relaxed);
        let answer = answer(&request, pages, &served);
        async { Ok::<_, Infallible>(answer) }
    });
    Ok(http().serve_connection(TokioIo::new(stream), service).await?)
}

/// Metrics alone.
async fn secured(
    stream: TcpStream,
    from: IpAddr,
    gate: Arc<Gate>,
    served: ServedState,
    has_asked: Arc<AtomicBool>,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    let stream = timeout(HEADER, gate.certificate.acceptor().accept(stream)).await??;
    let service = service_fn(move |request: Request<Incoming>| {
        has_asked.store(true, Ordering::Relaxed);
        let (gate, served) = (Arc::clone(&gate), served.clone());
        async move {
            let allowed = gate.reviews.allows(from, request.headers()).await;
            Ok::<_, Infallible>(match allowed {
                Ok(()) => answer(&request, Pages::Metrics, &served),
                Err(refusal) => refused(&refusal),
            })
        }
    });
    Ok(http().serve_connection(TokioIo::new(stream), service).await?)
}

fn http() -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEADER);
    builder
}

fn refused(refusal: &Refusal) -> Response<Full<Bytes>> {
    let mut response = text(refusal.code(), format!("{refusal}\n"));
    if refusal.code() == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}

fn answer(
    request: &Request<Incoming>,
    pages: Pages,
    served: &ServedState,
) -> Response<Full<Bytes>> {
    let (method, path) = (request.method(), request.uri().path());
    if *method != Method::GET && *method != Method::HEAD {
        return text(StatusCode::METHOD_NOT_ALLOWED, "only GET\n".to_owned());
    }
    let status = &served.status;
    match (path, pages) {
        ("/metrics", _) => metrics(request.headers().get(ACCEPT), served),
        ("/healthz", Pages::All) if status.is_alive() => text(StatusCode::OK, "ok\n".to_owned()),
        ("/healthz", Pages::All) => {
            text(StatusCode::SERVICE_UNAVAILABLE, "the loop that enforces is stuck\n".to_owned())
        }
        ("/readyz", Pages::All) if status.is_ready() => text(StatusCode::OK, status.report()),
        ("/readyz", Pages::All) => text(StatusCode::SERVICE_UNAVAILABLE, status.report()),
        _ => text(StatusCode::NOT_FOUND, "no such page\n".to_owned()),
    }
}

/// In the text format, unless OpenMetrics is asked for, as Prometheus does (prometheus.io,
/// "Scrape protocol content negotiation").
fn metrics(accept: Option<&HeaderValue>, served: &ServedState) -> Response<Full<Bytes>> {
    let ServedState { status, metrics } = served;
    let accept = accept.and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    let (page, kind) = match accept.contains("application/openmetrics-text") {
        true => {
            (metrics.text(status), "application/openmetrics-text; version=1.0.0; charset=utf-8")
        }
        false => (metrics.prometheus_text(status), "text/plain; version=0.0.4; charset=utf-8"),
    };
    match page {
        Ok(page) => with_type(StatusCode::OK, page, kind),
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
    }
}

fn text(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    with_type(status, body, "text/plain; charset=utf-8")
}

fn with_type(status: StatusCode, body: String, kind: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
