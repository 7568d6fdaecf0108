//! Coverage-guided fuzzing on the stable toolchain.
//!
//! In: minutes. Out: a line a target (executions, coverage, corpus), the
//! corpus in `fuzz/corpus` as far as it covers more, an error on a crash. Inputs
//! that crashed in an earlier run count until they are read to the end.
//! Never: a nightly compiler. libFuzzer needs instrumented code only, and
//! `-C passes=sancov-module` makes it (rustc book, "Codegen Options").
//!
//! It uses libFuzzer instead of AFL++ for four reasons. It is one dependency that
//! cargo builds. It needs no change of the machine, while AFL++ wants another core
//! pattern and CPU governor. Its comparisons guide the search without a second
//! program. It minimises its own corpus.

use std::collections::BTreeSet;
use std::fs;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

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
/// How long reading one input again may take.
const REPLAY: Duration = Duration::from_secs(60);
/// How long finding the smallest inputs may take.
const MERGE: Duration = Duration::from_secs(600);
/// What one input may take, in seconds and in MiB.
const LIMITS: [&str; 2] = ["-timeout=10", "-rss_limit_mb=2048"];

/// Fuzzes all targets in parallel.
pub fn run(args: &[String]) -> Result<()> {
    let minutes = minutes(args)?;
    setup::packages_of_fuzzing()?;
    let cargo = Cargo::default().env("RUSTFLAGS", INSTRUMENT);
    let folder = cargo.target_folder()?.join("fuzz");
    build(&cargo, &folder)?;
    let corpus = cargo.workspace_folder()?.join("fuzz/corpus");
    let mut targets = Vec::new();
    for name in TARGETS {
        let target = Target::new(name, &folder, &corpus)?;
        forget_mended(&target.crashes, |input| target.reads(input))?;
        targets.push(target);
    }
    let mut runs = Vec::new();
    for target in &targets {
        runs.push((target, target.start(minutes)?));
    }
    let longest = Duration::from_secs(minutes * 60) + GRACE;
    let mut problems: Vec<String> =
        runs.into_iter().flat_map(|(target, child)| target.problems(child, longest)).collect();
    let kept = targets.iter().map(Target::keep);
    problems.extend(kept.filter_map(Result::err).map(|error| format!("{error:#}")));
    if problems.is_empty() {
        return Ok(());
    }
    bail!("{}", problems.join("\n  "))
}

/// How long to fuzz.
fn minutes(args: &[String]) -> Result<u64> {
    match args {
        [] => Ok(5),
        // 0 would be no limit to libFuzzer.
        [one] => match one.parse::<NonZero<u16>>() {
            Ok(minutes) => Ok(minutes.get().into()),
            Err(_) => bail!("`{one}` is no number of minutes from 1 to {}", u16::MAX),
        },
        [_, extra, ..] => bail!("unexpected argument `{extra}`"),
    }
}

/// Builds all targets. The dev profile: its checks of overflow and of debug
/// assertions are promises, too.
fn build(cargo: &Cargo, folder: &Path) -> Result<()> {
    cargo.run([
        "--config=profile.dev.opt-level=2",
        "build",
        "--package=fuzz",
        "--bins",
        "--features=libfuzzer",
        "--target",
        TRIPLE,
        "--target-dir",
        &folder.display().to_string(),
    ])
}

/// What is fuzzed.
struct Target {
    name: &'static str,
    program: PathBuf,
    /// The inputs in the repository.
    corpus: PathBuf,
    /// What all runs found.
    found: PathBuf,
    /// Inputs that crash.
    crashes: PathBuf,
    log: PathBuf,
}

impl Target {
    fn new(name: &'static str, folder: &Path, corpus: &Path) -> Result<Self> {
        let program = folder.join(TRIPLE).join("debug").join(name);
        let own = folder.join("runs").join(name);
        let (found, crashes, log) = (own.join("found"), own.join("crashes"), own.join("log"));
        let corpus = corpus.join(name);
        for one in [&corpus, &found, &crashes] {
            fs::create_dir_all(one).with_context(|| format!("cannot make {}", one.display()))?;
        }
        Ok(Self { name, program, corpus, found, crashes, log })
    }

    /// Whether it reads this input to the end.
    fn reads(&self, input: &Path) -> Result<bool> {
        let mut command = limited(&self.program, REPLAY);
        command.args(LIMITS).arg(input).stdout(Stdio::null()).stderr(Stdio::null());
        let status = command.status();
        Ok(status.with_context(|| format!("cannot start {}", self.name))?.success())
    }

    /// Begins to fuzz.
    fn start(&self, minutes: u64) -> Result<Child> {
        let mut command = Command::new(&self.program);
        command
            .arg(format!("-max_total_time={}", minutes * 60))
            .arg(format!("-max_len={INPUT_BYTES}"))
            .arg(format!("-artifact_prefix={}/", self.crashes.display()))
            .args(LIMITS)
            .arg("-print_final_stats=1");
        let words = self.corpus.with_file_name(format!("{}.words", self.name));
        if words.exists() {
            command.arg(format!("-dict={}", words.display()));
        }
        let log = fs::File::create(&self.log).context("cannot make a log")?;
        command.arg(&self.found).arg(&self.corpus).stderr(log);
        command.spawn().with_context(|| format!("cannot start {}", self.name))
    }

    /// Waits, prints a line, and says what went wrong.
    fn problems(&self, mut child: Child, longest: Duration) -> Vec<String> {
        let ended = ended(&mut child, longest);
        let ended = ended
            .with_context(|| format!("{} failed; see {}", self.name, self.log.display()))
            .and_then(|()| self.print());
        let mut problems: Vec<String> =
            ended.err().map(|error| format!("{error:#}")).into_iter().collect();
        match files(&self.crashes) {
            Ok(inputs) => problems.extend(inputs.iter().map(|(input, _)| self.again(input))),
            Err(error) => problems.push(format!("{error:#}")),
        }
        problems
    }

    /// Prints one line: what libFuzzer says at its end.
    fn print(&self) -> Result<()> {
        let log = fs::read(&self.log).context("cannot read the log")?;
        println!("{}: {}", self.name, final_statistics(&String::from_utf8_lossy(&log)));
        Ok(())
    }

    /// How to run an input again that crashed.
    fn again(&self, input: &Path) -> String {
        format!("an input crashes; repeat it with: {} {}", self.program.display(), input.display())
    }

    /// Copies the smallest inputs with the same total coverage into the repository.
    fn keep(&self) -> Result<()> {
        let merged = self.found.with_file_name("merged");
        let _ = fs::remove_dir_all(&merged);
        fs::create_dir_all(&merged)?;
        let mut command = limited(&self.program, MERGE);
        command.arg("-set_cover_merge=1").arg(&merged).arg(&self.corpus).arg(&self.found);
        let log = self.log.with_file_name("merge.log");
        command.stderr(fs::File::create(&log)?);
        finish(command).with_context(|| {
            let seconds = MERGE.as_secs();
            format!("{} cannot merge in {seconds} s; see {}", self.name, log.display())
        })?;
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

/// Removes inputs of earlier runs that are read to the end now.
fn forget_mended(crashes: &Path, reads: impl Fn(&Path) -> Result<bool>) -> Result<()> {
    for (input, _) in files(crashes)? {
        if reads(&input)? {
            fs::remove_file(&input)
                .with_context(|| format!("cannot remove {}", input.display()))?;
            eprintln!("fuzz: {} crashes no more", input.display());
        }
    }
    Ok(())
}

/// A program that is ended after some time, with all that it started
/// (timeout(1) of coreutils).
fn limited(program: &Path, time: Duration) -> Command {
    let mut command = Command::new("timeout");
    command.arg("--kill-after=5").arg(time.as_secs_f64().to_string()).arg(program);
    command
}

/// Waits for a program. An error when it does not end in time, and when it does
/// not exit with 0: nothing but this tells that the kernel ended it for want of
/// memory.
fn ended(child: &mut Child, longest: Duration) -> Result<()> {
    let start = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if start.elapsed() > longest {
            child.kill()?;
            child.wait()?;
            bail!("it does not end");
        }
        std::thread::sleep(Duration::from_millis(200));
    };
    ensure!(status.success(), "{status}");
    Ok(())
}

/// The files of a folder with their sizes, the smallest first.
fn files(folder: &Path) -> Result<Vec<(PathBuf, u64)>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("no {}", folder.display()))? {
        let entry = entry?;
        files.push((entry.path(), entry.metadata()?.len()));
    }
    files.sort_by(|one, other| (one.1, &one.0).cmp(&(other.1, &other.0)));
    Ok(files)
}

/// libFuzzer's final statistics in one line.
fn final_statistics(log: &str) -> String {
    let executions =
        log.lines().find_map(|line| line.strip_prefix("stat::number_of_executed_units: "));
    // `#123 NEW    cov: 45 ft: 67 corp: 8/90b lim: ...`
    let last = log.lines().rev().find_map(|line| Some(&line[line.find("cov: ")?..]));
    let coverage = last.and_then(|line| line.split(" exec/s").next()).unwrap_or("no coverage");
    let coverage = coverage.split(" lim:").next().unwrap_or(coverage);
    format!("{} executions, {coverage}", executions.unwrap_or("no").trim())
}

#[cfg(test)]
mod tests;
