//! Labels that came lately, so that equal ones are in memory once.
//!
//! In: labels. Out: equal labels, shared with those of earlier objects where they
//! are still in this cache. Never: more than a fixed number of labels kept; a
//! difference in value.

use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};

use policy::Labels;

/// A list is ordered by namespace and name, so pods of one workload come close to
/// each other.
const PLACES: usize = 1024;

/// A place for each remainder of a hash. What comes later takes the place.
#[derive(Debug)]
pub(crate) struct RecentLabels(Box<[Labels]>);

impl Default for RecentLabels {
    fn default() -> Self {
        Self(vec![Labels::new(); PLACES].into())
    }
}

impl RecentLabels {
    /// Puts the earlier labels in place of equal ones.
    pub(crate) fn share(&mut self, labels: &mut Labels) {
        let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(&*labels);
        let Some(place) = self.0.get_mut(hash as usize % PLACES) else { return };
        if place == labels {
            labels.clone_from(place);
        } else {
            place.clone_from(labels);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(value: usize) -> Labels {
        Labels::from([("app".to_owned(), value.to_string())])
    }

    #[test]
    fn equal_labels_are_in_memory_once_and_others_keep_their_value() {
        let mut recent = RecentLabels::default();
        let mut first = labels(1);
        recent.share(&mut first);
        let mut second = labels(1);
        assert!(!second.is_shared_with(&first));
        recent.share(&mut second);
        assert!(second.is_shared_with(&first));
        for value in 0..10 * PLACES {
            let mut one = labels(value);
            recent.share(&mut one);
            assert_eq!(one, labels(value));
        }
        assert_eq!(recent.0.len(), PLACES);
    }
}
