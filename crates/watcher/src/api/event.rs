//! What a watch of the API server yields.

use std::sync::Arc;

use policy::{Diagnostic, ObjectKey, Pod};

use super::error::WatchError;
use crate::{Kind, Object};

/// An event of the API server.
#[derive(Debug)]
pub enum Event {
    /// The complete list of a kind. It comes at the start, and again when a
    /// watch cannot be resumed.
    Listed {
        /// Which kind.
        kind: Kind,
        /// All objects of it, one for each key.
        objects: Vec<Found>,
    },
    /// An object was added or modified.
    Applied(Found),
    /// An object was deleted, or no longer matches the field selector (a pod that
    /// ended).
    Deleted {
        /// Which kind.
        kind: Kind,
        /// Which object.
        key: ObjectKey,
    },
    /// An object was added or modified and cannot be read. The last one that could be
    /// read is to be kept.
    Unreadable {
        /// What stands for it if none could ever be read: it gives nobody anything.
        stand_in: StandIn,
        /// Whether it comes before a list that lacks it.
        in_list: bool,
        /// Why.
        error: WatchError,
    },
    /// A request failed or a watch broke, and another attempt follows after a
    /// pause. Or something that is no object cannot be read ([`WatchError::Decode`]).
    Failed {
        /// Which kind.
        kind: Kind,
        /// Why.
        error: WatchError,
    },
}

/// What stands for an object that cannot be read.
#[derive(Clone, Debug, PartialEq)]
pub enum StandIn {
    /// Isolates all pods of its namespace in both directions and allows nothing.
    Policy(ObjectKey),
    /// The same on all networks beside the primary one.
    MultiPolicy(ObjectKey),
    /// The addresses found in it, as far as it can be read.
    Pod(Arc<Pod>),
    /// Nothing: no policy selects what is in a Namespace that is not known.
    Namespace(ObjectKey),
}

impl StandIn {
    /// The kind and key of the object.
    pub fn identity(&self) -> (Kind, ObjectKey) {
        match self {
            Self::Policy(key) => (Kind::NetworkPolicy, key.clone()),
            Self::MultiPolicy(key) => (Kind::MultiNetworkPolicy, key.clone()),
            Self::Pod(pod) => (Kind::Pod, pod.key.clone()),
            Self::Namespace(key) => (Kind::Namespace, key.clone()),
        }
    }
}

/// An object and its diagnostics.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// The object.
    pub object: Object,
    /// Its parts that cannot be used, see [`crate::convert`].
    pub diagnostics: Vec<Diagnostic>,
}
