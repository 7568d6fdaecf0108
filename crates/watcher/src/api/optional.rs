//! Lists and watches a kind that a cluster need not have: MultiNetworkPolicy.
//!
//! In: a client. Out: its events, as of other kinds, or the present objects once. Never: a conclusion that there are no
//! policies because the kind is not served: what is known stays until a list says so.
//!
//! ```text
//! ask for the versions --- served ---> list and watch
//!     ^     |                              |
//!     |     +- not served: wait            |  404
//!     +------------------------------------+
//! ```
//!
//! The kind is found as clients find kinds (Kubernetes API concepts, "API discovery"), so
//! that a cluster without it is not asked for a list again and again.

use std::time::Duration;

use futures::stream::BoxStream;
use futures::{Stream, StreamExt, stream};
use kube::Client;
use serde::Deserialize;
use tokio::time::sleep;

use super::backoff::random;
use super::error::WatchError;
use super::event::{Event, Found};
use super::kinds::{MultiPolicyJson, MultiVersion, V1Beta1, V1Beta2, Watched};
use super::{Following, of_kind, requests, watch};
use crate::Kind;

/// The longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long after a server did not serve the kind it is asked again, and a random part
/// of it more.
const AGAIN: Duration = Duration::from_secs(45);
/// The same after an answer that says nothing.
const FAILED: Duration = Duration::from_secs(5);

/// The events of MultiNetworkPolicies, without end. While the server does not serve the kind
/// there are none but one [`Event::Failed`] that says so.
pub fn multi_network_policies(
    client: Client,
    following: Following,
) -> impl Stream<Item = Event> + Send + 'static {
    let start = Optional { client, following, state: State::Unknown, is_said: false };
    stream::unfold(start, |mut optional| async {
        let event = optional.next().await;
        Some((event, optional))
    })
}

/// The present MultiNetworkPolicies, once; `None` if the server does not serve the kind. As
/// [`super::list`], it is not for agents.
///
/// # Errors
/// A request failed, or an object cannot be read.
pub async fn list_multi_network_policies(
    client: &Client,
) -> Result<Option<Vec<Found>>, WatchError> {
    Ok(match served(client).await? {
        None => None,
        Some(Served::V1Beta2) => Some(of_kind::<MultiPolicyJson<V1Beta2>>(client).await?),
        Some(Served::V1Beta1) => Some(of_kind::<MultiPolicyJson<V1Beta1>>(client).await?),
    })
}

struct Optional {
    client: Client,
    following: Following,
    state: State,
    /// Whether it was said that the kind is not served.
    is_said: bool,
}

enum State {
    /// Which versions are served is not known.
    Unknown,
    /// This long after an answer without the kind.
    Waiting(Duration),
    Watching(BoxStream<'static, Event>),
}

/// The newest version of the kind that is served.
#[derive(Clone, Copy)]
pub(super) enum Served {
    V1Beta2,
    V1Beta1,
}

/// `APIResourceList`, as far as it is read.
#[derive(Deserialize)]
struct Resources {
    #[serde(default)]
    resources: Vec<Resource>,
}

#[derive(Deserialize)]
struct Resource {
    name: String,
}

impl Optional {
    async fn next(&mut self) -> Event {
        loop {
            match &mut self.state {
                State::Waiting(pause) => {
                    sleep(*pause + random(*pause / 3)).await;
                    self.state = State::Unknown;
                }
                State::Watching(events) => {
                    let event = events.next().await;
                    match event {
                        Some(Event::Failed { error, .. }) if error.code() == Some(404) => {
                            self.state = State::Unknown;
                        }
                        Some(event) => return event,
                        None => self.state = State::Unknown,
                    }
                }
                State::Unknown => {
                    if let Some(event) = self.look().await {
                        return event;
                    }
                }
            }
        }
    }

    async fn look(&mut self) -> Option<Event> {
        let (client, following) = (self.client.clone(), self.following.clone());
        let error = match served(&client).await {
            Ok(Some(served)) => {
                self.is_said = false;
                self.state = State::Watching(match served {
                    Served::V1Beta2 => of_version::<V1Beta2>(client, following),
                    Served::V1Beta1 => of_version::<V1Beta1>(client, following),
                });
                return None;
            }
            Ok(None) if self.is_said => {
                self.state = State::Waiting(AGAIN);
                return None;
            }
            Ok(None) => {
                self.is_said = true;
                self.state = State::Waiting(AGAIN);
                WatchError::NotServed { kind: Kind::MultiNetworkPolicy }
            }
            Err(error) => {
                self.state = State::Waiting(FAILED);
                error
            }
        };
        Some(Event::Failed { kind: Kind::MultiNetworkPolicy, error })
    }
}

pub(super) async fn served(client: &Client) -> Result<Option<Served>, WatchError> {
    if has::<V1Beta2>(client).await? {
        return Ok(Some(Served::V1Beta2));
    }
    Ok(has::<V1Beta1>(client).await?.then_some(Served::V1Beta1))
}

/// Whether a version of the group has the kind. Other kinds are in the group, too.
async fn has<V: MultiVersion>(client: &Client) -> Result<bool, WatchError> {
    let Some((group, resource)) = V::PATH.rsplit_once('/') else { return Ok(false) };
    let request = hyper::Request::get(group).body(Vec::new());
    let request = request.map_err(kube::core::request::Error::BuildRequest);
    let answer = requests::whole::<MultiPolicyJson<V>>(client, request, PATIENCE).await;
    let answer = match answer {
        Err(error) if error.code() == Some(404) => return Ok(false),
        answer => answer?,
    };
    let resources: Resources = serde_json::from_slice(&answer)
        .map_err(|error| WatchError::decode(<MultiPolicyJson<V>>::KIND, None, error))?;
    Ok(resources.resources.iter().any(|one| one.name == resource))
}

fn of_version<V: MultiVersion>(client: Client, following: Following) -> BoxStream<'static, Event> {
    watch::events::<MultiPolicyJson<V>>(client, following).boxed()
}
