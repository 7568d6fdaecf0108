//! One load, measured twice: alone, and while others change their policies.

use std::cell::RefCell;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use agent::pipeline::Pipeline;
use anyhow::{Context, Result, bail};
use compiler::{Engine, Options};
use netbed::net::Namespace;
use nft::Kernel;
use policy::{NodeNetwork, Snapshot};
use ruleset::Ruleset;
use ruleset::plan::Planner;
use samples::large::{self, NODE};

use crate::loads::{self, CALM, Load};
use crate::watched::{Record, Watched, on_processor};

/// The head of the table.
pub const HEAD: &str = "\
| load | sets, rules, elements | compile | plan | send | commits | longest commit | memory | \
another's change: p50, p99, max | of |
|---|---|---:|---:|---:|---:|---:|---:|---:|---:|";

/// Changes of others while a load is under way: enough for a 99th percentile.
const CHANGES: usize = 200;
/// The least time between two of them. A load that is shorter comes and goes until there
/// were enough.
const APART: Duration = Duration::from_millis(10);
/// How long that may take.
const PATIENCE: Duration = Duration::from_secs(180);

/// Measures a load, and writes it as a row of the table. All are CPU times but what others
/// wait: that is time on the clock.
///
/// # Errors
/// When the kernel refuses.
pub fn row(load: Load, divisor: usize, namespaces: usize) -> Result<String> {
    let mut cluster = large::sized(namespaces)?;
    loads::add_namespace(&mut cluster, CALM, 0, CHANGES)?;
    let mut loaded = cluster.clone();
    load.add(&mut loaded, divisor)?;
    let memory = resident()?;
    let (size, compile, plan) = alone(&cluster, &loaded)?;
    let alone = Kept::new(&cluster)?.load(&loaded, Changes::default())?;
    let memory = resident()?.saturating_sub(memory);
    let during = compile + plan + alone.sent.together;
    let (latencies, beside) = beside(&cluster, &loaded, during)?;
    let ms = |time: Duration| format!("{:.1} ms", time.as_secs_f64() * 1e3);
    let part = |percent: usize| {
        let place = (latencies.len() * percent).div_ceil(100).saturating_sub(1);
        ms(latencies.get(place).copied().unwrap_or_default())
    };
    let longest = alone.sent.longest.max(beside);
    eprintln!("longest commit: {} operations", alone.sent.operations_of_longest);
    Ok(format!(
        "| {} | {} | {} | {} | {} | {} | {} | {} MB | {}, {}, {} | {} |",
        load.what,
        size,
        ms(compile),
        ms(plan),
        ms(alone.sent.together),
        alone.sent.commits,
        ms(longest),
        memory >> 20,
        part(50),
        part(99),
        part(100),
        latencies.len(),
    ))
}

/// The load comes and goes while others change their policies. Returns how long each of
/// these changes waited, shortest first, and the longest commit.
fn beside(
    cluster: &Snapshot,
    loaded: &Snapshot,
    during: Duration,
) -> Result<(Vec<Duration>, Duration)> {
    let start = Instant::now();
    let count = usize::try_from(during.as_nanos() / APART.as_nanos()).unwrap_or(CHANGES);
    let count = count.clamp(1, CHANGES);
    let (mut latencies, mut longest) = (Vec::new(), Duration::ZERO);
    let mut kept = Kept::new(cluster)?;
    for round in 0u32.. {
        let apart = during / count as u32;
        // Rounds with few changes have them at other moments: parts of the golden ratio.
        let first = apart.mul_f64((f64::from(round) * 0.618_034).fract());
        let done = kept.load(loaded, Changes { count, apart, first })?;
        latencies.extend(done.latencies);
        longest = longest.max(done.sent.longest);
        if latencies.len() >= CHANGES || start.elapsed() > PATIENCE {
            break;
        }
        kept.unload()?;
    }
    latencies.sort_unstable();
    Ok((latencies, longest))
}

/// Compiler and planner, without a kernel.
fn alone(cluster: &Snapshot, loaded: &Snapshot) -> Result<(String, Duration, Duration)> {
    let mut engine = Engine::new(options());
    let network = NodeNetwork::default();
    let before = engine.update(cluster, &network).ruleset.clone();
    let start = on_processor();
    let after = engine.update(loaded, &network).ruleset.clone();
    let compile = on_processor().saturating_sub(start);
    let start = on_processor();
    let batches = Planner::default().plan(Some(&before), &after)?;
    let plan = on_processor().saturating_sub(start);
    drop(batches);
    Ok((more(&before, &after), compile, plan))
}

fn options() -> Options {
    Options { node: Some(NODE.to_owned()), ..Options::default() }
}

/// How much more a table has.
fn more(before: &Ruleset, after: &Ruleset) -> String {
    let sets = |table: &Ruleset| table.sets.len();
    let rules = |table: &Ruleset| table.chains.values().map(|one| one.rules.len()).sum::<usize>();
    let elements =
        |table: &Ruleset| table.sets.values().map(|one| one.elements.len()).sum::<usize>();
    let more = |of: &dyn Fn(&Ruleset) -> usize| of(after).saturating_sub(of(before));
    format!("{}, {}, {}", more(&sets), more(&rules), more(&elements))
}

/// A node that enforces a cluster.
struct Kept {
    pipeline: Pipeline<Watched>,
    record: Rc<RefCell<Record>>,
    cluster: Snapshot,
    _namespace: Namespace,
}

/// Changes of others.
#[derive(Clone, Copy, Default)]
struct Changes {
    count: usize,
    apart: Duration,
    /// When the first one comes.
    first: Duration,
}

/// What became of a load.
struct Loaded {
    sent: Record,
    latencies: Vec<Duration>,
}

impl Kept {
    fn new(cluster: &Snapshot) -> Result<Self> {
        let namespace = Namespace::new("gr")?;
        let kernel = namespace.run(Kernel::open)?.context("open nfnetlink")?;
        let record = Rc::new(RefCell::new(Record::default()));
        let mut pipeline = Pipeline::new(Watched { kernel, record: Rc::clone(&record) }, options());
        if let Err(failure) = pipeline.sync(cluster) {
            bail!("{failure}");
        }
        *record.borrow_mut() = Record::default();
        Ok(Self { pipeline, record, cluster: cluster.clone(), _namespace: namespace })
    }

    /// Enforces the load while others change their policies.
    fn load(&mut self, loaded: &Snapshot, changes: Changes) -> Result<Loaded> {
        let mut snapshot = loaded.clone();
        let Changes { count, apart, first } = changes;
        let start = Instant::now() + first;
        let comes = |number: usize| start + apart * (number as u32);
        let mut next = 0;
        loop {
            while next < count && comes(next) <= Instant::now() {
                let policy = loads::isolating(next);
                snapshot.policies.insert(policy.key.clone(), Arc::new(policy));
                next += 1;
            }
            let mut is_urgent = || next < count && comes(next) <= Instant::now();
            match self.pipeline.sync_until(&snapshot, &mut is_urgent) {
                Ok(_) if next == count => break,
                Ok(_) => {
                    std::thread::sleep(comes(next).saturating_duration_since(Instant::now()));
                }
                Err(failure) if failure.is_interrupted() => {}
                Err(failure) => bail!("{failure}"),
            }
        }
        let sent = self.record.take();
        let latencies = (0..count).filter_map(|number| {
            let address = self.address(number)?;
            Some(sent.isolated.get(&address)?.saturating_duration_since(comes(number)))
        });
        let latencies = latencies.collect();
        Ok(Loaded { sent, latencies })
    }

    /// Enforces the cluster without the load again.
    fn unload(&mut self) -> Result<()> {
        if let Err(failure) = self.pipeline.sync(&self.cluster) {
            bail!("{failure}");
        }
        self.record.take();
        Ok(())
    }

    fn address(&self, number: usize) -> Option<IpAddr> {
        let pod = self.cluster.pods.get(&loads::pod_key(CALM, number))?;
        pod.addresses.last().copied()
    }
}

/// The most memory that this process had.
fn resident() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status").context("read /proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB"));
    let kilobytes: u64 = kilobytes.context("VmHWM in /proc/self/status")?.trim().parse()?;
    Ok(kilobytes * 1024)
}
