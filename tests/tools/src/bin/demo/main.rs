//! The demo: `nftpol` enforces realistic policies on a node with nine pods. It shows
//! who reaches whom before and after each policy.
//!
//! Takes `--keep`, `--down` or nothing. The policies are in `tests/fixtures`. The
//! exit code is 1 if a connection contradicts the specification. The demo changes
//! nothing outside its own network namespaces.

mod draw;
mod kept;
mod serve;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use netbed::probe::{Flow, Knock, Prober, Seen};
use netbed::program;
use netbed::testbed::Testbed;
use netbed::verdict;
use samples::{fixtures, objects};

/// The prefix of the demo's namespaces.
const PREFIX: &str = "npd";
/// The ports on which the pods listen.
const PORTS: [u16; 2] = [80, 443];
const NODE: &str = "node-1";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match arguments[..] {
        [] => run(false),
        ["--keep"] => run(true),
        ["--down"] => kept::down().map(|count| println!("removed {count} namespaces")),
        [serve::FLAG, name] => serve::serve(name),
        _ => Err(anyhow::anyhow!("usage: demo [--keep|--down]")),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(keep: bool) -> Result<()> {
    let started = Instant::now();
    program::path()?;
    let left = kept::down()?;
    if left > 0 {
        println!("removed {left} namespaces of an earlier demo");
    }
    let mut testbed = Testbed::named(fixtures::demo(NODE), PREFIX)?;
    draw::legend(testbed.spec());
    let total = enforce_each(&testbed)?;
    println!(
        "{} connections tried: {} passed, {} refused, each as the specification says; {:.1} s",
        total.passed + total.refused,
        total.passed,
        total.refused,
        started.elapsed().as_secs_f64()
    );
    if keep {
        testbed.keep();
        kept::explain(&testbed)?;
    }
    Ok(())
}

/// Applies each policy in place of the one before.
fn enforce_each(testbed: &Testbed) -> Result<verdict::Counts> {
    let knocks = PORTS.map(Knock::Tcp);
    let prober = Prober::new(testbed, &knocks)?;
    let flows = Flow::all(testbed, &knocks);
    prober.settle(&flows)?;
    let mut before = prober.run(&flows)?;
    let mut total = judged(testbed, "", &flows, &before)?;
    for path in policies()? {
        let text =
            std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        let started = Instant::now();
        apply(testbed, &path)?;
        let took = started.elapsed();
        let after = prober.run(&flows)?;
        draw::title(&path, &text, took);
        draw::side_by_side(testbed, &flows, &before, &after);
        let counts = judged(testbed, &text, &flows, &after)?;
        total.passed += counts.passed;
        total.refused += counts.refused;
        before = after;
    }
    Ok(total)
}

fn judged(
    testbed: &Testbed,
    policies: &str,
    flows: &[Flow],
    seen: &[Seen],
) -> Result<verdict::Counts> {
    let snapshot = objects::snapshot(testbed.spec(), policies)?;
    verdict::check(testbed, &verdict::judge(testbed, &snapshot, flows, seen)?)
}

fn apply(testbed: &Testbed, policies: &Path) -> Result<()> {
    let node = &testbed.endpoint(NODE)?.namespace;
    let path = policies.to_str().context("a path that is not UTF-8")?;
    let arguments = ["apply", "-f", path, "-f", "-", "--node", NODE];
    program::run(node, &arguments, &testbed.spec().manifests())?.success()?;
    Ok(())
}

/// The policies, sorted by name.
fn policies() -> Result<Vec<PathBuf>> {
    let directory = fixtures::directory("policies");
    let mut paths = Vec::new();
    for entry in
        std::fs::read_dir(&directory).with_context(|| format!("read {}", directory.display()))?
    {
        paths.push(entry?.path());
    }
    paths.sort();
    ensure!(!paths.is_empty(), "no policies in {}", directory.display());
    if paths.iter().any(|path| path.extension().is_none_or(|extension| extension != "yaml")) {
        bail!("other files than policies in {}", directory.display());
    }
    Ok(paths)
}
