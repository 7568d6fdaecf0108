use super::*;
use crate::read::tests::any_range;
use proptest::prelude::*;

/// Values from `nft --debug=netlink` 1.0.6 and its dumps.
#[test]
fn key_types_are_nfts() {
    let of = |interface, mac, address| SetType::Key(KeyShape { interface, mac, address });
    let cases = [
        (SetType::Address(Family::V4), 7, 4),
        (SetType::Address(Family::V6), 8, 16),
        (SetType::AddressRange(Family::V6), 8, 16),
        (SetType::RateLimit(Family::V4), 7, 4),
        (SetType::AddressPort(Family::V4), 461, 8),
        (SetType::AddressPort(Family::V6), 8 << 6 | 13, 20),
        (SetType::AddressPair(Family::V4), 7 << 6 | 7, 8),
        (SetType::AddressPair(Family::V6), 520, 32),
        (SetType::ProtocolPort, 12 << 6 | 13, 8),
        (SetType::Icmpv6Type, 29, 1),
        (SetType::Store(Store::Addresses(Family::V4)), ((4 << 6 | 4) << 6 | 4) << 6 | 7, 16),
        (SetType::Store(Store::Addresses(Family::V6)), ((4 << 6 | 4) << 6 | 4) << 6 | 8, 28),
        (SetType::Store(Store::AddressPorts(Family::V4)), ((4 << 6 | 4) << 6 | 7) << 6 | 13, 20),
        (SetType::Store(Store::AddressPorts(Family::V6)), ((4 << 6 | 4) << 6 | 8) << 6 | 13, 32),
        (SetType::Store(Store::Ports), ((4 << 6 | 4) << 6 | 12) << 6 | 13, 20),
        (of(true, true, Some(KeyAddressType::V4)), 0x14247, 16),
        (of(true, true, Some(KeyAddressType::V6)), 0x14248, 28),
        (of(true, true, Some(KeyAddressType::Target)), 0x14244, 28),
        (of(true, false, Some(KeyAddressType::V4)), 0x507, 8),
        (of(true, true, None), 0x509, 12),
        (of(true, false, None), 0x14, 4),
        (of(false, true, None), 9, 6),
        (of(false, false, Some(KeyAddressType::Target)), 4, 16),
    ];
    for (set_type, number, length) in cases {
        assert_eq!(KeyType::of(set_type), KeyType { number, length }, "{set_type:?}");
    }
}

fn key(text: &str, ends_range: bool) -> Key {
    Key { bytes: address_bytes(text.parse().expect("an address")), ends_range }
}

#[test]
fn ranges_from_keys_in_any_order() {
    let range = |first: &str, last: &str| {
        let ends = AddressRange::new(first.parse().expect("first"), last.parse().expect("last"));
        Element::Range(ends.expect("a range"))
    };
    let read = |keys: &[Key]| elements(SetType::AddressRange(Family::V4), keys.to_vec());
    let (start, end) = (|text| key(text, false), |text| key(text, true));
    let cases: [(&str, Vec<Key>, Vec<Element>); 6] = [
        ("none", vec![], vec![]),
        (
            "nft's end at 0",
            vec![end("0.0.0.0"), start("10.0.0.0"), end("10.0.0.5")],
            vec![range("10.0.0.0", "10.0.0.4")],
        ),
        (
            "backwards",
            vec![end("10.0.0.5"), start("10.0.0.0")],
            vec![range("10.0.0.0", "10.0.0.4")],
        ),
        (
            "to the last address",
            vec![start("10.0.0.0")],
            vec![range("10.0.0.0", "255.255.255.255")],
        ),
        (
            "that touch",
            vec![start("10.0.0.0"), start("10.0.0.5"), end("10.0.0.5"), end("10.0.0.9")],
            vec![range("10.0.0.0", "10.0.0.4"), range("10.0.0.5", "10.0.0.8")],
        ),
        (
            "without an end before the next",
            vec![start("10.0.0.0"), start("10.0.0.5"), end("10.0.0.9")],
            vec![range("10.0.0.0", "10.0.0.4"), range("10.0.0.5", "10.0.0.8")],
        ),
    ];
    for (case, keys, expected) in cases {
        assert_eq!(read(&keys), Some(expected), "{case}");
    }
    assert_eq!(read(&[key("::1", false)]), None, "another family");
}

#[test]
fn keys_of_another_length_are_no_elements() {
    let types = [
        SetType::Address(Family::V4),
        SetType::AddressPort(Family::V4),
        SetType::AddressPair(Family::V6),
        SetType::ProtocolPort,
    ];
    for set_type in types {
        for length in [0, 1, 3, 5, 40] {
            let keys = vec![Key { bytes: vec![1; length], ends_range: false }];
            assert_eq!(elements(set_type, keys), None, "{set_type:?} of {length} bytes");
        }
    }
}

proptest! {
    #[test]
    fn elements_read_back(range in any_range(), other in any_range(), port in any::<u16>(), number in any::<u8>()) {
        let family = range.family();
        let address = range.first();
        let mut cases = vec![
            (SetType::Address(family), Element::Address(address)),
            (SetType::AddressRange(family), Element::Range(range)),
            (SetType::AddressPort(family), Element::AddressPort(address, port)),
            (SetType::ProtocolPort, Element::ProtocolPort(Transport::Sctp, port)),
            (SetType::Icmpv6Type, Element::Icmpv6Type(number)),
        ];
        if other.family() == family {
            cases.push((SetType::AddressPair(family), Element::AddressPair(address, other.last())));
        }
        for (set_type, element) in cases {
            let keys: Vec<Key> = keys(&element).collect();
            let length = KeyType::of(set_type).length as usize;
            prop_assert!(keys.iter().all(|key| key.bytes.len() == length));
            prop_assert_eq!(elements(set_type, keys), Some(vec![element]));
        }
    }

    #[test]
    fn stored_elements_read_back(range in any_range(), tag in any::<u128>(), port in any::<u16>()) {
        let (family, address) = (range.family(), range.first());
        let cases = [
            (Store::Addresses(family), Element::Address(address)),
            (Store::AddressPorts(family), Element::AddressPort(address, port)),
            (Store::Ports, Element::ProtocolPort(Transport::Udp, port)),
        ];
        for (store, element) in cases {
            let key = stored_key(Tag::new(tag), &element);
            prop_assert_eq!(key.bytes.len(), KeyType::of(SetType::Store(store)).length as usize);
            prop_assert_eq!(&key.bytes[..Tag::BYTES], &tag.to_be_bytes()[16 - Tag::BYTES..]);
            prop_assert_eq!(stored(store, key), Some((Tag::new(tag), element)));
        }
    }

    #[test]
    fn no_keys_make_it_panic(
        bytes in proptest::collection::vec((proptest::collection::vec(any::<u8>(), 0..40), any::<bool>()), 0..10)
    ) {
        let keys: Vec<Key> = bytes.into_iter().map(|(bytes, ends_range)| Key { bytes, ends_range }).collect();
        for set_type in crate::read::set::set_types() {
            let _ = elements(set_type, keys.clone());
        }
        for (store, key) in Store::ALL.into_iter().flat_map(|one| keys.iter().map(move |key| (one, key))) {
            let _ = stored(store, key.clone());
        }
    }
}
