//! What changes a table's fingerprint, and what does not.

use crate::common::nft;
use crate::namespace::{in_namespace, name, table};

const OURS: &str = "
    table inet nftpol {
        set s { type ipv4_addr; }
        chain other { accept
        }
        chain forward { type filter hook forward priority -1; policy accept; ct state established accept
        }
    }";

#[test]
fn a_fingerprint_stays_until_others_change_what_it_covers() {
    in_namespace(|kernel| {
        let mut fingerprint =
            || kernel.fingerprint(&table(), &name("forward")).expect("ask the kernel");
        assert_eq!(fingerprint(), None);
        nft(&["-f", "-"], OURS);
        let before = fingerprint().expect("table and chain");
        nft(&["-f", "-"], "add table ip stranger");
        nft(&["-f", "-"], "add element inet nftpol s { 10.0.0.1 }");
        assert_eq!(fingerprint(), Some(before.clone()), "elements and other tables do not count");
        for touched in [
            "flush chain inet nftpol forward",
            "add rule inet nftpol forward drop",
            "add chain inet nftpol more",
            "add table inet nftpol { flags dormant; }",
        ] {
            let before = fingerprint();
            nft(&["-f", "-"], touched);
            assert_ne!(fingerprint(), before, "{touched}");
        }
        nft(&["-f", "-"], &format!("delete table inet nftpol\n{OURS}"));
        assert_ne!(fingerprint(), Some(before), "recreated");
        nft(&["-f", "-"], "flush ruleset");
        assert_eq!(fingerprint(), None);
    });
}
