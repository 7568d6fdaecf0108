//! What a watch of the API server yields.

use policy::{Diagnostic, ObjectKey};

use super::error::WatchError;
use crate::{Kind, Object};

/// What a watch of the API server tells.
#[derive(Debug)]
pub enum Event {
    /// The complete list of a kind: at the start, and whenever a watch had to
    /// begin anew.
    Listed {
        /// Which kind.
        kind: Kind,
        /// All objects of it, one for each key.
        objects: Vec<Found>,
    },
    /// An object was added or modified.
    Applied(Found),
    /// An object was deleted, or left the field selector (a pod that ended),
    /// or became one that cannot be read.
    Deleted {
        /// Which kind.
        kind: Kind,
        /// Which object.
        key: ObjectKey,
    },
    /// A request failed or a watch broke; it is tried again after a pause. Or
    /// ([`WatchError::Decode`]) an object cannot be read and counts as absent.
    Failed {
        /// Which kind.
        kind: Kind,
        /// Why.
        error: WatchError,
    },
}

/// An object, and what is wrong about it.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// The object.
    pub object: Object,
    /// Its parts that cannot be used, see [`crate::convert`].
    pub diagnostics: Vec<Diagnostic>,
}
