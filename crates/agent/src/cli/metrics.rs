//! Where metrics are served to scrapers of other nodes, and to whom.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// The flags of every program that serves metrics.
#[derive(Debug, Args)]
pub struct MetricsServed {
    /// Where to serve /metrics alone, for scrapers of other nodes [default: nowhere].
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub metrics_address: Option<SocketAddr>,
    /// Who may read what --metrics-address serves.
    #[arg(long, value_enum, default_value_t, requires = "metrics_address")]
    pub metrics_access: MetricsAccess,
    /// The certificate for --metrics-access=token, PEM, with those that it was issued by. Read
    /// again when it changes [default: one that signs itself is made].
    #[arg(long, value_name = "FILE", requires = "metrics_key")]
    pub metrics_cert: Option<PathBuf>,
    /// The key of --metrics-cert, PEM.
    #[arg(long, value_name = "FILE", requires = "metrics_cert")]
    pub metrics_key: Option<PathBuf>,
}

/// `--metrics-access`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum MetricsAccess {
    /// Everybody who reaches the address, without encryption.
    #[default]
    Open,
    /// Who sends a bearer token that the API server accepts and allows to get /metrics, over TLS.
    Token,
}
