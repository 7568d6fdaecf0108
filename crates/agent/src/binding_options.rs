//! The operator's word on what is bound.
//!
//! In: the command line. Out: the pods to look for on the node's interfaces, the
//! operator's tunnels. Never: a tenant's word. A pod object
//! cannot ask to be left unbound.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use ipnet::IpNet;
use policy::{NodeNetwork, Pod, Selector, Tunnel, UnknownPods};

use crate::local_pods::LocalPods;

mod selector;

/// The shortest prefix of a range of pods: 10.0.0.0/8, `fd00::/8`.
const WIDEST: u8 = 8;

/// What the operator adds to what is seen on the node, or takes away from it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BindingOptions {
    /// Pods that route for others: VPN, virtual machines, gateways of meshes.
    pub unbound: Vec<UnboundPods>,
    /// Pods on bridges are not bound: the kernel cannot.
    pub no_bridges: bool,
    /// When what IPVS forwards is judged.
    pub ipvs: JudgeIpvs,
    /// What becomes of addresses in the pods' ranges that no object names.
    pub unknown_pods: UnknownPods,
}

/// When what IPVS forwards is judged, which takes rules for all that the node sends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum JudgeIpvs {
    /// While the kernel has IPVS.
    #[default]
    WhileThere,
    /// From the first commit on, so that nothing passes when IPVS starts.
    Always,
    /// The kernel cannot tell the node's own packets from others.
    Never,
}

/// The pods of a namespace, or some of them, that are not bound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnboundPods {
    namespace: String,
    labels: Selector,
}

/// A value of a flag that cannot be used: what it should look like.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidValue(String);

impl BindingOptions {
    /// The pods of a node that are bound to their interfaces, with those of which
    /// something is `kept`.
    pub fn bindable(&self, local: &LocalPods, kept: Vec<Arc<Pod>>) -> Vec<Arc<Pod>> {
        let is_unbound = |pod: &Pod| self.unbound.iter().any(|unbound| unbound.are(pod));
        let pods = local.iter().filter(|pod| pod.is_subject()).cloned().chain(kept);
        pods.filter(|pod| !is_unbound(pod)).collect()
    }

    /// What can be bound of what is seen.
    #[must_use]
    pub fn possible(&self, mut network: NodeNetwork) -> NodeNetwork {
        if self.no_bridges {
            network.ports =
                network.ports.into_iter().filter(|(_, it)| it.bridge.is_none()).collect();
            network.bridges.clear();
        }
        network.ipvs = match self.ipvs {
            JudgeIpvs::WhileThere => network.ipvs,
            JudgeIpvs::Always => true,
            JudgeIpvs::Never => false,
        };
        network.unknown_pods = self.unknown_pods;
        if self.unknown_pods == UnknownPods::Open {
            network.pod_ranges.clear();
        }
        network
    }
}

impl UnboundPods {
    fn are(&self, pod: &Pod) -> bool {
        pod.key.namespace == self.namespace && self.labels.matches(&pod.labels)
    }
}

/// `NAMESPACE` or `NAMESPACE/SELECTOR`, with a selector as kubectl takes it.
impl FromStr for UnboundPods {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let (namespace, labels) = match text.split_once('/') {
            Some((namespace, labels)) => (namespace, selector::parse(labels)?),
            None => (text, Selector::everything()),
        };
        let is_part = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if namespace.is_empty() || !namespace.bytes().all(is_part) {
            return Err(InvalidValue(format!(
                "{namespace:?} is not the name of a namespace; give NAMESPACE or \
                 NAMESPACE/SELECTOR, such as vpn/app=gateway"
            )));
        }
        Ok(Self { namespace: namespace.to_owned(), labels })
    }
}

/// As it is given.
impl fmt::Display for UnboundPods {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.labels.is_everything() {
            true => f.write_str(&self.namespace),
            false => write!(f, "{}/{}", self.namespace, self.labels),
        }
    }
}

/// A range of pods' addresses. What is not named there is dropped, so a wide one cuts
/// others off.
///
/// # Errors
/// It is no CIDR, or wider than any cluster.
pub fn pod_cidr(text: &str) -> Result<IpNet, InvalidValue> {
    let found = policy::cidr::parse(text).map_err(|error| InvalidValue(error.to_string()))?;
    match is_too_wide(&found) {
        true => Err(InvalidValue(format!(
            "{text} is more than pods: all else there would be cut off; give the range of this \
             node's pods, such as 10.244.1.0/24"
        ))),
        false => Ok(found),
    }
}

/// Whether a range is wider than that of any cluster's pods.
pub fn is_too_wide(range: &IpNet) -> bool {
    range.prefix_len() < WIDEST
}

/// `udp/PORT` or `ip/PROTOCOL`.
///
/// # Errors
/// Anything else. TCP, UDP, ICMP and SCTP are no tunnels: all pods would lose them.
pub fn tunnel(text: &str) -> Result<Tunnel, InvalidValue> {
    let number = |digits: &str| digits.parse::<u16>().ok().filter(|number| *number > 0);
    match text.split_once('/').map(|(kind, digits)| (kind, number(digits))) {
        Some(("udp", Some(port))) => Ok(Tunnel::Udp(port)),
        Some(("ip", Some(protocol @ 1..=255))) => match protocol {
            1 | 6 | 17 | 58 | 132 => Err(InvalidValue(format!(
                "IP protocol {protocol} carries the traffic of pods and is no tunnel; for a \
                 tunnel over UDP give udp/PORT"
            ))),
            protocol => Ok(Tunnel::Protocol(protocol as u8)),
        },
        _ => Err(InvalidValue(format!(
            "{text:?} is not a tunnel; give udp/PORT, such as udp/8472, or ip/PROTOCOL, such as \
             ip/4 for IPIP"
        ))),
    }
}

#[cfg(test)]
mod tests;
