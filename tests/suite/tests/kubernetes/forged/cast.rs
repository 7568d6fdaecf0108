//! The pods, policies and Services of the scene.

use std::net::IpAddr;

use anyhow::{Context, Result};
use kubebed::kubernetes::AGNHOST;
use netbed::testbed::Endpoint;
use serde_json::{Value, json};

use super::packet;
use crate::scene::{Scene, addresses, namespace, pod, policy};

pub const NAMESPACE: &str = "forged";
/// `nobody`, the user of the attackers.
pub const USER: u32 = 65_534;
/// Where the attackers' program listens. Their user may not bind lower ports
/// everywhere.
pub const HTTP: u16 = 8080;
/// Where the Services of the attacker lead to.
pub const BACKEND: u16 = 5000;
/// `externalTrafficPolicy` of the attacker's Services, and their node ports.
pub const NODE_PORTS: [(&str, u16); 2] = [("Cluster", 30_091), ("Local", 30_092)];
/// Services without a selector, whose endpoint is a node's tunnel, and their node ports.
const TO_TUNNELS: [(&str, u16); 2] = [("tunnel4", 30_093), ("tunnel6", 30_094)];

/// Who takes part.
pub struct Cast {
    /// On node-1. No policy selects it.
    pub attacker: Endpoint,
    /// On node-1. It may send to nobody.
    pub silent: Endpoint,
    /// On node-1.
    pub friend: Endpoint,
    /// On node-2. Nobody may send to it.
    pub victim: Endpoint,
    /// On node-2. The friend alone may send to it.
    pub choosy: Endpoint,
    /// On node-2. Everybody may send to it.
    pub open: Endpoint,
}

impl Scene {
    /// Creates them and waits until they serve.
    pub fn cast(&self) -> Result<Cast> {
        self.put(&objects()?)?;
        self.pods_ready(NAMESPACE)?;
        let pod = |name: &str| self.kubernetes.pod(&format!("{NAMESPACE}/{name}"));
        let cast = Cast {
            attacker: pod("attacker")?,
            silent: pod("silent")?,
            friend: pod("friend")?,
            victim: pod("victim")?,
            choosy: pod("choosy")?,
            open: pod("open")?,
        };
        for forger in [&cast.attacker, &cast.silent] {
            packet::without_capabilities(forger, USER)?;
        }
        Ok(cast)
    }

    /// A Service in front of this node's tunnel: its ClusterIP and its node port.
    pub fn service_to_tunnel(&self, node: IpAddr, port: u16) -> Result<(IpAddr, u16)> {
        let (name, node_port) = TO_TUNNELS[usize::from(node.is_ipv6())];
        let family = if node.is_ipv6() { "IPv6" } else { "IPv4" };
        let meta = json!({"name": name, "namespace": NAMESPACE, "labels": {"name": name}});
        let mut slice = meta.clone();
        slice["labels"] = json!({"kubernetes.io/service-name": name});
        self.put(&[
            json!({
                "apiVersion": "v1", "kind": "Service", "metadata": meta,
                "spec": {
                    "type": "NodePort",
                    "ipFamilies": [family],
                    "ports": [{"port": 53, "protocol": "UDP", "nodePort": node_port}],
                },
            }),
            json!({
                "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": slice,
                "addressType": family,
                "endpoints": [{"addresses": [node]}],
                "ports": [{"name": "", "port": port, "protocol": "UDP"}],
            }),
        ])?;
        let found = self.list(NAMESPACE, "service", &format!("name={name}"))?;
        let addresses = found.first().map(addresses).unwrap_or_default();
        let address = addresses.first().copied().context("a Service without ClusterIP")?;
        Ok((address, node_port))
    }
}

fn objects() -> Result<Vec<Value>> {
    let select = |name: &str| json!({"matchLabels": {"app": name}});
    let friend = json!([{"from": [{"podSelector": select("friend")}]}]);
    let named =
        |name: &str, node: &str| pod(&format!("{NAMESPACE}/{name}"), node, json!({"app": name}));
    let mut all = vec![
        namespace(NAMESPACE, json!({})),
        forger("attacker")?,
        forger("silent")?,
        named("friend", "node-1")?,
        named("victim", "node-2")?,
        named("choosy", "node-2")?,
        named("open", "node-2")?,
        policy(
            "forged/victim",
            json!({"podSelector": select("victim"), "policyTypes": ["Ingress"]}),
        )?,
        policy("forged/choosy", json!({"podSelector": select("choosy"), "ingress": friend}))?,
        policy(
            "forged/silent",
            json!({"podSelector": select("silent"), "policyTypes": ["Egress"]}),
        )?,
    ];
    all.extend(NODE_PORTS.map(|(traffic, port)| {
        json!({
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": traffic.to_lowercase(), "namespace": NAMESPACE},
            "spec": {
                "type": "NodePort",
                "externalTrafficPolicy": traffic,
                "ipFamilyPolicy": "PreferDualStack",
                "selector": {"app": "attacker"},
                "ports": [{"protocol": "UDP", "port": 53, "targetPort": BACKEND, "nodePort": port}],
            },
        })
    }));
    Ok(all)
}

/// A pod whose program is nobody's and has no capability.
fn forger(name: &str) -> Result<Value> {
    let mut pod = pod(&format!("{NAMESPACE}/{name}"), "node-1", json!({"app": name}))?;
    pod["spec"]["containers"] = json!([{
        "name": "main",
        "image": AGNHOST,
        "args": ["netexec", format!("--http-port={HTTP}")],
        "readinessProbe": {"periodSeconds": 1, "httpGet": {"path": "/healthz", "port": HTTP}},
        "securityContext": {
            "runAsUser": USER,
            "runAsNonRoot": true,
            "allowPrivilegeEscalation": false,
            "capabilities": {"drop": ["ALL"]},
        },
    }]);
    Ok(pod)
}
