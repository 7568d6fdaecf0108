//! What counts as a difference of two snapshots.

use super::*;

fn namespace(number: usize, label: &str) -> Namespace {
    let labels = Labels::from([("label".to_owned(), label.to_owned())]);
    Namespace {
        name: format!("n{number:04}"),
        labels,
        is_ending: false,
        switch: Default::default(),
    }
}

fn of(namespaces: impl IntoIterator<Item = Namespace>) -> Snapshot {
    Snapshot::new([], [], namespaces)
}

#[test]
fn added_removed_and_modified_objects_differ() {
    let before = of((0..100).map(|number| namespace(number, "same")));
    let mut later = before.clone();
    later.namespaces.remove("n0003");
    later.namespaces.insert("n0050".to_owned(), Arc::new(namespace(50, "other")));
    later.namespaces.insert("n0100".to_owned(), Arc::new(namespace(100, "same")));
    let expected = ["n0003", "n0050", "n0100"].map(str::to_owned);
    let diff = before.diff(&later);
    assert_eq!(diff, SnapshotDiff { namespaces: expected.into(), ..Default::default() });
    assert_eq!(later.diff(&before), diff, "the other way round");
    assert!(!diff.is_empty());
    assert!(before.diff(&before.clone()).is_empty());
}

#[test]
fn an_equal_copy_does_not_differ() {
    let [one, other] = [0, 0].map(|_| of((0..100).map(|number| namespace(number, "same"))));
    assert!(!one.namespaces.ptr_eq(&other.namespaces));
    assert!(one.diff(&other).is_empty());
}

#[test]
fn following_a_copy_keeps_equal_objects() {
    let earlier = of((0..100).map(|number| namespace(number, "same")));
    let mut later = of((1..101).map(|number| namespace(number, "same")));
    later.namespaces.insert("n0050".to_owned(), Arc::new(namespace(50, "other")));
    let mut followed = earlier.clone();
    followed.follow(&later);
    assert_eq!(followed, later);
    for (name, kept) in &followed.namespaces {
        let is_old = earlier.namespaces.get(name).is_some_and(|old| Arc::ptr_eq(old, kept));
        assert_eq!(is_old, !["n0050", "n0100"].contains(&name.as_str()), "{name}");
    }
}

/// An object that is not equal to itself. It shows that nobody compared it.
#[test]
fn shared_objects_are_not_looked_into() {
    #[derive(Debug)]
    struct Unlike;
    impl PartialEq for Unlike {
        fn eq(&self, _: &Self) -> bool {
            false
        }
    }
    impl Eq for Unlike {}
    let shared: Vec<(usize, Arc<Unlike>)> = (0..100).map(|key| (key, Arc::new(Unlike))).collect();
    let before: OrdMap<_, _> = shared.iter().cloned().collect();
    let mut later: OrdMap<_, _> = shared.into_iter().collect();
    assert!(!before.ptr_eq(&later));
    assert_eq!(differing(&before, &later), BTreeSet::new());
    later.insert(7, Arc::new(Unlike));
    assert_eq!(differing(&before, &later), [7].into());
}

/// Counts the comparisons of keys.
#[test]
fn a_change_of_one_among_thousands_costs_little() {
    use std::cell::Cell;
    use std::cmp::Ordering;
    thread_local! {
        static COMPARED: Cell<usize> = const { Cell::new(0) };
    }
    #[derive(Clone, Debug)]
    struct Key(usize);
    impl Ord for Key {
        fn cmp(&self, other: &Self) -> Ordering {
            COMPARED.set(COMPARED.get() + 1);
            self.0.cmp(&other.0)
        }
    }
    impl PartialOrd for Key {
        fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
            Some(self.cmp(other))
        }
    }
    impl PartialEq for Key {
        fn eq(&self, other: &Self) -> bool {
            self.cmp(other).is_eq()
        }
    }
    impl Eq for Key {}
    let before: OrdMap<Key, Arc<usize>> =
        (0..10_000).map(|number| (Key(number), Arc::new(number))).collect();
    let mut later = before.clone();
    later.insert(Key(5_000), Arc::new(0));
    later.remove(&Key(7_000));
    later.insert(Key(10_000), Arc::new(0));
    COMPARED.set(0);
    assert_eq!(differing(&before, &later).len(), 3);
    let compared = COMPARED.get();
    assert!(compared < 1_000, "{compared} comparisons");
}
