//! Names, comments, log prefixes and prefix lengths at their limits.

use std::net::IpAddr;

use proptest::prelude::*;
use ruleset::{AddressRange, Comment, Family, LogPrefix, Name, NameError};

/// An address made from the low bits of a number.
fn address(family: Family, number: u128) -> IpAddr {
    match family {
        Family::V4 => IpAddr::V4((number as u32).into()),
        Family::V6 => IpAddr::V6(number.into()),
    }
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u32::from(v4).into(),
        IpAddr::V6(v6) => v6.into(),
    }
}

/// The bits of an address after a prefix of this length, all set.
fn host_mask(family: Family, prefix_len: u32) -> u128 {
    u128::MAX.checked_shr(128 - family.bits() + prefix_len).unwrap_or(0)
}

fn arbitrary_family() -> impl Strategy<Value = Family> {
    proptest::sample::select(&Family::BOTH[..])
}

proptest! {
    #[test]
    fn a_name_in_the_grammar_is_taken(text in "[a-zA-Z][a-zA-Z0-9/_.-]{0,254}") {
        let name = Name::new(text.clone()).unwrap();
        prop_assert_eq!(name.as_str(), text);
    }

    #[test]
    fn a_name_that_is_too_long_is_refused(text in "[a-z]{256,300}") {
        let length = text.len();
        prop_assert_eq!(Name::new(text), Err(NameError::Length(length)));
    }

    #[test]
    fn a_name_with_any_other_character_is_refused(
        before in "[a-z]{1,9}", other in "[^a-zA-Z0-9/_.-]", after in "[a-z]{0,9}",
    ) {
        for text in [format!("{before}{other}{after}"), format!("{other}{after}")] {
            prop_assert_eq!(Name::new(text.clone()), Err(NameError::Character(text)));
        }
    }

    #[test]
    fn a_name_starts_with_a_letter(text in "[0-9/_.-][a-z]{0,9}") {
        prop_assert!(matches!(Name::new(text), Err(NameError::Character(_))));
    }

    #[test]
    fn a_comment_fits_whatever_it_was_made_of(text in any::<String>(), times in 1..20usize) {
        let text = text.repeat(times);
        let comment = Comment::new(&text);
        let fitted = comment.as_str();
        prop_assert!(fitted.len() <= Comment::MAX_BYTES);
        prop_assert!(!fitted.contains(['"', '\\']) && !fitted.contains(char::is_control));
        prop_assert_eq!(&Comment::new(fitted), &comment, "fitting it again changes nothing");
        let kept = fitted.strip_suffix("...").unwrap_or(fitted);
        prop_assert!(text.chars().zip(kept.chars()).all(|(a, b)| a == b || b == '\''));
        if text.len() <= Comment::MAX_BYTES {
            prop_assert_eq!(text.chars().count(), fitted.chars().count(), "nothing cut");
        }
    }

    #[test]
    fn a_log_prefix_fits_and_names_no_variable(text in "[a-z$\"é]{0,200}") {
        let prefix = LogPrefix::new(&text);
        let fitted = prefix.as_str();
        prop_assert!(fitted.len() <= LogPrefix::MAX_BYTES);
        prop_assert!(!fitted.contains(['$', '"']));
        prop_assert_eq!(&LogPrefix::new(fitted), &prefix, "fitting it again changes nothing");
    }

    #[test]
    fn a_prefix_is_recognised(family in arbitrary_family(), bits in any::<u128>(), length in 0..=128u32) {
        let length = length.min(family.bits());
        let mask = host_mask(family, length);
        let (first, last) = (address(family, bits & !mask), address(family, bits | mask));
        let range = AddressRange::new(first, last).unwrap();
        prop_assert_eq!(range.prefix_len(), Some(length));
        let text = if length == family.bits() { first.to_string() } else { format!("{first}/{length}") };
        prop_assert_eq!(range.to_string(), text);
    }

    #[test]
    fn nothing_else_is_a_prefix(
        family in arbitrary_family(), bits in any::<u128>(), size in 0..64u128,
    ) {
        // Small ranges, so that some of them are prefixes.
        let first = address(family, bits);
        let Some(range) = number(first)
            .checked_add(size)
            .and_then(|last| AddressRange::new(first, address(family, last)))
        else {
            return Ok(());
        };
        let lengths: Vec<u32> = (0..=family.bits())
            .filter(|&length| {
                let mask = host_mask(family, length);
                number(first) & mask == 0 && number(range.last()) == number(first) | mask
            })
            .collect();
        prop_assert_eq!(range.prefix_len(), lengths.first().copied());
        prop_assert!(range.contains(first) && range.contains(range.last()));
        if range.prefix_len().is_none() {
            prop_assert_eq!(range.to_string(), format!("{first}-{}", range.last()));
        }
    }
}
