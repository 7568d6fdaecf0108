//! Commands in the documentation that tests run.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// The block of code that follows `<!-- tested: NAME -->` on a page of `docs/`.
///
/// # Errors
/// When there is no such page or block.
pub fn commands(page: &str, name: &str) -> Result<String> {
    let text = read(&format!("docs/{page}"))?;
    let (_, after) = text
        .split_once(&format!("<!-- tested: {name} -->\n"))
        .with_context(|| format!("{page} has no block {name}"))?;
    let (_, block) = after.split_once("```sh\n").context("no block of sh")?;
    let (block, _) = block.split_once("```").context("a block without end")?;
    Ok(block.to_owned())
}

/// A page, by its path from the root.
///
/// # Errors
/// When it cannot be read.
pub fn read(page: &str) -> Result<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(page);
    fs::read_to_string(&path).with_context(|| path.display().to_string())
}
