//! The connections to the API server.
//!
//! In: where it is and who asks. Out: a client whose connections end when the
//! other side is gone, whether or not that side could say so.
//! Never: a request repeated out of sight.
//!
//! A watch waits and sends nothing, so by itself it does not learn that its
//! connection is dead. That happens where the server's machine vanishes, and
//! where address translation does: `nft flush ruleset` takes kube-proxy's
//! rules with ours, the server's packets then come from an address that this
//! side does not know, and it answers them with a reset that only the server
//! sees.

use std::time::Duration;

use hyper_timeout::TimeoutConnector;
use hyper_util::client::legacy::{Client as Http, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use kube::client::{Body, ConfigExt};
use kube::{Client, Config};
use tower::{BoxError, ServiceBuilder};

/// No longer than the longest pause between two tries.
const CONNECT: Duration = Duration::from_secs(5);
/// How long a connection may be silent until the other side is asked whether
/// it is there (tcp(7), `TCP_KEEPIDLE`), the time between two questions
/// (`TCP_KEEPINTVL`), and how many may stay without an answer (`TCP_KEEPCNT`).
/// A dead one is known after 11 s; an idle one costs a packet in 5 s.
const IDLE: Duration = Duration::from_secs(5);
const ASK_AGAIN: Duration = Duration::from_secs(2);
const UNANSWERED: u32 = 3;
/// How long what was sent may stay without an acknowledgement
/// (`TCP_USER_TIMEOUT`).
const SENT: Duration = Duration::from_secs(10);

/// A client with the settings that [`super::events`] counts on: requests fail
/// at once instead of being repeated out of sight for minutes, no connection
/// attempt takes longer than the longest pause, and a dead connection breaks.
/// How long an answer may take, `events` itself watches over.
///
/// # Errors
/// The certificates, keys or credentials of `config` cannot be used; or it
/// names an HTTP proxy, which kube is built without.
pub fn client(mut config: Config) -> Result<Client, kube::Error> {
    config.default_retry = false;
    config.connect_timeout = Some(CONNECT);
    config.write_timeout = Some(SENT);
    config.read_timeout = None;
    if config.proxy_url.is_some() {
        return Client::try_from(config);
    }
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    connector.set_keepalive(Some(IDLE));
    connector.set_keepalive_interval(Some(ASK_AGAIN));
    connector.set_keepalive_retries(Some(UNANSWERED));
    connector.set_tcp_user_timeout(Some(SENT));
    let connector = config.rustls_https_connector_with_connector(connector)?;
    let mut connector = TimeoutConnector::new(connector);
    connector.set_connect_timeout(config.connect_timeout);
    connector.set_write_timeout(config.write_timeout);
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .map_err(BoxError::from)
        .service(Http::builder(TokioExecutor::new()).build::<_, Body>(connector));
    Ok(Client::new(service, config.default_namespace))
}
