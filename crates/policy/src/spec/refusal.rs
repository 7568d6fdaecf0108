//! Why the binding refuses a frame or packet.
//!
//! In: nothing. Out: the reasons, each with its rule's letter and words for people.
//! Never: a decision. [`super::binding`] decides.

use std::fmt;

/// Why a frame or packet is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Refusal {
    /// S: it comes from the address of a local pod or of a bridge, but not from
    /// that pod's port.
    AddressOfAnother,
    /// S: it comes from or goes to the MAC of a local pod, but not by that pod's port.
    MacOfAnother,
    /// S: it does not come from a pod's port, and a tag with VLAN id 0 hides what it
    /// says. A receiver strips such tags, however many there are.
    HiddenByTag,
    /// P: it comes from a pod's port under an address that is not the pod's.
    NotItsAddress,
    /// P: it comes from a pod's port under a MAC that is not the pod's.
    NotItsMac,
    /// P: it comes from a pod's port and advertises a router.
    RouterAdvertisement,
    /// P: it comes from a pod's port and says to use another way.
    Redirect,
    /// P: it comes from a bound pod's address and is about a known flow, but the pod is
    /// no end of it.
    FlowOfOthers,
    /// P: it comes from a pod's port and is tagged with VLAN id 0. A receiver
    /// strips such a tag.
    PriorityTag,
    /// P: it comes from the port of a bridged pod, but not through the bridge.
    PastBridge,
    /// F: it is tagged, or neither IPv4 nor IPv6 nor ARP, at an isolated pod's port.
    KindOfFrame,
    /// D: it goes to an isolated pod, but not to an address of it.
    UnreportedAddress,
    /// D: an isolated pod sends it to another pod's port, but not to an address of that
    /// pod.
    NotForReceiver,
    /// T: it goes to a tunnel, but does not come from a node.
    Tunnel,
    /// T: it goes to a tunnel, and a Service carried it there.
    TunnelByService,
    /// T: it goes to a node from a tunnel's port, but does not come from a node.
    TunnelShadow,
    /// T: a pod sent it to a tunnel, and this node masquerades it.
    TunnelMasqueraded,
}

impl Refusal {
    /// The rule's letter.
    pub const fn rule(self) -> char {
        match self {
            Self::AddressOfAnother | Self::MacOfAnother | Self::HiddenByTag => 'S',
            Self::NotItsAddress
            | Self::NotItsMac
            | Self::RouterAdvertisement
            | Self::Redirect
            | Self::FlowOfOthers
            | Self::PriorityTag
            | Self::PastBridge => 'P',
            Self::UnreportedAddress | Self::NotForReceiver => 'D',
            Self::Tunnel | Self::TunnelByService | Self::TunnelShadow | Self::TunnelMasqueraded => {
                'T'
            }
            Self::KindOfFrame => 'F',
        }
    }
}

/// For people: lower case, without a full stop.
impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AddressOfAnother => "the address belongs to a pod or bridge of this node",
            Self::MacOfAnother => "the MAC belongs to a pod of this node",
            Self::HiddenByTag => "a receiver strips a tag with VLAN id 0, which hides an address",
            Self::NotItsAddress => "the pod does not have this address",
            Self::NotItsMac => "the pod does not have this MAC",
            Self::RouterAdvertisement => "a pod advertises no router",
            Self::Redirect => "a pod redirects nobody",
            Self::FlowOfOthers => "a pod reports errors of its own flows only",
            Self::PriorityTag => "a receiver strips a tag with VLAN id 0",
            Self::PastBridge => "a pod of a bridge sends packets through it",
            Self::KindOfFrame => {
                "an isolated pod sends and gets untagged IPv4, IPv6 and ARP frames only"
            }
            Self::UnreportedAddress => "an isolated pod gets packets to its own addresses only",
            Self::NotForReceiver => {
                "an isolated pod sends to another pod's port what is for that pod only"
            }
            Self::Tunnel => "only nodes send to a node's tunnel",
            Self::TunnelShadow => "only nodes send to nodes from a tunnel's port",
            Self::TunnelMasqueraded => "a node masquerades nothing that a pod sends to a tunnel",
            Self::TunnelByService => "no Service leads into a node's tunnel",
        })
    }
}
