//! One object of any kind that NetworkPolicy depends on.
//!
//! In: what `convert` made. Out: the object behind one type, with its key.
//! Never: a copy of the object; it is shared.

use std::fmt;
use std::sync::Arc;

use policy::{MultiNetworkPolicy, Namespace, NetworkPolicy, ObjectKey, Pod};

/// Which kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// `networking.k8s.io/v1` NetworkPolicy.
    NetworkPolicy,
    /// `v1` Pod.
    Pod,
    /// `v1` Namespace.
    Namespace,
    /// `k8s.cni.cncf.io` MultiNetworkPolicy, which clusters need not have.
    MultiNetworkPolicy,
}

/// A converted object, shared.
#[derive(Clone, Debug, PartialEq)]
pub enum Object {
    /// A NetworkPolicy.
    NetworkPolicy(Arc<NetworkPolicy>),
    /// A Pod.
    Pod(Arc<Pod>),
    /// A Namespace.
    Namespace(Arc<Namespace>),
    /// A MultiNetworkPolicy.
    MultiNetworkPolicy(Arc<MultiNetworkPolicy>),
}

impl Kind {
    /// Every kind that NetworkPolicy depends on: those that each cluster has.
    pub const ALL: [Self; 3] = [Self::NetworkPolicy, Self::Pod, Self::Namespace];

    /// Every kind, with that of networks beside the primary one.
    pub const EVERY: [Self; 4] =
        [Self::NetworkPolicy, Self::Pod, Self::Namespace, Self::MultiNetworkPolicy];

    /// The API's name of the kind.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NetworkPolicy => "NetworkPolicy",
            Self::Pod => "Pod",
            Self::Namespace => "Namespace",
            Self::MultiNetworkPolicy => "MultiNetworkPolicy",
        }
    }

    /// The API's `apiVersion` of the kind.
    pub const fn api_version(self) -> &'static str {
        match self {
            Self::NetworkPolicy => "networking.k8s.io/v1",
            Self::Pod | Self::Namespace => "v1",
            Self::MultiNetworkPolicy => "k8s.cni.cncf.io/v1beta2",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Object {
    /// Which kind.
    pub fn kind(&self) -> Kind {
        match self {
            Self::NetworkPolicy(_) => Kind::NetworkPolicy,
            Self::Pod(_) => Kind::Pod,
            Self::Namespace(_) => Kind::Namespace,
            Self::MultiNetworkPolicy(_) => Kind::MultiNetworkPolicy,
        }
    }

    /// Namespace and name; a Namespace has an empty namespace.
    pub fn key(&self) -> ObjectKey {
        match self {
            Self::NetworkPolicy(policy) => policy.key.clone(),
            Self::Pod(pod) => pod.key.clone(),
            Self::Namespace(namespace) => ObjectKey::new("", &namespace.name),
            Self::MultiNetworkPolicy(one) => one.policy.key.clone(),
        }
    }
}
