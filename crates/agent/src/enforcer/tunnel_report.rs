//! Log lines about the node's tunnels.
//!
//! In: the node's network before and now. Out: lines for the log. Never: I/O.

use policy::{NodeNetwork, Tunnel};

/// A line for each tunnel that came, went or takes packets from others now. Without
/// a network before, all came.
pub(super) fn changes(before: Option<&NodeNetwork>, now: &NodeNetwork) -> Vec<String> {
    let had = |tunnel: &Tunnel| before.and_then(|before| before.tunnels.get(tunnel));
    let there = now.tunnels.iter();
    let came = there
        .filter(|(tunnel, sources)| had(tunnel) != Some(*sources))
        .map(|(tunnel, sources)| format!("tunnel {}: {sources}", option(*tunnel)));
    let gone = before.into_iter().flat_map(|before| before.tunnels.keys());
    let gone = gone
        .filter(|tunnel| !now.tunnels.contains_key(*tunnel))
        .map(|tunnel| format!("tunnel {}: gone", option(*tunnel)));
    came.chain(gone).collect()
}

/// As `--tunnel` names it.
fn option(tunnel: Tunnel) -> String {
    match tunnel {
        Tunnel::Udp(port) => format!("udp/{port}"),
        Tunnel::Protocol(number) => format!("ip/{number}"),
    }
}

#[cfg(test)]
mod tests {
    use policy::TunnelSources::{Any, Nodes};

    use super::*;

    fn network(tunnels: &[(Tunnel, policy::TunnelSources)]) -> NodeNetwork {
        NodeNetwork { tunnels: tunnels.iter().copied().collect(), ..NodeNetwork::default() }
    }

    #[test]
    fn each_change_is_said_once() {
        let before = network(&[(Tunnel::Udp(8472), Nodes), (Tunnel::Protocol(4), Any)]);
        let all =
            ["tunnel udp/8472: from nodes only", "tunnel ip/4: from anywhere but this node's pods"];
        assert_eq!(changes(None, &before), all);
        assert!(changes(Some(&before), &before).is_empty());
        let now = network(&[(Tunnel::Udp(8472), Any)]);
        let changed = ["tunnel udp/8472: from anywhere but this node's pods", "tunnel ip/4: gone"];
        assert_eq!(changes(Some(&before), &now), changed);
    }
}
