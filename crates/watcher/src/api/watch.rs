//! Lists and watches one kind, without end.
//!
//! In: a client.
//! Out: events.
//! Never: a request right after a failed one or after a watch that ended early;
//! a list where a watch can be resumed.

use std::collections::{BTreeMap, VecDeque};
use std::marker::PhantomData;
use std::time::Duration;

use futures::{Stream, stream};
use kube::Client;
use policy::ObjectKey;
use tokio::time::{Instant, sleep};

use super::backoff::{Backoff, EARLY, WORKING, watch_duration};
use super::error::{WatchError, resource};
use super::event::{Event, Found};
use super::kinds::{Identity, Watched};
use super::requests::{self, WatchLines};
use super::watch_line::{self, Item, Line};
use crate::Known;

/// How much longer to wait for a server that does not end a watch in time.
const GRACE: Duration = Duration::from_secs(10);
/// The longest silence of a server that sends bookmarks. It sends one a minute
/// (k8s.io/apiserver v0.36 pkg/storage/cacher: defaultBookmarkFrequency), and two
/// may be missed.
const SILENCE: Duration = Duration::from_secs(150);
/// The longest silence of watches that a proxy ends before a bookmark can come.
/// Longer than a few of them, since to list again is costly.
const SILENCE_OF_WATCHES: Duration = Duration::from_secs(600);
/// The longest silence between two initial events. Before the first one the
/// server's cache may have to catch up.
const INITIAL_SILENCE: Duration = Duration::from_secs(60);

/// All events of a kind.
pub(super) fn events<T: Watched>(
    client: Client,
    known: Known,
) -> impl Stream<Item = Event> + Send + 'static {
    stream::unfold(Watch::<T>::new(client, known), |mut watch| async {
        let event = watch.next().await;
        Some((event, watch))
    })
}

struct Watch<T> {
    client: Client,
    known: Known,
    state: State,
    /// Events that come before the next request.
    queue: VecDeque<Event>,
    backoff: Backoff,
    /// How long to wait before the next request.
    pause: Option<Duration>,
    /// Whether the server has streaming lists, until it refuses one.
    streams: bool,
    /// Whether the server ever sent a bookmark.
    bookmarks: bool,
    /// When a list or a line of a watch was last received.
    last_received: Instant,
    /// The last version received; empty if there is none.
    version: String,
    kind: PhantomData<fn() -> T>,
}

enum State {
    /// Nothing is known, or the history is lost.
    Unlisted,
    /// Everything up to the version is known.
    Listed,
    /// An open watch from the version on.
    Watching(OpenWatch),
}

struct OpenWatch {
    lines: WatchLines,
    since: Instant,
    duration: Duration,
    /// Whether anything has come.
    received: bool,
    /// Whether a bookmark has come, so that further ones must follow.
    bookmarks: bool,
}

impl OpenWatch {
    fn new(lines: WatchLines, duration: Duration) -> Self {
        Self { lines, since: Instant::now(), duration, received: false, bookmarks: false }
    }
}

/// A failure, and whether to list again instead of resuming.
struct Failure {
    error: WatchError,
    relist: bool,
}

impl<T: Watched> Watch<T> {
    fn new(client: Client, known: Known) -> Self {
        Self {
            client,
            known,
            state: State::Unlisted,
            queue: VecDeque::new(),
            backoff: Backoff::new(),
            pause: None,
            streams: true,
            bookmarks: false,
            last_received: Instant::now(),
            version: String::new(),
            kind: PhantomData,
        }
    }

    async fn next(&mut self) -> Event {
        loop {
            if let Some(event) = self.queue.pop_front() {
                return event;
            }
            if let Some(pause) = self.pause {
                sleep(pause).await;
                self.pause = None;
            }
            let result = match std::mem::replace(&mut self.state, State::Unlisted) {
                State::Unlisted if self.streams => self.streaming_list().await,
                State::Unlisted => self.list().await,
                State::Listed => self.resume().await,
                State::Watching(open) => self.follow(open).await,
            };
            match result {
                Ok(state) => self.state = state,
                Err(failure) => self.fail(failure),
            }
        }
    }

    fn fail(&mut self, Failure { error, relist }: Failure) {
        let expired = matches!(error, WatchError::Expired { .. });
        let pause = if expired { self.backoff.lost_history() } else { self.backoff.failed() };
        self.pause = Some(pause);
        self.state = if relist || expired { State::Unlisted } else { State::Listed };
        self.queue.push_back(Event::Failed { kind: T::KIND, error });
    }

    /// The version that a list must have at least, so that time never goes back.
    fn not_older(&self) -> Option<&str> {
        if self.version.is_empty() { T::ANY_VERSION } else { Some(&self.version) }
    }

    async fn list(&mut self) -> Result<State, Failure> {
        let listed = requests::list::<T>(&self.client, self.not_older(), &self.known).await;
        let listed = listed.map_err(|error| self.not_listed(error))?;
        let objects = listed.items.into_iter().filter_map(|item| self.readable(item));
        let objects = objects.collect();
        self.version = listed.version;
        self.last_received = Instant::now();
        self.queue.push_back(Event::Listed { kind: T::KIND, objects });
        Ok(State::Listed)
    }

    /// A list failed. A server whose database was restored does not have the
    /// version that we know and answers 504 ("Too large resource version"). Then
    /// the version is forgotten.
    fn not_listed(&mut self, error: WatchError) -> Failure {
        if error.code() == Some(504) {
            self.version.clear();
        }
        Failure { error, relist: true }
    }

    /// Lists by a watch that begins with all objects (KEP-3157): the server
    /// sends them from its cache one by one and holds no list in memory.
    async fn streaming_list(&mut self) -> Result<State, Failure> {
        let (seconds, duration) = watch_duration();
        // Without a version the server first waits until its cache has caught
        // up with the database, which costs the database no list. A server that
        // lags behind its peers would take back policies that are enforced.
        let opened = requests::watch::<T>(&self.client, &self.version, true, seconds).await;
        let mut lines = match opened {
            Err(error) if error.is_unknown_parameter() => return Ok(self.without_streams(&error)),
            opened => opened.map_err(|error| self.not_listed(error))?,
        };
        let relist = |error| Failure { error, relist: true };
        let mut objects: BTreeMap<ObjectKey, Found> = BTreeMap::new();
        loop {
            let line = lines.next::<T>(INITIAL_SILENCE).await.map_err(relist)?;
            let Some(line) = line else {
                let message = "the watch ended before the list was complete";
                return Err(relist(WatchError::broken("list", T::KIND, message)));
            };
            match watch_line::line::<T>(line).map_err(relist)? {
                Line::Applied(item) => {
                    let item = item.shared(&self.known);
                    let key = item.identity.key.clone();
                    match self.readable(item) {
                        Some(found) => objects.insert(key, found),
                        None => objects.remove(&key),
                    };
                }
                Line::Deleted(identity) => {
                    objects.remove(&identity.key);
                }
                Line::Bookmark { ends_initial_events: false, .. } => {}
                Line::Bookmark { version, .. } => {
                    self.version = version;
                    self.last_received = Instant::now();
                    let objects = objects.into_values().collect();
                    self.queue.push_back(Event::Listed { kind: T::KIND, objects });
                    return Ok(State::Watching(OpenWatch::new(lines, duration)));
                }
                Line::Error(status) => {
                    let error = WatchError::status("list", T::KIND, &status);
                    // The server has the feature, but cannot serve it.
                    if error.code() == Some(500) {
                        return Ok(self.without_streams(&error));
                    }
                    return Err(self.not_listed(error));
                }
            }
        }
    }

    fn without_streams(&mut self, error: &WatchError) -> State {
        let resource = resource(T::KIND);
        tracing::info!(resource, %error, "the API server has no streaming lists; using plain lists");
        self.streams = false;
        State::Unlisted
    }

    async fn resume(&mut self) -> Result<State, Failure> {
        let (seconds, duration) = watch_duration();
        match requests::watch::<T>(&self.client, &self.version, false, seconds).await {
            Ok(lines) => Ok(State::Watching(OpenWatch::new(lines, duration))),
            Err(error) => Err(Failure { error, relist: false }),
        }
    }

    async fn follow(&mut self, mut open: OpenWatch) -> Result<State, Failure> {
        let OpenWatch { lines, since, duration, received, bookmarks } = &mut open;
        let rest = (*duration + GRACE).saturating_sub(since.elapsed());
        let patience = if *bookmarks { SILENCE.min(rest) } else { rest };
        let line = lines.next::<T>(patience).await;
        let age = since.elapsed();
        self.backoff.open_for(age);
        let resume = |error| Failure { error, relist: false };
        let Some(line) = line.map_err(resume)? else {
            // A restored database may be behind our version. Then nothing comes,
            // not even a bookmark, and only a list gives the present objects.
            let all_silent = self.last_received.elapsed() >= SILENCE_OF_WATCHES;
            let silent = self.bookmarks && (!*received && age >= SILENCE || all_silent);
            return Ok(self.ended(age, silent));
        };
        *received = true;
        self.last_received = Instant::now();
        // Without a name the object to delete is unknown, so list again.
        let line = watch_line::line::<T>(line).map_err(|error| Failure { error, relist: true })?;
        match line {
            Line::Applied(item) => {
                let item = item.shared(&self.known);
                self.advance(item.identity.version.clone());
                self.queue.extend(item.events());
            }
            Line::Deleted(Identity { key, version }) => {
                self.advance(version);
                self.queue.push_back(Event::Deleted { kind: T::KIND, key });
            }
            Line::Bookmark { version, .. } => {
                *bookmarks = true;
                self.bookmarks = true;
                self.advance(version);
            }
            Line::Error(status) => {
                return Err(resume(WatchError::status("watch", T::KIND, &status)));
            }
        }
        Ok(State::Watching(open))
    }

    /// The server ended the watch. To resume it costs little, but a server that
    /// shuts down ends the watches of all agents together, hence the pause.
    fn ended(&mut self, age: Duration, silent: bool) -> State {
        if age < EARLY {
            self.pause = Some(self.backoff.ended_early());
        }
        if age < WORKING {
            let message = "the API server ended the watch at once";
            let error = WatchError::broken("watch", T::KIND, message);
            self.queue.push_back(Event::Failed { kind: T::KIND, error });
        }
        if silent { State::Unlisted } else { State::Listed }
    }

    /// Remembers the version to resume from.
    fn advance(&mut self, version: String) {
        if !version.is_empty() {
            self.version = version;
        }
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
