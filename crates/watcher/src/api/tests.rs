//! What a real API server cannot be made to do at will: refusals, lost
//! history, answers that break off, objects that cannot be read.

use std::collections::VecDeque;
use std::convert::Infallible;
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
use super::{Event, FailureKind, watch};
use crate::convert::PodFields;
use crate::{Kind, Object};

/// An answer: status, body, and how many seconds after that it ends.
struct Answer(u16, String, u64);

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

/// A client whose requests are answered in turn, after the last answer never;
/// and the requests.
fn served(answers: Vec<Answer>) -> (Client, Arc<Mutex<Vec<String>>>) {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&asked);
    (answering(answers, move |uri| log.lock().unwrap().push(uri)), asked)
}

/// Like [`served`], with the time of each request.
fn timed(answers: Vec<Answer>) -> (Client, Arc<Mutex<Vec<(Instant, String)>>>) {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&asked);
    (answering(answers, move |uri| log.lock().unwrap().push((Instant::now(), uri))), asked)
}

fn answering(answers: Vec<Answer>, log: impl Fn(String) + Send + Sync + 'static) -> Client {
    let answers = Arc::new(Mutex::new(VecDeque::from(answers)));
    let service = tower::service_fn(move |request: Request<kube::client::Body>| {
        log(request.uri().to_string());
        let answer = answers.lock().unwrap().pop_front();
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
        Event::Failed { error, .. } => format!("{}: {error}", error.failure_kind().name()),
    }
}

async fn shown(events: impl Stream<Item = Event>, count: usize) -> Vec<String> {
    let mut events = std::pin::pin!(events.map(show));
    let shown = events.by_ref().take(count).collect().await;
    assert_eq!(events.next().now_or_never(), None, "more events after {shown:?}");
    shown
}

/// What the answers become, and how often and from which version was asked.
async fn check<T: Watched>(answers: Vec<Answer>, expected: &[&str], requests: &[&str]) {
    let (client, asked) = served(answers);
    assert_eq!(shown(watch::events::<T>(client), expected.len()).await, expected);
    let asked = asked.lock().unwrap();
    let seen: Vec<String> = asked.iter().map(|uri| request(uri)).collect();
    assert_eq!(seen, requests, "{asked:#?}");
}

/// A request in short: `stream ` (of the present state), `list 0`,
/// `list most recent`, `watch 7`.
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
    // Without a version a server may not answer a list from a cache that lags.
    format!("{what} {}", version.as_deref().unwrap_or("most recent"))
}

#[tokio::test]
async fn a_streaming_list_is_told_whole_and_followed() {
    let answers = vec![stays_open(&[
        event("ADDED", pod("a", 3)),
        event("ADDED", pod("b", 9)),
        event("ADDED", pod("c", 4)),
        bookmark(5, false),
        event("MODIFIED", pod("a", 10)),
        event("DELETED", pod("b", 11)),
        bookmark(11, true),
        event("ADDED", pod("d", 12)),
        event("DELETED", pod("a", 13)),
        bookmark(20, false),
    ])];
    let expected = ["listed ns/a ns/c", "applied ns/d", "deleted ns/a"];
    check::<PodFields>(answers, &expected, &["stream "]).await;
}

#[tokio::test]
async fn a_server_without_streaming_lists_lists_from_its_cache_and_is_asked_once() {
    let answers = vec![
        ends(422, status(422, "sendInitialEvents is forbidden for watch")),
        ends(200, list(7, &[pod("a", 3)])),
        ended(&[event("ADDED", pod("b", 8)), event("ERROR", status(410, "too old"))]),
        ends(200, list(30, &[pod("b", 8)])),
        stays_open(&[]),
    ];
    let expired = "expired: the watch of pods cannot be resumed and begins anew: too old";
    let expected = ["listed ns/a", "applied ns/b", expired, "listed ns/b"];
    let requests = ["stream ", "list 0", "watch 7", "list 8"];
    check::<PodFields>(answers, &expected, &requests).await;
}

/// A cache that lags behind would take policies back that were enforced.
#[tokio::test(start_paused = true)]
async fn a_list_in_place_of_a_streaming_one_is_of_the_present_state() {
    async fn lists<T: Watched>(first: &str) {
        let answers = vec![
            ends(422, status(422, "sendInitialEvents is forbidden for watch")),
            // The first list fails once, and is still the first.
            ends(503, "not ready"),
            ends(200, list(7, &[])),
            // Lost history: never older than what was told.
            ended(&[event("ERROR", status(410, "too old"))]),
            ends(200, list(9, &[])),
            // A watch that breaks is resumed, and what a list must have moves on.
            ended(&[bookmark(11, false), json!({"type": "DELETED"})]),
            ends(503, "not ready"),
            // A database that was set back.
            ends(504, status(504, "Too large resource version: 11, current: 3")),
            ends(200, list(3, &[])),
            stays_open(&[]),
        ];
        let (client, asked) = served(answers);
        let events = watch::events::<T>(client).take(8).map(show).collect::<Vec<_>>().await;
        let listed = events.iter().filter(|event| *event == "listed ").count();
        assert_eq!(listed, 3, "{events:#?}");
        let seen: Vec<String> = asked.lock().unwrap().iter().map(|uri| request(uri)).collect();
        let first = format!("list {first}");
        let expected = [
            "stream ", &first, &first, "watch 7", "list 7", "watch 9", "list 11", "list 11", &first,
        ];
        assert_eq!(seen, expected);
    }
    lists::<PolicyJson>("most recent").await;
    lists::<NamespaceFields>("most recent").await;
    // Pods are many, and a watch soon brings them up to date.
    lists::<PodFields>("0").await;
}

#[tokio::test]
async fn history_that_is_gone_is_listed_anew() {
    // As an answer, and before the initial events have ended.
    let answers = vec![
        ended(&[event("ADDED", pod("a", 3)), bookmark(7, true)]),
        ends(410, status(410, "gone")),
        ended(&[event("ADDED", pod("b", 8)), event("ERROR", status(410, "gone"))]),
        stays_open(&[event("ADDED", pod("c", 9)), bookmark(9, true)]),
    ];
    let expired = "expired: the watch of pods cannot be resumed and begins anew: gone";
    let at_once = "connection: cannot watch pods: the API server ended the watch at once";
    let expected = ["listed ns/a", at_once, expired, expired, "listed ns/c"];
    check::<PodFields>(answers, &expected, &["stream ", "watch 7", "stream 7", "stream 7"]).await;
}

#[tokio::test]
async fn a_database_that_was_set_back_is_listed_at_any_version() {
    let answers = vec![
        ended(&[bookmark(7, true), event("ERROR", status(410, "gone"))]),
        ends(504, status(504, "Too large resource version: 7, current: 3")),
        stays_open(&[bookmark(3, true)]),
    ];
    let expected = [
        "listed ",
        "expired: the watch of pods cannot be resumed and begins anew: gone",
        "other: cannot watch pods: the API server answers 504: Too large resource version: 7, current: 3",
        "listed ",
    ];
    check::<PodFields>(answers, &expected, &["stream ", "stream 7", "stream "]).await;
}

#[tokio::test]
async fn a_line_that_is_cut_off_is_asked_for_again() {
    let mut cut = ended(&[bookmark(7, true), event("ADDED", pod("a", 8))]);
    cut.1.push_str(r#"{"type":"DELETED","object":{"metadata":{"na"#);
    let answers = vec![cut, stays_open(&[event("DELETED", pod("a", 9))])];
    let broken = "connection: cannot watch pods: the connection ended within an event";
    let expected = ["listed ", "applied ns/a", broken, "deleted ns/a"];
    check::<PodFields>(answers, &expected, &["stream ", "watch 8"]).await;
    // One that is whole and no event: what it was about, only a list can say.
    let mut garbled = ended(&[bookmark(7, true)]);
    garbled.1.push_str("{\"type\":\"DELETED\",\"obj\n");
    let (client, asked) = served(vec![garbled, stays_open(&[bookmark(9, true)])]);
    let shown = shown(watch::events::<PodFields>(client), 3).await;
    assert!(shown[1].starts_with("decode: cannot read pods: "), "{shown:?}");
    assert_eq!(shown[2], "listed ");
    assert_eq!(request(&asked.lock().unwrap()[1]), "stream 7");
}

#[tokio::test]
async fn a_list_that_is_cut_off_is_not_told() {
    let whole = list(7, &[pod("a", 1), pod("b", 2)]).to_string();
    let answers = vec![
        ends(400, status(400, "no")),
        ends(200, &whole[..whole.len() - 20]),
        ends(200, &whole),
        stays_open(&[]),
    ];
    let (client, _) = served(answers);
    let shown = shown(watch::events::<PodFields>(client), 2).await;
    assert!(
        shown[0].starts_with("connection: cannot list pods: the list is not whole"),
        "{shown:?}"
    );
    assert_eq!(shown[1], "listed ns/a ns/b");
}

#[tokio::test(start_paused = true)]
async fn silence_is_noticed() {
    let answers = vec![
        // A server that ends a watch in its time is asked for the rest at once.
        ends_after(200, &[bookmark(7, true)]),
        // One that sends bookmarks may miss two.
        stays_open(&[bookmark(9, false)]),
        // From one that has sent none yet nothing need come before the end.
        stays_open(&[]),
        // If nothing came until the end where bookmarks come, it is listed anew.
        ends_after(200, &[]),
        // An answer that never ends its initial events, and none at all.
        stays_open(&[event("ADDED", pod("a", 3))]),
    ];
    let (client, asked) = served(answers);
    let mut events = std::pin::pin!(watch::events::<PodFields>(client));
    let mut took = Vec::new();
    let mut told = Vec::new();
    for _ in 0..5 {
        let since = Instant::now();
        told.push(show(events.next().await.unwrap()));
        took.push(since.elapsed().as_secs());
    }
    let nothing = "connection: cannot watch pods: nothing has come for";
    assert_eq!((told[0].as_str(), took[0]), ("listed ", 0));
    assert_eq!((told[1].clone(), took[1]), (format!("{nothing} 150 s"), 200 + 150));
    assert!(told[2].starts_with(nothing) && (230..=302).contains(&took[2]), "{told:?} {took:?}");
    assert_eq!((told[3].clone(), took[3]), (format!("{nothing} 60 s"), 200 + 60));
    assert_eq!(told[4], "connection: cannot watch pods: the API server does not answer");
    assert_eq!(took[4], 60);
    let requests: Vec<String> = asked.lock().unwrap().iter().map(|uri| request(uri)).collect();
    assert_eq!(requests, ["stream ", "watch 7", "watch 9", "watch 9", "stream 9", "stream 9"]);
}

/// A server that shuts down ends the watches of all agents in one moment.
#[tokio::test(start_paused = true)]
async fn a_watch_that_ends_early_is_resumed_after_a_pause_that_grows_and_differs() {
    let mut firsts = Vec::new();
    for lasts in [0, 10, 59] {
        for _ in 0..8 {
            // Bookmarks come, but a watch this short need not have had one.
            let mut answers = vec![ends_after(100, &[bookmark(7, true), bookmark(8, false)])];
            answers.extend((0..5).map(|_| ends_after(lasts, &[])));
            // One that lasted is resumed at once, and the pauses begin again.
            answers.extend([ends_after(100, &[]), ends_after(lasts, &[]), stays_open(&[])]);
            let requests = answers.len();
            let (client, asked) = timed(answers);
            let events = watch::events::<PodFields>(client).map(show);
            let until = sleep(Duration::from_secs(1000));
            let events: Vec<String> = events.take_until(until).collect().await;
            let failures = events.iter().filter(|event| event.contains("ended the watch at once"));
            assert_eq!(failures.count(), if lasts == 0 { 6 } else { 0 }, "{events:#?}");
            let asked = asked.lock().unwrap();
            let what: Vec<String> = asked.iter().map(|(_, uri)| request(uri)).collect();
            let mut expected = vec!["stream "];
            expected.resize(requests, "watch 8");
            assert_eq!(what[..requests], expected, "no list where a watch can be resumed");
            let at = |number: usize| asked[number].0;
            let pause = |number: usize, lasted: u64| {
                (at(number + 1) - at(number) - Duration::from_secs(lasted)).as_millis()
            };
            assert!(pause(0, 100) <= 1);
            for number in 1..=5 {
                let least = 1000 * (number as u128 - 1).min(3);
                let pause = pause(number, lasts);
                assert!((least..=least + 2001).contains(&pause), "{number}: {pause} ms");
            }
            assert!(pause(6, 100) <= 1);
            firsts.extend([pause(1, lasts), pause(7, lasts)]);
        }
    }
    let (least, most) = (firsts.iter().min().unwrap(), firsts.iter().max().unwrap());
    assert!(*most <= 2001 && most - least > 1000, "all agents at once: {firsts:?}");
}

#[tokio::test]
async fn refusals_say_what_to_do_and_are_tried_again() {
    let answers = vec![
        ends(403, status(403, "User \"x\" cannot watch")),
        ends(401, status(401, "Unauthorized")),
        ends(503, "not ready"),
        stays_open(&[bookmark(7, true)]),
    ];
    let expected = [
        "forbidden: cannot watch networkpolicies.networking.k8s.io: forbidden: User \"x\" cannot watch; \
         a ClusterRole must grant the verbs list and watch on networkpolicies.networking.k8s.io",
        "forbidden: cannot watch networkpolicies.networking.k8s.io: unauthorized: Unauthorized; \
         the token or the client certificate is not one that this API server accepts",
        "other: cannot watch networkpolicies.networking.k8s.io: the API server answers 503: not ready",
        "listed ",
    ];
    check::<PolicyJson>(answers, &expected, &["stream "; 4]).await;
}

#[tokio::test]
async fn objects_that_cannot_be_read_are_absent_and_stop_nobody() {
    let mut bad = pod("bad", 4);
    bad["spec"]["containers"] = json!("none");
    let changed = |version| {
        let mut changed = bad.clone();
        changed["metadata"]["resourceVersion"] = json!(version);
        changed
    };
    let answers = vec![stays_open(&[
        event("ADDED", bad.clone()),
        event("ADDED", pod("a", 5)),
        bookmark(7, true),
        event("ADDED", pod("bad", 8)),
        event("MODIFIED", changed("9")),
        event("DELETED", changed("10")),
    ])];
    let (client, _) = served(answers);
    let shown = shown(watch::events::<PodFields>(client), 6).await;
    let failed = "decode: cannot read Pod ns/bad: invalid type: string \"none\"";
    assert!(shown[0].starts_with(failed) && shown[3].starts_with(failed), "{shown:#?}");
    let others = [&shown[1], &shown[2], &shown[4], &shown[5]];
    assert_eq!(others, ["listed ns/a", "applied ns/bad", "deleted ns/bad", "deleted ns/bad"]);
    let listed =
        [event("ADDED", json!({"metadata": {"name": "n", "labels": [1]}})), bookmark(7, true)];
    let (client, _) = served(vec![stays_open(&listed)]);
    let shown = super::tests::shown(watch::events::<NamespaceFields>(client), 2).await;
    assert!(shown[0].starts_with("decode: cannot read Namespace n: invalid type"), "{shown:?}");
    assert_eq!(shown[1], "listed ");
}

#[tokio::test]
async fn a_policy_of_a_newer_api_server_allows_nothing_by_what_is_unknown() {
    let policy = json!({
        "metadata": {
            "name": "p", "namespace": "ns", "resourceVersion": "3", "uid": "u",
            "creationTimestamp": null, "managedFields": [{"fieldsV1": {}}],
        },
        "spec": {
            "podSelector": {"matchLabels": {"app": "web"}},
            "policyTypes": ["Ingress"],
            "ingress": [
                {"from": [{"podSelector": {}, "serviceSelector": {"x": 1}}], "ports": null},
                {"ports": [{"port": 80, "protocol": "TCP"}]},
                {"ports": "all"},
            ],
        },
        "status": {},
    });
    let (client, _) = served(vec![stays_open(&[event("ADDED", policy), bookmark(7, true)])]);
    let mut events = std::pin::pin!(watch::events::<PolicyJson>(client));
    let Some(Event::Listed { kind: Kind::NetworkPolicy, objects }) = events.next().await else {
        panic!("no list");
    };
    let [found] = &objects[..] else { panic!("{objects:?}") };
    let fields: Vec<&str> = found.diagnostics.iter().map(|one| one.field.as_str()).collect();
    assert_eq!(
        fields,
        ["spec.ingress[0].from[0].serviceSelector", "spec.ingress[2].ports"],
        "{:#?}",
        found.diagnostics
    );
    let Object::NetworkPolicy(policy) = &found.object else { panic!("{found:?}") };
    assert_eq!((policy.uid.as_str(), &policy.egress), ("u", &None));
    let rules = policy.ingress.as_deref().unwrap();
    assert_eq!(rules[0].peers, policy::Peers::Only(Vec::new()));
    assert_ne!(rules[1].ports, policy::Ports::Only(Vec::new()));
    assert_eq!(rules[2].ports, policy::Ports::Only(Vec::new()));
}

#[tokio::test]
async fn a_pod_has_the_fields_that_matter_whatever_the_source() {
    let answers = vec![stays_open(&[event("ADDED", pod("a", 1)), bookmark(7, true)])];
    let (client, _) = served(answers);
    let mut events = std::pin::pin!(watch::events::<PodFields>(client));
    let Some(Event::Listed { objects, .. }) = events.next().await else { panic!("no list") };
    let whole = serde_json::from_value(pod("a", 1)).unwrap();
    let (expected, diagnostics) = crate::convert::pod(&whole);
    assert_eq!(objects[0].object, Object::Pod(Arc::new(expected.clone())));
    assert_eq!((diagnostics.len(), expected.ports.len(), expected.addresses.len()), (0, 1, 1));
}

#[test]
fn a_line_of_a_watch_is_events_or_an_error() {
    let read = |kind, line: &str| match super::read_watch_line(kind, line.as_bytes()) {
        Ok(events) => events.into_iter().map(show).collect::<Vec<_>>().join(", "),
        Err(error) => error.failure_kind().name().to_owned(),
    };
    let added = event("ADDED", pod("a", 3)).to_string();
    for kind in Kind::ALL {
        assert_eq!(read(kind, &bookmark(3, true).to_string()), "");
        assert_eq!(read(kind, &event("ERROR", status(410, "gone")).to_string()), "expired");
        assert_eq!(read(kind, &event("DELETED", pod("a", 3)).to_string()), "deleted ns/a");
        assert!(read(kind, &added).ends_with("a"), "{kind}");
        for end in 0..added.len() {
            assert_eq!(read(kind, &added[..end]), "decode", "{kind} {end}");
        }
        let deep = added.replace("{\"a\":\"b\"}", &"[".repeat(100_000));
        assert!(deep.len() > 100_000);
        assert_eq!(read(kind, &deep), "decode", "{kind}");
    }
}

#[tokio::test]
async fn one_list_of_everything_for_people() {
    let policy = json!({"metadata": {"name": "p", "namespace": "ns"}, "spec": {"podSelector": {}}});
    let namespace = json!({"metadata": {"name": "ns"}});
    let answers = [policy, namespace, pod("a", 1)].map(|one| ends(200, list(7, &[one])));
    let (client, asked) = served(answers.into());
    let all = super::list(client).await.unwrap();
    let kinds: Vec<Kind> = all.iter().map(|found| found.object.kind()).collect();
    assert_eq!(kinds, [Kind::NetworkPolicy, Kind::Namespace, Kind::Pod]);
    // Without a version: the most recent one.
    assert!(asked.lock().unwrap().iter().all(|uri| !uri.contains("resourceVersion")));
    let (client, _) = served(vec![ends(403, status(403, "no"))]);
    assert_eq!(super::list(client).await.unwrap_err().failure_kind(), FailureKind::Forbidden);
}
