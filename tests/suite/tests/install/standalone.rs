//! The commands of `docs/standalone.md` and of the README, on files.

use std::fs;

use anyhow::{Context, Result, ensure};
use netbed::net::Namespace;
use netbed::program;
use samples::fixtures;
use samples::scratch::Folder;

use super::page;

/// The Pod of the page.
fn pod() -> Result<String> {
    let page = page::read("docs/standalone.md")?;
    let (_, yaml) = page.split_once("```yaml\n").context("no YAML")?;
    Ok(yaml.split_once("```").context("no end")?.0.to_owned())
}

#[test]
fn the_commands_of_the_page_work() -> Result<()> {
    let namespace = Namespace::new("sa")?;
    let folder = Folder::new("standalone")?;
    fs::create_dir(folder.path().join("pods"))?;
    fs::write(folder.path().join("pods/pod.yaml"), pod()?)?;
    fs::write(folder.path().join("pods/policy.yaml"), fixtures::deny_all_ingress("dev"))?;
    let nftpol = program::path()?;
    let bin = nftpol.parent().context("no folder")?.display().to_string();
    let run = |script: &str| -> Result<String> {
        let mut command = namespace.command("sh");
        command.arg("-ec").arg(script).current_dir(folder.path()).env_remove("NODE_NAME");
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{bin}:{path}"));
        program::finish(command, "")?.success().with_context(|| script.to_owned())
    };
    let commands = page::commands("standalone.md", "standalone")?;
    let (before, cleanup) = commands.rsplit_once("nftpol cleanup").context("no cleanup")?;
    run(before)?;
    ensure!(run("nft list table inet nftpol")?.contains("10.244.1.2"), "the pod is not isolated");
    run(&format!("nftpol cleanup{cleanup}"))?;
    ensure!(run("nft list tables")?.is_empty(), "something is left");
    Ok(())
}
