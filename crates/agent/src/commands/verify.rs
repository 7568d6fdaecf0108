//! `nftpol verify`: proves that the tables do what the specification says.

use std::collections::BTreeSet;
use std::process::ExitCode;

use agent::pipeline::Pipeline;
use anyhow::{Result, bail};
use compiler::{Engine, Options, scaffold};
use nft::{Dump, ForeignKind, Kernel};
use policy::{NodeNetwork, ObjectKey, Snapshot};
use ruleset::{Ruleset, TableFamily, TableId};
use verify::{Report, verify as compare};

use super::in_pod::InPod;
use super::open;
use crate::cli::Verify;
use crate::input::{self, Further, WithoutPods};
use crate::node::Node;
use agent::report;

/// What is compared with the specification.
struct Compared {
    /// For people.
    whose: String,
    /// What the tables must enforce.
    snapshot: Snapshot,
    /// The policies that find no room in the budgets.
    over_budget: BTreeSet<ObjectKey>,
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
    let further = Further::of(&args.place);
    let snapshot = input::snapshot(&args.input, false, WithoutPods::NothingToProve, further)?;
    let node = args.input.node();
    let compared = match InPod::of(&args.place, node, &snapshot)? {
        Some(in_pod) => inside(args, in_pod)?,
        None => {
            input::tell_of_further_networks(&snapshot);
            on_node(args, snapshot)?
        }
    };
    let Compared { whose, snapshot, over_budget, network, inet, bridge } = compared;
    let found = compare(&snapshot, node, &over_budget, &network, &inet, bridge.as_ref())?;
    report::print(&text(&whose, &found))?;
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

/// The node's tables.
fn on_node(args: &Verify, snapshot: Snapshot) -> Result<Compared> {
    let mut engine = Engine::new(args.input.options(true));
    report::lines(engine.update(&snapshot, &NodeNetwork::default()).diagnostics.iter());
    let over_budget = engine.without_rules();
    if args.kernel {
        return in_force(args, snapshot, over_budget);
    }
    // What `render` prints, where nothing is bound.
    let compiled = engine.compiled();
    let (inet, bridge) = (compiled.ruleset.clone(), compiled.bridge.clone());
    let (whose, network) = ("the compiled table".to_owned(), NodeNetwork::default());
    Ok(Compared { whose, snapshot, over_budget, network, inet, bridge })
}

/// What the kernel has, with the interfaces of this network namespace.
fn in_force(
    args: &Verify,
    snapshot: Snapshot,
    over_budget: BTreeSet<ObjectKey>,
) -> Result<Compared> {
    let mut kernel = open()?;
    let features = kernel.probe()?;
    let mut pipeline = Pipeline::new(kernel, Options::default());
    let of = (&args.binding, args.input.mode.mode(), args.input.node());
    let node = Node::look(of, &features, &mut pipeline, &snapshot)?;
    let kernel = pipeline.sink();
    let name = scaffold::table();
    for other in kernel.tables()?.iter().filter(|other| other.name != name) {
        report::notice(format_args!("table {other} is of another version and not looked at"));
    }
    let bridge = TableId { family: TableFamily::Bridge, name: name.clone() };
    Ok(Compared {
        whose: "the kernel's table".to_owned(),
        snapshot,
        over_budget,
        network: node.network(),
        inet: live_or_none(kernel, &TableId { family: TableFamily::Inet, name })?,
        bridge: live(kernel, &bridge)?,
    })
}

/// The table in a pod's own namespace.
fn inside(args: &Verify, in_pod: InPod) -> Result<Compared> {
    let (place, id) = (in_pod.place.clone(), in_pod.table());
    let mut engine = Engine::at(place, Options { log: None, ..args.input.options(false) });
    let unseen = in_pod.unseen();
    let compiled = engine.update(&in_pod.snapshot, &unseen);
    report::lines(compiled.diagnostics.iter());
    let inet = compiled.ruleset.clone();
    let over_budget = engine.without_rules();
    let pod = &in_pod.pod;
    let (whose, network, inet) = match (args.kernel, &args.netns) {
        (false, _) => (format!("the compiled table {id} of pod {pod}"), unseen, inet),
        (true, None) => bail!("--kernel with --place=pod needs --netns FILE"),
        (true, Some(path)) => {
            let mut kernel = in_pod.enter(path)?;
            let inet = live_or_none(&mut kernel, &id)?;
            (format!("the kernel's table {id} of pod {pod}"), in_pod.look(path)?, inet)
        }
    };
    Ok(Compared { whose, snapshot: in_pod.snapshot, over_budget, network, inet, bridge: None })
}

/// A table of the kernel, or one that does nothing.
fn live_or_none(kernel: &mut Kernel, id: &TableId) -> Result<Ruleset> {
    Ok(live(kernel, id)?.unwrap_or_else(|| {
        report::notice(format_args!("there is no table {id}: every packet passes"));
        Ruleset::of(id.clone())
    }))
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
