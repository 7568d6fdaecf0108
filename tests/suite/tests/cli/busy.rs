//! A chain of another program uses one of ours, so the kernel does not let ours be
//! deleted (EBUSY). Both ways to apply build the table again, without theirs.

use std::fs;

use anyhow::{Context, Result};
use netbed::net::Namespace;
use samples::scratch::Folder;

use super::support::{DB, OUTSIDER, Watcher, fixture, nft, nftpol, objects, passes, text};

/// Adds a chain to our table that nftpol leaves alone, and that jumps to the chain of the policy `good`.
fn use_chain_of_good(namespace: &Namespace) -> Result<()> {
    let listing = nft(namespace, &["list", "table", "inet", "nftpol"], "")?;
    let ours = listing
        .lines()
        .filter_map(|line| line.trim().strip_prefix("chain ")?.strip_suffix(" {"))
        .find(|name| name.contains("/good."))
        .with_context(|| format!("no chain of the policy: {listing}"))?;
    let script = format!(
        "add chain inet nftpol theirs {{ type nat hook input priority 0; }}
         add rule inet nftpol theirs jump {ours}\n"
    );
    nft(namespace, &["-f", "-"], &script).map(drop)
}

/// What the table holds without the policy.
fn without_good() -> Result<Vec<String>> {
    let namespace = Namespace::new("cl")?;
    nftpol(&namespace, &["apply"], &[fixture("cluster.yaml")])?.success()?;
    objects(&namespace)
}

#[test]
fn apply_builds_the_table_again() -> Result<()> {
    let namespace = Namespace::new("cl")?;
    let files = [fixture("cluster.yaml"), fixture("good.yaml")];
    nftpol(&namespace, &["apply"], &files)?.success()?;
    use_chain_of_good(&namespace)?;
    let finished = nftpol(&namespace, &["apply"], &files[..1])?;
    assert_eq!((finished.code, finished.stderr.as_str()), (Some(0), ""), "{finished:#?}");
    assert_eq!(objects(&namespace)?, without_good()?);
    Ok(())
}

#[test]
fn watch_builds_the_table_again_and_says_only_what_happened() -> Result<()> {
    let namespace = Namespace::new("cl")?;
    let folder = Folder::new("cli")?;
    let policy = folder.path().join("good.yaml");
    fs::write(folder.path().join("cluster.yaml"), text("cluster.yaml")?)?;
    fs::write(&policy, text("good.yaml")?)?;
    let watcher = Watcher::start(&namespace, &[folder.path()])?;
    use_chain_of_good(&namespace)?;
    fs::remove_file(&policy)?;
    let expected = without_good()?;
    watcher.until("it is built again", |_| {
        // While the stand-in is there, ours may be missing.
        Ok(objects(&namespace).is_ok_and(|now| now == expected))
    })?;
    assert!(passes(&namespace, OUTSIDER, DB, 80)?);
    watcher.until("it reports the success", |watcher| Ok(watcher.stdout().lines().count() == 2))?;
    let said = watcher.stderr();
    let is_true =
        |line: &str| line.starts_with("error: commit: delete chain") && line.ends_with("busy");
    assert!(!said.is_empty() && said.lines().all(is_true), "{said}");
    Ok(())
}
