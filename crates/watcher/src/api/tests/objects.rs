//! The results of reading objects, valid or not.

use policy::{Peers, Ports};

use super::super::event::Found;
use super::super::kinds::{MultiPolicyJson, NamespaceFields, PolicyJson, V1Beta2};
use super::super::watch_line;
use super::*;
use crate::convert::PodFields;

#[tokio::test]
async fn objects_that_cannot_be_read_stop_nobody() {
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
    let shown = shown(watch::events::<PodFields>(client, Following::default()), 5).await;
    let failed = "decode: cannot read Pod ns/bad: invalid type: string \"none\"";
    assert!(shown[0].starts_with(failed) && shown[3].starts_with(failed), "{shown:#?}");
    let others = [&shown[1], &shown[2], &shown[4]];
    assert_eq!(others, ["listed ns/a", "applied ns/bad", "deleted ns/bad"]);
    let listed =
        [event("ADDED", json!({"metadata": {"name": "n", "labels": [1]}})), bookmark(7, true)];
    let (client, _) = served(vec![stays_open(&listed)]);
    let shown =
        super::shown(watch::events::<NamespaceFields>(client, Following::default()), 2).await;
    assert!(shown[0].starts_with("decode: cannot read Namespace n: invalid type"), "{shown:?}");
    assert_eq!(shown[1], "listed ");
}

#[test]
fn objects_that_are_kept_have_no_spare_room() {
    let status = json!({"podIPs": [{"ip": "10.0.0.1"}], "hostIP": "192.168.0.1"});
    let pod = json!({"metadata": {"name": "a", "namespace": "ns"}, "status": status}).to_string();
    let pod = watch_line::item::<PodFields>(pod.as_bytes()).expect("an item").found;
    let Ok(Found { object: Object::Pod(pod), .. }) = pod else { panic!("no pod") };
    assert_eq!([pod.addresses.capacity(), pod.host_addresses.capacity()], [1, 1]);
    let rule = json!({"from": [{"podSelector": {}}], "ports": [{"port": 80}]});
    let spec = json!({"podSelector": {}, "ingress": [rule]});
    let policy = json!({"metadata": {"name": "a", "namespace": "ns"}, "spec": spec}).to_string();
    let policy = watch_line::item::<PolicyJson>(policy.as_bytes()).expect("an item").found;
    let Ok(Found { object: Object::NetworkPolicy(policy), .. }) = policy else {
        panic!("no policy")
    };
    let rules = policy.ingress.as_ref().expect("rules");
    let (Peers::Only(peers), Ports::Only(ports)) = (&rules[0].peers, &rules[0].ports) else {
        panic!("{rules:?}")
    };
    assert_eq!([rules.capacity(), peers.capacity(), ports.capacity()], [1; 3]);
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
    let mut events = std::pin::pin!(watch::events::<PolicyJson>(client, Following::default()));
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
    assert_eq!(rules[0].peers, Peers::Only(Vec::new()));
    assert_ne!(rules[1].ports, Ports::Only(Vec::new()));
    assert_eq!(rules[2].ports, Ports::Only(Vec::new()));
}

#[tokio::test]
async fn a_pod_has_the_fields_that_matter_whatever_the_source() {
    let answers = vec![stays_open(&[event("ADDED", pod("a", 1)), bookmark(7, true)])];
    let (client, _) = served(answers);
    let mut events = std::pin::pin!(watch::events::<PodFields>(client, Following::default()));
    let Some(Event::Listed { objects, .. }) = events.next().await else { panic!("no list") };
    let whole = serde_json::from_value(pod("a", 1)).unwrap();
    let (expected, diagnostics) = crate::convert::pod(&whole);
    assert_eq!(objects[0].object, Object::Pod(Arc::new(expected.clone())));
    assert_eq!((diagnostics.len(), expected.ports.len(), expected.addresses.len()), (0, 1, 1));
}

#[test]
fn a_line_of_a_watch_is_events_or_an_error() {
    let events = |kind, line: &str| match kind {
        Kind::NetworkPolicy => watch_line::events::<PolicyJson>(line.as_bytes()),
        Kind::Pod => watch_line::events::<PodFields>(line.as_bytes()),
        Kind::Namespace => watch_line::events::<NamespaceFields>(line.as_bytes()),
        Kind::MultiNetworkPolicy => watch_line::events::<MultiPolicyJson<V1Beta2>>(line.as_bytes()),
    };
    let read = |kind, line: &str| match events(kind, line) {
        Ok(events) => events.into_iter().map(show).collect::<Vec<_>>().join(", "),
        Err(error) => error.failure_kind().name().to_owned(),
    };
    for kind in ["ADDED", "MODIFIED", "DELETED"] {
        let nameless = json!({"metadata": {"name": ""}, "spec": 5});
        assert_eq!(read(Kind::Pod, &event(kind, nameless).to_string()), "decode", "{kind}");
    }
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
        let closed = format!("{{\"a\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
        // The type comes first, as in a server's answer.
        let object = pod("a", 3).to_string().replace("{\"a\":\"b\"}", &closed);
        let read = read(kind, &format!("{{\"type\":\"ADDED\",\"object\":{object}}}"));
        // Annotations are skipped.
        assert!(read.starts_with("applied ") && read.ends_with("a"), "{kind}: {read}");
    }
}

/// The author of an object chooses how deep its `managedFields` are.
#[test]
fn managed_fields_are_skipped_however_deep_they_are() {
    let deep = format!("{}1{}", r#"{"f:a":"#.repeat(200), "}".repeat(200));
    let metadata =
        format!(r#"{{"name": "a", "namespace": "ns", "managedFields": [{{"fieldsV1": {deep}}}]}}"#);
    let policy = format!(r#"{{"metadata": {metadata}, "spec": {{"podSelector": {{}}}}}}"#);
    let read = watch_line::item::<PolicyJson>(policy.as_bytes()).expect("an item").found;
    assert!(read.is_ok_and(|found| found.diagnostics.is_empty()));
    let pod = format!(r#"{{"metadata": {metadata}, "status": {{"podIP": "10.0.0.1"}}}}"#);
    assert!(watch_line::item::<PodFields>(pod.as_bytes()).expect("an item").found.is_ok());
    let spec = format!(r#"{{"metadata": {{"name": "a", "namespace": "ns"}}, "spec": {deep}}}"#);
    let read = watch_line::item::<PolicyJson>(spec.as_bytes()).expect("an item").found;
    assert!(read.is_err(), "this deep it cannot be read, and says so");
}
