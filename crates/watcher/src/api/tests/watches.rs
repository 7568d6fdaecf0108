//! Watches that break, end, stay silent or are refused.

use super::*;

#[tokio::test]
async fn a_line_that_is_cut_off_is_asked_for_again() {
    let mut cut = ended(&[bookmark(7, true), event("ADDED", pod("a", 8))]);
    cut.1.push_str(r#"{"type":"DELETED","object":{"metadata":{"na"#);
    let answers = vec![cut, stays_open(&[event("DELETED", pod("a", 9))])];
    let broken = "connection: cannot watch pods: the connection ended within an event";
    let expected = ["listed ", "applied ns/a", broken, "deleted ns/a"];
    check::<PodFields>(answers, &expected, &["stream ", "watch 8"]).await;
    // A complete line that is not an event. Only a list can show what changed.
    let mut garbled = ended(&[bookmark(7, true)]);
    garbled.1.push_str("{\"type\":\"DELETED\",\"obj\n");
    let (client, asked) = served(vec![garbled, stays_open(&[bookmark(9, true)])]);
    let shown = shown(watch::events::<PodFields>(client, Following::default()), 3).await;
    assert!(shown[1].starts_with("decode: cannot read pods: "), "{shown:?}");
    assert_eq!(shown[2], "listed ");
    assert_eq!(request(&asked.lock().unwrap()[1]), "stream 7");
}

#[tokio::test(start_paused = true)]
async fn silence_is_noticed() {
    let answers = vec![
        // A watch that lasted is resumed at once.
        ends_after(70, &[bookmark(7, true)]),
        // A server that sends bookmarks sends one a minute.
        stays_open(&[bookmark(9, false)]),
        // Also the first one of a watch. After two silent watches: list again.
        stays_open(&[]),
        // An answer whose initial events never end, and no answer at all to a plain list.
        stays_open(&[event("ADDED", pod("a", 3))]),
    ];
    let (client, asked) = served(answers);
    let mut events = std::pin::pin!(watch::events::<PodFields>(client, Following::default()));
    let mut took = Vec::new();
    let mut shown = Vec::new();
    for _ in 0..5 {
        let since = Instant::now();
        shown.push(show(events.next().await.unwrap()));
        took.push(since.elapsed().as_secs());
    }
    let nothing = "connection: cannot watch pods: no data for";
    assert_eq!((shown[0].as_str(), took[0]), ("listed ", 0));
    assert_eq!((shown[1].clone(), took[1]), (format!("{nothing} 75 s"), 70 + 75));
    assert_eq!((shown[2].clone(), took[2]), (format!("{nothing} 75 s"), 75));
    assert_eq!((shown[3].clone(), took[3]), (format!("{nothing} 30 s"), 30));
    assert_eq!(shown[4], "connection: cannot list pods: the API server does not answer");
    assert_eq!(took[4], 15);
    let requests: Vec<String> = asked.lock().unwrap().iter().map(|uri| request(uri)).collect();
    assert_eq!(requests, ["stream ", "watch 7", "watch 9", "stream 9", "list 9"]);
}

/// A restored database sends nothing, and a proxy ends each watch before that shows.
#[tokio::test(start_paused = true)]
async fn short_watches_that_stay_silent_for_long_are_listed_again() {
    let mut answers = vec![ends_after(70, &[bookmark(7, true), bookmark(8, false)])];
    answers.extend((0..8).map(|_| ends_after(70, &[])));
    answers.extend([stays_open(&[bookmark(3, true)]), ends(200, list(3, &[])), stays_open(&[])]);
    let (client, asked) = served(answers);
    let shown = shown(watch::events::<PodFields>(client, Following::default()), 3).await;
    assert!(shown[1].contains("went back from version 8 to 3"), "{shown:?}");
    assert_eq!([&shown[0], &shown[2]], ["listed "; 2]);
    let asked: Vec<String> = asked.lock().unwrap().iter().map(|uri| request(uri)).collect();
    let watches = asked.iter().filter(|one| *one == "watch 8").count();
    let lists = ["stream 8", "list most recent"];
    assert_eq!((watches, &asked[9..11]), (8, &lists.map(str::to_owned)[..]), "{asked:?}");
}

/// A server that shuts down ends the watches of all agents at the same time.
#[tokio::test(start_paused = true)]
async fn a_watch_that_ends_early_is_resumed_after_a_pause_that_grows_and_differs() {
    let mut firsts = Vec::new();
    for lasts in [0, 10, 59] {
        for _ in 0..8 {
            // The server sends bookmarks, but a short watch may end before one.
            let mut answers = vec![ends_after(70, &[bookmark(7, true), bookmark(8, false)])];
            answers.extend((0..5).map(|_| ends_after(lasts, &[])));
            // A watch that lasted is resumed at once, and the pauses begin again.
            answers.extend([ends_after(70, &[]), ends_after(lasts, &[]), stays_open(&[])]);
            let requests = answers.len();
            let (client, asked) = timed(answers);
            let events = watch::events::<PodFields>(client, Following::default()).map(show);
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
            assert!(pause(0, 70) <= 1);
            for number in 1..=5 {
                let least = 1000 * (number as u128 - 1).min(3);
                let pause = pause(number, lasts);
                assert!((least..=least + 2001).contains(&pause), "{number}: {pause} ms");
            }
            assert!(pause(6, 70) <= 1);
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
         the API server does not accept this token or client certificate",
        "other: cannot watch networkpolicies.networking.k8s.io: the API server answers 503: not ready",
        "listed ",
    ];
    check::<PolicyJson>(answers, &expected, &["stream "; 4]).await;
}
