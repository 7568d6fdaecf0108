//! `nftpol verify`: proves that a table does what the specification says.

use std::collections::BTreeSet;
use std::process::ExitCode;

use anyhow::{Result, bail};
use compiler::{Engine, scaffold};
use nft::ForeignKind;
use policy::NodeNetwork;
use ruleset::{Ruleset, TableId};
use verify::{Report, verify as compare};

use super::open;
use crate::cli::Verify;
use crate::input;
use agent::report;

/// Prints the packets that the table treats differently from the specification.
/// Exit code 1 if there are any.
///
/// # Errors
/// The manifests are refused, the kernel cannot be read, or its table cannot be
/// understood.
pub fn verify(args: &Verify) -> Result<ExitCode> {
    let snapshot = input::snapshot(&args.input, false)?;
    let (whose, table) = match args.kernel {
        true => ("the kernel's table", live()?),
        false => {
            let mut engine = Engine::new(args.input.options(true));
            let compiled = engine.update(&snapshot, &NodeNetwork::default());
            report::lines(compiled.diagnostics.iter());
            ("the compiled table", compiled.ruleset.clone())
        }
    };
    let network = NodeNetwork::default();
    let found =
        compare(&snapshot, args.input.node(), &BTreeSet::new(), &network, &table, None)?;
    report::print(&text(whose, &found))?;
    Ok(ExitCode::from(u8::from(!found.is_equal())))
}

fn text(whose: &str, report: &Report) -> String {
    let counts = &report.counts;
    let mut text: String = report.ways().map(|one| format!("{one}\n")).collect();
    text += &match report.ways().count() {
        0 => format!("{whose} does what the specification says, with every packet: {counts}\n"),
        1 => format!("{whose} differs in 1 way: {counts}\n"),
        ways => format!("{whose} differs in {ways} ways: {counts}\n"),
    };
    text
}

/// The kernel's table, if all that it does is known.
fn live() -> Result<Ruleset> {
    let name = scaffold::table();
    let mut kernel = open()?;
    for other in kernel.tables()?.iter().filter(|other| other.name != name) {
        report::notice(format_args!("table {other} is of another version and not looked at"));
    }
    let Some(dump) = kernel.dump(&TableId::inet(name.clone()))? else {
        report::notice(format_args!("there is no table inet {name}: every packet passes"));
        return Ok(Ruleset::new(name));
    };
    report::foreign(&dump.foreign);
    // Sets and objects have no effect without a rule.
    let acts = |kind| matches!(kind, ForeignKind::Table | ForeignKind::Chain);
    if let Some(object) = dump.foreign.iter().find(|object| acts(object.kind)) {
        bail!("what {} in table inet {name} does is not known ({})", object.name, object.why);
    }
    for (chain, rules) in dump.ruleset.chains.iter().map(|(name, chain)| (name, &chain.rules)) {
        // A dump shows an unreadable rule without a verdict; ours always have one.
        if let Some(rule) = rules.iter().find(|rule| rule.log.is_none() && rule.finish.is_none()) {
            let why = rule.comment.as_ref().map_or("", |comment| comment.as_str());
            bail!("what a rule of chain {chain} in table inet {name} does is not known: {why}");
        }
    }
    Ok(dump.ruleset)
}
