//! `matrix`.

mod git;
mod select;
mod versions;

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};

use super::network::NetworkArg;
use crate::matrix::diff::{Diff, show};
use crate::matrix::judge::Judge;
use crate::matrix::names::printable;
use crate::matrix::sets::Sets;
use crate::matrix::{csv, dot, html, json, markdown, table, text};
use crate::progress::Progress;
use crate::{Cluster, InputArgs};
use select::Selection;

const EXAMPLES: &str = "\
Examples:
  nftpol matrix -f deploy/                     who reaches whom, by the files of a folder
  nftpol matrix -n shop                        ... in a namespace of the cluster
  nftpol matrix --between monitoring shop      ... between two namespaces or workloads
  nftpol matrix -f deploy/ -o html > who.html  ... as one page, to click and search
  nftpol matrix -f deploy/ -o dot | dot -Tsvg  ... as a drawing
  nftpol matrix --network storage/macvlan      ... on a further network of the pods

  nftpol matrix --diff main..HEAD -f deploy/   what a branch opens and closes (runs git)
  nftpol matrix --diff old/ new/               ... two folders
  nftpol matrix --diff cluster deploy/         ... what kubectl apply -f deploy/ would

Exit codes of --diff: 0 nothing changes, 1 something does (see --fail-on), 2 it cannot be told.";

/// The width where stdout is no terminal.
const WIDTH: usize = 120;

/// `nftpol matrix`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Matrix {
    #[command(flatten)]
    input: InputArgs,
    /// Which network.
    #[command(flatten)]
    network: NetworkArg,
    /// Form of the output.
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
    /// Columns of the terminal; below 60 the table is a list [default: those that it has].
    #[arg(long, value_name = "COLUMNS")]
    width: Option<usize>,
    /// Only the traffic between these two: a namespace, NAMESPACE/NAME, node/NAME or internet.
    #[arg(long, num_args = 2, value_names = ["A", "B"])]
    between: Option<Vec<String>>,
    /// Show pairs that nothing may pass between, too (dot, csv, json).
    #[arg(long)]
    denied: bool,
    /// What changes from one version to another: two files or folders, git revisions (A..B,
    /// REV:PATH, or REV with -f), or `cluster` and a folder. Manifests of -f that are no
    /// revision's are part of both.
    #[arg(long, num_args = 1..=2, value_names = ["A", "B"])]
    diff: Option<Vec<String>>,
    /// When --diff exits with 1.
    #[arg(long, value_enum, default_value_t, requires = "diff")]
    fail_on: FailOn,
}

/// `--output`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Output {
    /// A table that fits the terminal, or a list.
    #[default]
    Text,
    /// For programs.
    Json,
    /// A line for each pair.
    Csv,
    /// For a page or a comment.
    Md,
    /// For Graphviz.
    Dot,
    /// One page that needs no network.
    Html,
}

/// `--fail-on`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum FailOn {
    /// Something opens or closes.
    #[default]
    Change,
    /// Something opens.
    Opens,
    /// Never.
    Nothing,
}

impl Matrix {
    /// Answers.
    ///
    /// # Errors
    /// The input cannot be read, or has errors.
    pub fn run(&self) -> Result<ExitCode> {
        match &self.diff {
            Some(versions) => self.difference(versions),
            None => self.matrix(),
        }
    }

    fn matrix(&self) -> Result<ExitCode> {
        let cluster = self.network.of(self.input.cluster()?)?;
        let selection = Selection::new(self.between.as_deref(), cluster.focus.as_deref());
        let mut progress = Progress::new("judging pairs");
        let mut sets = Sets::default();
        let mut judge = Judge::new(&cluster.snapshot, &mut sets);
        let mut done = |done, all| progress.at(done, all);
        let mut matrix = table::Matrix::with(&cluster, &mut judge, sets, &mut done)?;
        drop(progress);
        selection.narrow(&mut matrix)?;
        let own = selection.namespaces();
        let text = match self.output {
            Output::Text => head(&cluster, "") + &text::text(&matrix, own, self.columns()),
            Output::Json => pretty(&json::json(&cluster, &matrix, self.denied))?,
            Output::Csv => csv::csv(&matrix, self.denied)?,
            Output::Md => head(&cluster, "\n") + &markdown::markdown(&matrix, own),
            Output::Dot => dot::dot(&matrix, own, self.denied),
            Output::Html => html::page(&cluster, &judge, &matrix)?,
        };
        print(&text, ExitCode::SUCCESS)
    }

    fn difference(&self, versions: &[String]) -> Result<ExitCode> {
        let versions = versions::read(&self.input, versions)?;
        let [before, after] = self.network.of_both(versions)?;
        let focus = after.focus.clone().or_else(|| before.focus.clone());
        let selection = Selection::new(self.between.as_deref(), focus.as_deref());
        let mut progress = Progress::new("comparing pairs");
        let mut diff = Diff::new(&before, &after, &mut |done, all| progress.at(done, all))?;
        drop(progress);
        selection.check(&diff.units)?;
        diff.retain(|from, to| selection.shows(from, to));
        let text = match self.output {
            Output::Text => head(&after, "") + &show::text(&diff),
            Output::Json => pretty(&show::json(&diff))?,
            Output::Md => head(&after, "\n") + &show::markdown(&diff),
            Output::Csv | Output::Dot | Output::Html => {
                bail!("--diff has the forms text, json and md (-o)")
            }
        };
        let fails = match self.fail_on {
            FailOn::Change => !diff.changes.is_empty(),
            FailOn::Opens => diff.opening() > 0,
            FailOn::Nothing => false,
        };
        print(&text, ExitCode::from(u8::from(fails)))
    }

    fn columns(&self) -> usize {
        let stdout = std::io::stdout();
        let of_terminal = || {
            let size = stdout.is_terminal().then(terminal_size::terminal_size).flatten();
            size.map_or(WIDTH, |(width, _)| usize::from(width.0))
        };
        self.width.unwrap_or_else(of_terminal)
    }
}

/// Which network it is about, if it is not the primary one.
fn head(cluster: &Cluster, after: &str) -> String {
    let network = cluster.network.as_ref();
    network.map_or_else(String::new, |network| {
        let line = format!("On network {}, by its MultiNetworkPolicies:", network.key);
        format!("{}\n{after}", printable(&line))
    })
}

fn pretty(value: &serde_json::Value) -> Result<String> {
    Ok(serde_json::to_string_pretty(value).context("write JSON")? + "\n")
}

/// Prints an answer. A reader that has seen enough (`| head`) is no error.
fn print(text: &str, code: ExitCode) -> Result<ExitCode> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(error).context("write the answer")
        }
        Ok(()) | Err(_) => Ok(code),
    }
}
