//! Runs Kubernetes' own NetworkPolicy tests against nftpol, one network after
//! another.
//!
//! Prints a line for each spec on stderr and a table on stdout, and writes
//! docs/conformance.md on request. The exit code is 1 if a spec failed. Every spec
//! that is left out has its reason, and every cluster is this program's own.

mod arguments;
mod page;
mod record;
mod table;

use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use arguments::{Arguments, Selection};
use kubebed::kubernetes::{Kubernetes, Network, Options};
use kubebed::upstream::{self, Outcome, Spec, Verdict, cells::Cells, choice};
use record::{Record, Versions};

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match run(&words) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whether all specs passed.
fn run(words: &[String]) -> Result<bool> {
    let arguments = Arguments::read(words)?;
    if arguments.help {
        print!("{}", arguments::USAGE);
        return Ok(true);
    }
    let specs = chosen(&arguments.which)?;
    if arguments.list {
        for spec in &specs {
            let why = choice::obstacle(spec).map(|why| format!("   NOT RUN: {why}"));
            println!("{}{}", spec.name, why.unwrap_or_default());
        }
        return Ok(true);
    }
    let mut records = Vec::new();
    for options in &arguments.clusters {
        records.push(on(options, &specs, &arguments)?);
    }
    print!("{}", table::of(&records));
    if let Some(to) = &arguments.write {
        write(to, &records)?;
    }
    Ok(records.iter().all(|record| record.failed() == 0))
}

fn chosen(which: &Selection) -> Result<Vec<Spec>> {
    match which {
        Selection::All => upstream::list(None),
        Selection::Focus(focus) => upstream::list(Some(focus)),
        Selection::Dozen => choice::dozen(&upstream::list(None)?),
        Selection::Named(names) => {
            let all = upstream::list(None)?;
            let named = names.iter().map(|name| {
                let mut found = all.iter().filter(|spec| spec.name.contains(name));
                match (found.next(), found.next()) {
                    (Some(spec), None) => Ok(spec.clone()),
                    (None, _) => bail!("no spec has `{name}` in its name; --list shows them all"),
                    _ => bail!("several specs have `{name}` in their names: take more of it"),
                }
            });
            named.collect()
        }
    }
}

/// Runs the specs on one cluster, and takes the cluster down.
fn on(options: &Options, specs: &[Spec], arguments: &Arguments) -> Result<Record> {
    let start = Instant::now();
    let network = options.network_name();
    let say = |line: &str| {
        eprintln!("conformance: {network}: {:5.1} s  {line}", start.elapsed().as_secs_f32());
    };
    say(&options.to_string());
    let kubernetes = Kubernetes::up(options.clone(), &say)?;
    let versions = Versions::of(&kubernetes)?;
    if arguments.none {
        say("nothing enforces policies");
    } else {
        kubernetes.deploy()?;
        say("nftpol is ready on every node");
    }
    let (runnable, mut outcomes) = possible(specs);
    for outcome in &outcomes {
        if let Verdict::NotRun(why) = &outcome.verdict {
            say(&format!("NOT RUN: {}: {why}", outcome.spec.name));
        }
    }
    let (count, done) = (runnable.len(), AtomicUsize::new(0));
    let tell = |outcome: &Outcome| {
        let number = done.fetch_add(1, Ordering::Relaxed) + 1;
        say(&format!("{number:2}/{count} {}", table::line(outcome)));
    };
    let begun = Instant::now();
    let specs = || upstream::run(&kubernetes, &runnable, arguments.at_once, &tell);
    // Upstream asks for pods by their Services.
    outcomes.extend(if options.network == Network::Macvlan {
        kubernetes.with_services_in_pods(specs)?
    } else {
        specs()?
    });
    let time = begun.elapsed();
    outcomes.sort_by(|one, other| one.spec.name.cmp(&other.spec.name));
    Record::new(&kubernetes, versions, outcomes, time)
}

/// The specs that this kernel can run, and an outcome for each of the others.
fn possible(specs: &[Spec]) -> (Vec<Spec>, Vec<Outcome>) {
    let (mut runnable, mut others) = (Vec::new(), Vec::new());
    for spec in specs.iter().cloned() {
        match choice::obstacle(&spec) {
            None => runnable.push(spec),
            Some(why) => others.push(Outcome {
                spec,
                verdict: Verdict::NotRun(why),
                time: Duration::ZERO,
                cells: Cells::default(),
            }),
        }
    }
    (runnable, others)
}

/// Writes the page from these records. For other networks it uses the last written
/// records of the same versions.
fn write(to: &Path, records: &[Record]) -> Result<()> {
    let Some(last) = records.last() else { return Ok(()) };
    records.iter().try_for_each(Record::keep)?;
    let page = page::of(&Record::kept(&last.versions)?);
    std::fs::write(to, page).with_context(|| format!("write {}", to.display()))?;
    eprintln!("conformance: {} written", to.display());
    Ok(())
}
