//! `nftpol verify`: whether a table does what the specification says.

use anyhow::Result;
use netbed::net::Namespace;
use samples::fixtures;

use super::support::{fixture, generation, good, listing, nft, nftpol, text, with_input};

#[test]
fn what_is_compiled_is_right_and_no_kernel_is_asked() -> Result<()> {
    let namespace = Namespace::new("cl")?;
    let verified = nftpol(&namespace, &["verify"], &good())?.success()?;
    let expected = "the compiled table does what the specification says, with every packet: \
                    2 pods, 2 isolated addresses, 2 directions, ";
    assert!(verified.starts_with(expected), "{verified}");
    assert_eq!(listing(&namespace)?, "");
    Ok(())
}

#[test]
fn after_apply_the_kernels_table_is_right() -> Result<()> {
    let namespace = Namespace::new("cl")?;
    nftpol(&namespace, &["apply"], &good())?.success()?;
    let before = (listing(&namespace)?, generation(&namespace)?);
    let verified = nftpol(&namespace, &["verify", "--kernel"], &good())?.success()?;
    assert!(verified.starts_with("the kernel's table does what "), "{verified}");
    assert_eq!((listing(&namespace)?, generation(&namespace)?), before);
    Ok(())
}

/// Changes the table by hand. The output shows a packet that reveals the change.
#[test]
fn a_hand_in_the_kernels_table_is_found() -> Result<()> {
    let cases = [
        (
            "an open door",
            "insert rule inet nftpol ingress4 tcp dport 22 accept",
            "-> 10.244.1.3, TCP port 22\n  expected: is dropped, ",
            "  got:      passes, by chain ingress4, rule 0: tcp dport 22 accept",
        ),
        (
            "a pod let go",
            "delete element inet nftpol isolated.i6 { fd00:10:244:1::3 }",
            "-> fd00:10:244:1::3, ",
            "ingress: isolated by dev/good, no rule allows it\n  got:      passes, no rule decides",
        ),
        (
            "a pod without a chain",
            "delete element inet nftpol ingress4 { 10.244.1.3 }",
            "expected: passes, ",
            "  got:      is dropped, by chain ingress4, rule 2: drop",
        ),
        (
            "strangers shut out",
            "add rule inet nftpol unknown drop",
            "expected: passes, egress: not isolated; ingress: not isolated\n",
            "  got:      is dropped, by chain unknown, rule 0: drop",
        ),
    ];
    for (name, script, expected, got) in cases {
        let namespace = Namespace::new("cl")?;
        nftpol(&namespace, &["apply"], &good())?.success()?;
        nft(&namespace, &["-f", "-"], script)?;
        let verified = nftpol(&namespace, &["verify", "--kernel"], &good())?;
        assert_eq!((verified.code, verified.stderr.as_str()), (Some(1), ""), "{name}");
        for part in [expected, got, "the kernel's table differs in "] {
            assert!(verified.stdout.contains(part), "{name}: {part:?}\n{}", verified.stdout);
        }
    }
    Ok(())
}

#[test]
fn files_that_the_kernel_does_not_enforce_yet_are_different() -> Result<()> {
    let namespace = Namespace::new("cl")?;
    nftpol(&namespace, &["apply"], &good())?.success()?;
    let edited = text("good.yaml")?.replace("5432", "5433");
    let files = [fixture("cluster.yaml"), "-".to_owned()];
    let verified = with_input(&namespace, &["verify", "--kernel"], &files, &edited)?;
    assert_eq!(verified.code, Some(1), "{verified:#?}");
    assert!(verified.stdout.contains("TCP port 5432"), "{}", verified.stdout);
    assert!(verified.stdout.contains("TCP port 5433"), "{}", verified.stdout);
    Ok(())
}

#[test]
fn without_a_table_every_packet_passes() -> Result<()> {
    let namespace = Namespace::new("cl")?;
    let verified = nftpol(&namespace, &["verify", "--kernel"], &good())?;
    let notice = "notice: there is no table inet nftpol: every packet passes\n";
    assert_eq!((verified.code, verified.stderr.as_str()), (Some(1), notice));
    assert!(verified.stdout.contains("no rule decides"), "{}", verified.stdout);
    Ok(())
}

/// What cannot be decided never counts as equal.
#[test]
fn errors_are_2() -> Result<()> {
    let broken = fixtures::directory("broken").display().to_string();
    let cases = [
        ("an unreadable rule", "add rule inet nftpol unknown meta mark 1 drop", good()),
        ("dormant", "add table inet nftpol { flags dormant; }", good()),
        (
            "a chain on the same hook",
            "add chain inet nftpol theirs { type filter hook forward priority 0; policy drop; }",
            good(),
        ),
        ("refused policies", "", vec![broken]),
        ("no such file", "", vec!["/no/such/file".to_owned()]),
    ];
    for (name, script, files) in cases {
        let namespace = Namespace::new("cl")?;
        nftpol(&namespace, &["apply"], &good())?.success()?;
        nft(&namespace, &["-f", "-"], script)?;
        let verified = nftpol(&namespace, &["verify", "--kernel"], &files)?;
        assert_eq!((verified.code, verified.stdout.as_str()), (Some(2), ""), "{name}");
        assert!(verified.stderr.contains("error: "), "{name}: {}", verified.stderr);
    }
    Ok(())
}
