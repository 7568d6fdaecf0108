//! Tables that belong to one socket. The running kernel must be Linux 6.9 or later.

use crate::common::nft;
use crate::namespace::{in_namespace, name, table};
use nft::{Dump, ForeignKind, Kernel, SendError};
use ruleset::{BaseChain, Batch, Hook, Op, TableId};

/// A base chain without rules.
fn base() -> Op {
    Op::CreateChain(name("c"), Some(BaseChain { hook: Hook::Forward, priority: 0 }), None)
}

fn send(kernel: &mut Kernel, ops: impl IntoIterator<Item = Op>) -> Result<(), SendError> {
    kernel.send(&table(), &Batch { ops: ops.into_iter().collect() }, None)
}

fn dump(kernel: &mut Kernel) -> Dump {
    kernel.dump(&table()).expect("dump").expect("the table")
}

fn foreign(kernel: &mut Kernel) -> Vec<(ForeignKind, String)> {
    dump(kernel).foreign.into_iter().map(|one| (one.kind, one.why)).collect()
}

/// Another socket that owns its tables.
fn owner() -> Kernel {
    let mut kernel = Kernel::open().expect("open");
    assert!(kernel.own_tables().expect("a try"), "Linux 6.9 or later can");
    kernel
}

/// Whether nft(8) refuses this.
fn refused(script: &str) -> bool {
    let output = std::process::Command::new("nft").arg(script).output().expect("start nft");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    !output.status.success() && said.contains("Operation not permitted")
}

#[test]
fn nobody_else_changes_a_table_that_is_owned() {
    in_namespace(|other| {
        let mut owner = owner();
        assert!(other.tables().expect("tables").is_empty(), "a try leaves nothing");
        send(&mut owner, [Op::CreateTable, base()]).expect("commit");
        let before = dump(&mut owner);
        assert_eq!(before.foreign, []);
        assert_eq!(foreign(other), [], "for who owns nothing an owner is no oddity");
        for script in [
            "flush chain inet nftpol c",
            "flush table inet nftpol",
            "add chain inet nftpol c { policy drop; }",
            "add table inet nftpol { flags dormant; }",
            "delete chain inet nftpol c",
            "delete table inet nftpol",
        ] {
            assert!(refused(script), "{script}");
        }
        nft(&["flush", "ruleset"], "");
        let deleted = other.delete_table(&table());
        assert!(matches!(deleted, Err(SendError::Owned { .. })), "{deleted:?}");
        for ops in [vec![Op::CreateTable], vec![Op::FlushChain(name("c"))]] {
            let answer = send(other, ops);
            assert!(matches!(answer, Err(SendError::Owned { .. })), "{answer:?}");
        }
        assert_eq!(dump(&mut owner).ruleset, before.ruleset);
        send(&mut owner, [Op::FlushChain(name("c"))]).expect("the owner may");
    });
}

#[test]
fn the_next_socket_takes_what_the_last_one_left() {
    in_namespace(|anybody| {
        let mut first = owner();
        send(&mut first, [Op::CreateTable, base()]).expect("commit");
        let before = dump(&mut first).ruleset;
        drop(first);
        assert_eq!(dump(anybody).ruleset, before, "it stays");
        let mut second = owner();
        let free = (ForeignKind::Table, "no process owns it".to_owned());
        assert_eq!(foreign(&mut second), [free]);
        send(&mut second, [Op::CreateTable]).expect("take it");
        assert_eq!(foreign(&mut second), []);
        assert_eq!(dump(&mut second).ruleset, before);
        assert!(refused("delete table inet nftpol"));
    });
}

#[test]
fn what_nobody_owns_anybody_changes_and_deletes() {
    in_namespace(|anybody| {
        let mut first = owner();
        send(&mut first, [Op::CreateTable, base()]).expect("commit");
        drop(first);
        assert_eq!(foreign(anybody), []);
        send(anybody, [Op::CreateTable, Op::FlushChain(name("c"))]).expect("a change");
        nft(&["flush chain inet nftpol c"], "");
        assert!(anybody.delete_table(&table()).expect("delete"));
        assert!(!anybody.delete_table(&table()).expect("it is gone"));
    });
}

#[test]
fn an_owner_deletes_its_tables() {
    in_namespace(|other| {
        let mut owner = owner();
        for table in [table(), TableId::bridge(name("nftpol"))] {
            let rule = ruleset::Rule::new([], ruleset::Verdict::Jump(name("d")));
            let chains = [Op::CreateChain(name("d"), None, None), base()];
            let ops = [Op::CreateTable].into_iter().chain(chains);
            let ops = ops.chain([Op::AddRule(name("c"), rule)]).collect();
            owner.send(&table, &Batch { ops }, None).expect("commit");
            assert!(owner.delete_table(&table).expect("delete"));
            assert!(other.dump(&table).expect("dump").is_none());
        }
    });
}

#[test]
fn a_table_that_was_made_without_an_owner_stays_without() {
    in_namespace(|other| {
        send(other, [Op::CreateTable, base()]).expect("commit");
        let mut owner = owner();
        let [(kind, why)] = &foreign(&mut owner)[..] else { panic!("one reason") };
        assert_eq!(
            (*kind, &**why),
            (ForeignKind::Unownable, "it was made without the flag `persist`")
        );
        send(&mut owner, [Op::CreateTable]).expect("it stays as it is");
        send(other, [Op::FlushChain(name("c"))]).expect("anybody may");
    });
}

#[test]
fn who_owns_a_table_is_told() {
    in_namespace(|kernel| {
        let mut first = owner();
        send(&mut first, [Op::CreateTable]).expect("commit");
        let told = std::thread::spawn(move || {
            // Waits for a process that ends, then goes on.
            std::thread::sleep(std::time::Duration::from_millis(100));
            drop(first);
        });
        let mut second = owner();
        told.join().expect("no panic");
        assert_eq!(foreign(&mut second)[0].1, "no process owns it");
        send(&mut second, [Op::CreateTable]).expect("take it");
        let Err(error) = kernel.delete_table(&table()) else { panic!("it is owned") };
        let SendError::Owned { port } = error else { panic!("{error}") };
        assert!(error.to_string().contains(&format!("netlink port {port}")), "{error}");
    });
}
