//! Every order of events gives the same snapshot, and equal objects stay.

use policy::{Namespace, NetworkPolicy, Pod, Selector};

use super::*;

fn policy(name: &str, uid: &str) -> Object {
    Object::NetworkPolicy(Arc::new(NetworkPolicy {
        key: ObjectKey::new("dev", name),
        uid: uid.to_owned(),
        audit: Default::default(),
        pod_selector: Selector::everything(),
        ingress: Some(Vec::new()),
        egress: None,
    }))
}

fn pod(name: &str, node: &str) -> Object {
    Object::Pod(Arc::new(Pod {
        key: ObjectKey::new("dev", name),
        labels: Default::default(),
        node: Some(node.to_owned()),
        addresses: Vec::new(),
        host_addresses: Vec::new(),
        host_network: false,
        phase: Default::default(),
        created: 0,
        is_ending: false,
        grace_seconds: 0,
        attachment: policy::Attachment::default(),
        ports: Vec::new(),
    }))
}

fn namespace(name: &str) -> Object {
    Object::Namespace(Arc::new(Namespace::synthesised(name)))
}

/// `+key`, `-key` or `~key` for each object that differs, by kind.
fn show(before: &Snapshot, after: &Snapshot) -> String {
    let diff = before.diff(after);
    let sign = |before: bool, after: bool| match (before, after) {
        (false, true) => '+',
        (true, false) => '-',
        _ => '~',
    };
    let policies = diff.policies.iter().map(|key| {
        let there = [before, after].map(|one| one.policies.contains_key(key));
        format!("{}{key}", sign(there[0], there[1]))
    });
    let pods = diff.pods.iter().map(|key| {
        let there = [before, after].map(|one| one.pods.contains_key(key));
        format!("{}{key}", sign(there[0], there[1]))
    });
    let namespaces = diff.namespaces.iter().map(|name| {
        let there = [before, after].map(|one| one.namespaces.contains_key(name));
        format!("{}/{name}", sign(there[0], there[1]))
    });
    policies.chain(pods).chain(namespaces).collect::<Vec<_>>().join(" ")
}

/// Makes a change and shows it. The result must match whether there is a
/// difference.
fn change(store: &mut Store, how: impl FnOnce(&mut Store) -> bool) -> String {
    let before = store.snapshot().clone();
    let changed = how(store);
    let shown = show(&before, store.snapshot());
    assert_eq!(changed, !shown.is_empty(), "{shown}");
    shown
}

#[test]
fn changes_are_told_once() {
    let mut store = Store::default();
    let key = ObjectKey::new("dev", "a");
    let dev = ObjectKey::new("", "dev");
    type Step<'a> = (&'a str, &'a dyn Fn(&mut Store) -> bool, &'a str);
    let steps: [Step<'_>; 9] = [
        ("new", &|store| store.apply(pod("a", "n1")), "+dev/a"),
        ("the same", &|store| store.apply(pod("a", "n1")), ""),
        ("other node", &|store| store.apply(pod("a", "n2")), "~dev/a"),
        ("a policy of that name", &|store| store.apply(policy("a", "1")), "+dev/a"),
        ("deleted and created again", &|store| store.apply(policy("a", "2")), "~dev/a"),
        ("gone", &|store| store.delete(Kind::Pod, &key), "-dev/a"),
        ("gone already", &|store| store.delete(Kind::Pod, &key), ""),
        ("a namespace", &|store| store.apply(namespace("dev")), "+/dev"),
        ("no namespace", &|store| store.delete(Kind::Namespace, &dev), "-/dev"),
    ];
    for (name, step, expected) in steps {
        assert_eq!(change(&mut store, step), expected, "{name}");
    }
}

#[test]
fn a_list_deletes_what_is_not_in_it() {
    let mut store = Store::default();
    let list = |store: &mut Store, objects| change(store, |one| one.replace(Kind::Pod, objects));
    let first = vec![pod("a", "n1"), pod("b", "n1"), pod("c", "n1")];
    assert_eq!(list(&mut store, first), "+dev/a +dev/b +dev/c");
    store.apply(policy("a", "1"));
    let next = vec![pod("d", "n1"), pod("c", "n2"), pod("b", "n1"), pod("d", "n3")];
    assert_eq!(list(&mut store, next), "-dev/a ~dev/c +dev/d");
    assert_eq!(store.snapshot().policies.len(), 1, "other kinds stay");
    assert_eq!(store.snapshot().pods[&ObjectKey::new("dev", "d")].node.as_deref(), Some("n3"));
    assert_eq!(list(&mut store, vec![policy("z", "1")]), "-dev/b -dev/c -dev/d");
    assert!(store.snapshot().pods.is_empty());
    assert_eq!(store.snapshot().policies.len(), 1, "a list of pods brings no policy");
}

/// A relist costs no memory: it keeps the existing maps and objects.
#[test]
fn a_list_of_equal_objects_keeps_every_pointer() {
    let objects = || -> Vec<Object> {
        let pods = (0..200).map(|number| pod(&format!("p{number}"), "n1"));
        let policies = (0..50).map(|number| policy(&format!("q{number}"), "1"));
        let namespaces = (0..20).map(|number| namespace(&format!("s{number}")));
        pods.chain(policies).chain(namespaces).collect()
    };
    let mut store: Store = objects().into_iter().collect();
    let before = store.snapshot().clone();
    for kind in Kind::ALL {
        let mut listed: Vec<Object> =
            objects().into_iter().filter(|object| object.kind() == kind).collect();
        // A list may contain an older state of an object, before the present one.
        if kind == Kind::Pod {
            listed.insert(0, pod("p7", "n9"));
        }
        assert!(!store.replace(kind, listed), "{kind}");
    }
    for object in objects() {
        assert!(!store.apply(object));
    }
    let after = store.snapshot();
    assert!(before.diff(after).is_empty());
    assert!(before.pods.values().zip(after.pods.values()).all(|(one, two)| Arc::ptr_eq(one, two)));
    assert!(before.pods.ptr_eq(&after.pods), "nor does the map have a second copy");
    assert!(before.policies.ptr_eq(&after.policies));
    assert!(before.namespaces.ptr_eq(&after.namespaces));
}

fn fill(store: &mut Store, objects: &mut dyn Iterator<Item = &Object>) {
    for object in objects {
        store.apply(object.clone());
    }
}

#[test]
fn order_does_not_matter() {
    let objects =
        [policy("a", "1"), policy("b", "2"), pod("a", "n1"), pod("b", "n1"), namespace("dev")];
    let expected: Snapshot = {
        let mut store = Store::default();
        fill(&mut store, &mut objects.iter());
        store.snapshot().clone()
    };
    let reversed = |store: &mut Store| {
        fill(store, &mut objects.iter().rev());
    };
    let duplicated = |store: &mut Store| {
        fill(store, &mut objects.iter().chain(&objects));
    };
    let after_others = |store: &mut Store| {
        for one in [pod("a", "n9"), policy("b", "9"), pod("z", "n1"), namespace("old")] {
            store.apply(one);
        }
        store.delete(Kind::Pod, &ObjectKey::new("dev", "z"));
        store.delete(Kind::Namespace, &ObjectKey::new("", "old"));
        fill(store, &mut objects.iter());
    };
    let listed = |store: &mut Store| {
        store.apply(pod("z", "n1"));
        for kind in Kind::ALL {
            let of_kind = objects.iter().filter(|one| one.kind() == kind).cloned();
            store.replace(kind, of_kind.collect());
        }
    };
    type Order<'a> = (&'a str, &'a dyn Fn(&mut Store));
    let orders: [Order<'_>; 4] = [
        ("reversed", &reversed),
        ("duplicated", &duplicated),
        ("after other states", &after_others),
        ("listed", &listed),
    ];
    for (name, order) in orders {
        let mut store = Store::default();
        order(&mut store);
        assert_eq!(store.snapshot(), &expected, "{name}");
    }
}
