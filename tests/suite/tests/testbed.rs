//! Without any policy, every endpoint reaches every other, on every kind of network.

use std::time::Instant;

use anyhow::Result;
use netbed::probe::{Flow, Knock, Prober, Seen};
use netbed::testbed::Testbed;
use samples::testbed_spec::{Families, Network, TestbedSpec};

#[test]
fn without_policies_everybody_reaches_everybody() -> Result<()> {
    for network in [Network::Bridge, Network::Routed] {
        for nodes in [&["node-1"][..], &["node-1", "node-2"]] {
            let t0 = Instant::now();
            let mut spec = TestbedSpec::new(network, nodes).namespace("dev", &[]);
            for (number, families) in
                [Families::Both, Families::Both, Families::V4, Families::V6, Families::Both]
                    .into_iter()
                    .enumerate()
            {
                spec = spec.pod("dev", &format!("p{number}"), &[], families, &[]);
            }
            let testbed = Testbed::new(spec, "cl")?;
            let t1 = Instant::now();
            let knocks = [Knock::Tcp(80), Knock::Udp(53), Knock::Sctp(3868), Knock::Icmp];
            let prober = Prober::new(&testbed, &knocks)?;
            let flows = Flow::all(&testbed, &knocks);
            prober.settle(&flows)?;
            let t2 = Instant::now();
            let seen = prober.run(&flows)?;
            println!(
                "{network:?} {} nodes: built {:?}, settled {:?}, {} flows in {:?}",
                nodes.len(),
                t1 - t0,
                t2 - t1,
                flows.len(),
                t2.elapsed()
            );
            assert!(seen.iter().all(|&seen| seen == Seen::Answered));
        }
    }
    Ok(())
}
