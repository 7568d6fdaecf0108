//! Coverage-guided fuzzing on the stable toolchain.
//!
//! Prints one line per target (executions, coverage, corpus). Adds inputs that
//! cover more to `fuzz/corpus`, and fails on a crash.
//! Never: a nightly compiler. libFuzzer needs only instrumented code, and `-C
//! passes=sancov-module` makes that (rustc book, "Codegen Options").
//!
//! It uses libFuzzer instead of AFL++ for four reasons. It is one dependency that
//! cargo builds. It needs no change of the machine, while AFL++ wants another core
//! pattern and CPU governor. Its comparisons guide the search without a second
//! program. It minimises its own corpus.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::cargo::{Cargo, finish};
use crate::setup;

/// The targets of `fuzz/src/lib.rs`.
const TARGETS: [&str; 3] = ["manifests", "watch", "netlink"];
/// The flags that cargo-fuzz gives rustc without a sanitizer.
const INSTRUMENT: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
     -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
     -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares \
     -Ccodegen-units=1";
/// With a target triple, cargo instruments only what runs on the machine, not build
/// scripts.
const TRIPLE: &str = "x86_64-unknown-linux-gnu";
/// The largest input, in bytes.
const INPUT_BYTES: u32 = 4096;
/// How many bytes of the repository one target's corpus may take. The corpus test
/// checks the sum.
const CORPUS_BYTES: u64 = 64 << 10;
/// How much longer than given a run may take.
const GRACE: Duration = Duration::from_secs(60);

/// Fuzzes all targets in parallel.
pub fn run(args: &[String]) -> Result<()> {
    let minutes = match args {
        [] => 5,
        [one] => one.parse().with_context(|| format!("`{one}` is not a number of minutes"))?,
        [_, extra, ..] => bail!("unexpected argument `{extra}`"),
    };
    setup::packages_of_fuzzing()?;
    let cargo = Cargo::default().env("RUSTFLAGS", INSTRUMENT);
    let folder = cargo.target_folder()?.join("fuzz");
    let build = folder.display().to_string();
    // The dev profile: its overflow checks and debug assertions are promises, too.
    cargo.run([
        "--config=profile.dev.opt-level=2",
        "build",
        "--package=fuzz",
        "--bins",
        "--features=libfuzzer",
        "--target",
        TRIPLE,
        "--target-dir",
        &build,
    ])?;
    let corpus = cargo.workspace_folder()?.join("fuzz/corpus");
    let mut runs = Vec::new();
    for name in TARGETS {
        let program = folder.join(TRIPLE).join("debug").join(name);
        runs.push(Run::start(name, program, &folder, corpus.join(name), minutes)?);
    }
    let mut crashes = Vec::new();
    for run in &mut runs {
        run.wait(Duration::from_secs(minutes * 60) + GRACE)?;
        println!("{}", run.summary()?);
        crashes.extend(run.crashes()?);
    }
    for run in &runs {
        run.keep()?;
    }
    if crashes.is_empty() {
        return Ok(());
    }
    bail!("these inputs crash; run again by:\n  {}", crashes.join("\n  "))
}

/// A target that is being fuzzed.
struct Run {
    name: &'static str,
    program: PathBuf,
    /// The inputs in the repository.
    corpus: PathBuf,
    /// The inputs that this run found, its log, and inputs that crash.
    found: PathBuf,
    log: PathBuf,
    artifacts: PathBuf,
    child: Child,
}

impl Run {
    fn start(
        name: &'static str,
        program: PathBuf,
        folder: &Path,
        corpus: PathBuf,
        minutes: u64,
    ) -> Result<Self> {
        let own = folder.join("runs").join(name);
        let (found, artifacts, log) = (own.join("found"), own.join("crashes"), own.join("log"));
        for one in [&corpus, &found, &artifacts] {
            fs::create_dir_all(one).with_context(|| format!("cannot make {}", one.display()))?;
        }
        let output = fs::File::create(&log).context("cannot make a log")?;
        let mut command = Command::new(&program);
        command
            .arg(format!("-max_total_time={}", minutes * 60))
            .arg(format!("-max_len={INPUT_BYTES}"))
            .arg(format!("-artifact_prefix={}/", artifacts.display()))
            .args(["-timeout=10", "-rss_limit_mb=2048", "-print_final_stats=1"]);
        let words = corpus.with_file_name(format!("{name}.words"));
        if words.exists() {
            command.arg(format!("-dict={}", words.display()));
        }
        command.arg(&found).arg(&corpus).stderr(output);
        let child = command.spawn().with_context(|| format!("cannot start {name}"))?;
        Ok(Self { name, program, corpus, found, log, artifacts, child })
    }

    fn wait(&mut self, longest: Duration) -> Result<()> {
        let start = Instant::now();
        while self.child.try_wait()?.is_none() {
            if start.elapsed() > longest {
                self.child.kill()?;
                self.child.wait()?;
                bail!("{} does not end; see {}", self.name, self.log.display());
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        Ok(())
    }

    /// One line with what libFuzzer prints at its end.
    fn summary(&self) -> Result<String> {
        let log = fs::read(&self.log).context("cannot read the log")?;
        Ok(format!("{}: {}", self.name, said(&String::from_utf8_lossy(&log))))
    }

    /// The commands that run each crashing input again.
    fn crashes(&self) -> Result<Vec<String>> {
        let files = files(&self.artifacts)?;
        let again =
            |(path, _): &(PathBuf, u64)| format!("{} {}", self.program.display(), path.display());
        Ok(files.iter().map(again).collect())
    }

    /// Copies the smallest inputs with the same total coverage into the repository.
    fn keep(&self) -> Result<()> {
        let merged = self.found.with_file_name("merged");
        let _ = fs::remove_dir_all(&merged);
        fs::create_dir_all(&merged)?;
        let mut command = Command::new(&self.program);
        command.arg("-set_cover_merge=1").arg(&merged).arg(&self.corpus).arg(&self.found);
        command.stderr(fs::File::create(self.log.with_file_name("merge.log"))?);
        finish(command)?;
        let mut room = CORPUS_BYTES;
        let mut kept = BTreeSet::new();
        for (path, bytes) in files(&merged)? {
            room = room.saturating_sub(bytes);
            if room > 0 {
                let name = path.file_name().context("an input without a name")?.to_owned();
                fs::copy(&path, self.corpus.join(&name))?;
                kept.insert(name);
            }
        }
        for (path, _) in files(&self.corpus)? {
            if !path.file_name().is_some_and(|name| kept.contains(name)) {
                fs::remove_file(&path)?;
            }
        }
        println!("{}: {} inputs kept", self.name, kept.len());
        Ok(())
    }
}

/// The files of a folder with their sizes, smallest first.
fn files(folder: &Path) -> Result<Vec<(PathBuf, u64)>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("no {}", folder.display()))? {
        let entry = entry?;
        files.push((entry.path(), entry.metadata()?.len()));
    }
    files.sort_by(|one, other| (one.1, &one.0).cmp(&(other.1, &other.0)));
    Ok(files)
}

/// Executions and coverage from libFuzzer's output.
fn said(log: &str) -> String {
    let executions =
        log.lines().find_map(|line| line.strip_prefix("stat::number_of_executed_units: "));
    // `#123 NEW    cov: 45 ft: 67 corp: 8/90b lim: ...`
    let last = log.lines().rev().find_map(|line| Some(&line[line.find("cov: ")?..]));
    let coverage = last.and_then(|line| line.split(" exec/s").next()).unwrap_or("no coverage");
    let coverage = coverage.split(" lim:").next().unwrap_or(coverage);
    format!("{} executions, {coverage}", executions.unwrap_or("no").trim())
}

#[cfg(test)]
mod tests {
    use super::said;

    #[test]
    fn the_last_coverage_counts() {
        let log = "#2\tINITED cov: 3 ft: 4 corp: 1/1b exec/s: 0 rss: 30Mb\n\
                   #9\tNEW    cov: 12 ft: 13 corp: 2/9b lim: 4 exec/s: 0 rss: 30Mb L: 2/2\n\
                   Done 9 runs in 1 second(s)\nstat::number_of_executed_units: 9\n";
        assert_eq!(said(log), "9 executions, cov: 12 ft: 13 corp: 2/9b");
        assert_eq!(said(""), "no executions, no coverage");
    }
}
