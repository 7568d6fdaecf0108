//! Lists, streaming and plain, and lost history.

use super::*;

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
    let expired = "expired: cannot resume the watch of pods: too old; listing again";
    let expected = ["listed ns/a", "applied ns/b", expired, "listed ns/b"];
    let requests = ["stream ", "list 0", "watch 7", "list 8"];
    check::<PodFields>(answers, &expected, &requests).await;
}

/// A cache that lags would revert policies that are already enforced.
#[tokio::test(start_paused = true)]
async fn a_list_in_place_of_a_streaming_one_is_of_the_present_state() {
    async fn lists<T: Watched>(first: &str) {
        let answers = vec![
            ends(422, status(422, "sendInitialEvents is forbidden for watch")),
            // The first list fails once. The retry is still the first.
            ends(503, "not ready"),
            ends(200, list(7, &[])),
            // Lost history. The list is never older than the last event.
            ended(&[event("ERROR", status(410, "too old"))]),
            ends(200, list(9, &[])),
            // The version that a list must have grows with the watch.
            ended(&[bookmark(11, false), json!({"type": "DELETED"})]),
            ends(503, "not ready"),
            // The database was restored.
            ends(504, status(504, "Too large resource version: 11, current: 3")),
            ends(200, list(3, &[])),
            stays_open(&[]),
        ];
        let (client, asked) = served(answers);
        let events = watch::events::<T>(client, Following::default())
            .take(8)
            .map(show)
            .collect::<Vec<_>>()
            .await;
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
    // Pods are many, and the watch soon updates them.
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
    let expired = "expired: cannot resume the watch of pods: gone; listing again";
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
        "expired: cannot resume the watch of pods: gone; listing again",
        "other: cannot watch pods: the API server answers 504: Too large resource version: 7, current: 3",
        "listed ",
    ];
    check::<PodFields>(answers, &expected, &["stream ", "stream 7", "stream "]).await;
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
    let shown = shown(watch::events::<PodFields>(client, Following::default()), 2).await;
    assert!(
        shown[0].starts_with("connection: cannot list pods: the list is incomplete"),
        "{shown:?}"
    );
    assert_eq!(shown[1], "listed ns/a ns/b");
}

#[tokio::test]
async fn one_list_of_everything_for_people() {
    let policy = json!({"metadata": {"name": "p", "namespace": "ns"}, "spec": {"podSelector": {}}});
    let namespace = json!({"metadata": {"name": "ns"}});
    let answers = [policy, namespace, pod("a", 1)].map(|one| ends(200, list(7, &[one])));
    let (client, asked) = served(answers.into());
    let all = crate::api::list(client).await.unwrap();
    let kinds: Vec<Kind> = all.iter().map(|found| found.object.kind()).collect();
    assert_eq!(kinds, [Kind::NetworkPolicy, Kind::Namespace, Kind::Pod]);
    // Without a version. That asks for the most recent state.
    assert!(asked.lock().unwrap().iter().all(|uri| !uri.contains("resourceVersion")));
    let (client, _) = served(vec![ends(403, status(403, "no"))]);
    assert_eq!(crate::api::list(client).await.unwrap_err().failure_kind(), FailureKind::Forbidden);
}
