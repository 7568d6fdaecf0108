//! Further interfaces of pods, as Multus adds them.
//!
//! In: a pod, an interface's name, MAC and addresses. Out: an interface of kind macvlan on
//! the node's own link; the pods by these addresses. Never: a route beyond the interface's
//! own network, or a change to the pod's first interface.

use std::collections::BTreeMap;
use std::net::IpAddr;

use anyhow::{Result, ensure};

use super::{Endpoint, Role, Testbed, build};
use crate::net::Namespace;

/// The interface while it is on its way into the pod.
const ON_THE_WAY: &str = "further0";

impl Testbed {
    /// Adds an interface to a pod. Each address has the length of its network's prefix.
    ///
    /// # Errors
    /// When there is no such pod, or `ip` refuses something.
    pub fn add_interface(
        &self,
        pod: &str,
        interface: &str,
        mac: &str,
        addresses: &[(IpAddr, u8)],
    ) -> Result<()> {
        let pod = self.endpoint(pod)?;
        let Role::Pod { node } = pod.role else { anyhow::bail!("{} is no pod", pod.name) };
        let node = self.endpoint(&self.spec.nodes[node])?;
        node.namespace.ip(&format!(
            "link add link eth0 name {ON_THE_WAY} address {mac} type macvlan mode bridge\n\
             link set {ON_THE_WAY} netns {}",
            pod.namespace.name()
        ))?;
        // All networks of the tests are on one link. Each interface answers for its own
        // addresses alone (arp_ignore and arp_announce in ip-sysctl.rst, Linux 6.18).
        for (key, value) in [("arp_ignore", "1"), ("arp_announce", "2"), ("rp_filter", "0")] {
            pod.namespace.sysctl(&format!("ipv4.conf.all.{key}"), value)?;
        }
        let mut lines =
            format!("link set {ON_THE_WAY} name {interface}\nlink set {interface} up\n");
        for &(address, length) in addresses {
            lines.push_str(&build::add_address(address, length, interface));
        }
        pod.namespace.ip(&lines)
    }

    /// These pods by other addresses: those that they have on another network. It only sends
    /// and receives. The namespaces remain those of this testbed.
    ///
    /// # Errors
    /// When there is no such pod.
    pub fn by_other_addresses(&self, addresses: &BTreeMap<String, Vec<IpAddr>>) -> Result<Self> {
        ensure!(!addresses.is_empty(), "no pods");
        let endpoints = addresses.iter().map(|(name, addresses)| {
            let Endpoint { name, role, namespace, .. } = self.endpoint(name)?;
            let namespace = Namespace::lent(namespace.path())?;
            Ok(Endpoint {
                name: name.clone(),
                role: *role,
                namespace,
                addresses: addresses.clone(),
            })
        });
        Ok(Self {
            spec: self.spec.clone(),
            _tunnels: Vec::new(),
            endpoints: endpoints.collect::<Result<_>>()?,
            switch: Namespace::lent(self.switch.path())?,
            router: None,
            _turn: None,
        })
    }
}
