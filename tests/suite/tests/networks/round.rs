//! The grid can fail. It notices an overlay whose inner packets bypass the node's
//! forward hook.
//!
//! Docker's overlay networks work like this. The VXLAN device and the pod's link are
//! in a network namespace of their own. Packets reach the pod through that namespace,
//! and the node sees only UDP.

use anyhow::{Context, Result, ensure};
use netbed::net::{Namespace, veth};
use netbed::probe::Knock;
use netbed::scenario::{self, Scenario};
use netbed::testbed::Testbed;
use samples::fixtures::isolated_victim;
use samples::testbed_spec::{Between, Families, Network, TestbedSpec};

const KNOCKS: [Knock; 2] = [Knock::Tcp(80), Knock::Udp(53)];

/// Commands in the other namespace: the overlay as it was in the node, and a route to
/// the node.
const INSIDE: &str = "link set veth2 up
link set flannel.1 up
link set flannel-v6.1 up
route add 10.244.2.2/32 dev veth2
route add fd00:10:244:2::2/128 dev veth2
addr add 10.244.2.0/32 dev flannel.1
addr add fd00:10:244:2::/128 dev flannel-v6.1 nodad
neigh add 10.244.1.0 lladdr 02:77:00:00:00:00 dev flannel.1 nud permanent
neigh add fd00:10:244:1:: lladdr 02:77:00:00:01:00 dev flannel-v6.1 nud permanent
route add 10.244.1.0/24 via 10.244.1.0 dev flannel.1 onlink
route add fd00:10:244:1::/64 via fd00:10:244:1:: dev flannel-v6.1 onlink
addr add 192.168.79.2/24 dev eth0
addr add fd00:79::2/64 dev eth0 nodad
route add default via 192.168.79.1
route add default via fd00:79::1";

/// Commands in the node: routes to the pod through the other namespace, and to the
/// other node's pods through that node.
const OUTSIDE: &str = "addr add 192.168.79.1/24 dev round
addr add fd00:79::1/64 dev round nodad
route add 10.244.2.2/32 via 192.168.79.2 src 192.168.77.12
route add fd00:10:244:2::2/128 via fd00:79::2 src fd00:77::c
route add 10.244.1.0/24 via 192.168.77.11
route add fd00:10:244:1::/64 via fd00:77::b";

/// Moves the second node's overlay and its pod out of the node.
fn lead_round(node: &Namespace) -> Result<Namespace> {
    let round = Namespace::new("nw")?;
    veth((node, "round"), (&round, "eth0"))?;
    for (key, value) in [
        ("ipv4.ip_forward", "1"),
        ("ipv6.conf.all.forwarding", "1"),
        ("ipv4.conf.all.rp_filter", "0"),
        ("ipv4.conf.default.rp_filter", "0"),
    ] {
        round.sysctl(key, value)?;
    }
    for device in ["veth2", "flannel.1", "flannel-v6.1"] {
        node.ip(&format!("link set {device} netns {}", round.name()))?;
    }
    round.sysctl("ipv4.conf.veth2.proxy_arp", "1")?;
    round.sysctl("ipv4.neigh.veth2.proxy_delay", "0")?;
    round.ip(INSIDE).context("in the other namespace")?;
    node.ip(OUTSIDE).context("in the node")?;
    Ok(round)
}

#[test]
fn networks_that_go_round_the_forward_hook_are_seen() -> Result<()> {
    let spec = TestbedSpec::new(Network::Routed, &["node-1", "node-2"])
        .between(Between::Vxlan)
        .namespace("dev", &[])
        .pod_on(0, "dev", "a", &[], Families::Both, &[])
        .pod_on(0, "dev", "b", &[], Families::Both, &[])
        .pod_on(1, "dev", "victim", &[("app", "victim")], Families::Both, &[]);
    let testbed = Testbed::new(spec, "nw")?;
    let deny = isolated_victim("Ingress");
    let counts = Scenario::new(&testbed, &KNOCKS)?.enforce(&deny).context("as it should be")?;
    // From two pods, the other node and the outsider, two ways each, over two
    // families.
    ensure!(counts.refused == 16, "{counts:?}");

    let _round = lead_round(&testbed.endpoint("node-2")?.namespace)?;
    // The pod's interface is gone: until then its address is bound to it.
    scenario::apply(&testbed, "")?;
    let scenario = Scenario::new(&testbed, &KNOCKS).context("with the bypass")?;
    let error = scenario.enforce(&deny).err().context("the leak was not noticed")?.to_string();
    // The outsider's packets still cross the node. So do answers to the other node,
    // and TCP answers are dropped, because their connections began on the bypass.
    ensure!(error.starts_with("10 of 96 flows"), "{error}");
    for flow in ["dev/a -> dev/victim TCP/80", "dev/b -> dev/victim UDP/53"] {
        for family in ["IPv4", "IPv6"] {
            let leak = format!("{flow} {family}: must be refused");
            ensure!(error.contains(&leak), "no `{leak}` in {error}");
        }
    }
    Ok(())
}
