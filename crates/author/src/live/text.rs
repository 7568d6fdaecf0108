//! Denied packets as lines for people.

use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};

use super::protocol::{Denied, End, LeftOut};
use crate::printable::is_unsafe;

/// A dropped packet on one line:
///
/// ```text
/// 21:48:13.709 worker-1 DENY in  monitoring/prometheus-0:41522 -> shop/cart-5c6b-a2:9090 TCP SYN  shop/cart-from-front (+1)
/// ```
///
/// One that passed, and that policies in audit would have denied, has `WOULD DENY`.
pub fn denied(one: &Denied) -> String {
    let direction = if one.direction == "egress" { "out" } else { "in " };
    let mut line = format!(
        "{} {} {} {direction} {} -> {}",
        time(one.time_ms),
        plain(&one.node),
        if one.is_dropped() { "DENY" } else { "WOULD DENY" },
        end(&one.source),
        end(&one.destination)
    );
    // Writing to a String does not fail.
    if let Some(asked) = &one.asked {
        let port = asked.port.map(|port| format!(":{port}")).unwrap_or_default();
        let _ = match &asked.service {
            Some(name) => {
                write!(line, " (asked for service {}, {}{port})", plain(name), asked.address)
            }
            None => write!(line, " (asked for {}{port})", asked.address),
        };
    }
    let _ = write!(line, " {}", plain(&one.protocol));
    if let Some(flags) = &one.tcp_flags {
        let _ = write!(line, " {}", plain(flags));
    }
    if let Some((kind, code)) = one.icmp {
        let _ = write!(line, " type {kind} code {code}");
    }
    let _ = match one.policies.as_slice() {
        [] => write!(line, "  chain {}", plain(&one.chain)),
        [policy] => write!(line, "  {}", plain(policy)),
        [policy, more @ ..] => write!(line, "  {} (+{})", plain(policy), more.len()),
    };
    if let Some(hint) = &one.hint {
        let _ = write!(line, "  hint: {}", plain(hint));
    }
    line
}

/// Packets that are not told one by one, on one line.
pub fn left_out(one: &LeftOut) -> String {
    let pod = one.pod.as_deref().map(|pod| format!(" of {}", plain(pod))).unwrap_or_default();
    let why = match one.reason.as_str() {
        "rate_limit" => "more than the limit of the log",
        "nobody_read" => "the agent could not read them in time",
        "slow_reader" => "this command could not take them in time",
        other => other,
    };
    let (time, node) = (time(one.time_ms), plain(&one.node));
    format!("{time} {node} left out {}{pod} ({})", one.packets, plain(why))
}

fn end(end: &End) -> String {
    let name = match (&end.namespace, &end.pod, &end.node) {
        (Some(namespace), Some(pod), _) => Some(format!("{}/{}", plain(namespace), plain(pod))),
        (_, _, Some(node)) => Some(format!("node/{}", plain(node))),
        _ => None,
    };
    match (name, end.port) {
        (Some(name), Some(port)) => format!("{name}:{port}"),
        (Some(name), None) => name,
        (None, Some(port)) => SocketAddr::new(end.address, port).to_string(),
        (None, None) => IpAddr::to_string(&end.address),
    }
}

/// Hours, minutes, seconds and milliseconds in UTC.
pub fn time(since_1970_ms: u64) -> String {
    let (seconds, milliseconds) = (since_1970_ms / 1000, since_1970_ms % 1000);
    let (hours, minutes) = (seconds / 3600 % 24, seconds / 60 % 60);
    format!("{hours:02}:{minutes:02}:{:02}.{milliseconds:03}", seconds % 60)
}

/// Without what would move a terminal's cursor or break a line.
pub fn plain(text: &str) -> String {
    text.chars().map(|one| if is_unsafe(one) { '?' } else { one }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::live::protocol::Asked;

    fn pod(namespace: &str, pod: &str, address: &str, port: u16) -> End {
        End {
            address: address.parse().expect("an address"),
            port: Some(port),
            namespace: Some(namespace.to_owned()),
            pod: Some(pod.to_owned()),
            labels: Vec::new(),
            node: None,
        }
    }

    fn packet() -> Denied {
        Denied {
            time_ms: 1_764_453_093_709,
            node: "worker-1".to_owned(),
            verdict: "DENIED".to_owned(),
            direction: "ingress".to_owned(),
            source: pod("monitoring", "prometheus-0", "10.244.2.6", 41522),
            destination: pod("shop", "cart-5c6b-a2", "10.244.1.3", 9090),
            protocol: "TCP".to_owned(),
            tcp_flags: Some("SYN".to_owned()),
            icmp: None,
            asked: None,
            policies: vec!["shop/cart-from-front".to_owned(), "shop/other".to_owned()],
            chain: "i.shop/2-policies.0".to_owned(),
            hint: None,
        }
    }

    #[test]
    fn a_packet_is_a_line() {
        assert_eq!(
            denied(&packet()),
            "21:51:33.709 worker-1 DENY in  monitoring/prometheus-0:41522 -> \
             shop/cart-5c6b-a2:9090 TCP SYN  shop/cart-from-front (+1)"
        );
        let mut unknown = packet();
        unknown.source = End { namespace: None, pod: None, ..unknown.source };
        unknown.destination.address = "fd00::1".parse().expect("an address");
        unknown.destination.pod = None;
        unknown.policies.clear();
        let address = "10.96.0.10".parse().expect("one");
        unknown.asked = Some(Asked { address, port: Some(80), service: None });
        assert_eq!(
            denied(&unknown),
            "21:51:33.709 worker-1 DENY in  10.244.2.6:41522 -> [fd00::1]:9090 (asked for \
             10.96.0.10:80) TCP SYN  chain i.shop/2-policies.0"
        );
        unknown.asked = Some(Asked { address, port: None, service: Some("shop/web".to_owned()) });
        let line = denied(&unknown);
        assert!(line.contains(" (asked for service shop/web, 10.96.0.10) TCP"), "{line}");
    }

    #[test]
    fn nobodys_text_moves_the_cursor_or_makes_a_line() {
        let mut hostile = packet();
        hostile.chain = "\u{1b}[2J\n21:00 fake\u{202e}".to_owned();
        hostile.policies.clear();
        let line = denied(&hostile);
        assert!(line.ends_with("chain ?[2J?21:00 fake?"), "{line}");
    }
}
