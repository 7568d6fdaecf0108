//! `nftpol verify`: proves that the tables do what the specification says.

use std::process::ExitCode;

use agent::pipeline::Pipeline;
use anyhow::{Result, bail};
use compiler::{Engine, Options, scaffold};
use nft::{Dump, ForeignKind, Kernel};
use policy::{NodeNetwork, Snapshot};
use ruleset::{Ruleset, TableFamily, TableId};
use verify::{Report, verify as compare};

use super::open;
use crate::cli::Verify;
use crate::input::{self, WithoutPods};
use crate::node::Node;
use agent::report;

/// What is compared with the specification.
struct Compared {
    /// For people.
    whose: &'static str,
    network: NodeNetwork,
    inet: Ruleset,
    bridge: Option<Ruleset>,
}

/// Prints the packets that the tables treat differently from the specification.
/// Exit code 1 if there are any.
///
/// # Errors
/// The manifests are refused, no Pod is local, the kernel or the interfaces cannot be
/// read, or a table cannot be understood.
pub fn verify(args: &Verify) -> Result<ExitCode> {
    let snapshot = input::snapshot(&args.input, false, WithoutPods::NothingToProve)?;
    let engine = engine(args, &snapshot);
    let over_budget = engine.without_rules();
    let Compared { whose, network, inet, bridge } = match args.kernel {
        true => in_force(args, &snapshot)?,
        false => compiled(&engine),
    };
    let node = args.input.node();
    let found = compare(&snapshot, node, &over_budget, &network, &inet, bridge.as_ref())?;
    report::print(&text(whose, &found))?;
    report::notice(&found.unjudged);
    Ok(ExitCode::from(u8::from(!found.is_equal())))
}

fn text(whose: &str, found: &Report) -> String {
    let Report { counts, bound, .. } = found;
    let mut text: String = found.ways().map(|one| format!("{one}\n")).collect();
    text += &match found.ways().count() {
        0 => format!("{whose} does what the specification says, with every packet: {counts}"),
        1 => format!("{whose} differs in 1 way: {counts}"),
        ways => format!("{whose} differs in {ways} ways: {counts}"),
    };
    if bound.ports > 0 {
        text += &format!("; {bound}");
    }
    text + "\n"
}

/// The compiler, which tells which policies find no room in the budgets.
fn engine(args: &Verify, snapshot: &Snapshot) -> Engine {
    let mut engine = Engine::new(args.input.options(true));
    let compiled = engine.update(snapshot, &NodeNetwork::default());
    report::lines(compiled.diagnostics.iter());
    engine
}

/// What `render` prints, where nothing is bound.
fn compiled(engine: &Engine) -> Compared {
    let compiled = engine.compiled();
    let (inet, bridge) = (compiled.ruleset.clone(), compiled.bridge.clone());
    let network = NodeNetwork::default();
    Compared { whose: "the compiled table", network, inet, bridge }
}

/// What the kernel has, with the interfaces of this network namespace.
fn in_force(args: &Verify, snapshot: &Snapshot) -> Result<Compared> {
    let mut kernel = open()?;
    let features = kernel.probe()?;
    let mut pipeline = Pipeline::new(kernel, Options::default());
    let of = (&args.binding, args.input.mode.mode(), args.input.node());
    let node = Node::look(of, &features, &mut pipeline, snapshot)?;
    let kernel = pipeline.sink();
    let name = scaffold::table();
    for other in kernel.tables()?.iter().filter(|other| other.name != name) {
        report::notice(format_args!("table {other} is of another version and not looked at"));
    }
    let inet = TableId { family: TableFamily::Inet, name: name.clone() };
    let bridge = TableId { family: TableFamily::Bridge, name };
    let in_force = live(kernel, &inet)?.unwrap_or_else(|| {
        report::notice(format_args!("there is no table {inet}: every packet passes"));
        Ruleset::of(inet.clone())
    });
    Ok(Compared {
        whose: "the kernel's table",
        network: node.network(),
        inet: in_force,
        bridge: live(kernel, &bridge)?,
    })
}

/// A table of the kernel, if all that it does is known.
fn live(kernel: &mut Kernel, id: &TableId) -> Result<Option<Ruleset>> {
    let Some(Dump { ruleset, foreign, .. }) = kernel.dump(id)? else { return Ok(None) };
    report::foreign(id, &foreign);
    // Sets and objects have no effect without a rule.
    let acts = |kind| matches!(kind, ForeignKind::Table | ForeignKind::Chain);
    if let Some(object) = foreign.iter().find(|object| acts(object.kind)) {
        bail!("what {} in table {id} does is not known ({})", object.name, object.why);
    }
    for (chain, rules) in ruleset.chains.iter().map(|(name, chain)| (name, &chain.rules)) {
        // A dump shows an unreadable rule without a verdict; ours always have one.
        if let Some(rule) = rules.iter().find(|rule| rule.log.is_none() && rule.finish.is_none()) {
            let why = rule.comment.as_ref().map_or("", |comment| comment.as_str());
            bail!("what a rule of chain {chain} in table {id} does is not known: {why}");
        }
    }
    Ok(Some(ruleset))
}
