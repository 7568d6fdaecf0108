//! Programs by their chains, and the sentences about them.

use super::*;

fn chain(family: &'static str, table: &str, chain: &str) -> ChainOfOthers {
    let (table, chain) = (table.to_owned(), chain.to_owned());
    ChainOfOthers { family, table, chain, drops_forwarded: false }
}

#[test]
fn programs_are_known_by_their_chains() {
    let cases = [
        ("filter", "KUBE-ROUTER-FORWARD", Some(Program::KubeRouter)),
        ("kube-router-filter-ipv4", "KUBE-POD-FW-ABC", Some(Program::KubeRouter)),
        ("filter", "KUBE-ROUTER-SERVICES", None),
        ("filter", "KUBE-FORWARD", None),
        ("filter", "cali-FORWARD", Some(Program::Calico)),
        ("calico", "mangle-PREROUTING", Some(Program::Calico)),
        ("filter", "CILIUM_FORWARD", Some(Program::Cilium)),
        ("kube-network-policies", "postrouting", Some(Program::KubeNetworkPolicies)),
        ("filter", "WEAVE-NPC-DEFAULT", Some(Program::WeaveNet)),
        ("kube-proxy", "filter-forward", None),
        ("filter", "DOCKER-USER", None),
    ];
    for (table, name, expected) in cases {
        assert_eq!(Program::of(&chain("ip", table, name)), expected, "{table} {name}");
    }
}

#[test]
fn each_program_is_named_once_with_what_to_do() {
    let chains: Vec<ChainOfOthers> =
        (0..5).map(|number| chain("ip", "filter", &format!("KUBE-POD-FW-{number}"))).collect();
    let found = Found::with(&chains[..4], &Legacy::default(), "");
    let expected = "kube-router enforces NetworkPolicy on this node, too, or left its rules \
                    (chain KUBE-POD-FW-0 in table ip filter, chain KUBE-POD-FW-1 in table ip \
                    filter, chain KUBE-POD-FW-2 in table ip filter and 1 more): what they drop \
                    is lost, whatever nftpol allows; run it with --run-firewall=false, \
                    k3s with --disable-network-policy; the commands of docs/install.md \
                    for k3s or a reboot remove what it left";
    assert_eq!(found.new_since(&Found::default()), [expected]);
    assert_eq!(
        Found::with(&chains, &Legacy::default(), "").new_since(&found),
        [""; 0],
        "one pod more"
    );
    assert_eq!(
        found.remark(),
        "others enforce NetworkPolicy here, too, or left their rules: kube-router (see the log)"
    );
    assert_eq!(Found::default().remark(), "");
}

#[test]
fn what_no_chain_shows_is_said() {
    let devices = "Inter-|   Receive\n face |bytes\n  eth0: 1\ncilium_host: 1\n";
    let mut legacy = Legacy::default();
    legacy.add("ip", "filter", Ok(vec!["KUBE-FORWARD".to_owned(), "cali-a".to_owned()]));
    legacy.add("ip6", "filter", Err(io::ErrorKind::PermissionDenied.into()));
    let found = Found::with(&[], &legacy, devices);
    let said = found.new_since(&Found::default());
    let expected = [
        "Calico enforces NetworkPolicy on this node, too, or left its rules (chain cali-a in \
         table ip filter of iptables-legacy): ",
        "Cilium enforces NetworkPolicy on this node, too, or left its rules (interface \
         cilium_host): ",
        "the tables of iptables-legacy on this node cannot be read (ip6 filter): ",
    ];
    assert_eq!(said.len(), expected.len(), "{said:?}");
    for (said, expected) in said.iter().zip(expected) {
        assert!(said.starts_with(expected), "{said}");
    }
    assert_eq!(
        Found::with(&[], &Legacy::default(), "eth0: 1").new_since(&Found::default()),
        [""; 0]
    );
}
