//! Other enforcers of NetworkPolicy on the node are named, with what to do.

use anyhow::{Result, ensure};
use netbed::net::Namespace;
use netbed::program;

use super::support::{DB, OUTSIDER, good, nft, nftpol, passes};

/// Runs a program in this namespace and fails if it fails.
fn run(namespace: &Namespace, name: &str, arguments: &[&str]) -> Result<()> {
    let mut command = namespace.command(name);
    command.args(arguments);
    program::finish(command, "")?.success().map(drop)
}

/// Makes what a program leaves on a node; what is said of it.
type Case = (&'static str, fn(&Namespace) -> Result<()>, &'static [&'static str]);

const CASES: [Case; 7] = [
    ("none", |_| Ok(()), &[]),
    (
        "kube-router by iptables",
        |namespace| {
            for chain in ["KUBE-ROUTER-FORWARD", "KUBE-POD-FW-ABCDEF", "KUBE-NWPLCY-ABCDEF"] {
                run(namespace, "iptables-nft", &["-N", chain])?;
            }
            run(namespace, "ip6tables-nft", &["-N", "KUBE-ROUTER-FORWARD"])
        },
        &[
            "warning: kube-router enforces NetworkPolicy on this node, too, or left its rules (chain ",
            " in table ip filter",
            " and 1 more): what they drop is lost, whatever nftpol allows; run it with \
             --run-firewall=false, k3s with --disable-network-policy; the commands of \
             docs/install.md for k3s or a reboot remove what it left\n",
        ],
    ),
    (
        "Calico, both ways",
        |namespace| {
            run(namespace, "iptables-nft", &["-N", "cali-FORWARD"])?;
            nft(
                namespace,
                &["-f", "-"],
                "add table ip6 calico\nadd chain ip6 calico filter-FORWARD",
            )
            .map(drop)
        },
        &[
            "warning: Calico enforces NetworkPolicy on this node, too, or left its rules (",
            "chain cali-FORWARD in table ip filter",
            "chain filter-FORWARD in table ip6 calico",
        ],
    ),
    (
        "Cilium",
        |namespace| run(namespace, "iptables-nft", &["-N", "CILIUM_FORWARD"]),
        &["warning: Cilium enforces NetworkPolicy on this node, too, or left its rules (chain \
           CILIUM_FORWARD in table ip filter): "],
    ),
    (
        "kube-network-policies",
        |namespace| {
            let chain = "{ type filter hook postrouting priority -5; }";
            let script = format!(
                "add table inet kube-network-policies\n\
                 add chain inet kube-network-policies postrouting {chain}"
            );
            nft(namespace, &["-f", "-"], &script).map(drop)
        },
        &["warning: kube-network-policies enforces NetworkPolicy on this node, too, or left its \
           rules (chain postrouting in table inet kube-network-policies): "],
    ),
    (
        "iptables-legacy",
        |namespace| {
            run(namespace, "iptables-legacy", &["-N", "KUBE-FORWARD"])?;
            run(namespace, "iptables-legacy", &["-N", "KUBE-POD-FW-ABCDEF"])
        },
        &[
            "warning: kube-router enforces NetworkPolicy on this node, too, or left its rules (chain \
           KUBE-POD-FW-ABCDEF in table ip filter of iptables-legacy): ",
        ],
    ),
    (
        "kube-proxy alone",
        |namespace| run(namespace, "iptables-legacy", &["-N", "KUBE-FORWARD"]),
        &[],
    ),
];

#[test]
fn what_other_enforcers_left_is_named_when_apply_starts() -> Result<()> {
    for (name, make, expected) in CASES {
        let namespace = Namespace::new("cl")?;
        make(&namespace)?;
        let finished = nftpol(&namespace, &["apply"], &good())?;
        let said = &finished.stderr;
        assert_eq!(finished.code, Some(0), "{name}: {said}");
        assert_eq!(said.lines().count(), usize::from(!expected.is_empty()), "{name}: {said}");
        for part in expected {
            ensure!(said.contains(part), "{name}: {part:?} is not in {said}");
        }
        ensure!(!passes(&namespace, OUTSIDER, DB, 5432)?, "{name}: nftpol enforces beside it");
    }
    Ok(())
}
