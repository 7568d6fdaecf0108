//! `nftpol render`: the dry run.

use std::process::ExitCode;

use anyhow::Result;
use compiler::sets::SetSource;
use compiler::{Engine, Options};
use policy::NodeNetwork;
use ruleset::{Comment, Store, Tag, json, text};

use super::in_pod::InPod;
use crate::cli::{Output, Render};
use crate::input::{self, Further};
use agent::report;

/// What the script does not hold.
const AT_RUN_TIME: &str = "\
# On a node, `nftpol agent` and `nftpol apply` also bind the address of each local pod to its
# interface (chain bind, table bridge nftpol) and close the node's tunnels to pods (chains input,
# tunnels). These rules depend on the interfaces of the node, so they are not in this script.
";

/// The same of a script for a pod's namespace.
const IN_THE_POD: &str = "\
# In the pod's network namespace, the set apart also has the interfaces of its other networks, and
# the sets node4 and node6 have the node's addresses where the table is of the primary network.
";

/// Prints the ruleset.
///
/// # Errors
/// The manifests cannot be read or are refused.
pub fn render(args: &Render) -> Result<ExitCode> {
    let further = Further::of(&args.place);
    let snapshot = input::snapshot(&args.input, false, args.pods.without_pods(), further)?;
    let (engine, before) = match InPod::of(&args.place, args.input.node(), &snapshot)? {
        Some(in_pod) => (inside(args, in_pod), IN_THE_POD),
        None => {
            input::tell_of_further_networks(&snapshot);
            let mut engine = Engine::new(args.input.options(true));
            engine.update(&snapshot, &NodeNetwork::default());
            (engine, AT_RUN_TIME)
        }
    };
    let compiled = engine.compiled();
    report::lines(compiled.diagnostics.iter());
    match args.output {
        Output::Nft => {
            report::print(before)?;
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

/// The table in a pod's own namespace.
fn inside(args: &Render, in_pod: InPod) -> Engine {
    let network = in_pod.unseen();
    let InPod { place, snapshot, .. } = in_pod;
    let mut engine = Engine::at(place, Options { log: None, ..args.input.options(false) });
    engine.update(&snapshot, &network);
    engine
}

/// What the elements with a tag are, as a comment of the script.
fn tag_line(store: Store, tag: Tag, source: &SetSource) -> String {
    // Without line breaks, whatever a label holds.
    let meaning = Comment::new(&source.to_string());
    format!("# {} {}: {}\n", store.name(), text::tag(store, tag), meaning.as_str())
}
