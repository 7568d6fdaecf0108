//! Sets of ports: which protocols and destination ports may pass.

use std::fmt;

use policy::Protocol;
use policy::spec::ProtocolPort;

/// The protocols that have ports, in the order in which sets are shown.
pub const PROTOCOLS: [Protocol; 3] = [Protocol::Tcp, Protocol::Udp, Protocol::Sctp];

/// A set of protocols and destination ports. Equal sets compare equal.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortSet {
    /// For each of [`PROTOCOLS`] its ranges: ascending, with a gap between them, both ends
    /// included.
    ranges: [Vec<(u16, u16)>; 3],
    /// Whether all other protocols are in it. A policy names none of them, so they pass
    /// together or not at all.
    others: bool,
}

impl PortSet {
    /// Nothing.
    pub fn nothing() -> Self {
        Self::default()
    }

    /// Everything, protocols without ports included.
    pub fn everything() -> Self {
        Self { ranges: PROTOCOLS.map(|_| vec![(0, u16::MAX)]), others: true }
    }

    /// The ports of one protocol from `first` to `last`, both included.
    pub fn range(protocol: Protocol, first: u16, last: u16) -> Self {
        let mut set = Self::default();
        if first <= last {
            set.ranges[index(protocol)].push((first, last));
        }
        set
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether everything is in it.
    pub fn is_everything(&self) -> bool {
        *self == Self::everything()
    }

    /// Whether a protocol and port is in it.
    pub fn contains(&self, transport: ProtocolPort) -> bool {
        match transport {
            ProtocolPort::Port(protocol, port) => self.ranges[index(protocol)]
                .iter()
                .any(|&(first, last)| (first..=last).contains(&port)),
            ProtocolPort::Other(_) => self.others,
        }
    }

    /// The ranges of one protocol, ascending, both ends included.
    pub fn of(&self, protocol: Protocol) -> &[(u16, u16)] {
        &self.ranges[index(protocol)]
    }

    /// Whether protocols without ports are in it.
    pub fn has_others(&self) -> bool {
        self.others
    }

    /// What is in either.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        self.merged(other, |one, two| one || two)
    }

    /// What is in both.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        self.merged(other, |one, two| one && two)
    }

    /// What is in this set and not in the other.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Self {
        self.merged(other, |one, two| one && !two)
    }

    fn merged(&self, other: &Self, keep: impl Fn(bool, bool) -> bool + Copy) -> Self {
        let ranges = std::array::from_fn(|protocol| {
            merged(&self.ranges[protocol], &other.ranges[protocol], keep)
        });
        Self { ranges, others: keep(self.others, other.others) }
    }
}

impl FromIterator<Self> for PortSet {
    fn from_iter<T: IntoIterator<Item = Self>>(sets: T) -> Self {
        sets.into_iter().fold(Self::nothing(), |all, set| all.union(&set))
    }
}

/// `80`, `8000-8100`, `53/UDP`: TCP is meant where no protocol is named. `all`, `none`.
impl fmt::Display for PortSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("none");
        }
        if self.is_everything() {
            return f.write_str("all");
        }
        let mut separator = "";
        for protocol in PROTOCOLS {
            let suffix = match protocol {
                Protocol::Tcp => String::new(),
                Protocol::Udp | Protocol::Sctp => format!("/{protocol}"),
            };
            for &(first, last) in self.of(protocol) {
                match (first, last) {
                    (0, u16::MAX) => write!(f, "{separator}all {protocol}")?,
                    _ if first == last => write!(f, "{separator}{first}{suffix}")?,
                    _ => write!(f, "{separator}{first}-{last}{suffix}")?,
                }
                separator = ", ";
            }
        }
        if self.others { write!(f, "{separator}other protocols") } else { Ok(()) }
    }
}

fn index(protocol: Protocol) -> usize {
    match protocol {
        Protocol::Tcp => 0,
        Protocol::Udp => 1,
        Protocol::Sctp => 2,
    }
}

/// The numbers that `keep` wants, told whether each is in the one and in the other list.
fn merged(
    one: &[(u16, u16)],
    two: &[(u16, u16)],
    keep: impl Fn(bool, bool) -> bool,
) -> Vec<(u16, u16)> {
    // Where membership may change, one more than the last number included.
    let ends = |ranges: &[(u16, u16)]| -> Vec<u32> {
        ranges.iter().flat_map(|&(first, last)| [u32::from(first), u32::from(last) + 1]).collect()
    };
    let mut cuts = [ends(one), ends(two), vec![0, 1 << 16]].concat();
    cuts.sort_unstable();
    cuts.dedup();
    let within = |ranges: &[(u16, u16)], at: u32| {
        let next = ranges.partition_point(|&(_, last)| u32::from(last) < at);
        ranges.get(next).is_some_and(|&(first, _)| u32::from(first) <= at)
    };
    let mut kept: Vec<(u32, u32)> = Vec::new();
    for pair in cuts.windows(2) {
        let [from, to] = *pair else { continue };
        if !keep(within(one, from), within(two, from)) {
            continue;
        }
        match kept.last_mut() {
            Some((_, end)) if *end == from => *end = to,
            _ => kept.push((from, to)),
        }
    }
    let number = |at: u32| u16::try_from(at).unwrap_or(u16::MAX);
    kept.into_iter().map(|(from, to)| (number(from), number(to - 1))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(first: u16, last: u16) -> PortSet {
        PortSet::range(Protocol::Tcp, first, last)
    }

    #[test]
    fn neighbours_are_one_range() {
        assert_eq!(tcp(1, 2).union(&tcp(3, 4)), tcp(1, 4));
        assert_eq!(tcp(0, 9).difference(&tcp(3, 4)), tcp(0, 2).union(&tcp(5, 9)));
        assert_eq!(tcp(0, u16::MAX).intersection(&tcp(9, 9)), tcp(9, 9));
        assert!(tcp(2, 1).is_empty());
    }

    #[test]
    fn all_of_each_protocol_is_not_everything() {
        let each: PortSet =
            PROTOCOLS.map(|one| PortSet::range(one, 0, u16::MAX)).into_iter().collect();
        assert!(!each.is_everything());
        assert_eq!(each.to_string(), "all TCP, all UDP, all SCTP");
        assert_eq!(PortSet::everything().difference(&each).to_string(), "other protocols");
        assert_eq!(PortSet::everything().to_string(), "all");
    }

    #[test]
    fn a_set_is_shown_as_people_write_ports() {
        let set = tcp(80, 80).union(&tcp(8000, 8100));
        let set = set.union(&PortSet::range(Protocol::Udp, 53, 53));
        assert_eq!(set.to_string(), "80, 8000-8100, 53/UDP");
    }
}
