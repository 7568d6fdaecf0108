//! Items of a list and lines of a watch, from bytes to objects.
//!
//! An object that cannot be read is still identified if its name can be read.

use std::sync::Arc;

use kube::core::{Status, WatchEvent};
use policy::ObjectKey;
use serde::Deserialize;

use super::error::WatchError;
use super::event::{Event, Found, StandIn};
use super::kinds::{Identity, Watched};
use super::list_splitter::ListSplitter;
use super::rough::{self, Rough};
use crate::{Kind, Known};

/// Marks the bookmark that ends the initial events (KEP-3157).
const INITIAL_EVENTS_END: &str = "k8s.io/initial-events-end";

/// An object, or why it cannot be read.
#[derive(Debug)]
pub(super) struct Item {
    pub identity: Identity,
    pub found: Result<Found, Unread>,
}

/// Why an object cannot be read, and what stands for it.
#[derive(Debug)]
pub(super) struct Unread {
    pub error: WatchError,
    pub stand_in: StandIn,
}

/// A line of a watch.
#[derive(Debug)]
pub(super) enum Line {
    Applied(Item),
    Deleted(Identity),
    Bookmark { version: String, ends_initial_events: bool },
    Error(Box<Status>),
}

/// The identity of an object, without anything else.
#[derive(Deserialize)]
struct Named {
    metadata: NamedMetadata,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct NamedMetadata {
    name: String,
    #[serde(default)]
    namespace: String,
    #[serde(default)]
    resource_version: String,
}

impl From<Named> for Identity {
    fn from(
        Named { metadata: NamedMetadata { name, namespace, resource_version } }: Named,
    ) -> Self {
        Self { key: ObjectKey::new(namespace, name), version: resource_version }
    }
}

impl Item {
    /// The item with the known object in place of an equal one.
    pub(super) fn shared(self, known: &Known) -> Self {
        let found = self.found.map(|found| Found { object: known.share(found.object), ..found });
        Self { found, ..self }
    }

    /// The events that an added or modified object becomes.
    pub(super) fn events(self) -> Vec<Event> {
        match self.found {
            Ok(found) => vec![Event::Applied(found)],
            Err(unread) => vec![unread.event(false)],
        }
    }
}

impl Unread {
    /// `in_list`: a list that lacks it follows.
    pub(super) fn event(self, in_list: bool) -> Event {
        let Self { error, stand_in } = self;
        Event::Unreadable { stand_in, in_list, error }
    }
}

/// Reads an item of a list.
///
/// # Errors
/// Its name cannot be read.
pub(super) fn item<T: Watched>(bytes: &[u8]) -> Result<Item, WatchError> {
    match serde_json::from_slice::<T>(bytes) {
        Ok(object) => applied(object),
        Err(error) => {
            let identity = serde_json::from_slice::<Named>(bytes)
                .map_err(|_| WatchError::decode(T::KIND, None, &error))?;
            Ok(unreadable::<T>(named::<T>(identity.into())?, &error, bytes))
        }
    }
}

/// Reads a line of a watch.
///
/// # Errors
/// The line is not an event, or the name of its object cannot be read.
pub(super) fn line<T: Watched>(bytes: &[u8]) -> Result<Line, WatchError> {
    let error = match serde_json::from_slice::<WatchEvent<T>>(bytes) {
        Ok(WatchEvent::Added(object) | WatchEvent::Modified(object)) => {
            return applied(object).map(Line::Applied);
        }
        Ok(WatchEvent::Deleted(object)) => return named::<T>(object.identity()).map(Line::Deleted),
        Ok(WatchEvent::Bookmark(bookmark)) => {
            let ends_initial_events =
                bookmark.metadata.annotations.contains_key(INITIAL_EVENTS_END);
            let version = bookmark.metadata.resource_version;
            return Ok(Line::Bookmark { version, ends_initial_events });
        }
        Ok(WatchEvent::Error(status)) => return Ok(Line::Error(status)),
        Err(error) => error,
    };
    match serde_json::from_slice::<WatchEvent<Named>>(bytes) {
        Ok(WatchEvent::Added(object) | WatchEvent::Modified(object)) => {
            let object_of = |line: &mut Rough| line.take("object");
            let identity = named::<T>(object.into())?;
            Ok(Line::Applied(unreadable_in::<T>(identity, &error, bytes, object_of)))
        }
        Ok(WatchEvent::Deleted(object)) => named::<T>(object.into()).map(Line::Deleted),
        _ => Err(WatchError::decode(T::KIND, None, &error)),
    }
}

/// The events that a line of a watch becomes. A bookmark becomes none.
///
/// # Errors
/// The line cannot be read, or is an error that the server reports.
pub(super) fn events<T: Watched>(bytes: &[u8]) -> Result<Vec<Event>, WatchError> {
    match line::<T>(bytes)? {
        Line::Applied(item) => Ok(item.events()),
        Line::Deleted(Identity { key, .. }) => Ok(vec![Event::Deleted { kind: T::KIND, key }]),
        Line::Bookmark { .. } => Ok(Vec::new()),
        Line::Error(status) => Err(WatchError::status("watch", T::KIND, &status)),
    }
}

fn applied<T: Watched>(object: T) -> Result<Item, WatchError> {
    let identity = named::<T>(object.identity())?;
    Ok(Item { identity, found: Ok(object.found()) })
}

fn named<T: Watched>(identity: Identity) -> Result<Identity, WatchError> {
    if identity.key.name.is_empty() {
        return Err(WatchError::decode(T::KIND, None, "an object has no name"));
    }
    Ok(identity)
}

fn unreadable<T: Watched>(identity: Identity, error: &serde_json::Error, bytes: &[u8]) -> Item {
    unreadable_in::<T>(identity, error, bytes, std::mem::take)
}

/// `object`: takes the object out of what the bytes hold.
fn unreadable_in<T: Watched>(
    identity: Identity,
    error: &serde_json::Error,
    bytes: &[u8],
    object: impl Fn(&mut Rough) -> Rough,
) -> Item {
    let error = WatchError::decode(T::KIND, Some(&identity.key), error);
    let stand_in = match T::KIND {
        Kind::NetworkPolicy => StandIn::Policy(identity.key.clone()),
        Kind::MultiNetworkPolicy => StandIn::MultiPolicy(identity.key.clone()),
        Kind::Namespace => StandIn::Namespace(identity.key.clone()),
        Kind::Pod => {
            let pod = rough::pod(identity.key.clone(), object(&mut Rough::read(bytes)));
            StandIn::Pod(Arc::new(pod))
        }
    };
    Item { identity, found: Err(Unread { error, stand_in }) }
}

/// Reads bytes as a line of a watch, and as a list that arrives in pieces.
///
/// # Panics
/// An object has no name, or the pieces make a difference.
pub(super) fn read_any<T: Watched>(bytes: &[u8]) {
    for event in events::<T>(bytes).into_iter().flatten() {
        let key = match event {
            Event::Applied(found) => found.object.key(),
            Event::Deleted { key, .. } => key,
            Event::Unreadable { stand_in, .. } => stand_in.identity().1,
            Event::Listed { .. } | Event::Failed { .. } => continue,
        };
        assert!(!key.name.is_empty());
    }
    let list = |size: usize| {
        let (mut splitter, mut found) = (ListSplitter::default(), Vec::new());
        for piece in bytes.chunks(size) {
            splitter.push(piece, |one| found.push(one.to_vec()));
        }
        (found, splitter.frame().to_vec())
    };
    let whole = list(bytes.len().max(1));
    assert!(whole == list(1), "the pieces of a list make a difference");
    for one in whole.0 {
        if let Ok(item) = item::<T>(&one) {
            assert!(!item.identity.key.name.is_empty());
        }
    }
}
