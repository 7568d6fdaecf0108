//! Pods that kubelets created, as endpoints of this process.
//!
//! From a pod's name you get its addresses and the network namespace that
//! containerd created for it. This process can open sockets there. You can also
//! choose the addresses that a node gives to its next pods. Never: starts a program
//! in the pod, or ends the pod.

use std::collections::BTreeSet;
use std::fs;
use std::net::IpAddr;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use netbed::net::Namespace;
use netbed::testbed::{Endpoint, Role};
use nix::ifaddrs::getifaddrs;
use serde_json::Value;

use super::{Kubernetes, plugins};

/// Where containerd keeps the network namespaces of its pods, seen from the root of
/// their node (`netns_mounts_under_state_dir` in its docs/cri/config.md, off by
/// default).
const NAMESPACES: &str = "run/netns";
/// Where the plugin `host-local` keeps addresses, in the node's folder. It has a
/// file for each taken address, and one with the last address given.
const ADDRESSES: &str = "lib/cni/networks";
const LAST: &str = "last_reserved_ip";

impl Kubernetes {
    /// The pod `namespace/name`, which must already have its addresses. A pod in
    /// its node's network has the node's namespace.
    ///
    /// # Errors
    /// When there is no such pod, or it has no address or namespace yet.
    pub fn pod(&self, name: &str) -> Result<Endpoint> {
        let (namespace, pod) = name.split_once('/').context("a pod's name is namespace/name")?;
        let object = self.kubectl(&["-n", namespace, "get", "pod", pod, "-o", "json"], "")?;
        let object: Value = serde_json::from_str(&object.success()?).context("read the pod")?;
        let node = object["spec"]["nodeName"]
            .as_str()
            .with_context(|| format!("{name} has no node yet"))?;
        let index = self.nodes.iter().position(|one| one.name() == node).context("no such node")?;
        let addresses = object["status"]["podIPs"].as_array().into_iter().flatten();
        let addresses: Vec<IpAddr> = addresses
            .filter_map(|one| one["ip"].as_str())
            .map(str::parse)
            .collect::<Result<_, _>>()
            .with_context(|| format!("read the addresses of {name}"))?;
        let own = *addresses.first().with_context(|| format!("{name} has no address yet"))?;
        let namespace = if object["spec"]["hostNetwork"] == true {
            Namespace::lent(self.cluster.endpoint(node)?.namespace.path())?
        } else {
            self.namespace_of(index, own)?
                .with_context(|| format!("no pod on {node} has the address {own}"))?
        };
        Ok(Endpoint {
            name: name.to_owned(),
            role: Role::Pod { node: index },
            namespace,
            addresses,
        })
    }

    /// Lets a node give its next pod the lowest free address. By itself it
    /// continues from the last one, so that addresses are used again only after two
    /// hundred pods (cni.dev/plugins/current/ipam/host-local).
    ///
    /// # Errors
    /// When there is no such node.
    pub fn reuse_addresses(&self, node: &str) -> Result<()> {
        let files = self.addresses_of(node)?;
        for file in files.into_iter().flatten() {
            let path = file?.path();
            if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(LAST)) {
                fs::remove_file(&path).with_context(|| format!("remove {}", path.display()))?;
            }
        }
        Ok(())
    }

    /// Whether a node has given this address to a pod that is not gone yet.
    ///
    /// # Errors
    /// When there is no such node.
    pub fn has_given(&self, node: &str, address: IpAddr) -> Result<bool> {
        let name = address.to_string();
        let files = self.addresses_of(node)?;
        Ok(files
            .into_iter()
            .flatten()
            .flatten()
            .any(|file| file.file_name().to_string_lossy() == name))
    }

    /// The folder where the plugin `host-local` of a node records addresses. The
    /// plugin creates the folder for its first pod.
    fn addresses_of(&self, node: &str) -> Result<Option<fs::ReadDir>> {
        let node = self.nodes.iter().find(|one| one.name() == node).context("no such node")?;
        let path = node.path(ADDRESSES).join(plugins::NETWORK);
        if !path.exists() {
            return Ok(None);
        }
        fs::read_dir(&path).map(Some).with_context(|| format!("read {}", path.display()))
    }

    /// The network namespaces of a node's pods, by the files that name them.
    ///
    /// # Errors
    /// When there is no such node, or they cannot be listed.
    pub fn namespaces_of_pods(&self, node: &str) -> Result<BTreeSet<PathBuf>> {
        let index = self.nodes.iter().position(|one| one.name() == node);
        self.namespaces(index.context("no such node")?)
    }

    /// The pod whose namespace is not among these, as soon as the namespace has an
    /// address. That is before its first container is created, and long before the
    /// API server knows the address. `None` when none appears within this time.
    ///
    /// # Errors
    /// As [`Kubernetes::namespaces_of_pods`].
    pub fn newcomer(
        &self,
        node: &str,
        known: &BTreeSet<PathBuf>,
        patience: Duration,
    ) -> Result<Option<Endpoint>> {
        let index = self.nodes.iter().position(|one| one.name() == node);
        let index = index.context("no such node")?;
        let start = Instant::now();
        while start.elapsed() < patience {
            for path in self.namespaces(index)?.difference(known) {
                // Its file exists before the namespace itself.
                let Ok(namespace) = Namespace::lent(path.clone()) else { continue };
                let addresses = namespace.run(global).unwrap_or_default();
                if !addresses.is_empty() {
                    let (name, role) = (node.to_owned() + "'s newest", Role::Pod { node: index });
                    return Ok(Some(Endpoint { name, role, namespace, addresses }));
                }
            }
            sleep(Duration::from_millis(1));
        }
        Ok(None)
    }

    fn namespaces(&self, node: usize) -> Result<BTreeSet<PathBuf>> {
        let node = self.nodes.get(node).context("no such node")?;
        let folder = PathBuf::from(format!("/proc/{}/root", node.process_one())).join(NAMESPACES);
        // It is created with the first pod.
        if !folder.exists() {
            return Ok(BTreeSet::new());
        }
        let entries = fs::read_dir(&folder).and_then(|entries| {
            entries.map(|entry| Ok(entry?.path())).collect::<std::io::Result<_>>()
        });
        entries.with_context(|| format!("read {}", folder.display()))
    }

    /// The namespace on this node that has this address.
    fn namespace_of(&self, node: usize, address: IpAddr) -> Result<Option<Namespace>> {
        for path in self.namespaces(node)? {
            // A namespace that ended in the meantime does not have the address.
            let Ok(namespace) = Namespace::lent(path) else { continue };
            if namespace.run(|| has(address)).unwrap_or(false) {
                return Ok(Some(namespace));
            }
        }
        Ok(None)
    }
}

/// Whether a device of this thread's namespace has the address.
fn has(address: IpAddr) -> bool {
    let all = getifaddrs().into_iter().flatten();
    let mut all = all.filter_map(|one| one.address);
    all.any(|one| match address {
        IpAddr::V4(wanted) => one.as_sockaddr_in().is_some_and(|one| one.ip() == wanted),
        IpAddr::V6(wanted) => one.as_sockaddr_in6().is_some_and(|one| one.ip() == wanted),
    })
}

/// The addresses by which others reach this thread's namespace.
fn global() -> Vec<IpAddr> {
    let all = getifaddrs().into_iter().flatten().filter_map(|one| one.address);
    let all = all.filter_map(|one| {
        let v4 = one.as_sockaddr_in().map(|one| IpAddr::V4(one.ip()));
        v4.or_else(|| one.as_sockaddr_in6().map(|one| IpAddr::V6(one.ip())))
    });
    let local = |one: &IpAddr| match one {
        IpAddr::V4(one) => one.is_loopback() || one.is_link_local(),
        IpAddr::V6(one) => one.is_loopback() || one.is_unicast_link_local(),
    };
    all.filter(|one| !local(one)).collect()
}
