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

mod backoff;
mod client;
mod error;
mod event;
mod kinds;
mod list_splitter;
mod policy_json;
mod requests;
mod watch;
mod watch_line;

use futures::{Stream, StreamExt, stream};
use kube::Client;

use crate::Kind;
use crate::convert::PodFields;

pub use client::client;
pub use error::{FailureKind, WatchError};
pub use event::{Event, Found};
use kinds::{NamespaceFields, PolicyJson, Watched};

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

/// Reads one line of a watch of a kind, without its end: the way of the bytes
/// that come from the API server. For fuzzing.
///
/// # Errors
/// The line cannot be read, or is an error that the server reports.
#[doc(hidden)]
pub fn read_watch_line(kind: Kind, line: &[u8]) -> Result<Vec<Event>, WatchError> {
    match kind {
        Kind::NetworkPolicy => watch_line::events::<PolicyJson>(line),
        Kind::Pod => watch_line::events::<PodFields>(line),
        Kind::Namespace => watch_line::events::<NamespaceFields>(line),
    }
}

async fn of_kind<T: Watched>(client: &Client) -> Result<Vec<Found>, WatchError> {
    let listed = requests::list::<T>(client, None).await?;
    listed.items.into_iter().map(|item| item.found).collect()
}

#[cfg(test)]
mod tests;
