//! Lists and watches one kind, without end.
//!
//! In: a client.
//! Out: events.
//! Never: a request right after a failed one or after a watch that ended early;
//! a list where a watch can be resumed, except now and then.

mod history;
mod listing;

use std::collections::VecDeque;
use std::marker::PhantomData;
use std::time::Duration;

use futures::{Stream, stream};
use kube::Client;
use tokio::time::{Instant, sleep};

use super::Following;
use super::backoff::{Backoff, EARLY, WORKING, asked_for, list_again, watch_duration};
use super::contact::Asking;
use super::error::{FailureKind, WatchError};
use super::event::Event;
use super::kinds::{Identity, Watched};
use super::requests::{self, WatchLines};
use super::watch_line::{self, Line};
use listing::Lists;

/// How much longer to wait for a server that does not end a watch in time.
const GRACE: Duration = Duration::from_secs(10);
/// The longest silence of a server that sends bookmarks. It sends one a minute, the first
/// one a minute after the watch began (k8s.io/apiserver v0.36 pkg/storage/cacher:
/// defaultBookmarkFrequency, nextBookmarkTime). To resume a watch whose bookmark is only
/// late costs little.
const SILENCE: Duration = Duration::from_secs(75);
/// After two silent watches, which take this long, everything is listed again.
const SILENT_WATCH: Duration = Duration::from_secs(150);
/// The longest silence of watches that a proxy ends before a bookmark can come.
/// Longer than a few of them, since to list again is costly.
const SILENCE_OF_WATCHES: Duration = Duration::from_secs(600);

/// All events of a kind.
pub(super) fn events<T: Watched>(
    client: Client,
    following: Following,
) -> impl Stream<Item = Event> + Send + 'static {
    stream::unfold(Watch::<T>::new(client, following), |mut watch| async {
        let event = watch.next().await;
        Some((event, watch))
    })
}

struct Watch<T> {
    client: Client,
    following: Following,
    state: State,
    /// Events that come before the next request.
    queue: VecDeque<Event>,
    backoff: Backoff,
    /// How long to wait before the next request.
    pause: Option<Duration>,
    /// How to list.
    lists: Lists,
    /// Whether the server ever sent a bookmark.
    bookmarks: bool,
    /// When a list or a line of a watch was last received.
    last_received: Instant,
    /// Since when the connection may lead to another cluster: it broke then.
    doubtful: Instant,
    /// When to list again although nothing is wrong.
    list_again: Instant,
    /// The last version received; empty if there is none.
    version: String,
    /// The object that changed last, of those that are there.
    last: Option<Identity>,
    /// What must be told as deleted up to this version.
    vanished: Option<Identity>,
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

impl Failure {
    fn resume(error: WatchError) -> Self {
        Self { error, relist: false }
    }

    fn relist(error: WatchError) -> Self {
        Self { error, relist: true }
    }
}

impl<T: Watched> Watch<T> {
    fn new(client: Client, following: Following) -> Self {
        let now = Instant::now();
        Self {
            client,
            following,
            state: State::Unlisted,
            queue: VecDeque::new(),
            backoff: Backoff::new(),
            pause: None,
            lists: Lists::default(),
            bookmarks: false,
            last_received: now,
            doubtful: now,
            list_again: now,
            version: String::new(),
            last: None,
            vanished: None,
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
            let state = std::mem::replace(&mut self.state, State::Unlisted);
            let result = match state {
                State::Watching(open) => self.follow(open).await,
                State::Unlisted => self.ask(Asking::List).await,
                State::Listed if Instant::now() >= self.list_again => self.ask(Asking::List).await,
                State::Listed => self.ask(Asking::Watch).await,
            };
            match result {
                Ok(state) => self.state = state,
                Err(failure) => self.fail(failure),
            }
        }
    }

    async fn ask(&mut self, asking: Asking) -> Result<State, Failure> {
        self.following.contact.asks(T::KIND, asking);
        let result = match asking {
            Asking::List => self.list_anew().await,
            Asking::Watch => self.resume().await,
        };
        self.following.contact.asked(T::KIND);
        result
    }

    fn fail(&mut self, Failure { error, relist }: Failure) {
        let history_is_lost = error.loses_history();
        let pause = match history_is_lost {
            true => self.backoff.lost_history(),
            false => self.backoff.failed(),
        };
        let asked = error.retry_after().map_or(Duration::ZERO, asked_for);
        self.pause = Some(pause.max(asked));
        self.doubtful = Instant::now();
        if error.failure_kind() == FailureKind::WentBack {
            self.version.clear();
            self.last = None;
        }
        self.state = if relist || history_is_lost { State::Unlisted } else { State::Listed };
        self.following.contact.failed(T::KIND, &error);
        self.queue.push_back(Event::Failed { kind: T::KIND, error });
    }

    /// The list is complete.
    fn listed(&mut self, version: String, last: Option<Identity>) {
        self.version = version;
        self.last = last;
        self.vanished = None;
        self.last_received = Instant::now();
        self.list_again = self.last_received + list_again();
        self.lists.done();
        self.following.contact.works(T::KIND);
    }

    async fn resume(&mut self) -> Result<State, Failure> {
        self.has_the_same_history().await?;
        let (seconds, duration) = watch_duration();
        let lines = requests::watch::<T>(&self.client, &self.version, false, seconds).await;
        let lines = lines.map_err(Failure::resume)?;
        self.following.contact.resumed(T::KIND);
        Ok(State::Watching(OpenWatch::new(lines, duration)))
    }

    async fn follow(&mut self, mut open: OpenWatch) -> Result<State, Failure> {
        let OpenWatch { lines, since, duration, received, bookmarks } = &mut open;
        let rest = (*duration + GRACE).saturating_sub(since.elapsed());
        let patience = if *bookmarks || self.bookmarks { SILENCE.min(rest) } else { rest };
        let line = lines.next::<T>(patience).await;
        let age = since.elapsed();
        self.backoff.open_for(age);
        // A server whose versions are no numbers may be behind ours. Then nothing comes, not
        // even a bookmark, and only a list gives the present objects.
        let silence = self.last_received.elapsed();
        let broken = |error| {
            let is_silent = self.bookmarks && !*received && age >= SILENCE;
            Failure { error, relist: is_silent && silence >= SILENT_WATCH }
        };
        let Some(line) = line.map_err(broken)? else {
            let silent = self.bookmarks && silence >= SILENCE_OF_WATCHES;
            return Ok(self.ended(age, silent));
        };
        *received = true;
        self.last_received = Instant::now();
        // Without a name the object to delete is unknown, so list again.
        let line = watch_line::line::<T>(line).map_err(Failure::relist)?;
        match line {
            Line::Applied(item) => {
                let item = item.shared(&self.following.known);
                self.changed(&item.identity)?;
                self.queue.extend(item.events());
            }
            Line::Deleted(identity) => {
                self.deleted(&identity)?;
                self.queue.push_back(Event::Deleted { kind: T::KIND, key: identity.key });
            }
            Line::Bookmark { version, .. } => {
                *bookmarks = true;
                self.bookmarks = true;
                self.passed(version)?;
            }
            Line::Error(status) => {
                return Err(Failure::resume(WatchError::status("watch", T::KIND, &status)));
            }
        }
        self.following.contact.works(T::KIND);
        Ok(State::Watching(open))
    }

    /// The server ended the watch. To resume it costs little, but a server that
    /// shuts down ends the watches of all agents together, hence the pause.
    fn ended(&mut self, age: Duration, silent: bool) -> State {
        if age < EARLY {
            self.pause = Some(self.backoff.ended_early());
            self.doubtful = Instant::now();
        }
        if age < WORKING {
            let message = "the API server ended the watch at once";
            let error = WatchError::broken("watch", T::KIND, message);
            self.following.contact.failed(T::KIND, &error);
            self.queue.push_back(Event::Failed { kind: T::KIND, error });
        } else {
            self.following.contact.works(T::KIND);
        }
        if silent { State::Unlisted } else { State::Listed }
    }
}
