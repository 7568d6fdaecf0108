//! What is kept of a pod whose object no longer speaks for its address.
//!
//! In: nothing. These are plain values. [`crate::Keeper`] finds them.
//! Out: an explicit input of the specification, the compiler and the proof, as a part
//! of [`crate::Snapshot`].
//! Never: a peer. What is kept takes away, and gives nobody anything.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use crate::{ObjectKey, Pod};

/// An address of this node that is still isolated as it was, although no object of a
/// local pod reports it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The last object that reported it, or what stands for an object that is not known:
    /// see [`Kept::stand_in`].
    pub pod: Arc<Pod>,
    /// Why it is kept.
    pub why: KeptFor,
}

/// Why an address is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeptFor {
    /// The pod's object went, or its address from the object, and the pod may still run.
    /// Its last object is known, so the present policies hold for it.
    Running,
    /// The kernel's table isolated it when the agent began, and no object reports it. The
    /// pod's labels are not known, so it is isolated in both directions and nothing is
    /// allowed.
    Restart,
    /// The pod's object cannot be read, and it never could. The same follows.
    Unreadable,
    /// The CNI plugin has given it to a pod of which no object tells yet. The same follows.
    Announced,
}

impl KeptFor {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Running, Self::Restart, Self::Unreadable, Self::Announced];

    /// One word, for metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Running => "removed",
            Self::Restart => "restart",
            Self::Unreadable => "unreadable",
            Self::Announced => "announced",
        }
    }
}

impl Kept {
    /// Whose it is, for people.
    pub fn name(&self) -> String {
        match self.why {
            KeptFor::Running | KeptFor::Unreadable | KeptFor::Announced => {
                format!("pod {}", self.pod.key)
            }
            KeptFor::Restart => "an unknown pod".to_owned(),
        }
    }

    /// Addresses of one pod that is not known, which the kernel's table isolated. `None` if
    /// there are none.
    pub fn of_restart(addresses: &[IpAddr]) -> Option<Self> {
        let key = Self::key_of_restart(*addresses.first()?);
        let pod = Arc::new(Self::stand_in(key, addresses.to_vec()));
        Some(Self { pod, why: KeptFor::Restart })
    }

    /// The key that stands for the pod with this address. No object has it.
    pub fn key_of_restart(address: IpAddr) -> ObjectKey {
        ObjectKey::new("", address.to_string())
    }

    /// A pod of which only its addresses are known. No policy selects it if its namespace
    /// is the empty one, which none has.
    pub fn stand_in(key: ObjectKey, addresses: Vec<IpAddr>) -> Pod {
        Pod {
            key,
            labels: crate::Labels::new(),
            node: None,
            addresses,
            host_addresses: Vec::new(),
            host_network: false,
            phase: crate::Phase::Unknown,
            created: 0,
            is_ending: false,
            grace_seconds: 0,
            attachment: crate::Attachment::default(),
            ports: Vec::new(),
        }
    }

    /// Whether it is of a node. With `None`, it is. What stands for a pod that is not
    /// known is of each.
    pub fn is_on(&self, node: Option<&str>) -> bool {
        self.is_shut() || self.pod.is_on(node)
    }

    /// Whether nothing is allowed, whatever the policies say.
    pub fn is_shut(&self) -> bool {
        match self.why {
            KeptFor::Running => false,
            KeptFor::Restart | KeptFor::Unreadable | KeptFor::Announced => true,
        }
    }
}

/// `its pod's object is gone`.
impl fmt::Display for KeptFor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Running => "its pod's object is gone, and the pod may still run",
            Self::Restart => "the kernel's table isolated it, and no pod's object names it",
            Self::Unreadable => "its pod's object cannot be read",
            Self::Announced => "the CNI plugin has given it to the pod, whose object is not known",
        })
    }
}
