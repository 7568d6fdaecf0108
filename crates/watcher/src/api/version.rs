//! Which of two versions of objects is the earlier one.
//!
//! A `resourceVersion` is a number without leading zeros, of any length, and grows
//! with each change (KEP-5504, Kubernetes 1.35; before that, the revision of etcd).
//! Never: a guess about a version that is no such number.

/// Whether a version comes before another one. Not, if one of them is no number.
pub(super) fn is_before(one: &str, other: &str) -> bool {
    is_number(one) && is_number(other) && (one.len(), one) < (other.len(), other)
}

fn is_number(version: &str) -> bool {
    let digits = version.bytes().all(|byte| byte.is_ascii_digit());
    digits && !version.is_empty() && (version.len() == 1 || !version.starts_with('0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers_of_any_length() {
        let long = "9".repeat(100);
        for (one, other) in [("0", "1"), ("9", "10"), ("99", "100"), ("7", long.as_str())] {
            assert!(is_before(one, other) && !is_before(other, one), "{one} {other}");
        }
        for (one, other) in [("7", "7"), ("", "7"), ("7", "a"), ("07", "8"), ("-1", "2")] {
            assert!(!is_before(one, other) && !is_before(other, one), "{one} {other}");
        }
    }
}
