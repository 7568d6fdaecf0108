//! The labels of an object: at most one value for each key.

use std::fmt;

/// `metadata.labels`: pairs sorted by key, without spare room. Most objects of a
/// large cluster are pods with a few labels.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Labels(Box<[(String, String)]>);

/// Goes over labels by key.
pub type Iter<'a> = std::iter::Map<
    std::slice::Iter<'a, (String, String)>,
    fn(&'a (String, String)) -> (&'a String, &'a String),
>;

impl Labels {
    /// None.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Key and value at a place in the order of keys.
    pub fn pair(&self, index: usize) -> Option<(&str, &str)> {
        self.0.get(index).map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&str> {
        let index = self.0.binary_search_by(|(one, _)| one.as_str().cmp(key)).ok()?;
        Some(&self.0[index].1)
    }

    /// Gives a key this value; returns the one that it had.
    pub fn insert(&mut self, key: String, value: String) -> Option<String> {
        match self.0.binary_search_by(|(one, _)| one.cmp(&key)) {
            Ok(index) => Some(std::mem::replace(&mut self.0[index].1, value)),
            Err(index) => {
                let mut pairs = std::mem::take(&mut self.0).into_vec();
                pairs.insert(index, (key, value));
                self.0 = pairs.into_boxed_slice();
                None
            }
        }
    }

    /// Keys and values, by key.
    pub fn iter(&self) -> Iter<'_> {
        self.0.iter().map(|(key, value)| (key, value))
    }
}

/// Of two values of a key the later one is kept.
impl FromIterator<(String, String)> for Labels {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(pairs: I) -> Self {
        let mut pairs: Vec<_> = pairs.into_iter().collect();
        pairs.reverse();
        // Stable: of equal keys the one that came last is first now.
        pairs.sort_by(|(one, _), (other, _)| one.cmp(other));
        pairs.dedup_by(|(one, _), (other, _)| one == other);
        Self(pairs.into_boxed_slice())
    }
}

impl<const N: usize> From<[(String, String); N]> for Labels {
    fn from(pairs: [(String, String); N]) -> Self {
        pairs.into_iter().collect()
    }
}

impl<'a> IntoIterator for &'a Labels {
    type Item = (&'a String, &'a String);
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Debug for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self).finish()
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
}
