//! `nftpol render`: the dry run.

use std::process::ExitCode;

use anyhow::Result;
use compiler::Engine;
use compiler::sets::SetSource;
use ruleset::{Comment, Store, Tag, json, text};

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
    let snapshot = input::snapshot(&args.input, false, args.pods.without_pods())?;
    let mut engine = Engine::new(args.input.options(true));
    engine.update(&snapshot, &policy::NodeNetwork::default());
    let compiled = engine.compiled();
    report::lines(compiled.diagnostics.iter());
    match args.output {
        Output::Nft => {
            report::print(AT_RUN_TIME)?;
            for (name, source) in engine.set_sources() {
                if let Some((store, tag)) = name.stored() {
                    report::print(&tag_line(store, tag, source))?;
                }
            }
            for piece in text::pieces(&compiled.ruleset) {
                report::print(&piece)?;
            }
        }
        Output::Json => report::print(&format!("{}\n", json::ruleset(&compiled.ruleset)))?,
    }
    Ok(ExitCode::SUCCESS)
}

/// What the elements with a tag are, as a comment of the script.
fn tag_line(store: Store, tag: Tag, source: &SetSource) -> String {
    // Without line breaks, whatever a label holds.
    let meaning = Comment::new(&source.to_string());
    format!("# {} {}: {}\n", store.name(), text::tag(store, tag), meaning.as_str())
}
