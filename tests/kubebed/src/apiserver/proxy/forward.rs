//! Forwards one request to the real server.
//!
//! Returns the server's answer as it arrives, or the answer that a test asked for.
//! Never: a retry. If the server gives no answer, the connection ends.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures::stream;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::header::{
    AUTHORIZATION, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST, TRANSFER_ENCODING,
};
use hyper::{Request, Response, StatusCode};
use kube::client::Body;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::call::{Call, Verb};
use super::events::{Events, Hidden};
use super::{Shared, lock};

type Answer = Response<UnsyncBoxBody<Bytes, kube::Error>>;
type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Answers one request.
pub(super) async fn forward(
    shared: Arc<Shared>,
    request: Request<Incoming>,
) -> Result<Answer, Failure> {
    let call = Call::new(request.method(), request.uri());
    lock(&shared.calls).push(call.clone());
    let without = shared.without_watch_list.load(Ordering::Relaxed);
    if without && call.query.contains_key("sendInitialEvents") {
        return Ok(invalid()?);
    }
    let (mut parts, body) = request.into_parts();
    // These headers belong to this connection, or to the other client's.
    for header in [HOST, AUTHORIZATION, CONNECTION, TRANSFER_ENCODING, CONTENT_LENGTH] {
        parts.headers.remove(header);
    }
    let body = Body::from(body.collect().await?.to_bytes());
    let answer = shared.upstream.send(Request::from_parts(parts, body)).await?;
    let (mut parts, body) = answer.into_parts();
    for header in [CONNECTION, TRANSFER_ENCODING] {
        parts.headers.remove(header);
    }
    let is_emptied = lock(&shared.emptied).contains(&call.resource)
        && !call.query.contains_key("limit")
        && !call.query.get("fieldSelector").is_some_and(|one| one.contains("metadata.name"));
    let body = match call.verb {
        Verb::Watch if parts.status.is_success() => {
            let is_list = call.query.contains_key("sendInitialEvents");
            let without_end = is_list && shared.without_end.load(Ordering::Relaxed);
            let hidden = Hidden { added: is_list && is_emptied, end: without_end };
            watched(&shared, call.resource, body, hidden)
        }
        Verb::List if parts.status.is_success() && is_emptied => {
            parts.headers.remove(CONTENT_LENGTH);
            let mut list: Value = serde_json::from_slice(&body.collect().await?.to_bytes())?;
            list["items"] = json!([]);
            Full::new(Bytes::from(list.to_string())).map_err(|never| match never {}).boxed_unsync()
        }
        _ => body.boxed_unsync(),
    };
    Ok(Response::from_parts(parts, body))
}

/// A watch stream that can be paused and ended.
fn watched(
    shared: &Shared,
    resource: String,
    body: Body,
    hidden: Hidden,
) -> UnsyncBoxBody<Bytes, kube::Error> {
    let (end, ended) = mpsc::unbounded_channel();
    let mut streams = lock(&shared.streams);
    streams.retain(|(_, end)| !end.is_closed());
    streams.push((resource.clone(), end));
    let events = Events::new(resource, body, shared.held.subscribe(), ended).without(hidden);
    let frames = stream::unfold(events, |mut events| async {
        let next = events.next().await?;
        Some((next.map(Frame::data), events))
    });
    BodyExt::boxed_unsync(StreamBody::new(frames))
}

/// ValidateListOptions answers this if the feature gate WatchList is off
/// (apimachinery/pkg/apis/meta/internalversion/validation, Kubernetes 1.27 to
/// 1.33).
fn invalid() -> Result<Answer, hyper::http::Error> {
    let detail =
        "sendInitialEvents is forbidden for watch unless the WatchList feature gate is enabled";
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": format!(
            "ListOptions.meta.k8s.io \"\" is invalid: sendInitialEvents: Forbidden: {detail}"
        ),
        "reason": "Invalid",
        "details": {
            "group": "meta.k8s.io", "kind": "ListOptions",
            "causes": [{
                "reason": "FieldValueForbidden", "message": format!("Forbidden: {detail}"),
                "field": "sendInitialEvents",
            }],
        },
        "code": 422,
    });
    let body = Full::new(Bytes::from(status.to_string()));
    Response::builder()
        .status(StatusCode::UNPROCESSABLE_ENTITY)
        .header(CONTENT_TYPE, "application/json")
        .body(body.map_err(|never| match never {}).boxed_unsync())
}
