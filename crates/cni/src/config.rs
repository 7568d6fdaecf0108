//! The plugin's part of a network configuration list, and what the runtime adds to it.
//!
//! In: JSON on standard input. Out: the options, the result of the plugin before.
//! Never: a field of that result that is changed or lost.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use crate::error::PluginError;
use crate::wire::Attachment;

/// The versions that the plugin speaks. 0.3.0 differs from 0.3.1 in nothing that matters
/// here; the version before has results of another form.
pub const VERSIONS: [&str; 5] = ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"];

/// How long ADD waits if the configuration does not say.
const WAIT_MS: u64 = 2000;
/// How long it may be told to wait. A kubelet gives a sandbox two minutes.
const LONGEST_MS: u64 = 60_000;

/// A configuration.
#[derive(Clone, Debug, Deserialize)]
pub struct Config {
    /// `cniVersion`.
    #[serde(rename = "cniVersion", default)]
    pub version: String,
    /// What the plugin before answered.
    #[serde(rename = "prevResult")]
    pub previous: Option<Value>,
    /// How long ADD waits for the agent, in milliseconds.
    #[serde(rename = "waitMs", default = "wait_ms")]
    wait_ms: u64,
    /// What ADD does when the agent gives no answer in that time.
    #[serde(rename = "withoutAgent", default)]
    pub without_agent: WithoutAgent,
    /// All attachments that there are (SPEC.md 1.1, "GC").
    #[serde(rename = "cni.dev/valid-attachments")]
    pub attachments: Option<BTreeSet<Attachment>>,
    /// The same, as earlier drafts call it.
    #[serde(rename = "cni.dev/attachments")]
    pub earlier: Option<BTreeSet<Attachment>>,
}

/// What ADD does when the agent gives no answer in time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WithoutAgent {
    /// It fails, and the kubelet tries again: no pod starts without its rules.
    #[default]
    Fail,
    /// It goes on. The pod is then as without the plugin: shut only where the table shuts
    /// addresses that nobody names (`--unknown-pods`).
    Continue,
}

const fn wait_ms() -> u64 {
    WAIT_MS
}

impl Config {
    /// Reads it.
    ///
    /// # Errors
    /// It is no configuration, or of a version that is not known.
    pub fn parse(text: &[u8]) -> Result<Self, PluginError> {
        let config: Self = serde_json::from_slice(text)
            .map_err(|error| PluginError::Configuration(error.to_string()))?;
        match VERSIONS.contains(&config.version.as_str()) {
            true => Ok(config),
            false => Err(PluginError::Version(config.version)),
        }
    }

    /// How long ADD waits.
    pub fn wait(&self) -> Duration {
        Duration::from_millis(self.wait_ms.min(LONGEST_MS))
    }

    /// The result of the plugin before.
    ///
    /// # Errors
    /// There is none: the plugin is not chained.
    pub fn previous(&self) -> Result<&Value, PluginError> {
        self.previous.as_ref().ok_or_else(|| {
            PluginError::Configuration(
                "no prevResult: nftpol-cni gives no address; put it behind the plugin that does"
                    .to_owned(),
            )
        })
    }

    /// The interfaces in that result that are in no sandbox, by name: the node's
    /// (SPEC.md 1.1, "ADD Success": "`sandbox` ... Interfaces in the host network namespace
    /// have no sandbox").
    ///
    /// # Errors
    /// There is no result.
    pub fn host_interfaces(&self) -> Result<Vec<&str>, PluginError> {
        let all = self.previous()?["interfaces"].as_array().map_or(&[][..], Vec::as_slice);
        let is_hosts = |one: &&Value| one["sandbox"].as_str().is_none_or(str::is_empty);
        let names = all.iter().filter(is_hosts).filter_map(|one| one["name"].as_str());
        Ok(names.filter(|name| !name.is_empty()).collect())
    }

    /// The addresses in that result (SPEC.md, "ADD Success": `ips[].address` is a CIDR).
    ///
    /// # Errors
    /// One is none.
    pub fn addresses(&self) -> Result<BTreeSet<IpAddr>, PluginError> {
        let ips = self.previous()?["ips"].as_array().map_or(&[][..], Vec::as_slice);
        let address = |ip: &Value| {
            let text = ip["address"].as_str()?;
            text.split_once('/').map_or(text, |(address, _)| address).parse().ok()
        };
        let wrong =
            |ip: &Value| PluginError::Configuration(format!("prevResult has no address in {ip}"));
        ips.iter().map(|ip| address(ip).ok_or_else(|| wrong(ip))).collect()
    }
}
