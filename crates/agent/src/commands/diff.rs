//! `nftpol diff`: what `apply` would change.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::process::ExitCode;

use agent::pipeline::{Difference, Pipeline, TableDifference};
use anyhow::{Result, bail};
use compiler::{Layout, Options, scaffold};
use nft::Kernel;
use policy::{Inside, Snapshot};
use ruleset::{Comment, Name, Ruleset, TableFamily};
use verify::{Change, VerifyError};

use super::in_pod::InPod;
use super::{open, options};
use crate::cli::Diff;
use crate::input::{self, Further};
use crate::node::Node;
use crate::{difference_text, difference_words};
use agent::report;

/// What is compared.
struct Compared {
    pipeline: Pipeline<Kernel>,
    /// What the tables are to enforce.
    snapshot: Snapshot,
    /// The addresses whose packets they judge.
    addresses: BTreeSet<IpAddr>,
    /// In which pod's namespace; `None`: on the node.
    inside: Option<Inside>,
}

/// Prints what opens and closes, and with `--rules` which rules differ; exit code 1 if
/// anything does, as `kubectl diff`.
///
/// # Errors
/// The manifests are refused, or the kernel or the interfaces cannot be read.
pub fn diff(args: &Diff) -> Result<ExitCode> {
    let further = Further::of(&args.place);
    let snapshot = input::snapshot(&args.input, false, args.pods.without_pods(), further)?;
    let compared = match InPod::of(&args.place, args.input.node(), &snapshot)? {
        Some(in_pod) => inside(args, in_pod)?,
        None => on_node(args, snapshot)?,
    };
    let Compared { mut pipeline, snapshot, addresses, inside } = compared;
    let engine = pipeline.compiled_by(&snapshot);
    let compiled = engine.compiled();
    report::lines(compiled.diagnostics.iter());
    let mut text = String::new();
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
            let addresses = addresses.iter().copied().chain(isolated(before));
            match changes([before, after], inside.as_ref(), addresses, &known) {
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
    if inside.is_none() {
        let ours = scaffold::table();
        for other in pipeline.sink().tables()?.iter().filter(|other| other.name != ours) {
            text += &format!("- table {other}  # of another version\n");
        }
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

/// The node's tables.
fn on_node(args: &Diff, snapshot: Snapshot) -> Result<Compared> {
    input::tell_of_further_networks(&snapshot);
    let mut kernel = open()?;
    let (options, features) = options(&mut kernel, &args.input)?;
    let mut pipeline = Pipeline::new(kernel, options);
    let node = args.input.node();
    Node::look((&args.binding, args.input.mode.mode(), node), &features, &mut pipeline, &snapshot)?;
    let pods = snapshot.pods.values().filter(|pod| pod.is_on(node));
    let addresses = pods.flat_map(|pod| &pod.addresses).copied().collect();
    Ok(Compared { pipeline, snapshot, addresses, inside: None })
}

/// The table in a pod's own namespace.
fn inside(args: &Diff, in_pod: InPod) -> Result<Compared> {
    let Some(path) = &args.netns else { bail!("--place=pod needs --netns FILE") };
    let mut kernel = in_pod.enter(path)?;
    let network = in_pod.look(path)?;
    // The pod agent's tables log what `apply` does not.
    let table = kernel.dump(&in_pod.table())?;
    let logs = table.is_some_and(|dump| logs(&dump.ruleset));
    let options = match logs {
        true => args.input.options(true),
        false => Options { log: None, ..args.input.options(false) },
    };
    let InPod { place, snapshot, pod, .. } = in_pod;
    let mut pipeline = Pipeline::at(place, kernel, options);
    let inside = network.inside.clone();
    pipeline.bind(network);
    let addresses = snapshot.pods.get(&pod).into_iter().flat_map(|pod| &pod.addresses);
    let addresses = addresses.copied().collect();
    Ok(Compared { pipeline, snapshot, addresses, inside })
}

fn logs(table: &Ruleset) -> bool {
    table.chains.values().flat_map(|chain| &chain.rules).any(|rule| rule.log.is_some())
}

fn changes(
    [before, after]: [&Ruleset; 2],
    inside: Option<&Inside>,
    addresses: impl Iterator<Item = IpAddr>,
    known: &BTreeSet<IpAddr>,
) -> Result<Vec<Change>, VerifyError> {
    match inside {
        Some(inside) => verify::changes_inside(before, after, inside, addresses, known),
        None => verify::changes(before, after, addresses, known),
    }
}

/// The addresses that a table isolates in a direction.
fn isolated(table: &Ruleset) -> BTreeSet<IpAddr> {
    let layout = Layout::of(table);
    Layout::sides().flat_map(|(direction, family)| layout.isolated(direction, family)).collect()
}
