//! A pod as the CNI plugins make it, and a call of the plugin.

use std::io::Write;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result};
use netbed::net::{Namespace, veth};
use netbed::program::{self, Finished};
use policy::{Labels, ObjectKey, Phase, Pod};
use samples::testbed_spec::pod_address;
use serde_json::{Value, json};

/// The node.
pub const NODE: &str = "node-1";
/// Lets the agent answer the plugin.
pub const ANSWERS: &str = "--cni-plugin";
/// Where pods are sent to.
pub const PORT: u16 = 7778;

/// A new pod on the node's bridge.
pub struct Newcomer {
    pub name: String,
    pub address: IpAddr,
    pub namespace: Namespace,
    host_end: String,
}

impl Newcomer {
    /// Makes it. `number` decides its address; the test's other pods have low ones.
    pub fn new(node: &Namespace, number: usize) -> Result<Self> {
        let (namespace, address) = (Namespace::new("nc")?, pod_address(0, number, false));
        let host_end = format!("new{number}");
        veth((&namespace, "eth0"), (node, &host_end))?;
        node.ip(&format!("link set {host_end} master cni0"))?;
        let gateway = pod_address(0, 1, false);
        namespace
            .ip(&format!("address add {address}/24 dev eth0\nroute add default via {gateway}"))?;
        Ok(Self { name: format!("first-{number}"), address, namespace, host_end })
    }

    /// What hears what is sent to it.
    pub fn socket(&self) -> Result<UdpSocket> {
        let at = SocketAddr::new(self.address, PORT);
        let socket = self.namespace.run(|| UdpSocket::bind(at))?.context("listen in a pod")?;
        socket.set_read_timeout(Some(Duration::from_millis(20)))?;
        Ok(socket)
    }

    /// Its object, with or without its address.
    pub fn object(&self, reported: bool) -> Pod {
        Pod { addresses: if reported { vec![self.address] } else { vec![] }, ..object(&self.name) }
    }

    /// Runs the plugin for it.
    pub fn call(&self, node: &Namespace, command: &str, more: &Value) -> Result<Finished> {
        let result = json!({
            "cniVersion": "1.0.0",
            "interfaces": [
                {"name": self.host_end},
                {"name": "eth0", "sandbox": self.namespace.path()},
            ],
            "ips": [{"address": format!("{}/24", self.address), "interface": 1}],
        });
        call(node, command, &self.name, &result, more)
    }
}

/// A pod's object that a kubelet has not reported on.
pub fn object(name: &str) -> Pod {
    Pod {
        key: ObjectKey::new("dev", name),
        labels: [("kind".to_owned(), "first".to_owned())].into_iter().collect::<Labels>(),
        node: Some(NODE.to_owned()),
        addresses: Vec::new(),
        host_addresses: Vec::new(),
        host_network: false,
        phase: Phase::Pending,
        created: 0,
        is_ending: false,
        grace_seconds: 0,
        attachment: policy::Attachment::default(),
        ports: Vec::new(),
    }
}

/// Runs the plugin in the node's network, as a container runtime does.
pub fn call(
    node: &Namespace,
    command: &str,
    pod: &str,
    result: &Value,
    more: &Value,
) -> Result<Finished> {
    let mut config = json!({"cniVersion": "1.0.0", "name": "pods", "type": "nftpol-cni"});
    config["prevResult"] = result.clone();
    for (key, value) in more.as_object().into_iter().flatten() {
        config[key] = value.clone();
    }
    let mut child = node
        .command(program::beside("nftpol-cni")?)
        .env("CNI_COMMAND", command)
        .env("CNI_CONTAINERID", format!("sandbox-of-{pod}"))
        .env("CNI_IFNAME", "eth0")
        .env("CNI_NETNS", "/run/netns/any")
        .env("CNI_PATH", "/usr/lib/cni")
        .env("CNI_ARGS", format!("IgnoreUnknown=1;K8S_POD_NAMESPACE=dev;K8S_POD_NAME={pod}"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("start nftpol-cni")?;
    let mut stdin = child.stdin.take().context("its standard input")?;
    stdin.write_all(config.to_string().as_bytes()).context("give it its configuration")?;
    drop(stdin);
    let output = child.wait_with_output().context("wait for nftpol-cni")?;
    Ok(Finished {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

/// A policy that isolates all newcomers in both directions and allows nothing.
pub const POLICY: &str = "apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: first, namespace: dev}
spec:
  podSelector: {matchLabels: {kind: first}}
  policyTypes: [Ingress, Egress]
";
