//! What somebody probably meant to write.

/// The one of `candidates` that was probably meant by `text`: the same but
/// for capitals, or not further away than a few letters.
pub(crate) fn suggest<'a>(
    text: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let lower = text.to_lowercase();
    let allowed = match lower.chars().count() {
        // Comparing costs the product of the lengths; no field is that long.
        65.. => return None,
        0..=2 => 0,
        3..=5 => 1,
        6..=8 => 2,
        _ => 3,
    };
    candidates
        .into_iter()
        .map(|candidate| {
            (strsim::damerau_levenshtein(&lower, &candidate.to_lowercase()), candidate)
        })
        .filter(|&(distance, _)| distance <= allowed)
        .min_by_key(|&(distance, _)| distance)
        .map(|(_, candidate)| candidate)
}
