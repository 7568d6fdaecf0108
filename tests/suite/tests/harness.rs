//! The instruments can fail: they see and name each leak and each lost packet.

use anyhow::{Context, Result};
use netbed::probe::{Flow, Knock, Prober};
use netbed::testbed::Testbed;
use netbed::verdict;
use samples::testbed_spec::{Families, Network};
use samples::{fixtures, objects};

const KNOCKS: [Knock; 4] = [Knock::Tcp(80), Knock::Udp(53), Knock::Sctp(3868), Knock::Icmp];

fn three_pods() -> Result<Testbed> {
    let names = ["a", "b", "c"];
    Testbed::new(fixtures::dev_pods(Network::Bridge, &["node-1"], &names, Families::Both), "hs")
}

fn verdict(testbed: &Testbed, policies: &str) -> Result<verdict::Counts> {
    let snapshot = objects::snapshot(testbed.spec(), policies)?;
    let prober = Prober::new(testbed, &KNOCKS)?;
    let flows = Flow::all(testbed, &KNOCKS);
    let seen = prober.run(&flows)?;
    verdict::check(testbed, &verdict::judge(testbed, &snapshot, &flows, &seen)?)
}

fn settled(testbed: &Testbed) -> Result<()> {
    Prober::new(testbed, &KNOCKS)?.settle(&Flow::all(testbed, &KNOCKS))
}

#[test]
fn a_policy_that_nobody_enforces_is_seen_as_leaks() -> Result<()> {
    let testbed = three_pods()?;
    settled(&testbed)?;
    assert_eq!(verdict(&testbed, "")?.refused, 0);
    let error = verdict(&testbed, &fixtures::deny_all_ingress("dev")).unwrap_err().to_string();
    // Between 3 pods and from the outsider, in 4 ways over 2 families.
    assert!(error.starts_with("72 of 144 flows"), "{error}");
    assert!(error.contains("dev/a -> dev/b TCP/80 IPv4: must be refused (egress not isolated, ingress isolated by dev/deny-all), passed"), "{error}");
    assert!(error.contains("  dev/b    |! !++|"), "{error}");
    Ok(())
}

/// Rules written by hand. Each loses one kind of packet in one direction.
#[test]
fn lost_packets_are_seen_as_lost() -> Result<()> {
    let cases = [
        ("tcp dport 80 drop", "dev/a -> dev/b TCP/80 IPv6: must pass"),
        ("udp dport 53 drop", "dev/a -> dev/b UDP/53 IPv6: must pass"),
        (
            "udp sport 53 drop",
            "dev/a -> dev/b UDP/53 IPv6: must pass (egress not isolated, ingress not isolated), arrived, without an answer",
        ),
        ("sctp dport 3868 drop", "dev/a -> dev/b SCTP/3868 IPv6: must pass"),
        ("icmpv6 type echo-request drop", "dev/a -> dev/b ICMP IPv6: must pass"),
        (
            "icmp type echo-reply drop",
            "dev/a -> dev/b ICMP IPv4: must pass (egress not isolated, ingress not isolated), arrived, without an answer",
        ),
        ("ct state invalid drop", ""),
    ];
    let testbed = three_pods()?;
    settled(&testbed)?;
    let node = &testbed.endpoint("node-1")?.namespace;
    for (rule, expected) in cases {
        let script = format!(
            "add table inet by-hand\ndelete table inet by-hand\nadd table inet by-hand\n\
             add chain inet by-hand f {{ type filter hook forward priority 0; }}\n\
             add rule inet by-hand f {rule}"
        );
        let status = node.command("nft").arg(&script).status().context("run nft")?;
        assert!(status.success(), "{rule}");
        match verdict(&testbed, "") {
            Ok(counts) => assert!(expected.is_empty(), "{rule}: {counts:?}"),
            Err(error) => {
                let error = error.to_string();
                assert!(!expected.is_empty() && error.contains(expected), "{rule}: {error}");
            }
        }
    }
    Ok(())
}
