//! `check`.

use std::collections::BTreeSet;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::{env, fs, io};

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use policy::Severity;

use crate::check::checks::{self, CHECKS};
use crate::check::fix::{self, Wanted};
use crate::check::output::{self, Colour};
use crate::check::{self, Finding, Level};
use crate::expect::{self, Judged};
use crate::{Cluster, InputArgs};

/// How often repaired files are read again: a repair can show another mistake.
const PASSES: usize = 8;

const EXAMPLES: &str = "\
Examples:
  nftpol check -f policies/                       what is wrong, and what is surely not meant
  helm template . | nftpol check -f -             of a chart
  nftpol check -f policies/ -f cluster.yaml       more is known: pods, Services, namespaces
  nftpol check -f policies/ --with-cluster        ... from the cluster
  nftpol check -n shop                            what is in the cluster
  nftpol check -f policies/ --fix                 repair what can be repaired and opens nothing
  nftpol check --explain two-peers                what a check looks for, and why

Exit codes: 0 nothing, 1 errors (or what --fail-on names), 2 it cannot be told.
Without pods in the input, the checks of whom policies select are left out.";

/// `nftpol check`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Check {
    /// What to check.
    #[command(flatten)]
    input: InputArgs,
    /// Form of the output.
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
    /// The least level that makes the exit code 1.
    #[arg(long, value_enum, value_name = "LEVEL", default_value_t)]
    fail_on: FailOn,
    /// Repair files: of these checks, or of all whose repair opens nothing.
    #[arg(long, value_name = "ID", num_args = 0.., value_delimiter = ',')]
    fix: Option<Vec<String>>,
    /// Judge the lines of a file, too: what has to pass and what must not, such as
    /// "allow monitoring/prometheus -> shop/cart:9090" or "deny internet -> shop/db".
    #[arg(long, value_name = "FILE")]
    expect: Option<PathBuf>,
    /// Print the page of a check and do nothing else; `all` lists them.
    #[arg(long, value_name = "ID", exclusive = true)]
    explain: Option<String>,
    /// Whether the output has colours.
    #[arg(long, value_enum, value_name = "WHEN", default_value_t)]
    color: When,
}

/// `--output`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Output {
    /// For people.
    #[default]
    Text,
    /// One JSON object.
    Json,
    /// For the code scanning of forges.
    Sarif,
    /// Annotations of a GitHub workflow.
    Github,
}

/// `--fail-on`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum FailOn {
    /// Errors.
    #[default]
    Error,
    /// Errors and warnings.
    Warning,
    /// Anything.
    Note,
}

/// `--color`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum When {
    /// On a terminal, unless $NO_COLOR is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

impl Check {
    /// Prints the findings.
    ///
    /// # Errors
    /// The input cannot be read.
    pub fn run(&self) -> Result<ExitCode> {
        if let Some(id) = &self.explain {
            return explain(id);
        }
        let wanted = self.wanted()?;
        let mut cluster = self.input.read()?;
        let mut findings = check::check(&cluster);
        if let Some(wanted) = wanted {
            (cluster, findings) = self.repaired(&wanted, cluster, findings)?;
        }
        let judged = self.judged(&mut cluster, &mut findings)?;
        for notice in &cluster.notices {
            eprintln!("notice: {notice}");
        }
        let text = match self.output {
            Output::Text => {
                output::text(&cluster, &findings, self.colour())
                    + &output::summary(&cluster, &findings)
                    + &judged.as_ref().map(judged_line).unwrap_or_default()
            }
            Output::Json => output::json(&findings),
            Output::Sarif => output::sarif(&findings),
            Output::Github => output::github(&findings),
        };
        print(&text)?;
        let least = match self.fail_on {
            FailOn::Error => Level::Error,
            FailOn::Warning => Level::Warning,
            FailOn::Note => Level::Note,
        };
        let fails = findings.iter().any(|finding| finding.level >= least);
        if judged.is_some_and(|judged| !judged.unclear.is_empty()) {
            bail!("some lines of the expectations cannot be judged");
        }
        Ok(ExitCode::from(u8::from(fails)))
    }

    /// Judges the expectations. Those that fail are findings.
    fn judged(&self, cluster: &mut Cluster, findings: &mut Vec<Finding>) -> Result<Option<Judged>> {
        let Some(path) = &self.expect else { return Ok(None) };
        let file = path.display().to_string();
        let text = fs::read_to_string(path).with_context(|| format!("read {file}"))?;
        if cluster.findings.iter().any(|one| one.severity == Severity::Error) {
            bail!("the input has errors, so {file} cannot be judged; check without --expect first");
        }
        let judged = expect::judge(cluster, &file, &text);
        cluster.places.note_text(file, text);
        findings.extend(judged.failed.iter().cloned());
        judged.unclear.iter().for_each(|line| eprintln!("{line}"));
        Ok(Some(judged))
    }

    fn wanted(&self) -> Result<Option<Wanted>> {
        let Some(ids) = &self.fix else { return Ok(None) };
        if self.input.filenames.is_empty() {
            bail!("--fix repairs files; name them with -f");
        }
        for id in ids {
            known(id)?;
        }
        let all: BTreeSet<String> = ids.iter().cloned().collect();
        Ok(Some(if all.is_empty() { Wanted::Harmless } else { Wanted::Of(all) }))
    }

    /// Repairs files and reads them again.
    fn repaired(
        &self,
        wanted: &Wanted,
        mut cluster: Cluster,
        mut findings: Vec<Finding>,
    ) -> Result<(Cluster, Vec<Finding>)> {
        let reads_stdin = self.input.filenames.iter().any(|one| one.as_os_str() == "-");
        for pass in 1.. {
            let repaired = fix::repair(&cluster, &findings, wanted);
            for (file, text) in &repaired.texts {
                replace(file, text).with_context(|| format!("write {file}"))?;
            }
            repaired.done.iter().for_each(|line| eprintln!("fixed: {line}"));
            if repaired.texts.is_empty() || reads_stdin || pass == PASSES {
                repaired.left.iter().for_each(|line| eprintln!("not fixed: {line}"));
                break;
            }
            cluster = self.input.read()?;
            findings = check::check(&cluster);
        }
        Ok((cluster, findings))
    }

    fn colour(&self) -> Colour {
        let wanted = match self.color {
            When::Always => true,
            When::Never => false,
            // https://no-color.org: set, and not empty.
            When::Auto => {
                io::stdout().is_terminal() && env::var_os("NO_COLOR").is_none_or(|it| it.is_empty())
            }
        };
        if wanted { Colour::Yes } else { Colour::No }
    }
}

/// Puts a text in place of a file's, or leaves the file as it is.
fn replace(file: &str, text: &str) -> io::Result<()> {
    // A link stays one.
    let path = fs::canonicalize(file)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let beside = path.with_file_name(format!(".{name}.nftpol"));
    let written = fs::write(&beside, text)
        .and_then(|()| fs::set_permissions(&beside, fs::metadata(&path)?.permissions()))
        .and_then(|()| fs::rename(&beside, &path));
    if written.is_err() {
        let _ = fs::remove_file(&beside);
    }
    written
}

fn judged_line(judged: &Judged) -> String {
    format!("{} of {} expectations hold\n", judged.held, judged.all)
}

fn explain(id: &str) -> Result<ExitCode> {
    if id == "all" {
        let lines = CHECKS.iter().map(|one| format!("{:24} {}\n", one.id, one.summary));
        print(&lines.collect::<String>())?;
    } else {
        print(known(id)?.page)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn known(id: &str) -> Result<&'static check::Check> {
    checks::by_id(id).with_context(|| {
        let all = CHECKS.iter().map(|check| check.id);
        match watcher::suggest(id, all) {
            Some(meant) => format!("there is no check {id:?}; did you mean {meant}?"),
            None => format!("there is no check {id:?}; --explain all lists them"),
        }
    })
}

/// Prints to standard output. A reader that has what it wanted is no error.
fn print(text: &str) -> Result<()> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result.context("write to standard output"),
    }
}
