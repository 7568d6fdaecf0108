//! What a runtime is told when the plugin fails.

use serde_json::{Value, json};

/// Why the plugin fails. The codes are those of CNI (SPEC.md 1.1, "Error").
#[derive(Debug, thiserror::Error)]
pub enum PluginError {
    /// The version of the configuration is none that the plugin knows.
    #[error("cniVersion {0} is not known")]
    Version(String),
    /// A variable of the environment is missing or wrong.
    #[error("environment variable {0}: {1}")]
    Environment(&'static str, &'static str),
    /// The configuration is no JSON, or lacks something.
    #[error("network configuration: {0}")]
    Configuration(String),
    /// Standard input cannot be read.
    #[error("read the network configuration: {0}")]
    Input(#[source] std::io::Error),
    /// The rules are not in force yet. The runtime should try again.
    #[error("{0}")]
    TryAgain(String),
    /// The plugin cannot serve now.
    #[error("{0}")]
    Unavailable(String),
    /// The rules of a pod are not in force.
    #[error("{0}")]
    NotInForce(String),
}

impl PluginError {
    const fn code(&self) -> u32 {
        match self {
            Self::Version(_) => 1,
            Self::Environment(..) => 4,
            Self::Input(_) => 5,
            Self::Configuration(_) => 7,
            Self::TryAgain(_) => 11,
            Self::Unavailable(_) => 50,
            // Codes from 100 on are the plugins' own.
            Self::NotInForce(_) => 100,
        }
    }

    /// As the runtime reads it.
    pub fn json(&self, version: &str) -> Value {
        json!({
            "cniVersion": version,
            "code": self.code(),
            "msg": format!("nftpol-cni: {self}"),
            "details": "",
        })
    }
}
