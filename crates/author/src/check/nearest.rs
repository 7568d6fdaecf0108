//! What was probably meant by a label that nobody has.
//!
//! In: a selector, and the labels that objects have. Out: the nearest label.
//! Never: a name that differs on purpose.

use std::collections::{BTreeMap, BTreeSet};

use policy::{Labels, Selector};

/// Names that one is compared with. Of more, nothing is told.
const CANDIDATES: usize = 1_000;

/// The labels that some objects have.
#[derive(Debug, Default)]
pub struct Known<'a> {
    all: BTreeSet<(&'a str, &'a str)>,
    /// The keys that have a value.
    keys: BTreeMap<&'a str, BTreeSet<&'a str>>,
}

impl<'a> Known<'a> {
    /// Of these objects.
    pub fn of(objects: impl Iterator<Item = &'a Labels>) -> Self {
        let mut known = Self::default();
        for (key, value) in objects.flat_map(|one| one.iter()) {
            known.all.insert((key, value));
            known.keys.entry(value).or_default().insert(key);
        }
        known
    }

    /// The values of a key.
    fn values<'s>(&'s self, key: &'s str) -> impl Iterator<Item = &'s str> + Clone {
        let from = self.all.range((key, "")..);
        from.take_while(move |(one, _)| *one == key).map(|(_, value)| *value).take(CANDIDATES)
    }
}

/// A label that some objects have and that this selector probably means, as `key=value`.
pub fn nearest(selector: &Selector, known: &Known<'_>) -> Option<Nearest> {
    for requirement in selector.requirements() {
        let policy::Operator::In(values) = &requirement.operator else { continue };
        let key = requirement.key.as_str();
        if values.iter().any(|value| known.all.contains(&(key, value.as_str()))) {
            continue;
        }
        for wanted in values.iter() {
            if let Some(found) = near_label(key, wanted, known) {
                let (key, value) = (requirement.key.clone(), wanted.clone());
                return Some(Nearest { key, value, meant: found });
            }
        }
    }
    None
}

/// What was written, and what was probably meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nearest {
    /// The key that is written.
    pub key: String,
    /// The value that is written.
    pub value: String,
    /// The key and value that objects have.
    pub meant: (String, String),
}

fn near_label(key: &str, value: &str, known: &Known<'_>) -> Option<(String, String)> {
    let of_key = || known.values(key).filter(|one| !is_sibling(one, value));
    let misspelt = watcher::suggest(value, of_key()).filter(|_| value.len() >= 4);
    let found = misspelt.or_else(|| of_key().find(|one| is_part(one, value)));
    if let Some(found) = found {
        return Some((key.to_owned(), found.to_owned()));
    }
    // The same value under another key, such as `app` for `app.kubernetes.io/name`.
    let other = || known.keys.get(value).into_iter().flatten().copied().take(CANDIDATES);
    let other = other()
        .find(|one| is_name_key(one) && is_name_key(key))
        .or_else(|| watcher::suggest(key, other()));
    other.map(|found| (found.to_owned(), value.to_owned()))
}

/// Whether two names differ on purpose, as `team-a` and `team-b`, `dev` and `dev2`,
/// `shop-dev` and `shop-prd`, `prometheus` and `prometheus-adapter`, `order-service` and
/// `user-service` do: by a part, by a short part, by another word, or by a number.
pub fn is_sibling(one: &str, other: &str) -> bool {
    let letters = |name: &str| name.chars().filter(|c| !c.is_ascii_digit()).collect::<String>();
    let parts = |name: &str| name.split(['-', '.', '_']).map(str::to_owned).collect::<Vec<_>>();
    let (of_one, of_other) = (parts(one), parts(other));
    let by_part = of_one.len() > 1
        && of_one
            .iter()
            .zip(&of_other)
            .all(|(one, other)| one == other || one.len().max(other.len()) <= 3);
    let by_word = of_one.len() > 1
        && of_one.iter().zip(&of_other).any(|(one, other)| is_another_word(one, other));
    letters(one) == letters(other) || by_part || by_word || of_one.len() != of_other.len()
}

/// Whether two parts of names are no spellings of one word: more than one letter in four
/// differs.
fn is_another_word(one: &str, other: &str) -> bool {
    let letters = one.chars().count().max(other.chars().count());
    strsim::damerau_levenshtein(one, other) > (letters / 4).max(1)
}

/// Whether one is the beginning of the other, as `front` of `frontend`.
fn is_part(one: &str, other: &str) -> bool {
    let (short, long) = if one.len() < other.len() { (one, other) } else { (other, one) };
    short.len() >= 3 && long.starts_with(short)
}

/// Keys that people use for the name of an application.
fn is_name_key(key: &str) -> bool {
    matches!(
        key,
        "app"
            | "name"
            | "k8s-app"
            | "app.kubernetes.io/name"
            | "app.kubernetes.io/instance"
            | "app.kubernetes.io/component"
            | "component"
            | "run"
            | "role"
    )
}
