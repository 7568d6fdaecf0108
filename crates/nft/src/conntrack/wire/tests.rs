use proptest::prelude::*;

use super::*;
use crate::netlink;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn udp(source: &str, source_port: u16, destination: &str, destination_port: u16) -> Tuple {
    Tuple {
        source: ip(source),
        destination: ip(destination),
        protocol: libc::IPPROTO_UDP as u8,
        transport: TupleId::Ports { source: source_port, destination: destination_port },
    }
}

/// An entry as `ctnetlink_fill_info` of Linux 6.18 writes it. Of the attributes
/// that we do not read, it has only CTA_STATUS.
fn encoded(flow: &Flow) -> Request {
    const CTA_STATUS: u16 = 3;
    let mut request = Request::default();
    request.begin(0x100, libc::NLM_F_MULTI, 7, libc::AF_INET as u8, 0);
    push_tuple(&mut request, cta::TUPLE_ORIG, &flow.original);
    push_tuple(&mut request, cta::TUPLE_REPLY, &flow.reply);
    if flow.zone != 0 {
        request.attribute(cta::ZONE, &flow.zone.to_be_bytes());
    }
    request.attribute(CTA_STATUS, &0x18a_u32.to_be_bytes());
    if let Some(master) = &flow.master {
        push_tuple(&mut request, cta::TUPLE_MASTER, master);
    }
    request.attribute(cta::ID, &flow.id.to_be_bytes());
    request
}

fn decoded(bytes: &[u8]) -> Option<Flow> {
    flow(&netlink::messages(bytes).next()?)
}

#[test]
fn a_deletion_names_tuple_zone_and_id() {
    let mut request = Request::default();
    request.begin(0x102, libc::NLM_F_REQUEST, 9, libc::AF_INET as u8, 0);
    push_entry(&mut request, &udp("10.0.0.1", 1000, "10.0.0.2", 53), 5, Some(0x0102_0304));
    #[rustfmt::skip]
    let attributes = [
        52, 0, 1, 0x80, // CTA_TUPLE_ORIG, nested
            20, 0, 1, 0x80, // CTA_TUPLE_IP
                8, 0, 1, 0, 10, 0, 0, 1,
                8, 0, 2, 0, 10, 0, 0, 2,
            28, 0, 2, 0x80, // CTA_TUPLE_PROTO
                5, 0, 1, 0, 17, 0, 0, 0,
                6, 0, 2, 0, 3, 0xe8, 0, 0,
                6, 0, 3, 0, 0, 53, 0, 0,
        6, 0, 18, 0, 0, 5, 0, 0, // CTA_ZONE
        8, 0, 12, 0, 1, 2, 3, 4, // CTA_ID
    ];
    assert_eq!(request.bytes()[netlink::HEADERS..], attributes);
    assert_eq!(request.bytes()[..4], (netlink::HEADERS as u32 + 68).to_ne_bytes());
}

#[test]
fn a_filter_is_an_address_and_a_flag_that_says_so() {
    let mut request = Request::default();
    request.begin(0x101, libc::NLM_F_REQUEST, 9, libc::AF_INET as u8, 0);
    push_filter(&mut request, &Filter::ReplySource(ip("10.0.0.1")));
    #[rustfmt::skip]
    let attributes = [
        16, 0, 2, 0x80, // CTA_TUPLE_REPLY
            12, 0, 1, 0x80, // CTA_TUPLE_IP
                8, 0, 1, 0, 10, 0, 0, 1,
        12, 0, 25, 0x80, // CTA_FILTER
            8, 0, 2, 0, 1, 0, 0, 0, // CTA_FILTER_REPLY_FLAGS, in host order
    ];
    assert_eq!(request.bytes()[netlink::HEADERS..], attributes);
    for none in [Filter::All, Filter::Family(Family::V4), Filter::OriginalSource(ip("fd00::1"))] {
        let mut request = Request::default();
        push_filter(&mut request, &none);
        assert_eq!(request.bytes(), [0_u8; 0], "{none:?}");
    }
}

#[test]
fn an_entry_without_a_part_is_none() {
    let original = udp("10.0.0.1", 1000, "10.0.0.2", 53);
    let reply = udp("10.0.0.2", 53, "10.0.0.1", 1000);
    let mut only_original = Request::default();
    only_original.begin(0x100, 0, 7, libc::AF_INET as u8, 0);
    push_entry(&mut only_original, &original, 0, Some(1));
    assert_eq!(decoded(only_original.bytes()), None);
    let mut without_id = Request::default();
    without_id.begin(0x100, 0, 7, libc::AF_INET as u8, 0);
    push_tuple(&mut without_id, cta::TUPLE_ORIG, &original);
    push_tuple(&mut without_id, cta::TUPLE_REPLY, &reply);
    assert_eq!(decoded(without_id.bytes()), None);
    without_id.attribute(cta::ID, &[0, 0, 0, 1]);
    assert!(decoded(without_id.bytes()).is_some());
}

/// A zone of the original direction only is inside that direction's tuple.
#[test]
fn a_zone_of_one_direction_is_read() {
    let original = udp("10.0.0.1", 1000, "10.0.0.2", 53);
    let mut request = Request::default();
    request.begin(0x100, 0, 7, libc::AF_INET as u8, 0);
    push_tuple(&mut request, cta::TUPLE_REPLY, &udp("10.0.0.2", 53, "10.0.0.1", 1000));
    request.attribute(cta::ID, &[0, 0, 0, 1]);
    request.nested(cta::TUPLE_ORIG, |request| {
        request.nested(tuple::IP, |request| {
            request.attribute(ip::V4_SRC, &[10, 0, 0, 1]);
            request.attribute(ip::V4_DST, &[10, 0, 0, 2]);
        });
        request.nested(tuple::PROTO, |request| {
            request.attribute(proto::NUM, &[17]);
            request.attribute(proto::SRC_PORT, &1000_u16.to_be_bytes());
            request.attribute(proto::DST_PORT, &53_u16.to_be_bytes());
        });
        request.attribute(tuple::ZONE, &[0, 6]);
    });
    let flow = decoded(request.bytes()).unwrap();
    assert_eq!((flow.original, flow.zone), (original, 6));
}

fn any_tuple() -> impl Strategy<Value = Tuple> {
    let addresses = prop_oneof![
        any::<([u8; 4], [u8; 4])>().prop_map(|(a, b)| (IpAddr::from(a), IpAddr::from(b))),
        any::<([u8; 16], [u8; 16])>().prop_map(|(a, b)| (IpAddr::from(a), IpAddr::from(b))),
    ];
    let icmp = prop_oneof![Just(libc::IPPROTO_ICMP as u8), Just(ICMPV6)];
    let transport = prop_oneof![
        (any::<u8>(), any::<(u16, u16)>()).prop_map(|(protocol, (source, destination))| {
            (protocol, TupleId::Ports { source, destination })
        }),
        (icmp, any::<(u8, u8, u16)>()).prop_map(|(protocol, (icmp_type, code, id))| {
            (protocol, TupleId::Icmp { icmp_type, code, id })
        }),
        any::<u8>().prop_map(|protocol| (protocol, TupleId::Nothing)),
    ];
    (addresses, transport).prop_map(|((source, destination), (protocol, transport))| Tuple {
        source,
        destination,
        protocol,
        transport,
    })
}

fn any_flow() -> impl Strategy<Value = Flow> {
    let master = proptest::option::of(any_tuple());
    (any_tuple(), any_tuple(), any::<u16>(), any::<u32>(), master)
        .prop_map(|(original, reply, zone, id, master)| Flow { original, reply, zone, id, master })
}

proptest! {
    #[test]
    fn entries_come_back_as_they_were(flow in any_flow()) {
        prop_assert_eq!(decoded(encoded(&flow).bytes()), Some(flow));
    }

    #[test]
    fn no_garbled_byte_makes_it_panic(flow in any_flow(), at in any::<usize>(), byte in any::<u8>()) {
        let mut bytes = encoded(&flow).bytes().to_vec();
        let at = at % bytes.len();
        bytes[at] = byte;
        let _ = decoded(&bytes);
    }
}
