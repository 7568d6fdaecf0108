//! What a change opens and closes, in words.
//!
//! In: the difference of two tables' meanings, the pods. Out: a line for each pod, peer
//! and set of ports. Never: rules; [`crate::difference_text`] has those.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::net::IpAddr;

use author::PortSet;
use author::ports::PROTOCOLS;
use policy::{Direction, Owners, Snapshot, spec};
use verify::{Change, Part, Unknown};

/// A line names this many peers at most.
const NAMED: usize = 6;

/// Peers without an exception.
const EVERYONE: &str = "everyone";

/// What a line says, without the families for which it holds.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Line {
    from: String,
    to: String,
    opens: bool,
    ports: String,
}

impl Line {
    /// Whether another line says this one, too: a packet between two pods of this node is
    /// one that the first sends and one that the second receives.
    fn is_said_by(&self, other: &Self) -> bool {
        let covers = |all: &str, one: &str| all == EVERYONE || all == one;
        self != other
            && (self.opens, &self.ports) == (other.opens, &other.ports)
            && covers(&other.from, &self.from)
            && covers(&other.to, &self.to)
    }
}

/// The changes as text, a line each: `+` for what opens, `-` for what closes.
pub fn describe(changes: &[Change], snapshot: &Snapshot) -> String {
    let owners = spec::owners(snapshot);
    let mut lines: BTreeMap<Line, BTreeSet<bool>> = BTreeMap::new();
    for change in changes {
        let pod = named(&owners, change.address);
        for part in &change.parts {
            let peers = peers(&owners, part);
            let (from, to) = match change.direction {
                Direction::Egress => (pod.clone(), peers),
                Direction::Ingress => (peers, pod.clone()),
            };
            let line = Line { from, to, opens: change.opens, ports: ports(part) };
            lines.entry(line).or_default().insert(change.address.is_ipv6());
        }
    }
    let mut text = String::new();
    for (line, families) in &lines {
        let said = |other: (&Line, &BTreeSet<bool>)| {
            families.is_subset(other.1) && line.is_said_by(other.0)
        };
        if lines.iter().any(said) {
            continue;
        }
        let Line { from, to, opens, ports } = line;
        let sign = if *opens { '+' } else { '-' };
        let only = match (families.contains(&false), families.contains(&true)) {
            (true, false) => "  (IPv4)",
            (false, true) => "  (IPv6)",
            _ => "",
        };
        // Writing to a String does not fail.
        let _ = writeln!(text, "{sign} {from} -> {to}: {ports}{only}");
    }
    text
}

fn named(owners: &Owners<'_>, address: IpAddr) -> String {
    owners.owner(address).map_or_else(|| address.to_string(), |pod| pod.key.to_string())
}

/// Pods by name, and other addresses as ranges.
fn peers(owners: &Owners<'_>, part: &Part) -> String {
    let pods: BTreeSet<String> = part.known.iter().map(|one| named(owners, *one)).collect();
    let ranges = match &part.unknown {
        Unknown::All if part.has_all_known => return EVERYONE.to_owned(),
        Unknown::All => vec!["all that are no pods".to_owned()],
        Unknown::Ranges(ranges) if ranges.is_empty() && part.has_all_known && pods.len() > 1 => {
            return "all other pods".to_owned();
        }
        Unknown::Ranges(ranges) => ranges.iter().map(range).collect(),
    };
    let mut names: Vec<String> = ranges.into_iter().chain(pods).collect();
    let more = names.len().saturating_sub(NAMED);
    names.truncate(NAMED);
    let list = names.join(", ");
    if more == 0 { list } else { format!("{list} and {more} more") }
}

fn range((first, last): &(IpAddr, IpAddr)) -> String {
    if first == last { first.to_string() } else { format!("{first}-{last}") }
}

fn ports(part: &Part) -> String {
    let ranges =
        part.ports.iter().map(|&(protocol, first, last)| PortSet::range(protocol, first, last));
    let set: PortSet = ranges.collect();
    let each: PortSet =
        PROTOCOLS.map(|protocol| PortSet::range(protocol, 0, u16::MAX)).into_iter().collect();
    match (set.is_empty(), part.others) {
        (_, true) if set == each => "all".to_owned(),
        (true, _) => "protocols without ports".to_owned(),
        (false, false) => set.to_string(),
        (false, true) => format!("{set}, protocols without ports"),
    }
}

#[cfg(test)]
mod tests {
    use policy::{Labels, ObjectKey, Phase, Pod, Protocol};

    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn pod(name: &str, addresses: &[&str]) -> Pod {
        Pod {
            key: ObjectKey::new("shop", name),
            labels: Labels::default(),
            node: None,
            addresses: addresses.iter().map(|one| ip(one)).collect(),
            host_addresses: Vec::new(),
            host_network: false,
            phase: Phase::Running,
            created: 0,
            is_ending: false,
            grace_seconds: 30,
            attachment: policy::Attachment::default(),
            ports: Vec::new(),
        }
    }

    fn change(address: &str, opens: bool, known: &[&str], unknown: Unknown) -> Change {
        Change {
            address: ip(address),
            direction: Direction::Ingress,
            opens,
            parts: vec![Part {
                known: known.iter().map(|one| ip(one)).collect(),
                has_all_known: !known.is_empty() && unknown == Unknown::All,
                unknown,
                ports: vec![(Protocol::Tcp, 80, 80)],
                others: false,
            }],
        }
    }

    #[test]
    fn pods_are_named_and_families_are_told_apart_where_they_differ() {
        let pods = [pod("cart", &["10.0.0.1", "fd00::1"]), pod("front", &["10.0.0.2", "fd00::2"])];
        let snapshot = Snapshot::new([], pods, []);
        let none = || Unknown::Ranges(Vec::new());
        let net = Unknown::Ranges(vec![(ip("192.0.2.0"), ip("192.0.2.255"))]);
        let changes = [
            change("10.0.0.1", true, &["10.0.0.2"], none()),
            change("fd00::1", true, &["fd00::2"], none()),
            change("10.0.0.2", false, &["10.0.0.1"], Unknown::All),
            change("fd00::2", false, &[], Unknown::All),
            change("10.0.0.9", true, &["10.0.0.1"], net),
        ];
        let text = "+ 192.0.2.0-192.0.2.255, shop/cart -> 10.0.0.9: 80  (IPv4)\n\
                    - all that are no pods -> shop/front: 80  (IPv6)\n\
                    - everyone -> shop/front: 80  (IPv4)\n\
                    + shop/front -> shop/cart: 80\n";
        assert_eq!(describe(&changes, &snapshot), text);
    }
}
