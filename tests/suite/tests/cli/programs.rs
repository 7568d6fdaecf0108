//! The command starts no other program.

use std::fs;

use anyhow::{Context, Result, ensure};
use netbed::net::Namespace;
use netbed::program;
use samples::scratch::Folder;

use super::support::{arguments, good};

/// The programs that a run starts, according to strace.
fn started(namespace: &Namespace, folder: &Folder, arguments: &[String]) -> Result<Vec<String>> {
    let trace = folder.path().join("trace");
    let output = namespace
        .command("strace")
        .args(["-f", "-qq", "-e", "trace=execve,execveat,fork,vfork", "-e", "signal=none", "-o"])
        .arg(&trace)
        .arg(program::path()?)
        .args(arguments)
        .output()
        .context("run strace (Debian package strace; `cargo xtask test` installs it)")?;
    ensure!(
        output.status.success(),
        "strace of {arguments:?} (is the Debian package strace installed?): {output:?}"
    );
    Ok(fs::read_to_string(&trace)?.lines().map(str::to_owned).collect())
}

#[test]
fn no_command_starts_another_program() -> Result<()> {
    let namespace = Namespace::new("cl")?;
    let folder = Folder::new("cli")?;
    let binary = program::path()?;
    let cleanup = vec!["cleanup".to_owned()];
    let runs = [
        arguments(&["render"], &good()),
        arguments(&["render", "-o", "json"], &good()),
        arguments(&["apply"], &good()),
        arguments(&["apply"], &good()),
        arguments(&["diff"], &good()),
        cleanup,
    ];
    for run in runs {
        let lines = started(&namespace, &folder, &run)?;
        let [only] = &lines[..] else { anyhow::bail!("{run:?}: {lines:#?}") };
        assert!(only.contains(&format!("execve(\"{}\"", binary.display())), "{run:?}: {only}");
    }
    Ok(())
}

/// The trace itself can fail.
#[test]
fn another_program_would_be_seen() -> Result<()> {
    let namespace = Namespace::new("cl")?;
    let folder = Folder::new("cli")?;
    let trace = folder.path().join("trace");
    let status = namespace
        .command("strace")
        .args(["-f", "-qq", "-e", "trace=execve,execveat", "-e", "signal=none", "-o"])
        .arg(&trace)
        .args(["sh", "-c", "true; nft --version >/dev/null; exit 0"])
        .status()
        .context("run strace (Debian package strace)")?;
    assert!(status.success());
    let lines = fs::read_to_string(&trace)?;
    assert!(lines.lines().filter(|line| line.contains("execve(")).count() > 1, "{lines}");
    assert!(lines.contains("/nft\""), "{lines}");
    Ok(())
}
