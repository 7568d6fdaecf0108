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
use super::lies::{Lie, Told};
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
    let lies = shared.lies.about(&call.resource);
    for lie in &lies {
        if let Lie::Lag(time) = lie {
            tokio::time::sleep(*time).await;
        }
        if *lie == Lie::Swallow {
            return std::future::pending().await;
        }
        if let Lie::Answer(code) = lie {
            return Ok(refusal(*code)?);
        }
    }
    if let Some(told) = call.query.get("continue").and_then(|token| shared.lies.page(token)) {
        return Ok(of_a_lie(told)?);
    }
    let without = shared.without_watch_list.load(Ordering::Relaxed)
        || lies.iter().any(|lie| {
            matches!(lie, Lie::NoStreams | Lie::Stale | Lie::Pages(_) | Lie::LostPages(_))
        });
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
            watched(&shared, call.resource, body, (hidden, is_list))
        }
        Verb::List if parts.status.is_success() && is_emptied => {
            parts.headers.remove(CONTENT_LENGTH);
            let mut list: Value = serde_json::from_slice(&body.collect().await?.to_bytes())?;
            list["items"] = json!([]);
            Full::new(Bytes::from(list.to_string())).map_err(|never| match never {}).boxed_unsync()
        }
        Verb::List if parts.status.is_success() && !lies.is_empty() && is_whole(&call) => {
            parts.headers.remove(CONTENT_LENGTH);
            let body = body.collect().await?.to_bytes();
            match shared.lies.list(&call.resource, &body) {
                None => whole(body),
                Some(told) => return Ok(of_a_lie(told)?),
            }
        }
        _ => body.boxed_unsync(),
    };
    Ok(Response::from_parts(parts, body))
}

/// Whether a list is of all objects.
fn is_whole(call: &Call) -> bool {
    !call.query.contains_key("limit")
        && !call.query.get("fieldSelector").is_some_and(|one| one.contains("metadata.name"))
}

fn whole(body: impl Into<Bytes>) -> UnsyncBoxBody<Bytes, kube::Error> {
    Full::new(body.into()).map_err(|never| match never {}).boxed_unsync()
}

/// The answer that a list has become.
fn of_a_lie(told: Told) -> Result<Answer, hyper::http::Error> {
    let answer = Response::builder().header(CONTENT_TYPE, "application/json");
    match told {
        Told::Expired => refusal(410),
        Told::Whole(body) => answer.body(whole(body)),
        Told::Half(half) => {
            let broken = std::io::Error::other("the proxy cuts the answer");
            let pieces =
                [Ok(Frame::data(Bytes::from(half))), Err(kube::Error::Service(broken.into()))];
            answer.body(BodyExt::boxed_unsync(StreamBody::new(stream::iter(pieces))))
        }
    }
}

/// A refusal by an API server, or by what is before it.
fn refusal(code: u16) -> Result<Answer, hyper::http::Error> {
    let message = format!("the proxy answers {code}");
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": message, "reason": "", "code": code,
    });
    let mut answer = Response::builder().status(code).header(CONTENT_TYPE, "application/json");
    if matches!(code, 429 | 503) {
        answer = answer.header("retry-after", "1");
    }
    answer.body(whole(status.to_string()))
}

/// A watch stream that can be paused and ended.
fn watched(
    shared: &Arc<Shared>,
    resource: String,
    body: Body,
    (hidden, is_list): (Hidden, bool),
) -> UnsyncBoxBody<Bytes, kube::Error> {
    let (end, ended) = mpsc::unbounded_channel();
    let mut streams = lock(&shared.streams);
    streams.retain(|(_, end)| !end.is_closed());
    streams.push((resource.clone(), end));
    let own = (Arc::clone(shared), is_list);
    let events = Events::new(resource, body, shared.held.subscribe(), ended, own).without(hidden);
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
