//! Chains of others: forward chains with the policy drop, and all chains.

use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::common::nft;
use crate::namespace::in_namespace;
use ::nft::{ReadError, legacy_chains};
use ruleset::Family;

#[test]
fn chains_that_drop_forwarded_packets_are_named_with_their_family() {
    in_namespace(|kernel| {
        for (table, chain, hook, policy) in [
            ("inet nftpol-2", "ours", "forward", "drop"),
            ("bridge nftpol", "ours", "forward", "drop"),
            ("ip docker", "FORWARD", "forward", "drop"),
            ("ip docker", "in", "input", "drop"),
            ("bridge b", "f", "forward", "drop"),
            ("inet fine", "f", "forward", "accept"),
            ("inet firewalld", "filter_FORWARD", "forward", "drop"),
        ] {
            let base = format!("type filter hook {hook} priority 0; policy {policy};");
            let script = format!("add table {table}\nadd chain {table} {chain} {{ {base} }}");
            nft(&["-f", "-"], &script);
        }
        let found = kernel.chains_of_others(|chain| chain.drops_forwarded).expect("list chains");
        let mut found: Vec<String> =
            found.iter().map(|one| format!("{} {} {}", one.family, one.table, one.chain)).collect();
        found.sort();
        assert_eq!(found, ["bridge b f", "inet firewalld filter_FORWARD", "ip docker FORWARD"]);
        nft(&["-f", "-"], "add chain ip docker DOCKER-USER");
        let all = kernel.chains_of_others(|_| true).expect("list chains");
        let mut all: Vec<&str> = all.iter().map(|one| one.chain.as_str()).collect();
        all.sort_unstable();
        assert_eq!(all, ["DOCKER-USER", "FORWARD", "f", "f", "filter_FORWARD", "in"]);
    });
}

/// Those of iptables-legacy are no chains of nf_tables.
#[test]
fn chains_of_iptables_legacy_are_read() {
    in_namespace(|kernel| {
        let run = |program: &str, arguments: &[&str]| {
            let status = Command::new(program).args(arguments).status();
            assert!(status.expect("start iptables-legacy").success(), "{program} {arguments:?}");
        };
        run("iptables-legacy", &["-N", "KUBE-POD-FW-A"]);
        run("iptables-legacy", &["-N", "second"]);
        run("iptables-legacy", &["-A", "second", "-d", "10.0.0.1", "-p", "tcp", "-j", "DROP"]);
        run("iptables-legacy", &["-A", "FORWARD", "-j", "second"]);
        run("ip6tables-legacy", &["-t", "mangle", "-N", "six"]);
        let chains = |family, table| legacy_chains(family, table);
        assert_eq!(chains(Family::V4, "filter").expect("read"), ["KUBE-POD-FW-A", "second"]);
        assert_eq!(chains(Family::V6, "mangle").expect("read"), ["six"]);
        assert!(chains(Family::V4, "no-such-table").is_err());
        assert_eq!(kernel.chains_of_others(|_| true).expect("list chains"), []);
    });
}

/// The kernel lists chains in several datagrams. Before each it skips as many
/// chains as it has already listed. If others delete some of those meanwhile, the
/// list lacks as many chains that still exist. The kernel flags only a part of such
/// lists as interrupted: of 40,000 lists on a busy machine, two came unflagged and
/// without the chain.
#[test]
fn a_dropping_chain_is_found_while_others_commit() {
    const CHAINS: usize = 2_000; // several datagrams
    const LISTS: usize = 200;
    const DROPPING: &str = "add table ip b
        add chain ip b forward { type filter hook forward priority 0; policy drop; }";
    in_namespace(|kernel| {
        let half = |verb| {
            let line = |number| format!("{verb} chain ip a c{number}\n");
            (0..CHAINS / 2).map(line).collect::<String>()
        };
        let others: String =
            (CHAINS / 2..CHAINS).map(|one| format!("add chain ip a c{one}\n")).collect();
        let (add, delete) = (half("add"), half("delete"));
        nft(&["-f", "-"], &format!("add table ip a\n{add}{others}{DROPPING}"));
        let done = AtomicBool::new(false);
        let lists: Vec<_> = std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    nft(&["-f", "-"], &delete);
                    nft(&["-f", "-"], &add);
                }
            });
            let lists = (0..LISTS)
                .map(|_| kernel.chains_of_others(|chain| chain.drops_forwarded))
                .collect();
            done.store(true, Ordering::Relaxed);
            lists
        });
        for list in lists {
            match list {
                Ok(found) => assert_eq!(found.len(), 1, "{found:?}"),
                Err(error) => assert!(matches!(error, ReadError::KeepsChanging(_)), "{error}"),
            }
        }
    });
}
