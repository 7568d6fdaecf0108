//! `nftpol render`: the dry run.

use std::process::ExitCode;

use anyhow::Result;
use compiler::Engine;
use ruleset::{json, text};

use crate::cli::{Output, Render};
use crate::input;
use agent::report;

/// What the script does not hold.
const AT_RUN_TIME: &str = "\
# On a node, `nftpol agent` and `nftpol apply` also bind the address of each local pod to its
# interface (chain bind, table bridge nftpol) and close the node's tunnels to pods (chains input,
# tunnels). These rules depend on the interfaces of the node, so they are not in this script.
";

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
        Output::Nft => {
            report::print(AT_RUN_TIME)?;
            for piece in text::pieces(&compiled.ruleset) {
                report::print(&piece)?;
            }
        }
        Output::Json => report::print(&format!("{}\n", json::ruleset(&compiled.ruleset)))?,
    }
    Ok(ExitCode::SUCCESS)
}
