//! The ways to a list, their limits, and the way back.

use super::*;

fn paged(version: u32, items: &[Json], rest: &str) -> Answer {
    let mut list = list(version, items);
    list["metadata"]["continue"] = json!(rest);
    ends(200, list)
}

#[tokio::test]
async fn a_list_in_pages_is_told_whole_or_not_at_all() {
    let refused = || ends(422, status(422, "sendInitialEvents is forbidden for watch"));
    let answers = vec![
        refused(),
        paged(7, &[pod("a", 1)], "next"),
        // The rest is too old.
        ends(410, status(410, "The provided continue parameter is too old")),
        paged(9, &[pod("a", 1)], "next"),
        paged(9, &[pod("b", 2)], "last"),
        paged(9, &[pod("c", 3)], ""),
        stays_open(&[]),
    ];
    let (client, asked) = served(answers);
    let shown = shown(watch::events::<PodFields>(client, Following::default()), 2).await;
    assert!(shown[0].starts_with("expired: "), "{shown:?}");
    assert_eq!(shown[1], "listed ns/a ns/b ns/c");
    let asked = asked.lock().unwrap().clone();
    let token =
        |uri: &String| uri.split('&').find(|one| one.starts_with("continue=")).map(str::to_owned);
    let tokens: Vec<String> = asked.iter().filter_map(token).collect();
    assert_eq!(tokens, ["continue=next", "continue=next", "continue=last"]);
    let is_exact = |uri: &&String| uri.contains("continue=") && uri.contains("resourceVersion");
    assert_eq!(asked.iter().find(is_exact), None, "a token has its version");
    // A page that names itself as the next one.
    let (client, _) = served(vec![refused(), paged(7, &[], "x"), paged(7, &[], "x")]);
    let mut events = std::pin::pin!(watch::events::<PodFields>(client, Following::default()));
    let failed = show(events.next().await.unwrap());
    assert!(failed.ends_with("the next page of the list is the same one again"), "{failed}");
}

/// The requests until this time, with their time in seconds.
async fn requested(answers: Vec<Answer>, seconds: u64) -> Vec<(u64, String)> {
    let (client, asked) = timed(answers);
    let start = Instant::now();
    let until = sleep(Duration::from_secs(seconds));
    let events = watch::events::<PodFields>(client, Following::default());
    events.take_until(until).for_each(|_| future::ready(())).await;
    let asked = asked.lock().unwrap();
    asked.iter().map(|(when, uri)| ((*when - start).as_secs(), request(uri))).collect()
}

#[tokio::test(start_paused = true)]
async fn a_streaming_list_that_does_not_end_is_replaced_by_a_plain_one_and_tried_again() {
    let refused = |code| ends(code, status(code, "Request Header Fields Too Large"));
    let no_end = || stays_open(&[event("ADDED", pod("a", 3))]);
    let cut = || ended(&[event("ADDED", pod("a", 3))]);
    for (first, latest) in [(no_end(), 32), (cut(), 2), (refused(431), 2), (refused(422), 2)] {
        let gone = || ended(&[event("ERROR", status(410, "too old"))]);
        let mut answers = vec![first, ends(200, list(7, &[pod("a", 3)]))];
        // Within ten minutes, a list is plain.
        answers.extend([ends_after(200, &[]), gone(), ends(200, list(8, &[pod("a", 3)]))]);
        // Later, it is tried again.
        answers.extend((0..2).map(|_| ends_after(200, &[])));
        answers.extend([gone(), stays_open(&[event("ADDED", pod("a", 3)), bookmark(9, true)])]);
        let requests = requested(answers, 700).await;
        let what: Vec<&str> = requests.iter().map(|(_, what)| what.as_str()).collect();
        let expected = [
            "stream ", "list 0", "watch 7", "watch 7", "list 7", "watch 8", "watch 8", "watch 8",
            "stream 8",
        ];
        assert_eq!(what[..expected.len()], expected);
        assert!(requests[1].0 <= latest, "{requests:?}");
    }
}

/// A list that fails for a reason of its own is tried the other way, too.
#[tokio::test(start_paused = true)]
async fn a_plain_list_that_fails_is_tried_as_a_streaming_one() {
    let cut = ended(&[event("ADDED", pod("a", 3))]);
    let answers = vec![cut, ends(500, "too large"), stays_open(&[bookmark(9, true)])];
    let what: Vec<String> = requested(answers, 30).await.into_iter().map(|one| one.1).collect();
    assert_eq!(what, ["stream ", "list 0", "stream "]);
    // No time and no right are no reason.
    let answers = vec![ends(429, "later"), ends(403, "no"), ends(503, "later"), ends(401, "no")];
    let what: Vec<String> = requested(answers, 10).await.into_iter().map(|one| one.1).collect();
    assert_eq!(what, ["stream "; 5]);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_asks_for_time_gets_it() {
    let busy = |seconds: u64| {
        let mut status = status(429, "too many requests");
        status["details"] = json!({"retryAfterSeconds": seconds});
        ends(429, status)
    };
    let requests = requested(vec![busy(20), busy(100_000), busy(1)], 130).await;
    let pauses: Vec<u64> = requests.windows(2).map(|pair| pair[1].0 - pair[0].0).collect();
    assert!((20..=31).contains(&pauses[0]), "{requests:?}");
    assert!((60..=91).contains(&pauses[1]), "no server stops an agent: {requests:?}");
    assert!(pauses[2] <= 2, "{requests:?}");
}

#[tokio::test]
async fn what_is_longer_than_any_object_is_not_kept() {
    let mut long = ended(&[event("ADDED", pod("a", 3)), bookmark(7, true)]);
    long.1.push_str(&"x".repeat(17 << 20));
    let (client, _) = served(vec![long, stays_open(&[])]);
    let mut events = std::pin::pin!(watch::events::<PodFields>(client, Following::default()));
    assert_eq!(show(events.next().await.unwrap()), "listed ns/a");
    let failed = show(events.next().await.unwrap());
    assert_eq!(failed, "connection: cannot watch pods: an event is longer than 16 MiB");
    let long = format!("{{\"metadata\":{{}},\"items\":[{{\"x\":\"{}", "x".repeat(17 << 20));
    let (client, _) = served(vec![ends(422, status(422, "no")), ends(200, long)]);
    let mut events = std::pin::pin!(watch::events::<PodFields>(client, Following::default()));
    let failed = show(events.next().await.unwrap());
    assert_eq!(failed, "connection: cannot list pods: an object is longer than 16 MiB");
}

/// An event that was lost for whatever reason is not lost for good.
#[tokio::test(start_paused = true)]
async fn everything_is_listed_again_after_some_hours() {
    let mut times = Vec::new();
    for _ in 0..8 {
        let mut answers = vec![ends_after(70, &[event("ADDED", pod("a", 3)), bookmark(7, true)])];
        answers.extend((0..500).map(|number| ends_after(70, &[bookmark(8 + number, false)])));
        let requests = requested(answers, 9 * 60 * 60).await;
        let again = requests.iter().skip(1).find(|(_, what)| what.starts_with("stream"));
        times.push(again.expect("listed again").0 / 60);
    }
    assert!(times.iter().all(|minutes| (240..=490).contains(minutes)), "{times:?}");
    assert!(times.iter().max().unwrap() - times.iter().min().unwrap() > 20, "at once: {times:?}");
}

/// The connection is there, and requests get no answer: they were swallowed.
#[tokio::test(start_paused = true)]
async fn a_list_without_an_answer_is_asked_for_again_soon_then_later() {
    let (client, asked) = timed(vec![ends(422, status(422, "no streams"))]);
    let start = Instant::now();
    let following = Following::default();
    let contact = following.contact.clone();
    let events = watch::events::<PodFields>(client, following);
    let failures: Vec<String> =
        events.take_until(sleep(Duration::from_secs(300))).map(show).collect().await;
    let asked = asked.lock().unwrap();
    let asked = asked.iter().map(|(when, uri)| ((*when - start).as_secs(), request(uri)));
    let lists: Vec<u64> =
        asked.filter(|(_, what)| what.starts_with("list")).map(|(when, _)| when).collect();
    let pauses: Vec<u64> = lists.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!((15..=20).contains(&pauses[0]), "{lists:?}");
    assert!((30..=35).contains(&pauses[1]), "{lists:?}");
    assert!(pauses[2..].iter().all(|pause| (60..=65).contains(pause)), "{lists:?}");
    assert_eq!(failures[0], "connection: cannot list pods: the API server does not answer");
    let waiting = contact.waiting().map(|waiting| (waiting.kind, waiting.asking));
    assert_eq!(waiting, Some((Kind::Pod, super::super::Asking::List)));
}
