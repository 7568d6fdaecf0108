//! `nftpol apply`: enforces files, once or as long as it runs.

use std::process::ExitCode;
use std::thread::sleep;
use std::time::{Duration, Instant};

use agent::enforcer::{READ_SHARE, Repairs};
use agent::other_enforcers::{Found, Legacy, Program};
use agent::pipeline::{Check, Pipeline, TableOutcome};
use anyhow::{Result, bail};
use nft::{ChainOfOthers, Kernel};
use policy::{Mode, Modes, NodeNetwork, Snapshot, UnknownPods};
use watcher::files::Source;

use super::apply_inside::apply_inside;
use super::{open, options};
use crate::bridge::Bridges;
use crate::cli::Apply;
use crate::follow::Follower;
use crate::input::{self, Further};
use crate::lock::Lock;
use crate::node::Node;
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
/// The manifests are refused, or the kernel keeps refusing the change. If it
/// refuses single policies, all others are enforced first.
pub fn apply(args: &Apply) -> Result<ExitCode> {
    if let Some(code) = apply_inside(args)? {
        return Ok(code);
    }
    let sources = args.input.sources();
    if args.watch && sources.iter().any(|source| matches!(source, Source::Stdin)) {
        bail!("--watch cannot follow standard input; give files or folders");
    }
    let _lock = Lock::acquire()?;
    let files = Follower::new(sources);
    let written = input::written(&args.input, false, args.pods.without_pods(), Further::Beside)?;
    let mode = args.input.mode.mode();
    let mut objects = Objects::of(mode);
    objects.follow(&written);
    let snapshot = objects.judged.clone();
    let mut kernel = open()?;
    let (options, features) = options(&mut kernel, &args.input)?;
    let mut bridges = Bridges::default();
    bridges.ensure_seen();
    let mut pipeline = Pipeline::new(kernel, options);
    let of = (&args.binding, mode, args.input.node());
    let mut node = Node::look(of, &features, &mut pipeline, &snapshot)?;
    if args.watch {
        node.watch()?;
    }
    let is_theirs = |chain: &ChainOfOthers| Program::of(chain).is_some();
    if let Ok(chains) = pipeline.sink().chains_of_others(is_theirs) {
        Found::of(&chains, &Legacy::read())
            .new_since(&Found::default())
            .iter()
            .for_each(report::warning);
    }
    let outcome = pipeline.sync_persistently(&snapshot)?;
    let printed = report::outcome(&outcome);
    for table in other_tables::remove(pipeline.sink())? {
        report::notice(format_args!("removed table {table} of another version"));
    }
    if args.watch {
        watch(args, &mut pipeline, objects, files, Surroundings { bridges, node });
    }
    let network = node.network();
    unfollowed(&network).iter().for_each(report::notice);
    uninformed(&network).iter().for_each(report::notice);
    printed?;
    match outcome.set_aside.len() {
        0 => Ok(ExitCode::SUCCESS),
        count => bail!("the kernel refused {count} of the policies; all else is enforced"),
    }
}

/// What becomes of these bindings when nobody follows the interfaces.
fn unfollowed(network: &NodeNetwork) -> Option<&'static str> {
    let notice = "addresses are bound to the interfaces as they are now: a pod that gets a bound \
                  address on a new interface, as after a restart, is cut off until you apply again \
                  (use --watch or the agent)";
    (!network.ports.is_empty()).then_some(notice)
}

/// What becomes of new pods when nobody follows the files.
fn uninformed(network: &NodeNetwork) -> Option<&'static str> {
    let notice = "addresses that no Pod of the files names are shut (--unknown-pods): a new pod has \
                  no network until you apply again with its Pod (use --watch or the agent)";
    let is_shut = network.unknown_pods != UnknownPods::Open && !network.pod_ranges.is_empty();
    is_shut.then_some(notice)
}

/// The objects of the files.
#[derive(Debug)]
struct Objects {
    /// As they are written.
    written: Snapshot,
    modes: Modes,
    since: Instant,
    /// With the modes of policies.
    judged: Snapshot,
}

impl Objects {
    fn of(mode: Mode) -> Self {
        Self {
            written: Snapshot::default(),
            modes: Modes::of(mode),
            since: Instant::now(),
            judged: Snapshot::default(),
        }
    }

    /// The files say this now.
    fn follow(&mut self, written: &Snapshot) {
        self.written.follow(written);
        self.modes.follow(&self.written, input::now(self.since.elapsed()));
        self.judge();
    }

    /// Whether the time of an audit came.
    fn pass(&mut self) -> bool {
        let is_news = self.modes.pass(input::now(self.since.elapsed()));
        if is_news {
            self.judge();
        }
        is_news
    }

    fn judge(&mut self) {
        self.judged = Snapshot { policies: self.modes.policies().clone(), ..self.written.clone() };
    }
}

/// What `--watch` follows beside the files and the kernel's tables.
struct Surroundings {
    bridges: Bridges,
    node: Node,
}

/// Why `--watch` syncs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Cause {
    /// The files were edited.
    Edited,
    /// The node's interfaces changed, or the time of an audit came.
    Moved,
    /// The last sync failed.
    Failed,
    /// A look at the kernel showed something to do.
    Looked(Check),
}

/// Follows files and kernel until the process ends. A failure is reported and
/// tried again; meanwhile the kernel keeps its rules.
fn watch(
    args: &Apply,
    pipeline: &mut Pipeline<Kernel>,
    mut objects: Objects,
    mut files: Follower,
    mut surroundings: Surroundings,
) -> ! {
    let mut failed: Option<String> = None;
    let mut looked = Duration::ZERO;
    let mut pace = Pace::default();
    loop {
        sleep(LOOK_EVERY.max(looked * LOOK_SHARE));
        let start = Instant::now();
        let edited = files.changed();
        looked = start.elapsed();
        surroundings.bridges.ensure_seen();
        let moved = surroundings.node.follow(pipeline, &objects.judged) | objects.pass();
        let cause = if edited {
            let read = input::written(&args.input, true, args.pods.without_pods(), Further::Beside);
            if !files.is_current() {
                continue;
            }
            match read {
                Ok(read) => {
                    objects.follow(&read);
                    surroundings.node.follow(pipeline, &objects.judged);
                }
                Err(error) => {
                    report::error(&error);
                    continue;
                }
            }
            Cause::Edited
        } else if moved {
            Cause::Moved
        } else if failed.is_some() {
            Cause::Failed
        } else {
            // What cannot be asked for shows in the sync.
            let check = pipeline.check().unwrap_or(Check::Restore);
            if !pace.allows(check, Instant::now()) {
                continue;
            }
            Cause::Looked(check)
        };
        failed = sync(pipeline, &objects.judged, cause, failed, &mut pace);
        if failed.is_some() {
            sleep(RETRY_EVERY);
        }
    }
}

/// Syncs and reports. Returns the failure, which is reported once.
fn sync(
    pipeline: &mut Pipeline<Kernel>,
    snapshot: &Snapshot,
    cause: Cause,
    failed: Option<String>,
    pace: &mut Pace,
) -> Option<String> {
    let start = Instant::now();
    let is_read = cause == Cause::Looked(Check::ReadWhenAffordable);
    if is_read {
        pipeline.distrust();
    }
    match pipeline.sync_or_rebuild(snapshot) {
        Ok(outcome) => {
            let mut restored: Vec<&TableOutcome> = outcome.restored().collect();
            if restored.is_empty() && is_read {
                restored.extend(outcome.tables.iter().filter(|table| table.batches > 0));
            }
            let was_touched = !restored.is_empty() || outcome.was_touched();
            let now = Instant::now();
            pace.synced(now, now.saturating_duration_since(start), cause, was_touched);
            for table in restored {
                report::notice(format_args!("others changed table {}; it is restored", table.id));
            }
            if !matches!(cause, Cause::Looked(_)) || outcome.batches() > 0 {
                // The reader may be gone; enforcement continues.
                let _ = report::outcome(&outcome);
            }
            None
        }
        Err(error) => {
            let error = anyhow::Error::new(error);
            let text = format!("{error:#}");
            if failed.as_ref() != Some(&text) {
                report::error(&error);
            }
            Some(text)
        }
    }
}

/// Limits how much of the time goes into what others did to the table.
#[derive(Debug, Default)]
struct Pace {
    repairs: Repairs,
    may_read: Option<Instant>,
}

impl Pace {
    /// Whether to sync after this look.
    fn allows(&self, check: Check, now: Instant) -> bool {
        match check {
            Check::Nothing => false,
            Check::RetryRefused => true,
            Check::Restore => self.repairs.may_repair_at(now) <= now,
            Check::ReadWhenAffordable => self.may_read.is_none_or(|when| now >= when),
        }
    }

    /// A sync succeeded, and took this long.
    fn synced(&mut self, now: Instant, took: Duration, cause: Cause, was_touched: bool) {
        if was_touched {
            self.repairs.repaired(now, took);
        }
        if cause == Cause::Looked(Check::ReadWhenAffordable) {
            self.may_read = Some(now + took * READ_SHARE);
        }
    }
}

#[cfg(test)]
mod tests {
    use policy::{BoundPort, InterfaceIndex, Mac, ObjectKey};

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// Only who binds something is told.
    #[test]
    fn without_watch_it_is_said_what_a_restarted_pod_loses() {
        let mut network = NodeNetwork::default();
        assert_eq!(unfollowed(&network), None);
        let port = BoundPort {
            pod: ObjectKey::new("dev", "web"),
            bridge: None,
            mac: Mac::NONE,
            addresses: [].into(),
        };
        network.ports.insert(InterfaceIndex(7), port);
        let notice = unfollowed(&network).unwrap();
        assert!(notice.contains("cut off") && notice.contains("--watch"), "{notice}");
    }

    #[test]
    fn repairs_and_reads_take_a_share_of_the_time_and_do_not_wait_for_each_other() {
        let now = Instant::now();
        let mut pace = Pace::default();
        assert!(!pace.allows(Check::Nothing, now));
        for check in [Check::RetryRefused, Check::ReadWhenAffordable, Check::Restore] {
            assert!(pace.allows(check, now), "{check:?}");
        }
        pace.synced(now, 100 * MS, Cause::Looked(Check::ReadWhenAffordable), false);
        assert!(!pace.allows(Check::ReadWhenAffordable, now + 1999 * MS));
        assert!(pace.allows(Check::ReadWhenAffordable, now + 2000 * MS));
        assert!(pace.allows(Check::Restore, now));
        pace.synced(now, 10 * MS, Cause::Looked(Check::Restore), true);
        assert!(!pace.allows(Check::Restore, now + 199 * MS));
        assert!(pace.allows(Check::Restore, now + 200 * MS));
        assert!(pace.allows(Check::RetryRefused, now));
    }
}
