//! Forward chains of others with the policy drop.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::common::nft;
use crate::namespace::{in_namespace, name, table};
use ::nft::{Kernel, ReadError};
use ruleset::{Batch, Op};

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
        let found = kernel.dropping_chains().expect("list chains");
        let mut found: Vec<String> =
            found.iter().map(|one| format!("{} {} {}", one.family, one.table, one.chain)).collect();
        found.sort();
        assert_eq!(found, ["bridge b f", "inet firewalld filter_FORWARD", "ip docker FORWARD"]);
    });
}

/// The kernel lists chains in several datagrams. Before each it skips as many
/// chains as it has already listed. If others delete some of those meanwhile, the
/// list lacks as many chains that still exist. If others prepare a batch, the list
/// names some twice. The kernel flags only a part of such lists as interrupted.
#[test]
fn a_dropping_chain_is_found_while_others_commit() {
    /// Several datagrams, and a commit that takes long to remove them.
    const OF_OTHERS: usize = 20_000;
    const KEPT: usize = 400;
    const COMMITS: usize = 30;
    const DROPPING: &str = "add table ip b
        add chain ip b forward { type filter hook forward priority 0; policy drop; }";
    in_namespace(|kernel| {
        let create = |number: usize| Op::CreateChain(name(&format!("c{number}")), None, None);
        let add: Vec<Op> = (0..OF_OTHERS).map(create).collect();
        let delete = (0..OF_OTHERS).map(|number| Op::DeleteChain(name(&format!("c{number}"))));
        let delete: Vec<Op> = delete.collect();
        let kept = (OF_OTHERS..OF_OTHERS + KEPT).map(create);
        let first = [Op::CreateTable].into_iter().chain(add.clone()).chain(kept).collect();
        kernel.send(&table(), &Batch { ops: first }, None).expect("create");
        nft(&["-f", "-"], DROPPING);
        let mut writer = Kernel::open().expect("open");
        let changes = [Batch { ops: delete }, Batch { ops: add }];
        let done = AtomicBool::new(false);
        let (mut whole, mut wrong) = (0, Vec::new());
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for change in changes.iter().cycle().take(COMMITS) {
                    writer.send(&table(), change, None).expect("commit");
                    std::thread::sleep(Duration::from_millis(20));
                }
                done.store(true, Ordering::Relaxed);
            });
            while !done.load(Ordering::Relaxed) {
                match kernel.dropping_chains() {
                    Ok(found) if found.len() == 1 => whole += 1,
                    Ok(found) => wrong.push(found),
                    Err(error) => assert!(matches!(error, ReadError::KeepsChanging(_)), "{error}"),
                }
            }
        });
        println!("{whole} lists were whole");
        assert!(wrong.is_empty(), "{} lists are wrong: {wrong:?}", wrong.len());
        assert!(whole > 0);
    });
}
