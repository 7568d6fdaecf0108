//! What a watch of the API server yields.

use policy::{Diagnostic, ObjectKey};

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
    /// An object was deleted, no longer matches the field selector (a pod that
    /// ended), or can no longer be read.
    Deleted {
        /// Which kind.
        kind: Kind,
        /// Which object.
        key: ObjectKey,
    },
    /// A request failed or a watch broke, and another attempt follows after a
    /// pause. Or an object cannot be read and is treated as absent
    /// ([`WatchError::Decode`]).
    Failed {
        /// Which kind.
        kind: Kind,
        /// Why.
        error: WatchError,
    },
}

/// An object and its diagnostics.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// The object.
    pub object: Object,
    /// Its parts that cannot be used, see [`crate::convert`].
    pub diagnostics: Vec<Diagnostic>,
}
