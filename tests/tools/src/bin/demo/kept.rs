//! Keeps a demo and removes it again. It starts servers in the pods, prints commands
//! to look around, and never touches namespaces of others.

use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context, Result};
use netbed::net::Namespace;
use netbed::testbed::Testbed;

use super::{NODE, PREFIX, serve};

/// Removes every namespace of a demo and what runs in it.
///
/// # Errors
/// Without root.
pub fn down() -> Result<usize> {
    let names = Namespace::list(&format!("{PREFIX}-"))?;
    for name in &names {
        drop(Namespace::existing(name)?);
    }
    let _ = std::fs::remove_file(manifests_path());
    Ok(names.len())
}

fn manifests_path() -> PathBuf {
    std::env::temp_dir().join("nftpol-demo.yaml")
}

/// Starts servers in the pods and says how to use them.
///
/// # Errors
/// When a server cannot be started or the manifests cannot be written.
pub fn explain(testbed: &Testbed) -> Result<()> {
    let executable = std::env::current_exe().context("find this program")?;
    for pod in testbed.endpoints().iter().filter(|endpoint| endpoint.is_pod()) {
        pod.namespace
            .command(&executable)
            .args([serve::FLAG, &pod.name])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("start a server")?;
    }
    let manifests = manifests_path();
    std::fs::write(&manifests, testbed.spec().manifests())
        .with_context(|| format!("write {}", manifests.display()))?;
    let node = format!("ip netns exec {PREFIX}-{NODE}");
    let nftpol = netbed::program::path()?;
    println!(
        "
The demo stays, with the last policy in force and a server on ports 80 and 443 of each pod.
  the namespaces       ip netns list
  the ruleset          {node} nft list table inet nftpol
  isolated pods        {node} nft list set inet nftpol isolated.i4
  connections          {node} cat /proc/net/nf_conntrack
  connect, refused     ip netns exec {PREFIX}-shop-cart timeout 1 bash -c 'cat < /dev/tcp/10.244.1.2/80' || echo no answer
  connect, allowed     ip netns exec {PREFIX}-shop-cart timeout 1 bash -c 'cat < /dev/tcp/10.244.1.7/80'
  another policy       {node} {} apply --node {NODE} -f {} -f FILE
  no policy            {node} {} cleanup
  remove it all        cargo xtask demo --down",
        nftpol.display(),
        manifests.display(),
        nftpol.display(),
    );
    Ok(())
}
