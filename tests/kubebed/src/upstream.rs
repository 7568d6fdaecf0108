//! Runs Kubernetes' own tests of NetworkPolicy (`test/e2e`) against a cluster.
//!
//! Returns how each spec ended, how long it took, and every wrong answer on the
//! way, including those that upstream forgives.
//! Never: a result that is read from terminal text, or a spec that is left out
//! silently.
//!
//! Each spec is a separate process. If one hangs or dies, only that spec fails.
//! Specs run in parallel without Ginkgo's server. This costs two seconds of CPU
//! time per spec: the program lists all of upstream's 7,600 specs before it runs
//! one.

pub mod cells;
pub mod choice;
mod fleet;
mod report;

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use netbed::program;
use samples::scratch::Folder;

use crate::apiserver;
use cells::Cells;
pub use fleet::run;

/// The program, by its name in upstream's own releases.
const PROGRAM: &str = "e2e.test";
/// Ginkgo's name for the program's one suite. The text of every spec begins with
/// it.
const GINKGO_SUITE: &str = "Kubernetes e2e suite";
/// The Kubernetes group that owns the specs. Their names begin with it.
const GROUP: &str = "[sig-network] ";

/// One spec.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spec {
    /// The outermost container without upstream's group: `Netpol [LinuxOnly]`.
    pub suite: String,
    /// All its texts, joined as Ginkgo joins them, without upstream's group.
    pub name: String,
    /// `Feature:NetworkPolicy` and similar labels. The name has them in brackets.
    pub labels: Vec<String>,
    /// Whether no other spec may run at the same time.
    pub serial: bool,
}

impl Spec {
    /// The name for people, without the suite's text and the labels.
    pub fn short(&self) -> &str {
        let name = self.name.strip_prefix(&self.suite).unwrap_or(&self.name);
        let name = name.trim_start().trim_end_matches(" [Feature:NetworkPolicy]");
        name.split_once(" should ").map_or(name, |(_, rest)| rest).trim_start_matches("should ")
    }
}

/// How a spec ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Upstream accepts it.
    Passed,
    /// Upstream does not, with its message.
    Failed(String),
    /// It was not run, or gave up before it tried anything, with the reason.
    NotRun(String),
}

/// The result of a spec.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Which spec.
    pub spec: Spec,
    /// How it ended.
    pub verdict: Verdict,
    /// How long it took, without the start of its program.
    pub time: Duration,
    /// What it saw of the pairs of pods.
    pub cells: Cells,
}

/// All NetworkPolicy specs of the built program, by name. With a focus, a regular
/// expression of Go, only those that also match it.
///
/// # Errors
/// When it is not built (`cargo xtask conformance` builds it) or lists none.
pub fn list(focus: Option<&str>) -> Result<Vec<Spec>> {
    let suites = choice::SUITES.join("|");
    let mut specs = listed(&suites)?;
    if let Some(focus) = focus {
        let met = listed(focus)?;
        specs.retain(|spec| met.contains(spec));
    }
    ensure!(!specs.is_empty(), "{PROGRAM} has no spec of {suites} {}", focus.unwrap_or_default());
    specs.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(specs)
}

fn listed(focus: &str) -> Result<Vec<Spec>> {
    let folder = Folder::new("specs")?;
    let to = folder.path().join("report.json");
    let mut command = Command::new(apiserver::program(PROGRAM)?);
    command.args(["--provider=local", "--ginkgo.dry-run", "--ginkgo.no-color"]);
    command.arg(format!("--ginkgo.focus={focus}"));
    command.arg(format!("--ginkgo.json-report={}", to.display())).current_dir(folder.path());
    program::finish(command, "")?.success().context("list upstream's specs")?;
    report::specs(&to)
}
