//! A server that says what is not so: history that went back, another cluster, lists
//! that lack what there is.

use super::*;
use crate::api::Cluster;

/// What is asked, and the answer to it.
type Question = fn(&str) -> Option<Json>;

/// Compares the events, and the requests, as [`check`]. Questions that are not
/// answered here are answered as usual.
async fn told<T: Watched>(
    following: Following,
    answers: Vec<Answer>,
    question: Question,
    count: usize,
) -> (Vec<String>, Vec<String>) {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&asked);
    let answer = move |uri: &str| question(uri).map_or_else(|| usual(uri), |one| ends(200, one));
    let client = questioned(answers, move |uri| log.lock().unwrap().push(request(&uri)), answer);
    let events = shown(watch::events::<T>(client, following), count).await;
    let asked = asked.lock().unwrap().clone();
    (events, asked)
}

fn is_version(uri: &str) -> bool {
    uri.starts_with("/api/v1/namespaces/") && uri.contains("metadata.name%3D")
}

#[tokio::test]
async fn a_history_that_went_back_is_seen_before_the_watch_is_resumed() {
    let answers = || {
        vec![
            ended(&[event("ADDED", pod("a", 700)), bookmark(900, true)]),
            stays_open(&[event("ADDED", pod("b", 20)), bookmark(30, true)]),
        ]
    };
    let restored: Question = |uri| is_version(uri).then(|| list(899, &[]));
    let (events, requests) = told::<PodFields>(Following::default(), answers(), restored, 4).await;
    let expected = [
        "listed ns/a",
        "connection: cannot watch pods: the API server ended the watch at once",
        "went_back: the history of pods went back from version 900 to 899, as after etcd was \
         restored from a snapshot; listing again",
        "listed ns/b",
    ];
    assert_eq!(events, expected);
    // Of the present state, whatever version was known.
    assert_eq!(requests, ["stream ", "stream "]);
    // The version has grown beyond ours again. The object that changed last tells.
    let grown: Question = |uri| {
        let is_of_it = uri.starts_with("/api/v1/namespaces/ns/pods?") && uri.contains("%3Da");
        is_of_it.then(|| list(1000, &[pod("a", 650)]))
    };
    let (events, _) = told::<PodFields>(Following::default(), answers(), grown, 4).await;
    assert!(events[2].starts_with("went_back: ") && events[3] == "listed ns/b", "{events:#?}");
}

#[tokio::test]
async fn an_object_that_is_gone_without_a_deletion_was_of_another_history() {
    let gone: Question = |uri| uri.contains("%3Da").then(|| list(1000, &[]));
    let first = || ended(&[event("ADDED", pod("a", 700)), bookmark(900, true)]);
    let listed = || stays_open(&[event("ADDED", pod("b", 20)), bookmark(1002, true)]);
    // Bookmarks up to a version before the answer's say nothing.
    let silent = stays_open(&[bookmark(950, false), bookmark(1001, false)]);
    let answers = vec![first(), silent, listed()];
    let (events, _) = told::<PodFields>(Following::default(), answers, gone, 4).await;
    assert_eq!(
        events[2],
        "went_back: the history of pods went back from version 950, which has ns/a, to 1001, \
         which never had it, as after etcd was restored from a snapshot; listing again"
    );
    assert_eq!(events[3], "listed ns/b");
    // It was deleted a moment ago, or deleted and made again.
    for (what, count) in [("DELETED", 3), ("ADDED", 3)] {
        let told_of = event(what, pod("a", 960));
        let resumed = stays_open(&[bookmark(950, false), told_of, bookmark(1001, false)]);
        let answers = vec![first(), resumed, listed()];
        let (events, _) = told::<PodFields>(Following::default(), answers, gone, count).await;
        assert!(!events.iter().any(|event| event.starts_with("went_back")), "{events:#?}");
    }
}

#[tokio::test]
async fn an_absurd_version_is_seen_at_the_next_event() {
    for absurd in [bookmark(4_000_000_000, false), event("MODIFIED", pod("a", 4_000_000_000))] {
        let added = event("ADDED", pod("b", 8));
        let answers = vec![
            stays_open(&[event("ADDED", pod("a", 3)), bookmark(7, true), absurd.clone(), added]),
            stays_open(&[
                event("ADDED", pod("a", 3)),
                event("ADDED", pod("b", 8)),
                bookmark(9, true),
            ]),
        ];
        let count = if absurd["type"] == "BOOKMARK" { 3 } else { 4 };
        let usually: Question = |_| None;
        let (events, _) = told::<PodFields>(Following::default(), answers, usually, count).await;
        let last = events.last().map(String::as_str);
        assert_eq!(last, Some("listed ns/a ns/b"), "{events:#?}");
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_of_another_cluster_is_told() {
    let other: Question = |uri| {
        let uid = json!({"metadata": {"name": "kube-system", "uid": "new"}});
        uri.starts_with("/api/v1/namespaces?").then(|| list(7, &[uid]))
    };
    let expecting = |uid: &str| {
        let cluster = Cluster::default();
        cluster.expect(uid.to_owned());
        Following { cluster, ..Following::default() }
    };
    let answers = || vec![stays_open(&[event("ADDED", pod("a", 3)), bookmark(7, true)])];
    let (events, requests) = told::<PodFields>(expecting("old"), answers(), other, 2).await;
    let why = "other_cluster: this is the API server of another cluster: the uid of its Namespace \
               kube-system is new, and the rules of this node are of the cluster where it is old; \
               the rules stay in force. If the node belongs to this cluster now, start the agent \
               with --cluster-uid=new";
    assert_eq!(events, [why, why]);
    assert_eq!(requests, [""; 0]);
    let (events, _) = told::<PodFields>(expecting("new"), answers(), other, 1).await;
    assert_eq!(events, ["listed ns/a"]);
    // The first one that is seen, if none is known.
    let following = Following::default();
    let _ = told::<PodFields>(following.clone(), answers(), other, 1).await;
    assert_eq!(following.cluster.uid().as_deref(), Some("new"));
    let none: Question = |uri| uri.starts_with("/api/v1/namespaces?").then(|| list(7, &[]));
    for following in [following, Following::default()] {
        let (events, _) = told::<PodFields>(following, answers(), none, 1).await;
        assert!(events[0].contains("has no Namespace kube-system"), "{events:?}");
    }
    // Another one behind the same address, after the connection broke.
    let answers = vec![ended(&[event("ADDED", pod("a", 3)), bookmark(7, true)])];
    let following = expecting("u");
    let cluster = following.cluster.clone();
    let (client, _) = served(answers);
    let mut events = std::pin::pin!(watch::events::<PodFields>(client, following).map(show));
    assert_eq!(events.next().await.unwrap(), "listed ns/a");
    cluster.expect("another".to_owned());
    assert!(events.next().await.unwrap().contains("ended the watch at once"));
    assert!(events.next().await.unwrap().starts_with("other_cluster: "));
}

#[tokio::test]
async fn a_list_without_what_there_is_does_not_count() {
    let there: Question = |uri| uri.contains("limit=1").then(|| list(7, &[pod("a", 3)]));
    let lacks = |what: &str| {
        format!(
            "contradicted: the API server lists no {what}, but it still has ns/a; the list does \
             not count, and the next one is not to come from a cache"
        )
    };
    let whole = || ends(200, list(9, &[pod("a", 3)]));
    let answers = vec![stays_open(&[bookmark(7, true)]), whole(), stays_open(&[])];
    let (events, requests) = told::<PodFields>(Following::default(), answers, there, 2).await;
    assert_eq!(events, [lacks("pods"), "listed ns/a".to_owned()]);
    assert_eq!(requests[..2], ["stream ", "list most recent"]);
    // Pods of others, but none of this node.
    let here = || Following { node: Some("n1".to_owned()), ..Following::default() };
    let elsewhere =
        json!({"metadata": {"name": "b", "namespace": "ns"}, "spec": {"nodeName": "n2"}});
    let elsewhere = || vec![stays_open(&[event("ADDED", elsewhere.clone()), bookmark(7, true)])];
    let of_node: Question = |uri| {
        let of_node = uri.contains("spec.nodeName%3Dn1") && uri.contains("Failed");
        of_node.then(|| list(7, &[pod("a", 3)]))
    };
    let answers = elsewhere().into_iter().chain([whole(), stays_open(&[])]).collect();
    let (events, _) = told::<PodFields>(here(), answers, of_node, 2).await;
    assert_eq!(events, [lacks("pods of node n1"), "listed ns/a".to_owned()]);
    // What is really gone is gone.
    let usually: Question = |_| None;
    let (events, _) = told::<PodFields>(here(), elsewhere(), usually, 1).await;
    assert_eq!(events, ["listed ns/b"]);
    let answers = vec![stays_open(&[bookmark(7, true)])];
    let (events, _) = told::<PolicyJson>(here(), answers, usually, 1).await;
    assert_eq!(events, ["listed "]);
    // A policy that cannot be read is there.
    let answers = vec![stays_open(&[bookmark(7, true)]), whole(), stays_open(&[])];
    let (events, _) = told::<PolicyJson>(here(), answers, there, 2).await;
    assert_eq!(events[0], lacks("networkpolicies.networking.k8s.io"));
}

/// A cache that lags answers a question for a list that is not older.
#[tokio::test(start_paused = true)]
async fn a_list_that_is_older_than_what_is_known_does_not_count() {
    let refused = || ends(422, status(422, "sendInitialEvents is forbidden for watch"));
    let gone = || ended(&[event("ERROR", status(410, "too old"))]);
    let both = [pod("a", 3), pod("b", 8)];
    let answers = vec![
        refused(),
        ends(200, list(9, &both)),
        gone(),
        ends(200, list(5, &both[..1])),
        ends(200, list(9, &both)),
        stays_open(&[]),
    ];
    let (client, asked) = served(answers);
    let shown = shown(watch::events::<PodFields>(client, Following::default()), 4).await;
    assert_eq!([&shown[0], &shown[3]], ["listed ns/a ns/b"; 2], "{shown:?}");
    assert!(shown[2].contains("went back from version 9 to 5"), "{shown:?}");
    let asked: Vec<String> = asked.lock().unwrap().iter().map(|uri| request(uri)).collect();
    assert_eq!(asked[3..5], ["list 9", "list most recent"], "{asked:?}");
}
