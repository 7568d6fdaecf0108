//! The API server as a source of objects: lists and watches.
//!
//! In: a client.
//! Out: all changes of the model's objects, without end ([`events`]), or the
//! present objects once ([`list`]).
//! Never: an incomplete list, a lost deletion, an end of [`events`], a write.
//!
//! ```text
//!            +--> streaming list --+                    (a watch that begins with all objects)
//! unlisted --|                     +--> watching --+
//!    ^       +--> list --> listed -+       |       |
//!    |                      ^              |       |
//!    |                      +--------------+       |  the watch ended or broke: resume it
//!    +---------------------------------------------+  410, or history went back: list again
//! ```
//!
//! Before a watch is resumed, and before a list counts, `question` asks whether the
//! server still has the history that is known, and `cluster` whether it is the same cluster.
//! The pauses between requests are in `backoff`.
//!
//! kube's `watcher` (kube-runtime 5.0, src/watcher.rs) is not used because it
//! * drops a DELETED that comes before the initial events have ended, where
//!   client-go applies it (v0.36, tools/cache/reflector.go),
//! * keeps resuming from a version for which the server answers 410,
//! * reopens a watch that ends at once without a pause, and
//! * holds a whole list in memory.

mod access;
mod backoff;
mod client;
mod cluster;
mod contact;
mod error;
mod event;
mod everything;
mod kinds;
mod list;
mod list_splitter;
mod optional;
mod policy_json;
mod question;
mod requests;
mod rough;
mod version;
mod watch;
mod watch_line;
mod weight;

use futures::{Stream, StreamExt, stream};
use kube::Client;

use crate::convert::PodFields;
use crate::{Kind, Known};

pub use access::{Access, AccessError};
pub use client::{Load, Loaded, client, renewing_client};
pub use cluster::Cluster;
pub use contact::{Asking, Contact, Failing, Waiting};
pub use error::{FailureKind, WatchError};
pub use event::{Event, Found, StandIn};
pub use everything::{ListError, Listed, everything};
use kinds::{NamespaceFields, PolicyJson, Watched};

/// What the watches share with others.
#[derive(Clone, Debug, Default)]
pub struct Following {
    /// The objects that are known. An object of a list that equals one is that one.
    pub known: Known,
    /// The node whose pods are not believed to be gone before the API server has
    /// said so twice.
    pub node: Option<String>,
    /// The cluster. No event comes from another one.
    pub cluster: Cluster,
    /// How the contact is.
    pub contact: Contact,
}

pub use optional::{list_multi_network_policies, multi_network_policies};

/// The events of all three kinds, without end. The first event of a kind that
/// is not a failure is a complete [`Event::Listed`]. Each failure is an event,
/// and the next attempt follows within 5 s, unless the server asks for more time.
pub fn events(client: Client, following: Following) -> impl Stream<Item = Event> + Send + 'static {
    stream::select_all([
        watch::events::<PolicyJson>(client.clone(), following.clone()).boxed(),
        watch::events::<NamespaceFields>(client.clone(), following.clone()).boxed(),
        watch::events::<PodFields>(client, following).boxed(),
    ])
}

/// The present objects of all kinds, once, in the most recent state, as kubectl
/// reads them. Agents must not use this: together they would overload the
/// database behind the API server.
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
    let listed = list::list::<T>(client, None, &Known::default(), list::BEGIN_LATER).await?;
    let found = |item: watch_line::Item| item.found.map_err(|unread| unread.error);
    listed.items.into_iter().map(found).collect()
}

/// Reads bytes as a line of a watch and as a list, as [`events`] does. For
/// fuzzing.
///
/// # Panics
/// A promise is broken: an object without a name, or a list that reads
/// differently when it arrives in other pieces.
#[doc(hidden)]
pub fn read_any(kind: Kind, bytes: &[u8]) {
    match kind {
        Kind::NetworkPolicy => watch_line::read_any::<PolicyJson>(bytes),
        Kind::Namespace => watch_line::read_any::<NamespaceFields>(bytes),
        Kind::Pod => watch_line::read_any::<PodFields>(bytes),
        Kind::MultiNetworkPolicy => {
            watch_line::read_any::<kinds::MultiPolicyJson<kinds::V1Beta2>>(bytes);
        }
    }
}

#[cfg(test)]
mod tests;
