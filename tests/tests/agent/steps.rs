//! What people do with kubectl reaches the packets.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tests::cluster::Network;
use tests::probe::Knock;
use tests::scenario::Scenario;
use tests::stream::{Stream, percentile};
use tests::world::{World, soon};
use tests::{fixtures, objects};

const KNOCKS: [Knock; 3] = [Knock::Tcp(80), Knock::Tcp(8080), Knock::Udp(53)];

#[test]
fn policies_applied_edited_and_deleted() -> Result<()> {
    let world = World::new(fixtures::town(Network::Bridge, &["node-1", "node-2"]), "as")?;
    let scenario = Scenario::new(&world.cluster, &KNOCKS)?;
    let _agents = world.agents()?;
    let files = fixtures::files("policies")?;
    for (path, policies) in &files {
        world.server.apply(policies)?;
        let counts = soon(&scenario, policies).with_context(|| path.display().to_string())?;
        println!("{}: {counts:?}", path.display());
        world.server.kubectl(&["delete", "-f", "-"], policies)?.success()?;
    }
    let counts = soon(&scenario, "")?;
    assert_eq!(counts.refused, 0);
    Ok(())
}
