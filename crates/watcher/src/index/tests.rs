//! Every order of events gives the same snapshot, and each change is told.

use policy::{Selector, Snapshot};

use super::*;

fn policy(name: &str, uid: &str) -> Object {
    Object::NetworkPolicy(Arc::new(NetworkPolicy {
        key: ObjectKey::new("dev", name),
        uid: uid.to_owned(),
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
        ports: Vec::new(),
    }))
}

fn namespace(name: &str) -> Object {
    Object::Namespace(Arc::new(Namespace::synthesised(name)))
}

/// `+key`, `-key` or `~key` for each change.
fn show(changes: &[Change]) -> String {
    let shown: Vec<String> = changes
        .iter()
        .map(|change| {
            let (key, before, after) = match change {
                Change::NetworkPolicy { key, before, after } => {
                    (key, before.is_some(), after.is_some())
                }
                Change::Pod { key, before, after } => (key, before.is_some(), after.is_some()),
                Change::Namespace { key, before, after } => {
                    (key, before.is_some(), after.is_some())
                }
            };
            let sign = match (before, after) {
                (false, true) => '+',
                (true, false) => '-',
                _ => '~',
            };
            format!("{sign}{key}")
        })
        .collect();
    shown.join(" ")
}

#[test]
fn changes_are_told_once() {
    let mut index = Index::default();
    let key = ObjectKey::new("dev", "a");
    let dev = ObjectKey::new("", "dev");
    let steps = [
        ("new", index.apply(pod("a", "n1")), "+dev/a"),
        ("the same", index.apply(pod("a", "n1")), ""),
        ("other node", index.apply(pod("a", "n2")), "~dev/a"),
        ("a policy of that name", index.apply(policy("a", "1")), "+dev/a"),
        ("made anew", index.apply(policy("a", "2")), "~dev/a"),
        ("gone", index.delete(Kind::Pod, &key), "-dev/a"),
        ("gone already", index.delete(Kind::Pod, &key), ""),
        ("a namespace", index.apply(namespace("dev")), "+/dev"),
        ("no namespace", index.delete(Kind::Namespace, &dev), "-/dev"),
    ];
    for (name, changes, expected) in steps {
        assert_eq!(show(&changes), expected, "{name}");
    }
}

#[test]
fn a_change_holds_before_and_after() {
    let mut index = Index::default();
    let (Object::Pod(before), Object::Pod(after)) = (pod("a", "n1"), pod("a", "n2")) else {
        unreachable!("two pods");
    };
    index.apply(Object::Pod(Arc::clone(&before)));
    assert_eq!(
        index.apply(Object::Pod(Arc::clone(&after))),
        [Change::Pod { key: ObjectKey::new("dev", "a"), before: Some(before), after: Some(after) }]
    );
}

#[test]
fn reset_deletes_what_is_not_listed() {
    let mut index = Index::default();
    let first = vec![pod("a", "n1"), pod("b", "n1"), pod("c", "n1")];
    assert_eq!(show(&index.reset(Kind::Pod, first)), "+dev/a +dev/b +dev/c");
    index.apply(policy("a", "1"));
    let next = vec![pod("d", "n1"), pod("c", "n2"), pod("b", "n1"), pod("d", "n3")];
    assert_eq!(show(&index.reset(Kind::Pod, next)), "-dev/a ~dev/c +dev/d");
    assert_eq!(index.snapshot().policies.len(), 1, "other kinds stay");
    assert_eq!(index.snapshot().pods[&ObjectKey::new("dev", "d")].node.as_deref(), Some("n3"));
    assert_eq!(show(&index.reset(Kind::Pod, vec![policy("z", "1")])), "-dev/b -dev/c -dev/d");
    assert!(index.snapshot().pods.is_empty());
    assert_eq!(index.snapshot().policies.len(), 1, "a list of pods brings no policy");
}

#[test]
fn order_does_not_matter() {
    let objects =
        [policy("a", "1"), policy("b", "2"), pod("a", "n1"), pod("b", "n1"), namespace("dev")];
    let expected: Snapshot = {
        let mut index = Index::default();
        objects.iter().cloned().for_each(|one| drop(index.apply(one)));
        index.snapshot().clone()
    };
    let reversed = |index: &mut Index| {
        objects.iter().rev().cloned().for_each(|one| drop(index.apply(one)));
    };
    let duplicated = |index: &mut Index| {
        objects.iter().chain(&objects).cloned().for_each(|one| drop(index.apply(one)));
    };
    let after_others = |index: &mut Index| {
        for one in [pod("a", "n9"), policy("b", "9"), pod("z", "n1"), namespace("old")] {
            index.apply(one);
        }
        index.delete(Kind::Pod, &ObjectKey::new("dev", "z"));
        index.delete(Kind::Namespace, &ObjectKey::new("", "old"));
        objects.iter().cloned().for_each(|one| drop(index.apply(one)));
    };
    let listed = |index: &mut Index| {
        index.apply(pod("z", "n1"));
        for kind in Kind::ALL {
            let of_kind = objects.iter().filter(|one| one.kind() == kind).cloned();
            index.reset(kind, of_kind.collect());
        }
    };
    type Order<'a> = (&'a str, &'a dyn Fn(&mut Index));
    let orders: [Order<'_>; 4] = [
        ("reversed", &reversed),
        ("duplicated", &duplicated),
        ("after other states", &after_others),
        ("listed", &listed),
    ];
    for (name, order) in orders {
        let mut index = Index::default();
        order(&mut index);
        assert_eq!(index.snapshot(), &expected, "{name}");
    }
}
