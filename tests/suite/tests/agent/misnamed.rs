//! An agent with the name of another node, or of none.

use std::net::{IpAddr, Ipv4Addr};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Result, ensure};
use kubebed::daemon::Daemon;
use kubebed::outpost::{NODE, Outpost, always, pod, under_fire};
use kubebed::world::PATIENCE;
use policy::Pod;

#[test]
fn an_agent_with_a_mistyped_name_takes_no_rule_away() -> Result<()> {
    let outpost = Outpost::new()?;
    let start = |name| Daemon::start(outpost.range.node(), outpost.kubeconfig(), name, &[]);
    let mut right = start(NODE)?;
    right.ready_within(PATIENCE)?;
    right.stop()?;
    let mut table = outpost.table()?;
    under_fire(&outpost.range, "an agent with a mistyped name", &always(&outpost.range), || {
        let generation = table.generation()?;
        let mut mistyped = start("noed-1")?;
        let why = "[-] node: no Pod is on node \"noed-1\" (did you mean \"node-1\"?); the kernel \
                   keeps the rules that it has until a Pod is there";
        mistyped.unready_within(PATIENCE, why)?;
        sleep(Duration::from_secs(1));
        ensure!(table.generation()? == generation, "a change: {}", mistyped.log());
        ensure!(mistyped.log().contains("correct --node-name or $NODE_NAME"), "{}", mistyped.log());
        mistyped.stop().map(drop)
    })?;

    // A new node is ready with its first Pod, such as the agent's own.
    let mut new = start("noed-1")?;
    new.unready_within(PATIENCE, "wait for the first Pod of a new node")?;
    let first = pod("fire", "first", IpAddr::V4(Ipv4Addr::new(10, 99, 0, 1)));
    outpost.server.create_pods(&[Pod { node: Some("noed-1".to_owned()), ..first }])?;
    new.ready_within(PATIENCE)?;
    new.stop().map(drop)
}
