//! Who changes our tables.

use nft::{Committer, Kernel};
use ruleset::{Batch, Op};

use crate::common::nft;
use crate::namespace::{in_namespace, table};

fn create(kernel: &mut Kernel) {
    kernel.send(&table(), &Batch { ops: vec![Op::CreateTable] }, None).expect("the table");
}

#[test]
fn only_others_that_touch_a_table_of_ours_are_named() {
    in_namespace(|kernel| {
        create(kernel);
        let mut listener = kernel.changes().expect("a listener");
        nft(&["add", "table", "ip", "other"], "");
        create(kernel);
        assert_eq!(listener.take(), [], "another table, and ourselves");
        nft(&["add", "chain", "inet", "nftpol", "theirs"], "");
        nft(&["delete", "table", "ip", "other"], "");
        nft(&["flush", "ruleset"], "");
        let found = listener.take();
        let programs: Vec<&str> = found.iter().map(|one| one.program.as_str()).collect();
        assert_eq!(programs, ["nft", "nft"]);
        let pids: Vec<u32> = found.iter().map(|one: &Committer| one.pid).collect();
        assert!(pids[0] > 1 && pids[0] != pids[1], "{pids:?}");
        assert_eq!(listener.take(), [], "each is told of once");
    });
}
