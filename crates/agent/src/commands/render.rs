//! `nftpol render`: the dry run.

use std::process::ExitCode;

use anyhow::Result;
use compiler::Engine;
use ruleset::{json, text};

use crate::cli::{Output, Render};
use crate::input;
use agent::report;

/// Prints the ruleset.
///
/// # Errors
/// The manifests cannot be read or are refused.
pub fn render(args: &Render) -> Result<ExitCode> {
    let snapshot = input::snapshot(&args.input, false)?;
    let mut engine = Engine::new(args.input.options(true));
    let compiled = engine.update(&snapshot, &policy::NodeNetwork::default());
    report::lines(compiled.diagnostics.iter());
    match args.output {
        Output::Nft => report::print(&text::ruleset(&compiled.ruleset))?,
        Output::Json => report::print(&format!("{}\n", json::ruleset(&compiled.ruleset)))?,
    }
    Ok(ExitCode::SUCCESS)
}
