//! Translates a pod's spec into flags of `ctr run`.
//!
//! Returns flags for the rights of the process, its arguments and its service
//! account. Never: a setting that is silently ignored. Each one is translated here
//! or listed as irrelevant to the process. Any other is an error.

use anyhow::{Context, Result, bail, ensure};
use k8s_openapi::api::core::v1::PodSpec;
use k8s_openapi::serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// Settings of a pod for the scheduler and the kubelet.
const OF_THE_POD: [&str; 9] = [
    "dnsPolicy",
    "nodeSelector",
    "priorityClassName",
    "restartPolicy",
    "schedulerName",
    // The old name of serviceAccountName.
    "serviceAccount",
    "terminationGracePeriodSeconds",
    "tolerations",
    // Read together with those of the container, which take precedence.
    "securityContext",
];
/// Settings of a container for the kubelet.
const OF_THE_CONTAINER: [&str; 11] = [
    "image",
    "imagePullPolicy",
    "livenessProbe",
    "name",
    "ports",
    "readinessProbe",
    "resources",
    "securityContext",
    "startupProbe",
    "terminationMessagePath",
    "terminationMessagePolicy",
];

/// What to pass to `ctr run`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Settings {
    /// Its flags.
    pub flags: Vec<String>,
    /// The program's arguments.
    pub arguments: Vec<String>,
    /// The service account.
    pub account: String,
}

/// Reads a pod's spec. `default` are the capabilities of a container whose spec
/// does not mention them.
pub(super) fn read(pod: &PodSpec, node: &str, default: &[String]) -> Result<Settings> {
    let mut pod = object(serde_json::to_value(pod)?)?;
    let mut containers: Vec<Value> = take(&mut pod, "containers")?;
    let mut container = object(containers.pop().context("no container")?)?;
    ensure!(containers.is_empty(), "more than one container");
    let mut security: Map<String, Value> = get(&pod, "securityContext")?;
    security.extend(get::<Map<_, _>>(&container, "securityContext")?);

    let mut flags = Vec::new();
    ensure!(take::<bool>(&mut pod, "hostNetwork")?, "the pod must use hostNetwork");
    flags.push("--net-host".to_owned());
    for one in take::<Vec<Value>>(&mut container, "env")? {
        flags.push(format!("--env={}", variable(&one, node)?));
    }
    flags.extend(allowed(security, default)?);
    let account = take(&mut pod, "serviceAccountName")?;
    let arguments = take(&mut container, "args")?;
    nothing_else(pod, &OF_THE_POD)?;
    nothing_else(container, &OF_THE_CONTAINER)?;
    Ok(Settings { flags, arguments, account })
}

fn variable(one: &Value, node: &str) -> Result<String> {
    let name = one["name"].as_str().context("a variable without a name")?;
    let value = one["value"].as_str();
    let of_the_node = one.pointer("/valueFrom/fieldRef/fieldPath") == Some(&"spec.nodeName".into());
    let value = value.or(of_the_node.then_some(node)).with_context(|| format!("{one}"))?;
    Ok(format!("{name}={value}"))
}

/// The flags of a security context.
fn allowed(mut security: Map<String, Value>, default: &[String]) -> Result<Vec<String>> {
    let mut flags = Vec::new();
    match security.remove("seccompProfile").as_ref().map(|profile| &profile["type"]) {
        Some(kind) if kind == "RuntimeDefault" => flags.push("--seccomp".to_owned()),
        Some(kind) if kind != "Unconfined" => bail!("seccompProfile {kind}"),
        _ => {}
    }
    // containerd 1.6 has no flag for it. It runs a program as root if no image
    // names a user.
    for key in ["runAsUser", "runAsGroup"] {
        ensure!(take::<u32>(&mut security, key)? == 0, "{key} is not 0");
    }
    // Escalation is allowed unless the spec forbids it (kubelet, AddNoNewPrivileges).
    if security.remove("allowPrivilegeEscalation") != Some(false.into()) {
        flags.push("--allow-new-privs".to_owned());
    }
    if take(&mut security, "readOnlyRootFilesystem")? {
        flags.push("--read-only".to_owned());
    }
    let mut capabilities: Map<String, Value> = take(&mut security, "capabilities")?;
    for name in take::<Vec<String>>(&mut capabilities, "drop")? {
        match name.as_str() {
            "ALL" => flags.extend(default.iter().map(|name| format!("--cap-drop={name}"))),
            name => flags.push(format!("--cap-drop=CAP_{name}")),
        }
    }
    for name in take::<Vec<String>>(&mut capabilities, "add")? {
        flags.push(format!("--cap-add=CAP_{name}"));
    }
    nothing_else(capabilities, &[])?;
    nothing_else(security, &[])?;
    Ok(flags)
}

fn object(value: Value) -> Result<Map<String, Value>> {
    serde_json::from_value(value).context("no object")
}

/// A field's value, or the default of its type.
fn get<T: DeserializeOwned + Default>(of: &Map<String, Value>, key: &str) -> Result<T> {
    let value = of.get(key).cloned();
    let read = value.map(|value| serde_json::from_value(value).with_context(|| key.to_owned()));
    Ok(read.transpose()?.unwrap_or_default())
}

fn take<T: DeserializeOwned + Default>(from: &mut Map<String, Value>, key: &str) -> Result<T> {
    let value = get(from, key);
    from.remove(key);
    value
}

fn nothing_else(left: Map<String, Value>, elsewhere: &[&str]) -> Result<()> {
    let unknown = left.into_iter().find(|(key, _)| !elsewhere.contains(&key.as_str()));
    unknown.map_or(Ok(()), |(key, value)| bail!("{key} is not translated: {value}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read_of(security: Value) -> Result<Settings> {
        let pod = serde_json::from_value(json!({
            "hostNetwork": true,
            "serviceAccountName": "somebody",
            "containers": [{
                "name": "main",
                "args": ["agent"],
                "env": [
                    {"name": "A", "value": "b"},
                    {"name": "N", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
                ],
                "securityContext": security,
            }],
        }))?;
        read(&pod, "node-1", &["CAP_KILL".to_owned(), "CAP_CHOWN".to_owned()])
    }

    #[test]
    fn each_setting_is_a_flag() -> Result<()> {
        let strict = read_of(json!({
            "allowPrivilegeEscalation": false,
            "readOnlyRootFilesystem": true,
            "seccompProfile": {"type": "RuntimeDefault"},
            "capabilities": {"drop": ["ALL"], "add": ["NET_ADMIN"]},
        }))?;
        let flags = [
            "--net-host",
            "--env=A=b",
            "--env=N=node-1",
            "--seccomp",
            "--read-only",
            "--cap-drop=CAP_KILL",
            "--cap-drop=CAP_CHOWN",
            "--cap-add=CAP_NET_ADMIN",
        ];
        assert_eq!(strict.flags, flags);
        assert_eq!((strict.arguments, strict.account.as_str()), (vec!["agent".into()], "somebody"));
        let lax = read_of(json!({}))?;
        assert_eq!(lax.flags[3..], ["--allow-new-privs"]);
        Ok(())
    }

    #[test]
    fn a_setting_that_is_not_carried_over_is_an_error() {
        let unknown = [
            json!({"privileged": true}),
            json!({"runAsUser": 1000}),
            json!({"seccompProfile": {"type": "Localhost", "localhostProfile": "a"}}),
        ];
        for security in unknown {
            assert!(read_of(security.clone()).is_err(), "{security}");
        }
    }
}
