//! nftpol beside the tables of other controllers. Their tables stay as they were and
//! keep counting, marks pass through our table, and our table enforces.

use anyhow::{Context, Result, ensure};
use netbed::fire::nft;
use netbed::net::Namespace;
use netbed::scenario::Scenario;
use netbed::testbed::Testbed;
use samples::fixtures;
use samples::testbed_spec::{Between, Network};

use super::grid::{KNOCKS, town};

/// What iptables-nft makes of the rules of kube-router and Calico, reduced to where
/// marks are set and read.
///
/// kube-router (pkg/controllers/netpol) sets 0x10000 when a policy allowed a packet,
/// and 0x20000 when the packet went through a pod's chain, after which it is
/// accepted. Calico (felix/rules) marks where a packet came from and copies the mark
/// to the connection. The mangle table reads both marks again after routing.
fn neighbours(family: &str, pods: &str) -> String {
    format!(
        "table {family} filter {{
    counter marked {{ }}
    chain FORWARD {{
        type filter hook forward priority filter; policy accept;
        counter jump KUBE-ROUTER-FORWARD
        counter jump cali-FORWARD
    }}
    chain KUBE-ROUTER-FORWARD {{
        {family} saddr {pods} counter jump KUBE-POD-FW
        {family} daddr {pods} counter jump KUBE-POD-FW
    }}
    chain KUBE-POD-FW {{
        ct state related,established counter accept
        counter meta mark set meta mark or 0x10000
        meta mark and 0x10000 == 0x10000 counter meta mark set meta mark or 0x20000
        counter meta mark set meta mark and 0xfffeffff
    }}
    chain cali-FORWARD {{
        meta mark and 0x20000 == 0x20000 counter name marked accept
    }}
}}
table {family} mangle {{
    counter survived {{ }}
    counter connection {{ }}
    chain PREROUTING {{
        type filter hook prerouting priority mangle; policy accept;
        ct state new {family} saddr {pods} counter meta mark set meta mark or 0x40000
        ct state new counter ct mark set meta mark
    }}
    chain POSTROUTING {{
        type filter hook postrouting priority mangle; policy accept;
        udp dport 8472 accept comment \"the same packet once more, in VXLAN\"
        meta mark and 0x20000 == 0x20000 counter name survived
        ct mark and 0x40000 == 0x40000 counter name connection
    }}
}}
"
    )
}

/// Each family, with the pods' range for its tables.
const FAMILIES: [(&str, &str); 2] = [("ip", "10.244.0.0/16"), ("ip6", "fd00:10:244::/48")];
const TABLES: [&str; 2] = ["filter", "mangle"];

fn listed(node: &Namespace, arguments: &[&str]) -> Result<String> {
    let output = node.command("nft").args(arguments).output().context("run nft")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "nft {}: {said}", arguments.join(" "));
    String::from_utf8(output.stdout).context("text of nft")
}

/// The tables without the values of their counters.
fn tables(node: &Namespace) -> Result<String> {
    let mut text = String::new();
    for (family, _) in FAMILIES {
        for table in TABLES {
            text.push_str(&listed(node, &["--stateless", "list", "table", family, table])?);
        }
    }
    Ok(text)
}

fn counted(node: &Namespace, [family, table, name]: [&str; 3]) -> Result<u64> {
    let text = listed(node, &["list", "counter", family, table, name])?;
    let mut words = text.split_whitespace().skip_while(|word| *word != "packets");
    words.nth(1).context("no packets")?.parse().with_context(|| text.clone())
}

fn check(network: Network, between: Between) -> Result<()> {
    let testbed = Testbed::new(town(network, between), "nw")?;
    for node in testbed.nodes() {
        for (family, pods) in FAMILIES {
            nft(&node.namespace, &neighbours(family, pods))?;
        }
    }
    let before: Vec<String> =
        testbed.nodes().map(|node| tables(&node.namespace)).collect::<Result<_>>()?;
    let scenario = Scenario::new(&testbed, &KNOCKS)?;
    let mut last = vec![0; FAMILIES.len() * before.len()];
    for (path, policies) in fixtures::files("policies")? {
        scenario.enforce(&policies).with_context(|| format!("{network:?}, {}", path.display()))?;
        let nodes = testbed.nodes().flat_map(|node| FAMILIES.map(|(family, _)| (node, family)));
        for ((node, family), last) in nodes.zip(&mut last) {
            let [marked, survived, connection] =
                [["filter", "marked"], ["mangle", "survived"], ["mangle", "connection"]]
                    .map(|[table, name]| counted(&node.namespace, [family, table, name]));
            let (marked, survived, connection) = (marked?, survived?, connection?);
            ensure!(marked > *last, "{family} of {} stopped counting: {marked}", node.name);
            ensure!(survived == marked, "{family} of {}: {survived} of {marked}", node.name);
            ensure!(connection > 0, "{family} of {}: no connection is marked", node.name);
            *last = marked;
        }
    }
    for (node, before) in testbed.nodes().zip(before) {
        assert_eq!(tables(&node.namespace)?, before, "the neighbours' tables on {}", node.name);
        let all = listed(&node.namespace, &["list", "tables"])?;
        let is_bridged = network == Network::Bridge;
        ensure!(all.contains("table inet nftpol"), "{all}");
        ensure!(all.contains("table bridge nftpol") == is_bridged, "{all}");
        ensure!(all.lines().count() == 5 + usize::from(is_bridged), "{all}");
    }
    Ok(())
}

#[test]
fn networks_with_tables_of_others_on_a_bridge() -> Result<()> {
    check(Network::Bridge, Between::Routes)
}

#[test]
fn networks_with_tables_of_others_on_vxlan() -> Result<()> {
    check(Network::Routed, Between::Vxlan)
}
