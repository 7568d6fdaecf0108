//! Sets that are stored in another one.

use super::{BEFORE, Table, name, plan};
use crate::plan::PlanError;
use crate::{
    Batch, Element, Family, Name, Op, Ruleset, Set, SetType, Store, StoreError, Tag, text,
};

const STORE: Store = Store::Addresses(Family::V4);
const ONE: &str = "p4.000000000000000000000001";
const TWO: &str = "p4.000000000000000000000002";

/// The table with all stores.
fn with_stores(table: &Table<'_>) -> Ruleset {
    let mut ruleset = table.ruleset();
    ruleset.sets.extend(Store::all());
    ruleset
}

/// The batches, each as its operations, which lead to the new table.
fn batches(old: &Ruleset, new: &Ruleset) -> Vec<Vec<String>> {
    let plan = plan(Some(old), new).unwrap();
    let mut state = old.clone();
    plan.iter().for_each(|batch| state.apply(batch).unwrap());
    assert_eq!(&state, new, "the batches lead to another table");
    let line = |op: &Op| text::op(&new.id(), op).replace(" inet t", "");
    plan.iter().map(|batch: &Batch| batch.ops.iter().map(line).collect()).collect()
}

#[test]
fn it_comes_and_goes_as_elements() {
    let before = with_stores(&BEFORE);
    let table = Table {
        chains: &[("i.a", &[ONE]), ("i.b", &["x", "y"])],
        sets: &[
            ("x", &["10.0.0.8"]),
            ("y", &["10.0.0.9"]),
            (ONE, &["10.0.0.6", "10.0.0.7"]),
            (TWO, &[]),
        ],
        ..BEFORE
    };
    let after = with_stores(&table);
    let pieces = ["0x00000000", "0x00000000", "0x00000001"];
    let tag = pieces.join(" . ");
    let replaced = pieces.map(|piece| format!("@nh,0,32 & {piece} | {piece}"));
    let tagged = format!("{} . ip saddr @p4", replaced.join(" . "));
    let come = [
        vec![
            format!("# add set {ONE}"),
            format!("add element p4 {{ {tag} . 10.0.0.6, {tag} . 10.0.0.7 }}"),
            format!("# add set {TWO}"),
        ],
        vec![
            "flush chain i.a".to_owned(),
            format!("add rule i.a {tagged} accept"),
            "add rule i.a drop".to_owned(),
        ],
    ];
    assert_eq!(batches(&before, &after), come);
    let go = [
        vec![
            "flush chain i.a".to_owned(),
            "add rule i.a ip saddr @x accept".to_owned(),
            "add rule i.a drop".to_owned(),
        ],
        vec![
            format!("delete element p4 {{ {tag} . 10.0.0.6, {tag} . 10.0.0.7 }}"),
            format!("# delete set {ONE}"),
            format!("# delete set {TWO}"),
        ],
    ];
    assert_eq!(batches(&after, &before), go);
}

#[test]
fn its_store_is_there_before_it_and_until_it_is_gone() {
    let without = BEFORE.ruleset();
    let table = Table {
        sets: &[("x", &["10.0.0.8"]), ("y", &["10.0.0.9"]), (ONE, &["10.0.0.7"])],
        ..BEFORE
    };
    let with = with_stores(&table);
    batches(&without, &with);
    batches(&with, &without);
    let missing = |set| PlanError::Store(StoreError::NoStore { set: name(set), store: STORE });
    assert_eq!(plan(Some(&without), &table.ruleset()), Err(missing(ONE)));
    assert_eq!(plan(Some(&with), &table.ruleset()), Err(missing(ONE)));
}

#[test]
fn a_large_one_goes_in_pieces() {
    let small = with_stores(&BEFORE);
    let mut large = small.clone();
    let peers =
        (0..50_000u32).map(|number| Element::Address((0x0b00_0000 + number).to_be_bytes().into()));
    let set = Set::new(STORE.stores(), None).with(peers);
    large.sets.insert(Name::in_store(STORE, Tag::new(7)), set);
    assert!(batches(&large, &small).len() > 2);
}

#[test]
fn elements_without_a_set_are_left_in_no_state() {
    let mut state = with_stores(&BEFORE);
    let set = Name::in_store(STORE, Tag::new(1));
    let elements = vec![Element::Address([10, 0, 0, 1].into())];
    let add = [
        Op::CreateSet(set.clone(), SetType::Address(Family::V4), None),
        Op::AddElements(set.clone(), SetType::Address(Family::V4), elements.clone()),
    ];
    state.apply(&Batch { ops: add.into() }).unwrap();
    for busy in [set.clone(), Name::of_store(STORE)] {
        let refused = state.apply(&Batch { ops: vec![Op::DeleteSet(busy.clone())] });
        assert_eq!(refused, Err(crate::ApplyError::Busy(busy)));
    }
    let emptied = [
        Op::DeleteElements(set.clone(), SetType::Address(Family::V4), elements),
        Op::DeleteSet(set),
        Op::DeleteSet(Name::of_store(STORE)),
    ];
    state.apply(&Batch { ops: emptied.into() }).unwrap();
}
