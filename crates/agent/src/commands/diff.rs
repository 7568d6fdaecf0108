//! `nftpol diff`: what `apply` would change.

use std::process::ExitCode;

use agent::pipeline::{Difference, Pipeline};
use anyhow::Result;

use super::{open, options};
use crate::cli::Diff;
use crate::{difference_text, input};
use agent::report;

/// Prints the difference; exit code 1 if there is one, as `kubectl diff`.
///
/// # Errors
/// The manifests are refused or the kernel cannot be read.
pub fn diff(args: &Diff) -> Result<ExitCode> {
    let snapshot = input::snapshot(&args.input, false)?;
    let mut kernel = open()?;
    let options = options(&mut kernel, &args.input)?;
    let mut pipeline = Pipeline::new(kernel, options);
    let compiled = pipeline.compile(&snapshot);
    report::lines(compiled.diagnostics.iter());
    let table = &compiled.ruleset.table;
    let Difference { live, flags, foreign, batches, .. } =
        pipeline.difference(&compiled.ruleset)?;
    report::foreign(&foreign);
    let mut text = String::new();
    if let Some(flags) = flags {
        text += &format!("- table inet {table}  # {flags}\n+ table inet {table}\n");
    }
    if !batches.is_empty() {
        text += &difference_text::describe(live.as_deref(), &compiled.ruleset);
    }
    for other in pipeline.sink().tables()?.iter().filter(|other| other.name != *table) {
        text += &format!("- table {other}  # of another version\n");
    }
    report::print(&text)?;
    Ok(ExitCode::from(u8::from(!text.is_empty())))
}
