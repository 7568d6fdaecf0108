//! The table of a node that has just started, before anybody knows its pods.
//!
//! In: the ranges of the pods' addresses, how drops are logged. Out: a table in which
//! no address of the ranges is known, so that new flows from and to them are dropped.
//! Never: an address that is let through because of what was before the start.
//!
//! A node begins without pods. Which address the next pod gets, and which one that an
//! object still reports is another pod's by then, nobody can tell. So nothing of the old
//! table is worth restoring but where pods have their addresses.
//!
//! | packet of a new flow | in this table |
//! |---|---|
//! | from or to the ranges | dropped |
//! | link-local, multicast, broadcast | dropped but for discovery, as while a pod is isolated |
//! | between others | passes |
//! | from or to the node itself | passes |
//! | forwarded by IPVS | judged alike |

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use imbl::OrdSet;
use policy::PodRange;
use policy::spec::edges::Edges;
use ruleset::Ruleset;

use crate::scaffold::{self, Network, unknown::Shut};
use crate::{LogOptions, Place};

/// The table. `ipvs`: with the chain that judges what IPVS forwards, which may come later.
pub fn closed(ranges: &OrdSet<PodRange>, log: Option<LogOptions>, ipvs: bool) -> Ruleset {
    let place = Place::forward();
    let mut table = scaffold::of(&place, true, log.is_some());
    let shut = Shut { ranges: ranges.clone(), log };
    let network = Network { shut, edges: Edges::Shut, ipvs, ..Network::default() };
    scaffold::fit(&mut table, &place, &network);
    table
}

/// All addresses, for a node of which the pods' ranges are not known. In halves: a
/// comparison with a prefix of no bits is none.
pub fn everything() -> OrdSet<PodRange> {
    let half = |first: IpAddr, last: IpAddr| PodRange { first, last };
    const MIDDLE4: u32 = 1 << 31;
    const MIDDLE6: u128 = 1 << 127;
    let v4 = |number: u32| IpAddr::V4(Ipv4Addr::from(number));
    let v6 = |number: u128| IpAddr::V6(Ipv6Addr::from(number));
    OrdSet::from_iter([
        half(v4(0), v4(MIDDLE4 - 1)),
        half(v4(MIDDLE4), v4(u32::MAX)),
        half(v6(0), v6(MIDDLE6 - 1)),
        half(v6(MIDDLE6), v6(u128::MAX)),
    ])
}

#[cfg(test)]
mod tests {
    use policy::pod_ranges;
    use ruleset::simulator::{CtState, Outcome, Packet, simulate};

    use super::*;
    use crate::Layout;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn passes(table: &Ruleset, packet: &Packet) -> bool {
        simulate(table, packet).expect("a table without mistakes").outcome == Outcome::Accept
    }

    #[test]
    fn pods_are_shut_and_others_are_not() {
        let ranges = pod_ranges(["10.0.0.0/24", "fd00::/64"].map(|net| net.parse().unwrap()));
        let table = closed(&ranges, Some(LogOptions::default()), true);
        for [pod, other, outside, far] in [
            ["10.0.0.1", "10.0.0.2", "10.0.1.1", "192.0.2.1"],
            ["fd00::1", "fd00::2", "fd01::1", "2001:db8::1"],
        ] {
            for protocol in [1, 6, 17, 58, 132] {
                let sent = |from, to| passes(&table, &Packet::new(ip(from), ip(to), protocol));
                assert!(!sent(pod, other) && !sent(pod, far) && !sent(far, pod), "{protocol}");
                assert!(sent(outside, far) && sent(far, outside), "{protocol}");
            }
        }
        for (from, to) in [("fe80::1", "fe80::2"), ("0.0.0.0", "255.255.255.255")] {
            assert!(!passes(&table, &Packet::new(ip(from), ip(to), 17)), "{from} to {to}");
        }
        let neighbour = Packet::neighbour_discovery(ip("fd00::9"), ip("fd00::1"), 135);
        assert!(passes(&table, &neighbour), "neighbours are found");
        assert_eq!(Layout::network(&table, None, |_| None).pod_ranges, ranges, "read back");
    }

    #[test]
    fn where_no_range_is_known_nothing_new_is_forwarded() {
        let table = closed(&everything(), None, false);
        let ends = ["0.0.0.0", "10.0.0.1", "127.255.255.255", "128.0.0.0", "255.255.255.255"];
        let ends6 = ["::", "fd00::1", "7fff::1", "8000::", "fe80::1", "ff02::1"];
        for all in [&ends[..], &ends6[..]] {
            for (from, to) in all.iter().flat_map(|from| all.iter().map(move |to| (*from, *to))) {
                for protocol in [1, 6, 17, 47, 132] {
                    let packet = Packet::new(ip(from), ip(to), protocol);
                    assert!(!passes(&table, &packet), "{from} to {to}, {protocol}");
                    let known = Packet { ct: CtState::Established, ..packet };
                    assert!(passes(&table, &known), "{from} to {to}, {protocol}");
                }
            }
        }
    }
}
