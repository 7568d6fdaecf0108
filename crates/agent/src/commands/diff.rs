//! `nftpol diff`: what `apply` would change.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::process::ExitCode;

use agent::pipeline::{Difference, Pipeline, TableDifference};
use anyhow::Result;
use compiler::{Layout, scaffold};
use ruleset::{Comment, Name, Ruleset, TableFamily};

use super::{open, options};
use crate::cli::Diff;
use crate::node::Node;
use crate::{difference_text, difference_words, input};
use agent::report;

/// Prints what opens and closes, and with `--rules` which rules differ; exit code 1 if
/// anything does, as `kubectl diff`.
///
/// # Errors
/// The manifests are refused, or the kernel or the interfaces cannot be read.
pub fn diff(args: &Diff) -> Result<ExitCode> {
    let snapshot = input::snapshot(&args.input, false, args.pods.without_pods())?;
    let mut kernel = open()?;
    let (options, features) = options(&mut kernel, &args.input)?;
    let mut pipeline = Pipeline::new(kernel, options);
    let of = (&args.binding, args.input.mode.mode(), args.input.node());
    Node::look(of, &features, &mut pipeline, &snapshot)?;
    let engine = pipeline.compiled_by(&snapshot);
    let compiled = engine.compiled();
    report::lines(compiled.diagnostics.iter());
    let mut text = String::new();
    let pods = snapshot.pods.values().filter(|pod| pod.is_on(args.input.node()));
    let local: BTreeSet<IpAddr> = pods.flat_map(|pod| &pod.addresses).copied().collect();
    let of_pods = snapshot.pods.values().filter(|pod| pod.is_subject());
    let known = of_pods.flat_map(|pod| &pod.addresses).copied().collect();
    let mut meaning = None;
    for TableDifference { id, wanted, difference } in pipeline.differences(compiled)? {
        let Difference { live, flags, foreign, pieces, .. } = difference;
        report::foreign(&id, &foreign);
        if let Some(flags) = &flags {
            text += &format!("- table {id}  # {flags}\n+ table {id}\n");
        }
        if id.family == TableFamily::Inet && (!pieces.is_empty() || flags.is_some()) {
            let nothing = Ruleset::of(id.clone());
            // A table with other flags is dormant, or goes with its owner.
            let before = live.as_deref().filter(|_| flags.is_none()).unwrap_or(&nothing);
            let after = wanted.as_deref().unwrap_or(&nothing);
            let addresses = local.iter().copied().chain(isolated(before));
            match verify::changes(before, after, addresses, &known) {
                Ok(changes) => meaning = Some(difference_words::describe(&changes, &snapshot)),
                Err(error) => {
                    report::notice(format_args!("what opens and closes cannot be told: {error}"));
                }
            }
        }
        match wanted {
            Some(wanted) if !pieces.is_empty() => {
                let meaning =
                    |set: &Name| Some(Comment::new(&engine.set_sources().get(set)?.to_string()));
                text += &difference_text::describe(live.as_deref(), &wanted, meaning);
            }
            Some(_) => {}
            None if live.is_some() => {
                text += &format!("- table {id}  # no bound pod is on a bridge\n");
            }
            None => {}
        }
    }
    let ours = scaffold::table();
    for other in pipeline.sink().tables()?.iter().filter(|other| other.name != ours) {
        text += &format!("- table {other}  # of another version\n");
    }
    report::print(meaning.as_deref().unwrap_or_default())?;
    match meaning.as_deref() {
        _ if args.rules => report::print(&text)?,
        _ if text.is_empty() => {}
        Some("") => report::notice(
            "no connection between hosts opens or closes; rules differ (--rules shows them)",
        ),
        Some(_) => {}
        None => report::notice("rules differ (--rules shows them)"),
    }
    Ok(ExitCode::from(u8::from(!text.is_empty())))
}

/// The addresses that a table isolates in a direction.
fn isolated(table: &Ruleset) -> BTreeSet<IpAddr> {
    let layout = Layout::of(table);
    Layout::sides().flat_map(|(direction, family)| layout.isolated(direction, family)).collect()
}
