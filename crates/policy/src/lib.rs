//! NetworkPolicy in the API's own words, and what it means.
//!
//! In: nothing but plain values that the watcher made from Kubernetes objects.
//! Out: the model ([`Snapshot`] and its parts) and the specification over it
//! ([`spec::decide`]): may this packet pass, by egress and by ingress apart.
//! Never: Kubernetes client types, nftables words, I/O, clocks or async.

mod announced;
mod attachment;
mod audit;
pub mod binding;
pub mod cidr;
pub mod diagnostic;
mod inside;
mod keeper;
mod kept;
mod labels;
mod modes;
mod multi_network;
mod namespace;
mod network_policy;
mod node_network;
mod object;
mod owner;
mod pod;
pub mod secondary;
mod selector;
mod snapshot;
mod sorted;
pub mod spec;
mod subject;
mod unknown;

pub use announced::{
    Announcement, Announcements, AttachmentKey, HostInterface, Placement, Placements,
};
pub use attachment::{AttachedNetwork, Attachment, MOST_ADDRESSES, MOST_NETWORKS, PodUid};
pub use audit::{Audit, Mode, Switch};
pub use binding::{BindingFinding, Holder, Resolved, resolve, resolve_placed};
pub use cidr::IpBlock;
pub use diagnostic::{Diagnostic, Severity};
pub use inside::Inside;
pub use keeper::{Keeper, REMEMBERED_FOR, UNKNOWN_KEPT_FOR};
pub use kept::{Kept, KeptFor};
pub use labels::Labels;
pub use modes::{End, Ending, LONGEST, Modes, Now, multi_policies_with, with_modes};
pub use multi_network::{MultiNetworkPolicy, POLICY_FOR, PolicyFor, network_name};
pub use namespace::{METADATA_NAME_LABEL, Namespace};
pub use network_policy::{
    Direction, NetworkPolicy, Peer, Peers, PodPeer, Port, PortNumbers, Ports, Protocol, Rule,
};
pub use node_network::{
    BoundBridge, BoundPort, Claim, ClaimingPod, Claims, InterfaceIndex, Mac, NetworkNamespace,
    NodeNetwork, Seen, SeenAddress, SeenBridge, SeenPort, Tunnel, TunnelSources,
};
pub use object::ObjectKey;
pub use owner::{Owners, takes_precedence};
pub use pod::{NamedPort, Phase, Pod};
pub use selector::{Operator, Requirement, Selector};
pub use snapshot::{Snapshot, SnapshotDiff};
pub use sorted::Sorted;
pub use subject::{Isolation, Subject, all_subjects, audited, isolation, subject_of, subjects};
pub use unknown::{PodRange, UnknownPods, joined_ranges, named_addresses, pod_ranges};
