//! `nftpol apply`: enforces files, once or as long as it runs.

use std::process::ExitCode;
use std::thread::sleep;
use std::time::{Duration, Instant};

use agent::pipeline::{Check, Pipeline};
use anyhow::{Result, bail};
use nft::Kernel;
use policy::Snapshot;
use watcher::files::Source;

use super::{open, options};
use crate::bridge::Bridges;
use crate::cli::Apply;
use crate::follow::Follower;
use crate::input;
use crate::lock::Lock;
use agent::{other_tables, report};

/// How often `--watch` looks at the files' metadata and the kernel's
/// generation. Less often with many files.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// At most one part in this many of the time is spent on looking.
const LOOK_SHARE: u32 = 50;
/// How long `--watch` waits after a failure.
const RETRY_EVERY: Duration = Duration::from_secs(1);

/// Enforces the manifests; returns once the kernel has committed.
///
/// # Errors
/// The manifests are refused, or the kernel refuses the change. If it refuses
/// single policies, all others are enforced first.
pub fn apply(args: &Apply) -> Result<ExitCode> {
    let sources = args.input.sources();
    if args.watch && sources.iter().any(|source| matches!(source, Source::Stdin)) {
        bail!("--watch cannot follow standard input; give files or folders");
    }
    let _lock = Lock::acquire()?;
    let files = Follower::new(sources);
    let snapshot = input::snapshot(&args.input, false)?;
    let mut kernel = open()?;
    let options = options(&mut kernel, &args.input)?;
    let mut bridges = Bridges::default();
    bridges.ensure_seen();
    let mut pipeline = Pipeline::new(kernel, options);
    let outcome = pipeline.sync(&snapshot)?;
    let printed = report::outcome(&outcome);
    for table in other_tables::remove(pipeline.sink())? {
        report::notice(format_args!("removed table inet {table} of another version"));
    }
    if args.watch {
        watch(args, &mut pipeline, snapshot, files, bridges);
    }
    printed?;
    match outcome.set_aside.len() {
        0 => Ok(ExitCode::SUCCESS),
        count => bail!("the kernel refused {count} of the policies; all else is enforced"),
    }
}

/// Follows files and kernel until the process ends. A failure is reported and
/// tried again; meanwhile the kernel keeps its rules.
fn watch(
    args: &Apply,
    pipeline: &mut Pipeline<Kernel>,
    mut snapshot: Snapshot,
    mut files: Follower,
    mut bridges: Bridges,
) -> ! {
    let mut failed: Option<String> = None;
    let mut looked = Duration::ZERO;
    loop {
        sleep(LOOK_EVERY.max(looked * LOOK_SHARE));
        let start = Instant::now();
        let edited = files.changed();
        looked = start.elapsed();
        bridges.ensure_seen();
        if edited {
            let read = input::snapshot(&args.input, true);
            if !files.is_current() {
                continue;
            }
            match read {
                Ok(read) => snapshot.follow(&read),
                Err(error) => {
                    report::error(&error);
                    continue;
                }
            }
        } else if failed.is_none() {
            match pipeline.check() {
                Ok(Check::Nothing) => continue,
                Ok(Check::ReadWhenAffordable) => pipeline.distrust(),
                Ok(Check::RetryRefused | Check::Restore) | Err(_) => {}
            }
        }
        match pipeline.sync(&snapshot) {
            Ok(outcome) => {
                let restored = outcome.batches > 0 && !edited && failed.is_none();
                if restored {
                    report::notice("others changed table inet nftpol; it is restored");
                }
                if restored || edited || failed.is_some() {
                    // The reader may be gone; enforcement continues.
                    let _ = report::outcome(&outcome);
                }
                failed = None;
            }
            Err(error) => {
                let error = anyhow::Error::new(error);
                let text = format!("{error:#}");
                if failed.as_ref() != Some(&text) {
                    report::error(&error);
                }
                failed = Some(text);
                sleep(RETRY_EVERY);
            }
        }
    }
}
