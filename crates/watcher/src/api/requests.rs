//! Requests to the API server, and reading their answers piece by piece.
//!
//! In: a kind and a version.
//! Out: a list, or the lines of a watch.
//! Never: a wait without a time limit.

use std::pin::Pin;
use std::time::Duration;

use futures::{AsyncBufRead, AsyncBufReadExt};
use kube::Client;
use kube::api::{ListParams, VersionMatch, WatchParams};
use kube::core::Request;
use serde::Deserialize;
use tokio::time::timeout;

use super::error::{WatchError, innermost};
use super::kinds::Watched;
use super::list_splitter::ListSplitter;
use super::watch_line::{self, Item};
use crate::Known;

/// The longest wait for the start of an answer. An API server without
/// StreamingCollectionEncodingToJSON (KEP-5116) encodes the whole list before it
/// sends the first byte.
const BEGIN: Duration = Duration::from_secs(60);
/// The longest wait between two pieces of a list.
const PIECE: Duration = Duration::from_secs(30);

type Body = Pin<Box<dyn AsyncBufRead + Send>>;

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

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct FrameMetadata {
    resource_version: String,
}

/// Lists all objects of a kind. With a version the server may answer from its
/// cache, as long as that is not older; without one it gives the most recent
/// state. Items that equal known objects are those.
pub(super) async fn list<T: Watched>(
    client: &Client,
    not_older: Option<&str>,
    known: &Known,
) -> Result<Listed, WatchError> {
    let mut parameters =
        ListParams { field_selector: T::FIELDS.map(str::to_owned), ..<_>::default() };
    if let Some(version) = not_older {
        parameters = parameters.at(version).matching(VersionMatch::NotOlderThan);
    }
    let request = Request::new(T::PATH).list(&parameters).map_err(kube::Error::BuildRequest);
    let failed = |error| WatchError::request("list", T::KIND, error);
    let silent = |_| WatchError::broken("list", T::KIND, "the API server does not answer");
    let answer = timeout(BEGIN, client.request_stream(request.map_err(failed)?)).await;
    let mut body: Body = Box::pin(answer.map_err(silent)?.map_err(failed)?);
    let mut splitter = ListSplitter::default();
    let mut items = Vec::new();
    loop {
        let piece = timeout(PIECE, body.fill_buf()).await.map_err(silent)?;
        let piece = piece
            .map_err(|error| WatchError::broken("list", T::KIND, innermost(&error).to_string()))?;
        if piece.is_empty() {
            break;
        }
        splitter.push(piece, |bytes| {
            items.push(watch_line::item::<T>(bytes).map(|item| item.shared(known)));
        });
        let length = piece.len();
        body.consume_unpin(length);
    }
    let frame: Frame = serde_json::from_slice(splitter.frame()).map_err(|error| {
        WatchError::broken("list", T::KIND, format!("the list is incomplete: {error}"))
    })?;
    let items = items.into_iter().collect::<Result<_, _>>()?;
    Ok(Listed { items, version: frame.metadata.resource_version })
}

/// An open watch.
pub(super) struct WatchLines {
    body: Body,
    line: Vec<u8>,
}

/// Opens a watch and asks the server to end it after some seconds.
pub(super) async fn watch<T: Watched>(
    client: &Client,
    version: &str,
    initial_events: bool,
    seconds: u32,
) -> Result<WatchLines, WatchError> {
    let parameters = WatchParams {
        field_selector: T::FIELDS.map(str::to_owned),
        timeout: Some(seconds),
        bookmarks: true,
        send_initial_events: initial_events,
        ..WatchParams::default()
    };
    let request = Request::new(T::PATH).watch(&parameters, version);
    let failed = |error| WatchError::request("watch", T::KIND, error);
    let request = request.map_err(kube::Error::BuildRequest).map_err(failed)?;
    match timeout(BEGIN, client.request_stream(request)).await {
        Ok(body) => Ok(WatchLines { body: Box::pin(body.map_err(failed)?), line: Vec::new() }),
        Err(_) => Err(WatchError::broken("watch", T::KIND, "the API server does not answer")),
    }
}

impl WatchLines {
    /// The next line, without its end; `None` at the end of the answer.
    ///
    /// # Errors
    /// The connection broke, or no line came within `patience`.
    pub(super) async fn next<T: Watched>(
        &mut self,
        patience: Duration,
    ) -> Result<Option<&[u8]>, WatchError> {
        let broken = |message: String| WatchError::broken("watch", T::KIND, message);
        self.line.clear();
        match timeout(patience, self.body.read_until(b'\n', &mut self.line)).await {
            Err(_) => Err(broken(format!("no data for {} s", patience.as_secs()))),
            Ok(Err(error)) => Err(broken(format!("the connection broke: {}", innermost(&error)))),
            Ok(Ok(0)) => Ok(None),
            Ok(Ok(_)) => match self.line.strip_suffix(b"\n") {
                Some(line) => Ok(Some(line)),
                None => Err(broken("the connection ended within an event".to_owned())),
            },
        }
    }
}
