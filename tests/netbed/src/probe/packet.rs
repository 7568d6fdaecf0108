//! Packets that this kernel's sockets cannot make: SCTP and ICMP echo.
//!
//! Reads and writes bytes for a raw socket, without the IP header.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The fields of an SCTP packet that probes use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sctp {
    pub source_port: u16,
    pub destination_port: u16,
    /// Whether this is the answer (INIT ACK) or the question (INIT).
    pub answer: bool,
    /// Verification tag: 0 in an INIT. In an answer it is the other side's initiate
    /// tag (RFC 9260, 8.5.1).
    pub verification_tag: u32,
    /// Initiate tag, not 0.
    pub initiate_tag: u32,
}

const SCTP_INIT: u8 = 1;
const SCTP_INIT_ACK: u8 = 2;
/// Common header and a chunk of type INIT or INIT ACK, without parameters
/// (RFC 9260, 3.1 and 3.3.2).
const SCTP_LENGTH: usize = 12 + 20;

impl Sctp {
    /// With a correct checksum. Conntrack treats a packet with a wrong one as
    /// invalid (`sctp_error`, net/netfilter/nf_conntrack_proto_sctp.c, Linux 6.18).
    pub fn to_bytes(self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(SCTP_LENGTH);
        bytes.extend(self.source_port.to_be_bytes());
        bytes.extend(self.destination_port.to_be_bytes());
        bytes.extend(self.verification_tag.to_be_bytes());
        bytes.extend([0; 4]); // checksum
        bytes.extend([if self.answer { SCTP_INIT_ACK } else { SCTP_INIT }, 0]);
        bytes.extend(20u16.to_be_bytes()); // chunk length
        bytes.extend(self.initiate_tag.to_be_bytes());
        bytes.extend(65_535u32.to_be_bytes()); // receiver window, bytes
        bytes.extend(1u16.to_be_bytes()); // outbound streams
        bytes.extend(1u16.to_be_bytes()); // inbound streams
        bytes.extend(self.initiate_tag.to_be_bytes()); // initial TSN
        let checksum = crc32c(&bytes);
        bytes[8..12].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    /// Reads what [`Sctp::to_bytes`] wrote; `None` for anything else.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        if bytes.len() < SCTP_LENGTH {
            return None;
        }
        let answer = match bytes[12] {
            SCTP_INIT => false,
            SCTP_INIT_ACK => true,
            _ => return None,
        };
        Some(Self {
            source_port: read_u16(bytes, 0),
            destination_port: read_u16(bytes, 2),
            answer,
            verification_tag: read_u32(bytes, 4),
            initiate_tag: read_u32(bytes, 16),
        })
    }
}

/// The fields of an ICMP or ICMPv6 echo.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Echo {
    pub v6: bool,
    pub reply: bool,
    pub identifier: u16,
    /// The flow's number, carried as data.
    pub number: u32,
}

impl Echo {
    /// The kernel fills in the IPv6 checksum (RFC 3542, 3.1).
    pub fn to_bytes(self) -> Vec<u8> {
        let mut bytes = vec![self.kind(), 0, 0, 0];
        bytes.extend(self.identifier.to_be_bytes());
        bytes.extend([0, 1]); // sequence number
        bytes.extend(self.number.to_be_bytes());
        if !self.v6 {
            let checksum = internet_checksum(&bytes);
            bytes[2..4].copy_from_slice(&checksum.to_be_bytes());
        }
        bytes
    }

    /// Reads an echo; `None` for any other ICMP message.
    pub fn from_bytes(bytes: &[u8], v6: bool) -> Option<Self> {
        if bytes.len() < 12 {
            return None;
        }
        [false, true]
            .map(|reply| Self {
                v6,
                reply,
                identifier: read_u16(bytes, 4),
                number: read_u32(bytes, 8),
            })
            .into_iter()
            .find(|echo| echo.kind() == bytes[0])
    }

    /// RFC 792 and RFC 4443.
    const fn kind(self) -> u8 {
        match (self.v6, self.reply) {
            (false, false) => 8,
            (false, true) => 0,
            (true, false) => 128,
            (true, true) => 129,
        }
    }
}

/// CRC32c as SCTP uses it (RFC 9260, appendix A): reflected polynomial, sent with
/// the least significant byte first.
pub(crate) fn crc32c(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for &byte in bytes {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg());
        }
    }
    !crc
}

/// RFC 1071, for an even number of bytes.
pub(crate) fn internet_checksum(bytes: &[u8]) -> u16 {
    let mut sum: u32 =
        bytes.chunks_exact(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or_default()
}

/// The checksum of a UDP or TCP packet whose own checksum is still zero. The pseudo
/// header has the same sum in both families (RFC 9293, 3.1; RFC 8200, 8.1):
/// addresses, protocol, length.
pub(crate) fn transport_checksum(
    source: IpAddr,
    destination: IpAddr,
    protocol: u8,
    packet: &[u8],
) -> u16 {
    let octets = |address| match address {
        IpAddr::V4(address) => Ipv4Addr::octets(&address).to_vec(),
        IpAddr::V6(address) => Ipv6Addr::octets(&address).to_vec(),
    };
    let length = u16::try_from(packet.len()).unwrap_or(u16::MAX);
    let pseudo = [u16::from(protocol), length].map(u16::to_be_bytes).concat();
    internet_checksum(&[&octets(source)[..], &octets(destination), &pseudo, packet].concat())
}

fn read_u16(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

fn read_u32(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 3720, appendix B.4: 32 bytes of zeros give `aa 36 91 8a`.
    #[test]
    fn crc32c_of_the_standards_example() {
        assert_eq!(crc32c(&[0; 32]).to_le_bytes(), [0xaa, 0x36, 0x91, 0x8a]);
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }

    #[test]
    fn packets_are_read_as_written() {
        let init = Sctp {
            source_port: 40_000,
            destination_port: 3868,
            answer: false,
            verification_tag: 0,
            initiate_tag: 7,
        };
        assert_eq!(Sctp::from_bytes(&init.to_bytes()), Some(init));
        for (v6, reply) in [(false, false), (false, true), (true, false), (true, true)] {
            let echo = Echo { v6, reply, identifier: 9, number: 0x0102_0304 };
            assert_eq!(Echo::from_bytes(&echo.to_bytes(), v6), Some(echo));
        }
        assert_eq!(internet_checksum(&Echo::from_bytes(&[8; 12], false).unwrap().to_bytes()), 0);
    }
}
