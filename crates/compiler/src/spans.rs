//! Sorted spans of numbers.

/// The same numbers as spans `first..=last` that are sorted and neither
/// overlap nor touch. `successor` is the next number, `None` after the last.
pub(crate) fn union<T: Ord + Copy>(
    mut spans: Vec<(T, T)>,
    successor: impl Fn(T) -> Option<T>,
) -> Vec<(T, T)> {
    spans.sort_unstable();
    let mut merged: Vec<(T, T)> = Vec::with_capacity(spans.len());
    for (first, last) in spans {
        match merged.last_mut() {
            Some((_, end)) if successor(*end).is_none_or(|next| first <= next) => {
                *end = last.max(*end);
            }
            _ => merged.push((first, last)),
        }
    }
    merged
}
