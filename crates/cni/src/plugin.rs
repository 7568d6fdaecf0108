//! The commands of CNI.
//!
//! In: the environment of the call, the configuration. Out: what is printed. Never: a DEL
//! that fails: a pod that ends must not be held up, and the agent finds out by itself.
//!
//! | command | asks the agent | without an answer |
//! |---|---|---|
//! | ADD | whose the addresses are, and which interfaces of the node were made for them; waits until the rules are in force | `withoutAgent`: fails with code 11, or goes on |
//! | DEL | that the attachment ends | succeeds |
//! | CHECK | whether the rules are in force | fails with code 11 |
//! | STATUS (1.1) | whether it can answer ADD | fails with code 50, or succeeds, as ADD |
//! | GC (1.1) | that these are all attachments | succeeds |
//! | VERSION | nothing | |

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};

use crate::agent;
use crate::config::{Config, VERSIONS, WithoutAgent};
use crate::error::PluginError;
use crate::wire::{Attachment, Interface, PodName, Reply, Request};

/// How long a command waits whose answer changes nothing.
const SHORT: Duration = Duration::from_millis(500);

/// What a runtime says in the environment.
#[derive(Clone, Debug, Default)]
pub struct Call {
    /// `CNI_COMMAND`.
    pub command: String,
    /// `CNI_CONTAINERID`.
    pub container: String,
    /// `CNI_IFNAME`.
    pub interface: String,
    /// `CNI_ARGS`.
    pub arguments: String,
}

impl Call {
    /// That of this process.
    pub fn of_environment() -> Self {
        let variable = |name| std::env::var(name).unwrap_or_default();
        Self {
            command: variable("CNI_COMMAND"),
            container: variable("CNI_CONTAINERID"),
            interface: variable("CNI_IFNAME"),
            arguments: variable("CNI_ARGS"),
        }
    }

    /// The pod, where a Kubernetes runtime calls (`K8S_POD_NAMESPACE`, `K8S_POD_NAME` and
    /// `K8S_POD_UID` of `CNI_ARGS`, as containerd since 1.6 and CRI-O pass them).
    fn pod(&self) -> Option<PodName> {
        let of = |key: &str| {
            let mut all = self.arguments.split(';').filter_map(|one| one.split_once('='));
            all.find(|(name, _)| *name == key).map(|(_, value)| value.to_owned())
        };
        let (namespace, name) = (of("K8S_POD_NAMESPACE")?, of("K8S_POD_NAME")?);
        let uid = of("K8S_POD_UID").filter(|uid| !uid.is_empty());
        (!namespace.is_empty() && !name.is_empty()).then_some(PodName { namespace, name, uid })
    }

    fn attachment(&self) -> Result<Attachment, PluginError> {
        let missing = |variable| PluginError::Environment(variable, "is missing");
        match (self.container.as_str(), self.interface.as_str()) {
            ("", _) => Err(missing("CNI_CONTAINERID")),
            (_, "") => Err(missing("CNI_IFNAME")),
            (container, interface) => {
                Ok(Attachment { container: container.to_owned(), interface: interface.to_owned() })
            }
        }
    }
}

/// Runs a command. Returns what to print, if anything.
///
/// # Errors
/// See [`PluginError`].
pub fn run(call: &Call, input: &[u8]) -> Result<Option<Value>, PluginError> {
    if call.command == "VERSION" {
        let newest = VERSIONS.last().copied().unwrap_or_default();
        return Ok(Some(json!({"cniVersion": newest, "supportedVersions": VERSIONS})));
    }
    let config = Config::parse(input)?;
    match call.command.as_str() {
        "ADD" => add(call, &config).map(Some),
        "DEL" => {
            if let Ok(attachment) = call.attachment() {
                let detach = |_| Request::Detach { attachment: attachment.clone() };
                // The agent sees by itself when the interface is gone.
                let _ = agent::ask(SHORT, detach);
            }
            Ok(None)
        }
        "CHECK" => check(call, &config).map(|()| None),
        "STATUS" => status(&config).map(|()| None),
        "GC" => {
            if let Some(all) = config.attachments.or(config.earlier) {
                let _ = agent::ask(SHORT, |_| Request::Keep { attachments: all.clone() });
            }
            Ok(None)
        }
        _ => Err(PluginError::Environment("CNI_COMMAND", "is no command of CNI")),
    }
}

fn add(call: &Call, config: &Config) -> Result<Value, PluginError> {
    let result = config.previous()?.clone();
    let addresses = config.addresses()?;
    let attachment = call.attachment()?;
    // Another runtime than Kubernetes', or a plugin before that gives no address.
    let (Some(pod), false) = (call.pod(), addresses.is_empty()) else { return Ok(result) };
    let interfaces = interfaces(config)?;
    let attach = |left: Duration| Request::Attach {
        attachment: attachment.clone(),
        pod: pod.clone(),
        addresses: addresses.clone(),
        interfaces: interfaces.clone(),
        // Its answer has to arrive.
        wait_ms: u64::try_from(left.mul_f32(0.9).as_millis()).unwrap_or(u64::MAX),
    };
    let problem = match agent::ask(config.wait(), attach) {
        Ok(Reply::InForce {} | Reply::Isolated {} | Reply::Done {}) => return Ok(result),
        Ok(Reply::NotReady(why) | Reply::Error(why)) => why,
        Err(error) => error.to_string(),
    };
    match config.without_agent {
        WithoutAgent::Continue => {
            eprintln!("nftpol-cni: {}/{} goes on: {problem}", pod.namespace, pod.name);
            Ok(result)
        }
        WithoutAgent::Fail => Err(PluginError::TryAgain(format!(
            "the rules of pod {}/{} are not in force: {problem}",
            pod.namespace, pod.name
        ))),
    }
}

/// The node's interfaces in the result before. A runtime calls plugins in the node's network
/// namespace (SPEC.md 1.1, "Parameters"). One that is not there is left out: the agent then
/// finds the pod's interface by itself.
fn interfaces(config: &Config) -> Result<Vec<Interface>, PluginError> {
    let names = config.host_interfaces()?.into_iter();
    let found = names.filter_map(|name| {
        let index = nix::net::if_::if_nametoindex(name).ok()?;
        Some(Interface { name: name.to_owned(), index })
    });
    Ok(found.collect())
}

fn check(call: &Call, config: &Config) -> Result<(), PluginError> {
    let addresses: BTreeSet<_> = config.addresses()?;
    let Some(pod) = call.pod() else { return Ok(()) };
    match agent::ask(config.wait(), |_| Request::Check {
        pod: pod.clone(),
        addresses: addresses.clone(),
    }) {
        Ok(Reply::InForce {} | Reply::Isolated {} | Reply::Done {}) => Ok(()),
        Ok(Reply::NotReady(why)) => Err(PluginError::TryAgain(why)),
        Ok(Reply::Error(why)) => Err(PluginError::NotInForce(why)),
        Err(error) => Err(PluginError::TryAgain(error.to_string())),
    }
}

fn status(config: &Config) -> Result<(), PluginError> {
    let problem = match (config.without_agent, agent::ask(SHORT, |_| Request::Status {})) {
        // ADD succeeds in any case.
        (WithoutAgent::Continue, _) => return Ok(()),
        (_, Ok(Reply::InForce {} | Reply::Isolated {} | Reply::Done {})) => return Ok(()),
        (_, Ok(Reply::NotReady(why) | Reply::Error(why))) => why,
        (_, Err(error)) => error.to_string(),
    };
    Err(PluginError::Unavailable(problem))
}

#[cfg(test)]
mod tests;
