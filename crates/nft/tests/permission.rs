//! Tests without CAP_NET_ADMIN. This test has its own binary because it gives up
//! root.

#[path = "kernel/namespace.rs"]
mod namespace;

use namespace::{in_namespace, name, table};
use nft::{Conntrack, ConntrackError, Filter, Kernel, ReadError, SendError};
use nix::unistd::{Uid, seteuid};
use ruleset::{Batch, Op};

#[test]
fn without_the_capability_every_call_says_so() {
    in_namespace(|privileged| {
        privileged.send(&table(), &Batch { ops: vec![Op::CreateTable] }, None).expect("as root");
        seteuid(Uid::from_raw(65534)).expect("give up root");
        let mut kernel = Kernel::open().expect("open");
        let batch = Batch { ops: vec![Op::CreateChain(name("c"), None, None)] };
        let sent = kernel.send(&table(), &batch, None);
        let deleted = kernel.delete_table(&table());
        let read = kernel.dump(&table());
        let tables = kernel.tables();
        let probed = kernel.probe();
        let listed = Conntrack::open().expect("open").flows(&Filter::All, |_| ());
        seteuid(Uid::from_raw(0)).expect("root again");
        assert!(matches!(sent, Err(SendError::Permission)), "{sent:?}");
        assert!(matches!(deleted, Err(SendError::Permission)), "{deleted:?}");
        assert!(matches!(probed, Err(SendError::Permission)), "{probed:?}");
        assert!(matches!(listed, Err(ConntrackError::Permission)), "{listed:?}");
        assert!(matches!(read, Err(ReadError::Permission)), "{read:?}");
        assert!(matches!(tables, Err(ReadError::Permission)), "{tables:?}");
        let found = privileged.dump(&table()).expect("dump").expect("the table");
        assert!(found.ruleset.chains.is_empty());
    });
}
