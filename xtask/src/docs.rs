//! Writes what is made from the arguments of the commands.
//!
//! Out: `docs/cli.md`; manual pages and completions in `target/reference`.
//! Never: a look at the arguments themselves. `nftpol` knows them.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result};

use crate::cargo::{self, Cargo};

/// Writes them.
pub fn run() -> Result<()> {
    let cargo = Cargo::default();
    cargo.run(["build", "--package", "agent"])?;
    let target = cargo.target_folder()?;
    let folder = target.join("reference");
    let mut command = Command::new(target.join("debug/nftpol"));
    // Help shows the value of a variable that an option is read from.
    command.arg("reference").arg(&folder).env_remove("NODE_NAME");
    cargo::finish(command)?;
    let page = cargo.workspace_folder()?.join("docs/cli.md");
    fs::copy(folder.join("cli.md"), &page).with_context(|| format!("write {}", page.display()))?;
    eprintln!(
        "docs: {} written; manual pages and completions: {}",
        page.display(),
        folder.display()
    );
    Ok(())
}

/// The commit that is built, with `-dirty` if files differ from it; nothing outside of a
/// clone.
pub fn commit() -> Option<String> {
    let arguments = ["describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"];
    let output = Command::new("git").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    Some(text.trim().to_owned()).filter(|text| output.status.success() && !text.is_empty())
}
