//! `version`.

use std::io::Write;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;
use serde_json::json;

use super::Output;

/// The newest NetworkPolicy API that is read: that of the crate k8s-openapi's `v1_36`.
const KUBERNETES: &str = "1.36";

/// The commit that it was built from, where the build says so (`cargo xtask image` and
/// releases do).
const COMMIT: Option<&str> = option_env!("NFTPOL_COMMIT");

/// `nftpol version`.
#[derive(Debug, Args)]
pub struct Version {
    /// Form of the output.
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
}

impl Version {
    /// Prints it.
    ///
    /// # Errors
    /// Standard output cannot be written.
    pub fn run(&self) -> Result<ExitCode> {
        let version = env!("CARGO_PKG_VERSION");
        let text = match self.output {
            Output::Text => {
                let commit = COMMIT.map(|commit| format!(", commit {commit}"));
                format!("nftpol {version} (Kubernetes {KUBERNETES}{})", commit.unwrap_or_default())
            }
            Output::Json => {
                let all = json!({"version": version, "commit": COMMIT, "kubernetes": KUBERNETES});
                all.to_string()
            }
        };
        writeln!(std::io::stdout(), "{text}").context("write the version")?;
        Ok(ExitCode::SUCCESS)
    }
}
