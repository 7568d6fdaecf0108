//! The connections to the API server.
//!
//! In: kube's configuration. Out: a client that notices when a connection is
//! dead.
//! Never: a hidden retry of a request.
//!
//! A watch only receives, so it does not notice a dead connection by itself. A
//! connection dies silently when the server's machine vanishes, and when address
//! translation does. `nft flush ruleset` deletes kube-proxy's rules together with
//! ours. The server's packets then come from an address that this side does not
//! know. This side answers with a reset that only the server sees.

mod renewing;

use std::fs;
use std::time::Duration;

use hyper_timeout::TimeoutConnector;
use hyper_util::client::legacy::{Client as Http, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use kube::client::{Body, ConfigExt};
use kube::{Client, Config};
use tower::{BoxError, ServiceBuilder};

pub use renewing::{Load, Loaded, renewing_client};

/// No longer than the longest pause between two attempts.
const CONNECT: Duration = Duration::from_secs(5);
/// TCP keepalive (tcp(7)): the first probe is sent after a silence of `IDLE`
/// (`TCP_KEEPIDLE`), further ones every `ASK_AGAIN` (`TCP_KEEPINTVL`). The
/// connection is closed after `UNANSWERED` probes without an answer
/// (`TCP_KEEPCNT`). This detects a dead connection after 11 s and costs an idle
/// one a packet every 5 s.
const IDLE: Duration = Duration::from_secs(5);
const ASK_AGAIN: Duration = Duration::from_secs(2);
const UNANSWERED: u32 = 3;
/// How long sent data may stay unacknowledged (`TCP_USER_TIMEOUT`).
const SENT: Duration = Duration::from_secs(10);

/// A client with the settings that [`super::events`] needs. A request that fails
/// is not retried, a connection attempt takes no longer than the longest pause,
/// and a dead connection breaks. `events` itself limits the time for an answer.
///
/// # Errors
/// The certificates, keys or credentials of `config` cannot be used, or it
/// names an HTTP proxy, for which kube is built without support.
pub fn client(mut config: Config) -> Result<Client, kube::Error> {
    // kube reads the file again when a minute has passed, by a clock that can be set
    // back (kube-client 5.0, src/client/auth). `renewing` reads it when it has changed.
    let auth = &mut config.auth_info;
    if let (None, Some(file)) = (&auth.token, &auth.token_file) {
        let token = fs::read_to_string(file).map_err(|error| {
            kube::Error::Service(format!("read the token in {file}: {error}").into())
        })?;
        auth.token = Some(token.trim().to_owned().into());
        auth.token_file = None;
    }
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
