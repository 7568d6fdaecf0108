//! The ways to a complete list, and when it counts.
//!
//! ```text
//!                fails, is refused, has no end
//! streaming list -----------------------------> plain list, for some minutes
//!       ^                                            |
//!       +--------------------------------------------+
//!              it fails, too, or the minutes are over
//!
//! it is older than what is known --> list without caches
//!
//! it is empty, or has no pod of this node --> ask for one --> there is none: it counts
//!                                                        +--> there is one: list without caches
//! ```

use std::collections::BTreeMap;
use std::time::Duration;

use policy::ObjectKey;
use tokio::time::{Instant, timeout};

use super::super::backoff::watch_duration;
use super::super::error::{WatchError, resource};
use super::super::event::{Event, Found};
use super::super::kinds::{Identity, Watched};
use super::super::list::{self, BEGIN, BEGIN_LATER};
use super::super::version::is_before;
use super::super::watch_line::{self, Item, Line};
use super::super::weight::Weight;
use super::super::{Following, question, requests};
use super::{Failure, OpenWatch, State, Watch};
use crate::Object;

/// The longest silence between two initial events, and before the first one.
const SILENCE: Duration = Duration::from_secs(30);
/// The longest time of all initial events.
const INITIAL_EVENTS: Duration = Duration::from_secs(300);
/// How long lists are plain after a streaming one failed.
const PLAIN: Duration = Duration::from_secs(600);

/// How to list.
#[derive(Debug)]
pub(super) struct Lists {
    /// Until when lists are plain, after a streaming one failed.
    plain: Option<Instant>,
    /// The server refused a streaming list. So after a plain list that fails, the
    /// next one is plain, too.
    refused: bool,
    /// The next list must not come from a cache.
    no_cache: bool,
    /// How long the next plain list may take to begin.
    patience: Duration,
}

impl Default for Lists {
    fn default() -> Self {
        Self { plain: None, refused: false, no_cache: false, patience: BEGIN }
    }
}

impl Lists {
    fn are_plain(&self) -> bool {
        self.no_cache || self.plain.is_some_and(|until| Instant::now() < until)
    }

    /// A cache has shown something that is not so.
    pub(super) fn distrust_caches(&mut self) {
        self.no_cache = true;
    }

    /// A list has succeeded.
    pub(super) fn done(&mut self) {
        self.no_cache = false;
        self.patience = BEGIN;
    }
}

/// A list as it came.
struct Told {
    objects: Vec<Found>,
    version: String,
    /// The object that changed last.
    last: Option<Identity>,
    /// Whether all objects can be read.
    is_readable: bool,
}

impl<T: Watched> Watch<T> {
    /// Lists, whatever the state was before.
    pub(super) async fn list_anew(&mut self) -> Result<State, Failure> {
        let Following { cluster, .. } = &self.following;
        cluster.confirm(&self.client, self.doubtful).await.map_err(Failure::relist)?;
        if !self.lists.are_plain() {
            return self.streaming_list().await;
        }
        let told = self.plain_list().await.map_err(|error| self.not_listed(error))?;
        self.take(told).await?;
        Ok(State::Listed)
    }

    /// The version that a list must have at least, so that time never goes back.
    fn not_older(&self) -> Option<&str> {
        match (self.lists.no_cache, self.version.is_empty()) {
            (true, _) => None,
            (false, true) => T::ANY_VERSION,
            (false, false) => Some(&self.version),
        }
    }

    async fn plain_list(&mut self) -> Result<Told, WatchError> {
        let Following { known, .. } = &self.following;
        let listed =
            list::list::<T>(&self.client, self.not_older(), known, self.lists.patience).await?;
        let (mut last, count) = (None, listed.items.len());
        let mut objects = Vec::with_capacity(count);
        for item in listed.items {
            later(&mut last, &item.identity);
            objects.extend(self.readable(item));
        }
        let is_readable = objects.len() == count;
        Ok(Told { objects, version: listed.version, last, is_readable })
    }

    /// A list failed. A server whose database was restored does not have the
    /// version that we know and answers 504 ("Too large resource version"). Then
    /// the version is forgotten.
    fn not_listed(&mut self, error: WatchError) -> Failure {
        self.lists.patience = BEGIN_LATER.min(self.lists.patience * 2);
        if error.code() == Some(504) {
            self.version.clear();
        } else if error.is_about_lists() && !self.lists.refused {
            self.lists.plain = None;
        }
        Failure::relist(error)
    }

    /// A streaming list failed. Unless the reason has nothing to do with it, the
    /// next one is plain.
    fn not_streamed(&mut self, error: WatchError) -> Failure {
        if error.code() == Some(504) {
            self.version.clear();
        } else if error.is_about_lists() {
            self.lists.plain = Some(Instant::now() + PLAIN);
        }
        Failure::relist(error)
    }

    /// Lists by a watch that begins with all objects (KEP-3157): the server
    /// sends them from its cache one by one and holds no list in memory.
    async fn streaming_list(&mut self) -> Result<State, Failure> {
        let (seconds, duration) = watch_duration();
        // Without a version the server first waits until its cache has caught
        // up with the database, which costs the database no list. A server that
        // lags behind its peers would take back policies that are enforced.
        let opened = requests::watch::<T>(&self.client, &self.version, true, seconds).await;
        let mut open = match opened {
            Err(error) if error.is_unknown_parameter() => return Ok(self.without_streams(&error)),
            Err(error) => return Err(Failure::relist(self.not_opened(error))),
            Ok(lines) => OpenWatch::new(lines, duration),
        };
        self.following.contact.heard(T::KIND);
        let told = match timeout(INITIAL_EVENTS, self.initial_events(&mut open)).await {
            Ok(told) => told,
            Err(_) => Err(incomplete::<T>("the list takes too long")),
        };
        match told {
            Ok(told) => {
                self.take(told).await?;
                // The initial events end with one.
                open.bookmarks = true;
                Ok(State::Watching(open))
            }
            // The server has the feature, but cannot serve it.
            Err(error) if error.code() == Some(500) => Ok(self.without_streams(&error)),
            Err(error) => Err(self.not_streamed(error)),
        }
    }

    /// The server cannot be reached, or has no time, or not the version.
    fn not_opened(&mut self, error: WatchError) -> WatchError {
        if error.code() == Some(504) {
            self.version.clear();
        }
        error
    }

    async fn initial_events(&mut self, open: &mut OpenWatch) -> Result<Told, WatchError> {
        let mut objects: BTreeMap<ObjectKey, Option<Found>> = BTreeMap::new();
        let (mut last, mut weight) = (None, Weight::default());
        loop {
            let Some(line) = open.lines.next::<T>(SILENCE).await? else {
                return Err(incomplete::<T>("the watch ended before the list was complete"));
            };
            match watch_line::line::<T>(line)? {
                Line::Applied(item) => {
                    weight.add(&item).map_err(|why| incomplete::<T>(&why))?;
                    let item = item.shared(&self.following.known);
                    later(&mut last, &item.identity);
                    objects.insert(item.identity.key.clone(), self.readable(item));
                }
                Line::Deleted(identity) => {
                    objects.remove(&identity.key);
                }
                Line::Bookmark { ends_initial_events: false, .. } => {}
                Line::Bookmark { version, .. } => {
                    let is_readable = objects.values().all(Option::is_some);
                    let objects = objects.into_values().flatten().collect();
                    return Ok(Told { objects, version, last, is_readable });
                }
                Line::Error(status) => {
                    return Err(WatchError::status("list", T::KIND, &status));
                }
            }
        }
    }

    fn without_streams(&mut self, error: &WatchError) -> State {
        let resource = resource(T::KIND);
        tracing::info!(resource, %error, "the API server has no streaming lists; using plain lists");
        self.lists.plain = Some(Instant::now() + PLAIN);
        self.lists.refused = true;
        State::Unlisted
    }

    /// Takes a list in, if it is plausible.
    async fn take(&mut self, told: Told) -> Result<(), Failure> {
        // It was asked for one that is not older. To believe it would take back what came
        // since, policies for example. The next one is believed: perhaps it is so.
        if is_before(&told.version, &self.version) {
            self.lists.distrust_caches();
            let error = WatchError::went_back(T::KIND, &self.version, &told.version);
            return Err(Failure::relist(error));
        }
        if told.is_readable
            && let Some(what) = self.missing(&told.objects)
        {
            self.is_really_gone(what).await?;
        }
        self.listed(told.version, told.last);
        self.queue.push_back(Event::Listed { kind: T::KIND, objects: told.objects });
        Ok(())
    }

    /// What a list has nothing of, although it should have something. A kind that is
    /// empty, or a node without a pod, is rare, and to believe it opens all pods.
    fn missing(&self, objects: &[Found]) -> Option<String> {
        if objects.is_empty() {
            return Some(resource(T::KIND).to_owned());
        }
        let node = self.following.node.as_deref()?;
        let of_node = |found: &Found| match &found.object {
            Object::Pod(pod) => pod.node.as_deref() == Some(node),
            Object::NetworkPolicy(_) | Object::Namespace(_) | Object::MultiNetworkPolicy(_) => true,
        };
        let has_some = objects.iter().any(of_node);
        (!has_some).then(|| format!("{} of node {node}", resource(T::KIND)))
    }

    /// Asks for an object of what a list has nothing of.
    async fn is_really_gone(&mut self, what: String) -> Result<(), Failure> {
        let node = self.following.node.as_deref().filter(|_| T::KIND == crate::Kind::Pod);
        let answer = question::any::<T>(&self.client, node).await.map_err(Failure::relist)?;
        let Some(object) = answer.object() else { return Ok(()) };
        let key = object.key();
        self.lists.distrust_caches();
        Err(Failure::relist(WatchError::Contradicted { what, key }))
    }

    /// The object; if it cannot be read, a failure is queued.
    fn readable(&mut self, item: Item) -> Option<Found> {
        match item.found {
            Ok(found) => Some(found),
            Err(unread) => {
                self.queue.push_back(unread.event(true));
                None
            }
        }
    }
}

fn incomplete<T: Watched>(message: &str) -> WatchError {
    WatchError::broken("list", T::KIND, message)
}

/// Keeps the identity with the later version.
fn later(last: &mut Option<Identity>, identity: &Identity) {
    if last.as_ref().is_none_or(|last| is_before(&last.version, &identity.version)) {
        *last = Some(identity.clone());
    }
}
