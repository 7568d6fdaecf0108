//! A plain list, page by page, item by item.
//!
//! In: a kind, and how old the answer may be.
//! Out: all items, and the version.
//! Never: a list without its end; more or larger items than a cluster has.

use std::time::Duration;

use futures::AsyncBufReadExt;
use kube::Client;
use kube::api::{ListParams, VersionMatch};
use kube::core::Request;
use serde::Deserialize;
use tokio::time::timeout;

use super::error::{WatchError, innermost};
use super::kinds::Watched;
use super::list_splitter::ListSplitter;
use super::requests::{self, FrameMetadata, LONGEST};
use super::watch_line::{self, Item};
use super::weight::Weight;
use crate::Known;

/// The longest wait for the start of an answer, at first, and after attempts that failed.
/// A request can be swallowed while the connection stays, and then to ask again soon helps.
/// An API server without StreamingCollectionEncodingToJSON (KEP-5116) encodes the whole list
/// before it sends the first byte, and then it does not.
pub(super) const BEGIN: Duration = Duration::from_secs(15);
pub(super) const BEGIN_LATER: Duration = Duration::from_secs(60);
/// The longest wait between two pieces of a list.
const PIECE: Duration = Duration::from_secs(30);
/// A list.
pub(super) struct Listed {
    pub items: Vec<Item>,
    pub version: String,
}

/// A list without its items.
#[derive(Deserialize)]
struct Frame {
    metadata: FrameMetadata,
}

/// Lists all objects of a kind. With a version the server may answer from its
/// cache, as long as that is not older; without one it gives the most recent
/// state. Items that equal known objects are those. An answer must begin within
/// `patience`.
///
/// # Errors
/// A request failed, or an answer is incomplete. After [`WatchError::Expired`] in the
/// middle of a list, the next one has to begin anew.
pub(super) async fn list<T: Watched>(
    client: &Client,
    not_older: Option<&str>,
    known: &Known,
    patience: Duration,
) -> Result<Listed, WatchError> {
    let field_selector = T::FIELDS.map(str::to_owned);
    let mut parameters = ListParams { field_selector, ..ListParams::default() };
    if let Some(version) = not_older {
        parameters = parameters.at(version).matching(VersionMatch::NotOlderThan);
    }
    let (mut items, mut weight) = (Vec::new(), Weight::default());
    loop {
        let all = (&mut items, &mut weight);
        let metadata = page::<T>(client, &parameters, (known, patience), all).await?;
        // The server decides whether a list comes in pages, also without a limit.
        let token = metadata.rest.filter(|token| !token.is_empty());
        if token.is_none() {
            return Ok(Listed { items, version: metadata.resource_version });
        }
        if token == parameters.continue_token {
            let message = "the next page of the list is the same one again";
            return Err(WatchError::broken("list", T::KIND, message));
        }
        // A token has its version (Kubernetes API concepts, "Retrieving large results
        // sets in chunks").
        (parameters.resource_version, parameters.version_match) = (None, None);
        parameters.continue_token = token;
    }
}

/// Adds the items of a page.
async fn page<T: Watched>(
    client: &Client,
    parameters: &ListParams,
    (known, patience): (&Known, Duration),
    (items, weight): (&mut Vec<Item>, &mut Weight),
) -> Result<FrameMetadata, WatchError> {
    let request = Request::new(T::PATH).list(parameters);
    let mut body = requests::begin::<T>(client, request, "list", patience).await?;
    let broken = |message: String| WatchError::broken("list", T::KIND, message);
    let mut splitter = ListSplitter::default();
    let mut unnamed = None;
    loop {
        let piece = timeout(PIECE, body.fill_buf()).await;
        let piece = piece
            .map_err(|_| broken("the API server does not answer".to_owned()))?
            .map_err(|error| broken(innermost(&error).to_string()))?;
        if piece.is_empty() {
            break;
        }
        let mut too_much = Ok(());
        splitter.push(piece, |bytes| match watch_line::item::<T>(bytes) {
            Ok(item) if too_much.is_ok() => {
                too_much = weight.add(&item);
                items.push(item.shared(known));
            }
            Ok(_) => {}
            Err(error) => unnamed = Some(error),
        });
        too_much.map_err(broken)?;
        let length = piece.len();
        body.consume_unpin(length);
        if splitter.held() > LONGEST {
            return Err(broken(format!("an object is longer than {} MiB", LONGEST >> 20)));
        }
    }
    let frame: Frame = serde_json::from_slice(splitter.frame())
        .map_err(|error| broken(format!("the list is incomplete: {error}")))?;
    unnamed.map_or(Ok(frame.metadata), Err)
}
