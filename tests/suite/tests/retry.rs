//! A failed pass over connection tracking is repeated. This is a test program of its
//! own because it gives up root for a while.

use std::net::IpAddr;
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use agent::conntrack_cleanup::{ConntrackCleanup, Counters};
use anyhow::{Result, ensure};
use compiler::Options;
use netbed::conntrack::{self, Entry};
use netbed::net::Namespace;
use nft::Conntrack;
use nix::unistd::{Uid, seteuid};
use samples::from_scratch::compiled;
use samples::testbed_spec::{Families, Network};
use samples::{fixtures, objects};

const PATIENCE: Duration = Duration::from_secs(30);
const NOBODY: u32 = 65534;

fn wait(connections: &ConntrackCleanup, until: impl Fn(Counters) -> bool) -> Result<()> {
    let begun = Instant::now();
    while !until(connections.counters()) {
        ensure!(begun.elapsed() < PATIENCE, "waited for: {:?}", connections.counters());
        sleep(Duration::from_millis(2));
    }
    Ok(())
}

#[test]
fn suspects_wait_until_a_pass_succeeds() -> Result<()> {
    let namespace = Namespace::new("rt")?;
    let spec = fixtures::dev_pods(Network::Routed, &["node"], &["pod"], Families::V4);
    let table = |policies: &str| {
        let snapshot = objects::snapshot(&spec, policies)?;
        anyhow::Ok(Arc::new(compiled(&snapshot, &Options::default()).ruleset))
    };
    let stranger: IpAddr = "203.0.113.5".parse()?;
    let entry = Entry::plain((stranger, 1000), (spec.pods[0].addresses[0], 80), 6);
    namespace.run(|| conntrack::create(&[entry]))??;
    let mut conntrack = namespace.run(Conntrack::open)??;
    let connections = namespace.run(ConntrackCleanup::start)??;
    let (before, after) = (table("")?, table(&fixtures::deny_all_ingress("dev"))?);

    // The kernel checks the rights of the sender, not only those of the opener
    // (`netlink_net_capable`, net/netlink/af_netlink.c).
    seteuid(Uid::from_raw(NOBODY))?;
    connections.changed(Some(before), after);
    let failed = wait(&connections, |counters| counters.errors >= 2);
    seteuid(Uid::from_raw(0))?;
    failed?;
    assert_eq!(connections.counters().deleted, 0);
    wait(&connections, |counters| counters.deleted == 1)?;
    assert_eq!(conntrack.get(&entry.original, 0)?, None);
    Ok(())
}
