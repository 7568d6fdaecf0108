//! A CNI plugin of the tests that gives each pod a second interface.
//!
//! In: what a runtime gives to a chained plugin (cni.dev/docs/spec, 1.0.0). Out: the
//! interface `net1` by the plugin `macvlan`, the first plugin's own result, and the
//! annotation that Multus writes (Kubernetes Network Custom Resource Definition De-facto
//! Standard 1.3, "Network Status Annotation"). It stands for Multus, whose place in a
//! cluster it does not have. Never: a change to the first interface.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use anyhow::{Context, Result, bail};
use netbed::program;
use serde_json::{Value, json};

use super::{Options, inside, plugins, plugins::Place};
use crate::apiserver;

/// The name of the plugin's file.
const PLUGIN: &str = "second-network";
/// The network, as a policy names it: namespace and name of a definition.
pub const NAME: &str = "default/second";
/// The interface.
pub const INTERFACE: &str = "net1";
/// The annotation.
const STATUS: &str = "k8s.v1.cni.cncf.io/network-status";

/// The plugin's entry in the list of plugins.
pub(super) fn settings(options: &Options, place: Place<'_>) -> Value {
    let ranges = options.families().iter().map(|&v6| {
        let node = place.index + 1;
        let (subnet, start) = match v6 {
            true => ("fd00:10:99::/48".to_owned(), format!("fd00:10:99:{node}::")),
            false => ("10.99.0.0/16".to_owned(), format!("10.99.{node}.")),
        };
        json!([{
            "subnet": subnet,
            "rangeStart": format!("{start}2"),
            "rangeEnd": format!("{start}{}", if v6 { "fe" } else { "254" }),
        }])
    });
    json!({
        "type": PLUGIN,
        "kubeconfig": place.kubeconfig,
        "delegate": {
            "name": "second",
            "type": "macvlan",
            "master": "eth0",
            "mode": "bridge",
            "ipam": {"type": "host-local", "ranges": ranges.collect::<Vec<_>>()},
        },
    })
}

/// Writes the plugin's file into a node's folder of plugins. It calls this program.
pub(super) fn install(folder: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let program = program::beside("cluster")?;
    let path = folder.join(PLUGIN);
    let script = format!("#!/bin/sh\nexec '{}' {}\n", program.display(), inside::SECOND);
    fs::write(&path, script).with_context(|| format!("write {}", path.display()))?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).context("make it executable")
}

/// One call of the plugin.
pub(super) fn call() -> Result<()> {
    let command = variable("CNI_COMMAND")?;
    if command == "VERSION" {
        let versions = ["0.3.1", "0.4.0", "1.0.0"];
        println!("{}", json!({"cniVersion": "1.0.0", "supportedVersions": versions}));
        return Ok(());
    }
    let config: Value = serde_json::from_reader(std::io::stdin()).context("read the config")?;
    match command.as_str() {
        "ADD" => {
            let result: Value =
                serde_json::from_str(&delegate(&config)?).context("read the second's result")?;
            annotate(&config, &result)?;
            println!("{}", config["prevResult"]);
        }
        "DEL" => drop(delegate(&config)?),
        "CHECK" => {}
        other => bail!("no command {other}"),
    }
    Ok(())
}

/// Calls the plugin that makes the interface, with the same command.
fn delegate(config: &Value) -> Result<String> {
    let mut own = config["delegate"].clone();
    own["cniVersion"] = config["cniVersion"].clone();
    let kind = own["type"].as_str().context("no type")?;
    let folders = variable("CNI_PATH")?;
    let found = env::split_paths(&folders).map(|folder| folder.join(kind));
    let plugin: PathBuf = found.into_iter().find(|path| path.exists()).context("no plugin")?;
    let mut command = Command::new(plugin);
    command.env("CNI_IFNAME", INTERFACE);
    let done = program::finish(command, &own.to_string())?;
    let said = done.stdout.clone();
    done.success().with_context(|| format!("{kind}: {said}"))
}

fn annotate(config: &Value, result: &Value) -> Result<()> {
    let arguments = variable("CNI_ARGS")?;
    let argument = |name: &str| {
        let mut pairs = arguments.split(';').filter_map(|pair| pair.split_once('='));
        let found = pairs.find(|(key, _)| *key == name).map(|(_, value)| value.to_owned());
        found.with_context(|| format!("no {name} in CNI_ARGS"))
    };
    let first = status(plugins::NETWORK, &variable("CNI_IFNAME")?, &config["prevResult"], true);
    let second = status(NAME, INTERFACE, result, false);
    let value = format!("{STATUS}={}", json!([first, second]));
    let mut command = Command::new(apiserver::program("kubectl")?);
    command.arg("--kubeconfig").arg(config["kubeconfig"].as_str().context("no kubeconfig")?);
    command.args(["-n", &argument("K8S_POD_NAMESPACE")?, "annotate", "--overwrite", "pod"]);
    command.args([argument("K8S_POD_NAME")?, value]).env("HOME", "/run").env("NO_PROXY", "*");
    program::finish(command, "")?.success().map(drop)
}

/// One entry of the annotation, from a plugin's result.
fn status(name: &str, interface: &str, result: &Value, default: bool) -> Value {
    let interfaces = result["interfaces"].as_array().into_iter().flatten();
    let mut inside = interfaces.filter(|one| one["sandbox"].is_string());
    let mac = inside.find(|one| one["name"] == interface).map(|one| one["mac"].clone());
    let addresses = result["ips"].as_array().into_iter().flatten();
    let addresses = addresses.filter_map(|one| one["address"].as_str()?.split('/').next());
    let mut status = json!({
        "name": name,
        "interface": interface,
        "ips": addresses.collect::<Vec<_>>(),
        "mac": mac,
        "dns": {},
    });
    if default {
        status["default"] = true.into();
    }
    status
}

fn variable(name: &str) -> Result<String> {
    env::var(name).with_context(|| format!("no ${name}: this is a CNI plugin"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_is_read_from_the_result() {
        let result = json!({
            "interfaces": [
                {"name": "veth1", "mac": "02:00:00:00:00:01"},
                {"name": "eth0", "mac": "02:00:00:00:00:02", "sandbox": "/run/netns/x"},
            ],
            "ips": [{"address": "10.244.1.2/24"}, {"address": "fd00::2/64"}],
        });
        let expected = json!({
            "name": "pods",
            "interface": "eth0",
            "ips": ["10.244.1.2", "fd00::2"],
            "mac": "02:00:00:00:00:02",
            "dns": {},
            "default": true,
        });
        assert_eq!(status("pods", "eth0", &result, true), expected);
    }
}
