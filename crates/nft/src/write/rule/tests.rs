use super::*;
use ruleset::{Family, Name, PortRange, Transport};

fn name(text: &str) -> Name {
    Name::new(text).expect("a name")
}

#[test]
fn a_prefix_mask_has_its_leading_bits() {
    for length in 0..=32 {
        let mask = prefix_mask(Family::V4, length);
        let number = u32::from_be_bytes(mask.try_into().expect("four bytes"));
        assert_eq!((number.leading_ones(), number.count_ones()), (length, length));
    }
    for length in 0..=128 {
        let mask = prefix_mask(Family::V6, length);
        let number = u128::from_be_bytes(mask.try_into().expect("sixteen bytes"));
        assert_eq!((number.leading_ones(), number.count_ones()), (length, length));
    }
}

#[test]
fn text_for_c_ends_at_a_nul() {
    assert_eq!(c_string("text").as_c_str(), c"text");
    assert_eq!(c_string("te\0xt").as_c_str(), c"te");
}

#[test]
fn an_implied_test_is_written_once() {
    let set = AddressTest::Set(Family::V4, name("s"));
    let port = Match::Port(Transport::Tcp, PortRange(80, 80));
    let rule = Rule::new(
        [
            Match::Address(Field::Source, set.clone()),
            port.clone(),
            Match::Address(Field::Destination, set),
            port,
        ],
        Verdict::Drop,
    );
    let written = expressions(TableFamily::Inet, &rule);
    let metas = written.iter().filter(|one| matches!(one, Expression::Meta { .. })).count();
    assert_eq!(metas, 2, "{written:#?}");
}
