//! Requests to the API server, and reading their answers piece by piece.
//!
//! In: a kind and a version.
//! Out: a list, or the lines of a watch.
//! Never: a wait without a time limit; an answer, a line or an object without a limit
//! of its size.

use std::pin::Pin;
use std::time::Duration;

use futures::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, TryStreamExt};
use http_body_util::BodyExt;
use kube::Client;
use kube::api::WatchParams;
use kube::client::Body as HttpBody;
use kube::core::{Request, Status};
use serde::Deserialize;
use tokio::time::{Instant, timeout, timeout_at};

use super::error::{WatchError, innermost};
use super::kinds::Watched;

/// The longest wait for the start of a watch. The server begins it at once, and waits
/// 3 s at most for its cache (k8s.io/apiserver v0.36 pkg/storage/cacher: blockTimeout).
const BEGIN_WATCH: Duration = Duration::from_secs(15);
/// The longest line of a watch, and the longest object of a list. etcd takes requests of
/// 1.5 MiB (`--max-request-bytes`), and an object in JSON is a few times longer.
pub(super) const LONGEST: usize = 16 << 20;
/// The longest answer to a question, and the longest explanation of a refusal.
const LONGEST_ANSWER: u64 = 1 << 20;
/// How long a refusal may take to explain itself.
const EXPLAIN: Duration = Duration::from_secs(10);
/// How much of an explanation that is no Status is shown.
const SHOWN: usize = 200;

pub(super) type Body = Pin<Box<dyn AsyncBufRead + Send>>;
type Built = Result<hyper::Request<Vec<u8>>, kube::core::request::Error>;

/// What is read of the metadata of a list.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct FrameMetadata {
    pub resource_version: String,
    /// There is more, under this token.
    #[serde(default, rename = "continue")]
    pub rest: Option<String>,
}

/// Sends a request, and waits this long for its answer to begin.
pub(super) async fn begin<T: Watched>(
    client: &Client,
    request: Built,
    verb: &'static str,
    patience: Duration,
) -> Result<Body, WatchError> {
    let failed = |error| WatchError::request(verb, T::KIND, error);
    let request = request.map_err(kube::Error::BuildRequest).map_err(failed)?;
    let answer = timeout(patience, client.send(request.map(HttpBody::from))).await;
    let silent = |_| WatchError::broken(verb, T::KIND, "the API server does not answer");
    let answer = answer.map_err(silent)?.map_err(failed)?;
    let (parts, body) = answer.into_parts();
    let data = BodyExt::into_data_stream(body).map_err(std::io::Error::other);
    let mut body: Body = Box::pin(data.into_async_read());
    if parts.status.is_success() {
        return Ok(body);
    }
    let text = rest(&mut body, EXPLAIN).await.unwrap_or_default();
    let mut status = explained(&text);
    status.code = parts.status.as_u16();
    let header = parts.headers.get("retry-after").and_then(|value| value.to_str().ok());
    // RFC 9110, section 10.2.3. The API server gives seconds, never a date.
    let seconds = header.and_then(|value| value.trim().parse().ok());
    Err(WatchError::status(verb, T::KIND, &status).asking_for(seconds.map(Duration::from_secs)))
}

/// A Status, or the beginning of what is none.
fn explained(text: &[u8]) -> Status {
    serde_json::from_slice(text).unwrap_or_else(|_| {
        let text = String::from_utf8_lossy(text);
        let mut message: String = text.trim().chars().take(SHOWN).collect();
        if message.is_empty() {
            message.push_str("without an explanation");
        }
        Status::failure(&message, "")
    })
}

/// A whole answer to a question.
pub(super) async fn whole<T: Watched>(
    client: &Client,
    request: Built,
    patience: Duration,
) -> Result<Vec<u8>, WatchError> {
    let mut body = begin::<T>(client, request, "list", patience).await?;
    let broken = |message| WatchError::broken("list", T::KIND, message);
    rest(&mut body, patience).await.map_err(broken)
}

/// All of a body, up to [`LONGEST_ANSWER`].
async fn rest(body: &mut Body, patience: Duration) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let mut limited = body.take(LONGEST_ANSWER);
    match timeout(patience, limited.read_to_end(&mut bytes)).await {
        Err(_) => Err("the answer does not end".to_owned()),
        Ok(Err(error)) => Err(innermost(&error).to_string()),
        Ok(Ok(_)) => Ok(bytes),
    }
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
    let body = begin::<T>(client, request, "watch", BEGIN_WATCH).await?;
    Ok(WatchLines { body, line: Vec::new() })
}

impl WatchLines {
    /// The next line, without its end; `None` at the end of the answer.
    ///
    /// # Errors
    /// The connection broke, no line came within `patience`, or the line is too long.
    pub(super) async fn next<T: Watched>(
        &mut self,
        patience: Duration,
    ) -> Result<Option<&[u8]>, WatchError> {
        let broken = |message: String| WatchError::broken("watch", T::KIND, message);
        let until = Instant::now() + patience;
        self.line.clear();
        loop {
            let piece = match timeout_at(until, self.body.fill_buf()).await {
                Err(_) => return Err(broken(format!("no data for {} s", patience.as_secs()))),
                Ok(Err(error)) => {
                    return Err(broken(format!("the connection broke: {}", innermost(&error))));
                }
                Ok(Ok(piece)) => piece,
            };
            if piece.is_empty() && self.line.is_empty() {
                return Ok(None);
            }
            if piece.is_empty() {
                return Err(broken("the connection ended within an event".to_owned()));
            }
            let end = piece.iter().position(|&byte| byte == b'\n');
            let length = end.unwrap_or(piece.len());
            if self.line.len() + length > LONGEST {
                return Err(broken(format!("an event is longer than {} MiB", LONGEST >> 20)));
            }
            self.line.extend_from_slice(&piece[..length]);
            self.body.consume_unpin(end.map_or(length, |end| end + 1));
            if end.is_some() {
                return Ok(Some(&self.line));
            }
        }
    }
}
