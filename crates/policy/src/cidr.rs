//! CIDRs as Kubernetes reads them, and `ipBlock`.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;

/// An `ipBlock`. Host bits are cleared, and every `except` is inside `cidr`:
/// [`IpBlock::new`] is the only constructor.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IpBlock {
    cidr: IpNet,
    except: Vec<IpNet>,
}

/// Why an ipBlock or a CIDR cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CidrError {
    /// Not an address, a slash and a prefix length.
    Syntax(String),
    /// An IPv4 address written as IPv6 (`::ffff:10.0.0.0/104`), which the
    /// API server refuses since programs disagree about its meaning.
    MappedAddress(String),
    /// An except that is not strictly within the cidr.
    ExceptOutside {
        /// The except, as parsed.
        except: IpNet,
        /// The block's cidr, as parsed.
        cidr: IpNet,
    },
}

impl std::error::Error for CidrError {}

impl std::fmt::Display for CidrError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Syntax(text) => {
                write!(f, "{text:?} is not a CIDR, such as 10.9.8.0/24 or 2001:db8::/64")
            }
            Self::MappedAddress(text) => {
                write!(f, "{text:?} is an IPv4 address in IPv6 form; write it as IPv4")
            }
            Self::ExceptOutside { except, cidr } => {
                write!(f, "except {except} is not strictly within cidr {cidr}")
            }
        }
    }
}

impl IpBlock {
    /// An ipBlock with its excepts.
    ///
    /// # Errors
    /// An except must be a strict subset of the cidr, as the API server
    /// demands (`ValidateIPBlock` of k8s.io/kubernetes pkg/apis/networking).
    pub fn new(cidr: IpNet, except: impl IntoIterator<Item = IpNet>) -> Result<Self, CidrError> {
        let cidr = cidr.trunc();
        let mut excepts: Vec<IpNet> = except.into_iter().map(|net| net.trunc()).collect();
        excepts.sort();
        excepts.dedup();
        match excepts.iter().find(|except| !strictly_within(except, &cidr)) {
            Some(&except) => Err(CidrError::ExceptOutside { except, cidr }),
            None => Ok(Self { cidr, except: excepts }),
        }
    }

    /// `cidr`.
    pub fn cidr(&self) -> IpNet {
        self.cidr
    }

    /// `except`, sorted.
    pub fn except(&self) -> &[IpNet] {
        &self.except
    }

    /// Whether the address is in the cidr and in no except.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.cidr.contains(&address) && !self.except.iter().any(|net| net.contains(&address))
    }
}

fn strictly_within(inner: &IpNet, outer: &IpNet) -> bool {
    outer.contains(inner) && inner.prefix_len() > outer.prefix_len()
}

/// Reads a CIDR as Kubernetes does for objects of any age: host bits are
/// cleared, leading zeros of an IPv4 octet are decimal
/// (`netutils.ParseCIDRSloppy`, k8s.io/utils/net, Go before 1.17).
///
/// # Errors
/// See [`CidrError`].
pub fn parse(text: &str) -> Result<IpNet, CidrError> {
    let syntax = || CidrError::Syntax(text.to_owned());
    let (address, length) = text.split_once('/').ok_or_else(syntax)?;
    if length.is_empty() || length.len() > 3 || !length.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(syntax());
    }
    let length: u8 = length.parse().map_err(|_| syntax())?;
    let address = parse_address(address).ok_or_else(syntax)?;
    if matches!(address, IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some()) {
        return Err(CidrError::MappedAddress(text.to_owned()));
    }
    IpNet::new(address, length).map(|net| net.trunc()).map_err(|_| syntax())
}

/// Whether a CIDR is written as the API server wants new ones: no leading
/// zeros, no host bits. Any other form still works and deserves a warning.
pub fn is_canonical(text: &str) -> bool {
    // The standard library refuses leading zeros, as Go's `netip.ParsePrefix` does.
    let strict = |(address, length): (&str, &str)| {
        let zeros = length.len() > 1 && length.starts_with('0');
        address.parse::<IpAddr>().ok().filter(|_| !zeros)
    };
    let address = text.split_once('/').and_then(strict);
    address.is_some_and(|address| parse(text).is_ok_and(|net| net.addr() == address))
}

/// An address as Kubernetes reads it; leading zeros are decimal.
pub fn parse_address(text: &str) -> Option<IpAddr> {
    if text.contains(':') {
        return text.parse().ok().map(IpAddr::V6);
    }
    let mut octets = [0u8; 4];
    let mut parts = text.split('.');
    for octet in &mut octets {
        let part = parts.next()?;
        if part.is_empty() || !part.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        *octet = part
            .trim_start_matches('0')
            .parse()
            .or_else(|error| if part.bytes().all(|byte| byte == b'0') { Ok(0) } else { Err(error) })
            .ok()?;
    }
    parts.next().is_none().then(|| IpAddr::V4(Ipv4Addr::from(octets)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cidrs_are_read_as_kubernetes_reads_them() {
        let cases = [
            ("10.0.0.0/8", Some("10.0.0.0/8")),
            ("10.1.2.3/8", Some("10.0.0.0/8")),
            ("010.244.1.0/24", Some("10.244.1.0/24")),
            ("000.0.0.0/0", Some("0.0.0.0/0")),
            ("::/0", Some("::/0")),
            ("2001:db8::1/64", Some("2001:db8::/64")),
            ("10.0.0.0", None),
            ("10.0.0.0/33", None),
            ("10.0.0.0/", None),
            ("10.0.0.0/+8", None),
            ("10.0.0/8", None),
            ("10.0.0.0.0/8", None),
            ("10.244.100.0./24", None),
            ("300.0.0.0/8", None),
            ("::ffff:10.0.0.0/104", None),
            ("0x10.0.0.0/8", None),
            ("fe80::1%eth0/64", None),
        ];
        for (text, expected) in cases {
            let parsed = parse(text).ok().map(|net| net.to_string());
            assert_eq!(parsed.as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn an_except_lies_strictly_inside_its_block() {
        let net = |text| parse(text).unwrap();
        assert!(IpBlock::new(net("10.0.0.0/8"), [net("10.1.0.0/16")]).is_ok());
        assert!(IpBlock::new(net("10.0.0.0/8"), [net("10.0.0.0/8")]).is_err());
        assert!(IpBlock::new(net("10.0.0.0/8"), [net("11.0.0.0/16")]).is_err());
        assert!(IpBlock::new(net("::/0"), [net("10.0.0.0/8")]).is_err());
    }

    #[test]
    fn canonical_is_what_a_new_object_must_be() {
        let cases = [
            ("10.0.0.0/8", true),
            ("0.0.0.0/0", true),
            ("2001:DB8::/32", true),
            ("10.0.0.1/8", false),
            ("2001:db8::1/32", false),
            ("010.0.0.0/8", false),
            ("10.0.0.00/8", false),
            ("10.0.0.0/08", false),
            ("::ffff:10.0.0.0/104", false),
            ("10.0.0.0", false),
        ];
        for (text, expected) in cases {
            assert_eq!(is_canonical(text), expected, "{text}");
        }
    }
}
