//! How a pod is attached to networks, beside its primary one.
//!
//! In: nothing. Out: plain values that the watcher read from the pod's metadata.
//! Never: what the pod's own network namespace really has.

use std::fmt;
use std::net::IpAddr;

use crate::Mac;

/// What tells a pod's processes and interfaces apart from those of others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attachment {
    /// `metadata.uid`. kubelet names the control groups of the pod's containers by it. Of a
    /// static pod it is another one: the annotation `kubernetes.io/config.mirror`.
    pub uid: PodUid,
    /// Whether the object mirrors a static pod, whose uid in the kubelet is another one
    /// (annotation `kubernetes.io/config.mirror`, `ConfigMirrorAnnotationKey` in
    /// pkg/kubelet/types, Kubernetes 1.36). Anybody can write it into a pod of their own.
    pub is_mirror: bool,
    /// The pod's interfaces on other networks than its primary one: the entries without
    /// `default: true` of the annotation `k8s.v1.cni.cncf.io/network-status`.
    pub networks: Box<[AttachedNetwork]>,
    /// Whether a part of that annotation cannot be read, or it has more than
    /// [`MOST_NETWORKS`] or [`MOST_ADDRESSES`]: the pod may be on other networks, too.
    pub is_unread: bool,
}

/// How many entries of the annotation are read. Of more none is: each costs a pod in every
/// index over the pods of further networks, on every node, and on the pod's own node a table.
pub const MOST_NETWORKS: usize = 32;
/// How many addresses the annotation has at most. Of one with more nothing is read.
pub const MOST_ADDRESSES: usize = 256;

/// `metadata.uid`: the 32 hexadecimal digits of a UUID (RFC 9562, 4) as a number. 0 is none.
/// That of a static pod is an MD5 hash, which has as many (`applyDefaults`,
/// pkg/kubelet/config/common.go, Kubernetes 1.34).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PodUid(pub u128);

/// An interface on another network (Kubernetes Network Custom Resource Definition De-facto
/// Standard, version 1.3, 3.2.1: "Network Status Annotation").
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttachedNetwork {
    /// `name`: the NetworkAttachmentDefinition, as `namespace/name`.
    pub network: String,
    /// `interface`: its name in the pod.
    pub interface: String,
    /// `mac`.
    pub mac: Mac,
    /// `ips`.
    pub addresses: Vec<IpAddr>,
}

impl PodUid {
    /// How many hexadecimal digits a UUID has.
    pub const DIGITS: usize = 32;

    /// Reads a UUID with dashes, with underscores or without both, as control groups have
    /// it (`GetPodCgroupNameSuffix` and `escapeSystemdCgroupName`, pkg/kubelet/cm, Kubernetes
    /// 1.34). `None` if it is none.
    pub fn parse(text: &str) -> Option<Self> {
        let digits: String = text.chars().filter(|one| !matches!(one, '-' | '_')).collect();
        let is_uid =
            digits.len() == Self::DIGITS && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        let number = u128::from_str_radix(&digits, 16).ok().filter(|_| is_uid)?;
        (number != 0).then_some(Self(number))
    }
}

/// In the form of a UUID.
impl fmt::Display for PodUid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = format!("{:032x}", self.0);
        let parts = [0..8, 8..12, 12..16, 16..20, 20..32].map(|part| &digits[part]);
        f.write_str(&parts.join("-"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uid_is_read_in_each_of_its_forms() {
        let number = 0x0123_4567_89ab_4def_8123_4567_89ab_cdef;
        for text in [
            "01234567-89ab-4def-8123-456789abcdef",
            "01234567_89ab_4def_8123_456789abcdef",
            "0123456789ab4def8123456789abcdef",
        ] {
            assert_eq!(PodUid::parse(text), Some(PodUid(number)), "{text}");
            assert_eq!(PodUid(number).to_string(), "01234567-89ab-4def-8123-456789abcdef");
        }
        for text in ["", "0123", "+123456789ab4def8123456789abcdef", &"0".repeat(32)] {
            assert_eq!(PodUid::parse(text), None, "{text}");
        }
    }
}
