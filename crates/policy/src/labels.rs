//! The labels of an object: at most one value for each key.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// `metadata.labels`: pairs sorted by key. A clone shares them. Most objects of a
/// large cluster are pods, and the pods of one workload have the same labels.
#[derive(Clone, Default)]
pub struct Labels(Option<Arc<Pairs>>);

/// At least one pair, all in one text, since a text for each key and value takes
/// several times as much memory.
#[derive(PartialEq, Eq)]
struct Pairs {
    /// The first key, its value, the second key, and so on.
    text: Box<str>,
    /// Where each of these ends in the text.
    ends: Box<[usize]>,
}

impl Labels {
    /// None.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |pairs| pairs.ends.len() / 2)
    }

    /// Key and value at a place in the order of keys.
    pub fn pair(&self, index: usize) -> Option<(&str, &str)> {
        let pairs = self.0.as_ref()?;
        Some((pairs.part(2 * index)?, pairs.part(2 * index + 1)?))
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&str> {
        let (mut first, mut end) = (0, self.len());
        while first < end {
            let middle = usize::midpoint(first, end);
            let (one, value) = self.pair(middle)?;
            match one.cmp(key) {
                Ordering::Equal => return Some(value),
                Ordering::Less => first = middle + 1,
                Ordering::Greater => end = middle,
            }
        }
        None
    }

    /// Gives a key this value; returns the one that it had.
    pub fn insert(&mut self, key: String, value: String) -> Option<String> {
        let before = self.get(&key).map(str::to_owned);
        *self = Self::of(self.iter().chain([(key.as_str(), value.as_str())]));
        before
    }

    fn of<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> Self {
        let mut pairs: Vec<(&str, &str)> = pairs.collect();
        pairs.reverse();
        // Stable: of equal keys the one that came last is first now.
        pairs.sort_by_key(|(key, _)| *key);
        pairs.dedup_by_key(|(key, _)| *key);
        let parts = || pairs.iter().flat_map(|&(key, value)| [key, value]);
        let ends = parts().scan(0, |end, part| {
            *end += part.len();
            Some(*end)
        });
        let (text, ends) = (parts().collect::<String>().into(), ends.collect());
        Self((!pairs.is_empty()).then(|| Arc::new(Pairs { text, ends })))
    }

    /// Keys and values, by key.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        (0..self.len()).filter_map(|index| self.pair(index))
    }

    /// Whether both are one value in memory.
    pub fn is_shared_with(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        }
    }
}

impl Pairs {
    fn part(&self, index: usize) -> Option<&str> {
        let end = *self.ends.get(index)?;
        let start = index.checked_sub(1).and_then(|before| self.ends.get(before));
        self.text.get(start.copied().unwrap_or_default()..end)
    }
}

/// Of two values of a key the later one is kept.
impl FromIterator<(String, String)> for Labels {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(pairs: I) -> Self {
        let pairs: Vec<_> = pairs.into_iter().collect();
        Self::of(pairs.iter().map(|(key, value)| (key.as_str(), value.as_str())))
    }
}

impl<const N: usize> From<[(String, String); N]> for Labels {
    fn from(pairs: [(String, String); N]) -> Self {
        pairs.into_iter().collect()
    }
}

/// Labels that share their memory are not compared.
impl PartialEq for Labels {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Eq for Labels {}

impl Ord for Labels {
    fn cmp(&self, other: &Self) -> Ordering {
        self.iter().cmp(other.iter())
    }
}

impl PartialOrd for Labels {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Hash for Labels {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.iter().for_each(|pair| pair.hash(state));
    }
}

impl fmt::Debug for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::Labels;

    fn pair(key: &str, value: &str) -> (String, String) {
        (key.to_owned(), value.to_owned())
    }

    #[test]
    fn a_key_has_the_last_value_that_it_was_given() {
        let mut labels = Labels::from([pair("b", "1"), pair("a", "2"), pair("b", "3")]);
        assert_eq!(["a", "b", "c"].map(|key| labels.get(key)), [Some("2"), Some("3"), None]);
        let given = [pair("c", "4"), pair("a", "5"), pair("", "6")];
        let before = given.map(|(key, value)| labels.insert(key, value));
        assert_eq!(before, [None, Some("2".to_owned()), None]);
        assert_eq!(format!("{labels:?}"), r#"{"": "6", "a": "5", "b": "3", "c": "4"}"#);
    }

    #[test]
    fn labels_with_the_same_text_and_other_ends_differ() {
        let [one, other] = [pair("a", "bc"), pair("ab", "c")].map(|pair| Labels::from([pair]));
        assert_ne!(one, other);
        assert!(one < other, "ordered by key");
        assert_eq!([one.get("a"), other.get("a")], [Some("bc"), None]);
        assert!(one.is_shared_with(&one.clone()) && !one.is_shared_with(&other));
        assert_eq!(Labels::from([]), Labels::new());
    }
}
