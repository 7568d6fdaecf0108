//! The API server as a source of objects: lists and watches.
//!
//! In: a client.
//! Out: the model's objects as they come, change and go, for ever ([`events`]),
//! or once ([`list`]).
//! Never: a list that is told before it is complete, a deletion that is lost,
//! a watch that ends, a write.
//!
//! ```text
//!            +--> streaming list --+                    (a watch that begins with all objects)
//! unlisted --|                     +--> watching --+
//!    ^       +--> list --> listed -+       |       |
//!    |                      ^              |       |
//!    |                      +--------------+       |  it ended, or broke: resumed where it was
//!    +---------------------------------------------+  410, or history went back: listed anew
//! ```
//!
//! Why not kube's `watcher`: in kube-runtime 5.0 (src/watcher.rs) it drops a
//! DELETED that comes before the initial events have ended (client-go v0.36,
//! tools/cache/reflector.go, applies it), resumes for ever from a version for
//! which the server answers 410, reopens watches that end at once without a
//! pause, and has the whole of a list in memory.

mod answer;
mod client;
mod error;
mod items;
mod object;
mod pause;
mod watch;

use futures::{Stream, StreamExt, stream};
use kube::Client;
use policy::{Diagnostic, ObjectKey};

use crate::convert::PodFields;
use crate::{Kind, Object};

pub use client::client;
pub use error::{Reason, WatchError};
use object::{NamespaceFields, PolicyJson, Watched};

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
    /// ([`Reason::Decode`]) an object cannot be read and counts as absent.
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

/// All three kinds, for ever. The first [`Event::Listed`] of each kind is
/// complete; until it has come, nothing else is told of that kind but
/// failures. After a failure the next try comes within 5 s; each failure is
/// told.
pub fn events(client: Client) -> impl Stream<Item = Event> + Send + 'static {
    stream::select_all([
        watch::events::<PolicyJson>(client.clone()).boxed(),
        watch::events::<NamespaceFields>(client.clone()).boxed(),
        watch::events::<PodFields>(client).boxed(),
    ])
}

/// The present objects of all kinds, once: the most recent state, as kubectl
/// reads it. Not for agents, which would all ask the database behind the API
/// server.
///
/// # Errors
/// A request failed, or an object cannot be read.
pub async fn list(client: Client) -> Result<Vec<Found>, WatchError> {
    let mut all = of_kind::<PolicyJson>(&client).await?;
    all.extend(of_kind::<NamespaceFields>(&client).await?);
    all.extend(of_kind::<PodFields>(&client).await?);
    Ok(all)
}

async fn of_kind<T: Watched>(client: &Client) -> Result<Vec<Found>, WatchError> {
    let listed = answer::list::<T>(client, None).await?;
    listed.items.into_iter().map(|item| item.found).collect()
}

/// Reads bytes as a line of a watch and as a list, for fuzzing alone.
#[doc(hidden)]
pub fn read_any(kind: Kind, bytes: &[u8]) {
    match kind {
        Kind::NetworkPolicy => object::read_any::<PolicyJson>(bytes),
        Kind::Namespace => object::read_any::<NamespaceFields>(bytes),
        Kind::Pod => object::read_any::<PodFields>(bytes),
    }
}

#[cfg(test)]
mod tests;
