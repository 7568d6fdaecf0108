//! `nftpol diff`: what `apply` would change.

use std::process::ExitCode;

use agent::pipeline::{Difference, Pipeline, TableDifference};
use anyhow::Result;
use compiler::scaffold;
use ruleset::{Comment, Name};

use super::{open, options};
use crate::cli::Diff;
use crate::node::Node;
use crate::{difference_text, input};
use agent::report;

/// Prints the difference; exit code 1 if there is one, as `kubectl diff`.
///
/// # Errors
/// The manifests are refused, or the kernel or the interfaces cannot be read.
pub fn diff(args: &Diff) -> Result<ExitCode> {
    let snapshot = input::snapshot(&args.input, false, args.pods.without_pods())?;
    let mut kernel = open()?;
    let (options, features) = options(&mut kernel, &args.input)?;
    let mut pipeline = Pipeline::new(kernel, options);
    Node::look((&args.binding, args.input.node()), &features, &mut pipeline, &snapshot)?;
    let engine = pipeline.compiled_by(&snapshot);
    let compiled = engine.compiled();
    report::lines(compiled.diagnostics.iter());
    let mut text = String::new();
    for TableDifference { id, wanted, difference } in pipeline.differences(compiled)? {
        let Difference { live, flags, foreign, pieces, .. } = difference;
        report::foreign(&id, &foreign);
        if let Some(flags) = flags {
            text += &format!("- table {id}  # {flags}\n+ table {id}\n");
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
    report::print(&text)?;
    Ok(ExitCode::from(u8::from(!text.is_empty())))
}
