//! Real packets do what the specification says: every field of NetworkPolicy, every
//! kind of network, TCP, UDP, SCTP and ICMP, IPv4 and IPv6, all pairs.

use anyhow::{Context, Result};
use netbed::probe::Knock;
use netbed::scenario::Scenario;
use netbed::testbed::Testbed;
use samples::fixtures;
use samples::testbed_spec::Network;

const KNOCKS: [Knock; 8] = [
    Knock::Tcp(80),
    Knock::Tcp(443),
    Knock::Tcp(8080),
    Knock::Udp(53),
    Knock::Udp(5000),
    Knock::Sctp(3868),
    Knock::Sctp(9899),
    Knock::Icmp,
];

#[test]
fn one_node_bridge() -> Result<()> {
    every_policy(Network::Bridge, &["node-1"])
}

#[test]
fn one_node_routed() -> Result<()> {
    every_policy(Network::Routed, &["node-1"])
}

#[test]
fn two_nodes_bridge() -> Result<()> {
    every_policy(Network::Bridge, &["node-1", "node-2"])
}

#[test]
fn two_nodes_routed() -> Result<()> {
    every_policy(Network::Routed, &["node-1", "node-2"])
}

/// Each file replaces the one before. Then come the files by field together, then
/// none.
fn every_policy(network: Network, nodes: &[&str]) -> Result<()> {
    let testbed = Testbed::new(fixtures::town(network, nodes), "pk")?;
    let scenario = Scenario::new(&testbed, &KNOCKS)?;
    let by_field = fixtures::files("packets")?;
    let by_people = fixtures::files("policies")?;
    for (path, policies) in by_field.iter().chain(&by_people) {
        let file = path.file_name().unwrap_or_default().to_string_lossy();
        let counts = scenario.enforce(policies).with_context(|| file.clone().into_owned())?;
        println!("{network:?}, {} nodes, {file}: {counts:?}", nodes.len());
        // Two of the six policies allow everything in their direction.
        let all_open = file.starts_with("2-") || file.starts_with("5-");
        assert!(counts.passed > 100 && (all_open || counts.refused > 100), "{file}: {counts:?}");
    }
    let together: Vec<_> = by_field.iter().map(|(_, policies)| policies.as_str()).collect();
    let counts = scenario.enforce(&together.join("---\n")).context("all together")?;
    println!("{network:?}, {} nodes, all together: {counts:?}", nodes.len());
    let counts = scenario.enforce("").context("none")?;
    assert_eq!(counts.refused, 0);
    Ok(())
}
