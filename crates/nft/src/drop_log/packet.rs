//! The headers of a packet, from its first bytes.
//!
//! In: bytes that a pod wrote. Out: addresses, protocol, ports, flags, types. Never: trust
//! in a length that the bytes state.
//!
//! IPv4: RFC 791. IPv6 and its extension headers: RFC 8200, RFC 4302. TCP: RFC 9293.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// How many extension headers are followed.
const EXTENSIONS: usize = 8;

/// What the headers of a packet say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoggedHeaders {
    /// Source address.
    pub source: IpAddr,
    /// Destination address.
    pub destination: IpAddr,
    /// The number of the transport protocol.
    pub protocol: u8,
    /// Source and destination port of TCP, UDP and SCTP.
    pub ports: Option<(u16, u16)>,
    /// The flags of a TCP header.
    pub tcp_flags: Option<u8>,
    /// Type and code of ICMP and ICMPv6.
    pub icmp: Option<(u8, u8)>,
}

/// Reads the headers; `None` if the addresses are not there.
pub(super) fn headers(packet: &[u8]) -> Option<LoggedHeaders> {
    match packet.first()? >> 4 {
        4 => v4(packet),
        6 => v6(packet),
        _ => None,
    }
}

fn v4(packet: &[u8]) -> Option<LoggedHeaders> {
    let address = |at| Some(Ipv4Addr::from(*packet.get(at..)?.first_chunk::<4>()?).into());
    let length = usize::from(packet.first()? & 0xf) * 4;
    let is_first = short(packet, 6)? & 0x1fff == 0;
    let transport = packet.get(length..).filter(|_| is_first && length >= 20);
    Some(with_transport(address(12)?, address(16)?, *packet.get(9)?, transport))
}

fn v6(packet: &[u8]) -> Option<LoggedHeaders> {
    let address = |at| Some(Ipv6Addr::from(*packet.get(at..)?.first_chunk::<16>()?).into());
    let (source, destination) = (address(8)?, address(24)?);
    let (mut protocol, mut rest) = (*packet.get(6)?, packet.get(40..));
    for _ in 0..EXTENSIONS {
        let Some(bytes) = rest else { break };
        let (Some(next), Some(units)) = (bytes.first(), bytes.get(1)) else { break };
        let length = match i32::from(protocol) {
            libc::IPPROTO_HOPOPTS | libc::IPPROTO_ROUTING | libc::IPPROTO_DSTOPTS => {
                (usize::from(*units) + 1) * 8
            }
            libc::IPPROTO_AH => (usize::from(*units) + 2) * 4,
            libc::IPPROTO_FRAGMENT if short(bytes, 2).is_some_and(|field| field & !7 != 0) => {
                return Some(with_transport(source, destination, *next, None));
            }
            libc::IPPROTO_FRAGMENT => 8,
            _ => break,
        };
        (protocol, rest) = (*next, bytes.get(length..));
    }
    Some(with_transport(source, destination, protocol, rest))
}

fn with_transport(
    source: IpAddr,
    destination: IpAddr,
    protocol: u8,
    transport: Option<&[u8]>,
) -> LoggedHeaders {
    let bytes = transport.unwrap_or_default();
    let mut headers =
        LoggedHeaders { source, destination, protocol, ports: None, tcp_flags: None, icmp: None };
    match i32::from(protocol) {
        libc::IPPROTO_TCP | libc::IPPROTO_UDP | libc::IPPROTO_SCTP => {
            headers.ports = short(bytes, 0).zip(short(bytes, 2));
        }
        libc::IPPROTO_ICMP | libc::IPPROTO_ICMPV6 => {
            headers.icmp = bytes.first().copied().zip(bytes.get(1).copied());
        }
        _ => {}
    }
    if i32::from(protocol) == libc::IPPROTO_TCP {
        headers.tcp_flags = bytes.get(13).copied();
    }
    headers
}

fn short(bytes: &[u8], offset: usize) -> Option<u16> {
    Some(u16::from_be_bytes(*bytes.get(offset..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// 10.0.0.1:4660 to 10.0.0.2:80, SYN.
    fn tcp() -> Vec<u8> {
        let mut packet = vec![0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
        packet.extend([0x12, 0x34, 0, 80, 0, 0, 0, 0, 0, 0, 0, 0, 0x50, 2, 0, 0, 0, 0, 0, 0]);
        packet
    }

    fn six(next: u8, rest: &[u8]) -> Vec<u8> {
        let mut packet = vec![0x60, 0, 0, 0, 0, 8, next, 64];
        packet.extend([[0u8; 15].as_slice(), &[1], &[0u8; 15], &[2], rest].concat());
        packet
    }

    #[test]
    fn headers_are_read_in_both_families() {
        let found = headers(&tcp()).expect("headers");
        assert_eq!(
            (found.source.to_string(), found.ports),
            ("10.0.0.1".into(), Some((0x1234, 80)))
        );
        assert_eq!(found.tcp_flags, Some(2));
        // A hop-by-hop header before UDP.
        let found = headers(&six(0, &[17, 0, 1, 4, 0, 0, 0, 0, 0, 7, 0, 53])).expect("headers");
        assert_eq!((found.protocol, found.ports), (17, Some((7, 53))));
        let found = headers(&six(58, &[128, 0])).expect("headers");
        assert_eq!((found.destination.to_string(), found.icmp), ("::2".into(), Some((128, 0))));
    }

    #[test]
    fn a_later_fragment_has_no_ports() {
        let mut packet = tcp();
        packet[7] = 1;
        assert_eq!(headers(&packet).expect("headers").ports, None);
        let found = headers(&six(44, &[17, 0, 0, 8, 0, 0, 0, 0, 0, 7, 0, 53])).expect("headers");
        assert_eq!((found.protocol, found.ports), (17, None));
    }

    #[test]
    fn a_header_length_that_lies_gives_no_ports() {
        for length in [0, 4, 15] {
            let mut packet = tcp();
            packet[0] = 0x40 | length;
            assert_eq!(headers(&packet).expect("headers").ports, None, "{length}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_are_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = headers(&bytes);
            let mut six = bytes;
            if let Some(first) = six.first_mut() {
                *first = 0x60;
            }
            let _ = headers(&six);
        }
    }
}
