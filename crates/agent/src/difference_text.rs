//! What differs between two tables, for people.

use std::collections::BTreeSet;
use std::fmt::Write;

use ruleset::{Chain, Comment, Element, Name, Rule, Ruleset, Set, SetType, TableFamily, text};
use similar::{ChangeTag, TextDiff};

/// The difference as text, a paragraph for each object: `-` for what the kernel
/// has, `+` for what it would get. Empty if there is none. Comments of sets,
/// maps and chains never change once these exist, and do not count. `meaning` tells what
/// a stored set of the new table stands for: it has no comment.
pub fn describe(
    old: Option<&Ruleset>,
    new: &Ruleset,
    meaning: impl Fn(&Name) -> Option<Comment>,
) -> String {
    let nothing = Ruleset::of(new.id());
    let before = old.unwrap_or(&nothing);
    let mut out = String::new();
    if old.is_none() {
        line(&mut out, format_args!("+ table {}", new.id()));
    }
    for name in names(before.sets.keys(), new.sets.keys()) {
        let known = meaning(name);
        set(&mut out, (name, known.as_ref()), before.sets.get(name), new.sets.get(name));
    }
    for name in names(before.maps.keys(), new.maps.keys()) {
        map(&mut out, name, before, new);
    }
    for name in names(before.chains.keys(), new.chains.keys()) {
        let [before, after] = [before, new].map(|one| one.chains.get(name).map(|chain| &**chain));
        chain(&mut out, new.family, name, before, after);
    }
    out
}

fn names<'a>(
    before: impl Iterator<Item = &'a Name>,
    after: impl Iterator<Item = &'a Name>,
) -> BTreeSet<&'a Name> {
    before.chain(after).collect()
}

fn set(
    out: &mut String,
    (name, meaning): (&Name, Option<&Comment>),
    before: Option<&Set>,
    after: Option<&Set>,
) {
    if before.map(|set| &set.elements) == after.map(|set| &set.elements) {
        return;
    }
    let comment = after.or(before).and_then(|set| set.comment.as_ref()).or(meaning);
    heading(out, "set", name, comment.map(|comment| comment.as_str()), (before, after));
    let elements = |set: Option<&Set>| -> BTreeSet<(SetType, Element)> {
        let typed = |set: &Set| set.elements.iter().map(|one| (set.set_type, *one)).collect();
        set.map(typed).unwrap_or_default()
    };
    let (before, after) = (elements(before), elements(after));
    for (set_type, element) in before.difference(&after) {
        line(out, format_args!("-     {}", text::element(*set_type, element)));
    }
    for (set_type, element) in after.difference(&before) {
        line(out, format_args!("+     {}", text::element(*set_type, element)));
    }
}

fn map(out: &mut String, name: &Name, before: &Ruleset, after: &Ruleset) {
    let (before, after) = (before.maps.get(name), after.maps.get(name));
    if before.map(|map| &map.entries) == after.map(|map| &map.entries) {
        return;
    }
    let comment = after.or(before).and_then(|map| map.comment.as_ref());
    heading(out, "map", name, comment.map(|comment| comment.as_str()), (before, after));
    let entries =
        |map: Option<&ruleset::VerdictMap>| map.map(|map| map.entries.clone()).unwrap_or_default();
    let (before, after) = (entries(before), entries(after));
    for (address, to) in before.iter().filter(|(address, to)| after.get(*address) != Some(*to)) {
        line(out, format_args!("-     {address} : goto {to}"));
    }
    for (address, to) in after.iter().filter(|(address, to)| before.get(*address) != Some(*to)) {
        line(out, format_args!("+     {address} : goto {to}"));
    }
}

fn chain(
    out: &mut String,
    family: TableFamily,
    name: &Name,
    before: Option<&Chain>,
    after: Option<&Chain>,
) {
    if before.map(|chain| &chain.rules) == after.map(|chain| &chain.rules) {
        return;
    }
    let comment = after.or(before).and_then(|chain| chain.comment.as_ref());
    heading(out, "chain", name, comment.map(|comment| comment.as_str()), (before, after));
    let rules = |chain: Option<&Chain>| -> Vec<String> {
        let rules: &[Rule] = chain.map_or(&[], |chain| &chain.rules);
        rules.iter().map(|rule| text::rule(family, rule)).collect()
    };
    let (before, after) = (rules(before), rules(after));
    let (before, after): (Vec<&str>, Vec<&str>) =
        (before.iter().map(String::as_str).collect(), after.iter().map(String::as_str).collect());
    for change in TextDiff::from_slices(&before, &after).iter_all_changes() {
        let sign = match change.tag() {
            ChangeTag::Equal => ' ',
            ChangeTag::Delete => '-',
            ChangeTag::Insert => '+',
        };
        line(out, format_args!("{sign}     {}", change.value()));
    }
}

fn heading<T>(
    out: &mut String,
    what: &str,
    name: &Name,
    comment: Option<&str>,
    (before, after): (Option<T>, Option<T>),
) {
    let sign = match (before, after) {
        (None, _) => '+',
        (_, None) => '-',
        _ => ' ',
    };
    match comment {
        Some(comment) => line(out, format_args!("{sign} {what} {name}  # {comment}")),
        None => line(out, format_args!("{sign} {what} {name}")),
    }
}

fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a String does not fail.
    let _ = writeln!(out, "{text}");
}
