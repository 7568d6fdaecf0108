//! A scripted API server, for what a real one does not do on request: refusals,
//! lost history, answers that break off, unreadable objects.

mod lists;
mod objects;
mod optional;
mod truth;
mod watches;
mod ways;

use std::collections::VecDeque;
use std::convert::Infallible;
use std::slice;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::{FutureExt, Stream, StreamExt, future, stream};
use http_body_util::StreamBody;
use hyper::body::{Bytes, Frame};
use hyper::{Request, Response};
use kube::Client;
use serde_json::{Value as Json, json};
use tokio::time::{Instant, sleep};

use super::kinds::{NamespaceFields, PolicyJson, Watched};
use super::{Event, FailureKind, Following, watch};
use crate::convert::PodFields;
use crate::{Kind, Object};

/// An answer: status, body, and after how many seconds it ends.
struct Answer(u16, String, u64);

/// When each request came, and its URI.
type TimedRequests = Vec<(Instant, String)>;

const A_DAY: u64 = 24 * 60 * 60;

fn ends(status: u16, body: impl ToString) -> Answer {
    Answer(status, body.to_string(), 0)
}

fn stays_open(lines: &[Json]) -> Answer {
    ends_after(A_DAY, lines)
}

fn ended(lines: &[Json]) -> Answer {
    ends_after(0, lines)
}

fn ends_after(seconds: u64, lines: &[Json]) -> Answer {
    Answer(200, lines.iter().map(|line| format!("{line}\n")).collect(), seconds)
}

fn status(code: u16, message: &str) -> Json {
    json!({"kind": "Status", "status": "Failure", "code": code, "message": message, "reason": "R"})
}

fn event(kind: &str, object: Json) -> Json {
    json!({"type": kind, "object": object})
}

fn pod(name: &str, version: u32) -> Json {
    json!({
        "metadata": {
            "name": name, "namespace": "ns", "resourceVersion": version.to_string(),
            "annotations": {"a": "b"}, "managedFields": [{"fieldsV1": {"f:a": {}}}],
        },
        "spec": {"nodeName": "n1", "containers": [{"image": "i", "ports": [{"containerPort": 80, "name": "http"}]}]},
        "status": {"phase": "Running", "podIPs": [{"ip": "10.0.0.1"}]},
    })
}

fn bookmark(version: u32, ends_initial_events: bool) -> Json {
    let mut object = json!({
        "kind": "Pod", "apiVersion": "v1", "metadata": {"resourceVersion": version.to_string()},
    });
    if ends_initial_events {
        object["metadata"]["annotations"] = json!({"k8s.io/initial-events-end": "true"});
    }
    event("BOOKMARK", object)
}

fn list(version: u32, items: &[Json]) -> Json {
    json!({"kind": "List", "metadata": {"resourceVersion": version.to_string()}, "items": items})
}

/// A client whose requests get these answers in turn, and then none. Also returns
/// the requests.
fn served(answers: Vec<Answer>) -> (Client, Arc<Mutex<Vec<String>>>) {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&asked);
    (answering(answers, move |uri| log.lock().unwrap().push(uri)), asked)
}

/// Like [`served`], and each request has its time.
fn timed(answers: Vec<Answer>) -> (Client, Arc<Mutex<TimedRequests>>) {
    let asked = Arc::new(Mutex::new(TimedRequests::new()));
    let log = Arc::clone(&asked);
    (answering(answers, move |uri| log.lock().unwrap().push((Instant::now(), uri))), asked)
}

fn answering(answers: Vec<Answer>, log: impl Fn(String) + Send + Sync + 'static) -> Client {
    questioned(answers, log, usual)
}

/// As usual, questions are answered: this is the cluster `u`, its version is far ahead, and
/// of what a list has nothing of there is nothing.
fn usual(question: &str) -> Answer {
    let is_cluster = question.starts_with("/api/v1/namespaces?") && !question.contains("limit=1");
    let cluster = json!({"metadata": {"name": "kube-system", "uid": "u"}});
    ends(200, list(u32::MAX, if is_cluster { slice::from_ref(&cluster) } else { &[] }))
}

/// A client whose requests get these answers in turn, except for questions, which get
/// others and are not logged.
fn questioned(
    answers: Vec<Answer>,
    log: impl Fn(String) + Send + Sync + 'static,
    question: impl Fn(&str) -> Answer + Send + Sync + 'static,
) -> Client {
    let answers = Arc::new(Mutex::new(VecDeque::from(answers)));
    let service = tower::service_fn(move |request: Request<kube::client::Body>| {
        let uri = request.uri().to_string();
        let answer = if uri.contains("metadata.name%3D") || uri.contains("limit=1") {
            Some(question(&uri))
        } else {
            log(uri);
            answers.lock().unwrap().pop_front()
        };
        async move {
            let Some(Answer(status, body, seconds)) = answer else {
                return future::pending().await;
            };
            let frame = Ok::<_, Infallible>(Frame::data(Bytes::from(body)));
            let end = stream::once(sleep(Duration::from_secs(seconds)));
            let end = end.filter_map(|()| future::ready(None));
            let body = StreamBody::new(stream::iter([frame]).chain(end));
            Ok::<_, Infallible>(Response::builder().status(status).body(body).unwrap())
        }
    });
    Client::new(service, "default")
}

fn show(event: Event) -> String {
    let name = |object: &Object| object.key().to_string();
    match event {
        Event::Listed { objects, .. } => {
            let names: Vec<String> = objects.iter().map(|found| name(&found.object)).collect();
            format!("listed {}", names.join(" "))
        }
        Event::Applied(found) => format!("applied {}", name(&found.object)),
        Event::Deleted { key, .. } => format!("deleted {key}"),
        Event::Unreadable { error, .. } | Event::Failed { error, .. } => {
            format!("{}: {error}", error.failure_kind().name())
        }
    }
}

async fn shown(events: impl Stream<Item = Event>, count: usize) -> Vec<String> {
    let mut events = std::pin::pin!(events.map(show));
    let shown = events.by_ref().take(count).collect().await;
    assert_eq!(events.next().now_or_never(), None, "more events after {shown:?}");
    shown
}

/// Compares the events from the answers, and the requests.
async fn check<T: Watched>(answers: Vec<Answer>, expected: &[&str], requests: &[&str]) {
    let (client, asked) = served(answers);
    assert_eq!(
        shown(watch::events::<T>(client, Following::default()), expected.len()).await,
        expected
    );
    let asked = asked.lock().unwrap();
    let seen: Vec<String> = asked.iter().map(|uri| request(uri)).collect();
    assert_eq!(seen, requests, "{asked:#?}");
}

/// A request in short form: `stream ` (of the present state), `list 0`, `list most
/// recent`, `watch 7`.
fn request(uri: &str) -> String {
    let value = |name: &str| {
        let query = uri.split_once('?').unwrap().1;
        let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.find(|(key, _)| *key == name).map(|(_, value)| value.to_owned())
    };
    let what = match (value("watch"), value("sendInitialEvents")) {
        (None, None) => "list",
        (Some(_), Some(_)) => "stream",
        (Some(_), None) => "watch",
        (None, Some(_)) => panic!("a list with initial events: {uri}"),
    };
    assert!(value("limit").is_none(), "{uri}");
    let is_pods = uri.starts_with("/api/v1/pods");
    let fields = "status.phase%21%3DSucceeded%2Cstatus.phase%21%3DFailed";
    assert_eq!(value("fieldSelector").as_deref(), is_pods.then_some(fields), "{uri}");
    let version = value("resourceVersion");
    assert!(what == "list" || version.is_some(), "{uri}");
    // Without a version, a server may not answer a list from a cache that lags.
    format!("{what} {}", version.as_deref().unwrap_or("most recent"))
}
