//! `nftpol agent`: enforces the API server's policies on this node.
//!
//! In: an API server, a node's name. Out: a kernel that enforces, readiness,
//! metrics, Events. Never: rules removed when it ends.
//!
//! ```text
//!  thread `remote`, asynchronous                 main thread, synchronous
//!  watches ─┐                                   ┌─▶ cluster_state ─▶ pipeline ─▶ kernel
//!  signals ─┴──────── messages ────────▶ enforcer ─┬─▶ conntrack_cleanup (a thread)
//!  Events ◀────────── problems ──────────── findings  └─▶ surroundings
//!  /healthz /readyz /metrics ◀─────────── status, metrics
//! ```

mod announce;
pub mod pods;
mod process;
mod remote;
mod scrapers;
mod server;
mod surroundings;

use std::sync::Arc;
use std::sync::mpsc::{self, Sender};
use std::time::Instant;

use agent::boot_file::BootFile;
use agent::clock::SystemClock;
use agent::cluster_mark;
use agent::conntrack_cleanup::ConntrackCleanup;
use agent::door::{self, Behind};
use agent::drops::{self, Ring};
use agent::enforcer::{CniQuestion, Enforcer, FlowCleanup, Interfaces, Parts};
use agent::interfaces::NodeInterfaces;
use agent::metrics::Metrics;
use agent::node_ranges::NodeRanges;
use agent::pipeline::Pipeline;
use agent::status::{Condition, Status};
use agent::unbindable::Unbindable;
use agent::view::View;
use anyhow::{Context, Result, bail};
use compiler::{Options, Usage};
use nft::{Features, Kernel};
use policy::Mode;
use tokio::sync::watch;
use watcher::api::{Cluster, Contact, Following};

use crate::cli::{Agent, MetricsAccess, MetricsServed, TableOwner};
use crate::lock::Lock;
use process::{Begun, patiently};
use remote::Settings;
use scrapers::{Allowed, Metrics as MetricsAddress};
use server::Files;
use surroundings::NodeSurroundings;

/// Runs until asked to stop.
///
/// # Errors
/// The configuration names no API server, or a thread died: the process has to
/// be started again. The rules stay in force.
pub fn run(args: &Agent) -> Result<()> {
    let (node_ranges, ranges) = node_ranges(args).unzip();
    let settings = Settings {
        multi_network_policies: false,
        node_ranges,
        node: args.node_name.clone(),
        kubeconfig: args.kubeconfig.clone(),
        health: args.health_address,
        metrics: metrics_address(&args.metrics)?,
    };
    let Begun { messages, problems, begin, status, metrics } = process::begin(settings)?;
    metrics.budgets(&args.budget.budgets(), &Usage::default());
    let door = (status.clone(), Arc::clone(&metrics), Instant::now());

    let Some(_lock) = patiently(&messages, &status, || alone(&status))? else { return Ok(()) };
    let found = patiently(&messages, &status, || Ok(kernel(args.table_owner, &status, &metrics)))?;
    let Some((mut kernel, features)) = found else { return Ok(()) };
    let known = patiently(&messages, &status, || Ok(cluster(args, &mut kernel, &status)))?;
    let Some(cluster) = known else { return Ok(()) };
    let options = Options {
        node: Some(args.node_name.clone()),
        log: args.log.options(features.log),
        budgets: args.budget.budgets(),
        ..Options::default()
    };
    let pipeline = Pipeline::new(kernel, options);
    let interfaces = interfaces(args, &features, ranges)?;
    let mode = args.mode.mode();
    let (asks, questions) = args.cni_plugin.then(mpsc::channel).unzip();
    let enforcer = Enforcer::new(Parts {
        inbox: Box::new(messages),
        clock: Arc::new(SystemClock),
        pipeline: if args.verify { pipeline.proving(verify::verify) } else { pipeline },
        flow_cleanup: flow_cleanup(),
        interfaces,
        binding: args.binding.options(&features, mode),
        surroundings: Box::new(NodeSurroundings::of(cluster.clone(), Arc::clone(&metrics))),
        problems,
        status,
        metrics,
        node: args.node_name.clone(),
        boot_file: boot_file(args)?,
        cni: questions,
    })
    .in_mode(mode);
    open_door(args, (&enforcer.view(), asks), features.log, &door)?;
    // The watches start only now: an agent that waits for its lock puts no load
    // on the API server. If the other thread is gone, the enforcer notices.
    let _ = begin.send(Following {
        known: enforcer.known(),
        node: Some(args.node_name.clone()),
        cluster,
        contact: Contact::default(),
    });
    process::run(enforcer, Enforcer::run)
}

/// Where metrics are served to scrapers, and to whom.
fn metrics_address(args: &MetricsServed) -> Result<Option<MetricsAddress>> {
    let files = match (&args.metrics_cert, &args.metrics_key) {
        (Some(certificate), Some(key)) => {
            Some(Files { certificate: certificate.clone(), key: key.clone() })
        }
        _ => None,
    };
    let readers = match (args.metrics_access, files) {
        (MetricsAccess::Token, files) => Allowed::Token(files),
        (MetricsAccess::Open, None) => Allowed::All,
        (MetricsAccess::Open, Some(_)) => {
            bail!("--metrics-cert is of no use without --metrics-access=token")
        }
    };
    Ok(args.metrics_address.map(|address| MetricsAddress { address, readers }))
}

fn alone(status: &Status) -> Result<Option<Lock>> {
    let taken = "another nftpol enforces in this network namespace (it holds the socket @nftpol)";
    Ok(process::alone(Lock::try_acquire()?, taken, status))
}

/// The kernel, if it has all features that the rules need.
fn kernel(owner: TableOwner, status: &Status, metrics: &Metrics) -> Option<(Kernel, Features)> {
    process::kernel(status, metrics, |kernel| own_tables(owner, kernel, status))
}

/// Makes the tables belong to this process, if that is wanted and possible.
fn own_tables(owner: TableOwner, kernel: &mut Kernel, status: &Status) -> Result<()> {
    let remark = match owner {
        TableOwner::Auto if kernel.own_tables().context("try the ownership of tables")? => "",
        TableOwner::Auto => {
            "other programs can change the tables, since this kernel is older than Linux 6.9; \
             what they change is restored"
        }
        TableOwner::Off => {
            "other programs can change the tables (--table-owner=off); what they change is restored"
        }
    };
    status.remark(Condition::Kernel, remark);
    Ok(())
}

/// The cluster that is to be enforced: the one that the operator names, else that of the
/// rules in the kernel, else the first one seen. `None` if the kernel cannot be asked.
fn cluster(args: &Agent, kernel: &mut Kernel, status: &Status) -> Option<Cluster> {
    let kept = match &args.cluster_uid {
        Some(uid) => Some(uid.clone()),
        None => match cluster_mark::read(kernel) {
            Ok(kept) => kept,
            Err(error) => {
                status.fails(Condition::Kernel, format!("ask whose the rules are: {error}"));
                return None;
            }
        },
    };
    status.holds(Condition::Kernel);
    let cluster = Cluster::default();
    if let Some(uid) = kept {
        cluster.expect(uid);
    }
    Some(cluster)
}

/// Answers questions of commands on this node, and reads what the rules log.
fn open_door(
    args: &Agent,
    (view, cni): (&View, Option<Sender<CniQuestion>>),
    can_log: bool,
    (status, metrics, started): &(Status, Arc<Metrics>, Instant),
) -> Result<()> {
    let node = args.node_name.clone();
    let drops = match (args.log.is_wanted(), can_log) {
        (false, _) => Err("this node's agent logs no denied packets (--no-log)".to_owned()),
        (true, false) => Err("this node's kernel cannot log packets (nfnetlink_log)".to_owned()),
        (true, true) => Ok(Arc::new(Ring::default())),
    };
    if let Ok(ring) = &drops {
        let settings = drops::Settings {
            group: args.log.group(),
            node: node.clone(),
            log_lines: args.log_denied,
        };
        let (metrics, status) = (Arc::clone(metrics), status.clone());
        drops::start(settings, view.clone(), Arc::clone(ring), metrics, status)
            .context("start a thread that reads denied packets")?;
    }
    let (view, metrics) = (view.clone(), Arc::clone(metrics));
    let status = status.clone();
    let socket = door::protocol::SOCKET;
    let behind = Behind { socket, node, view, drops, status, metrics, started: *started, cni };
    door::open(behind).context("start a thread that answers questions")
}

/// From the thread that reads the Node object to the one that enforces.
fn node_ranges(args: &Agent) -> Option<(watch::Sender<NodeRanges>, watch::Receiver<NodeRanges>)> {
    // In audit nothing is shut.
    let is_wanted = args.node_pod_cidrs && args.mode.mode() == Mode::Enforce;
    is_wanted.then(|| watch::channel(NodeRanges::default()))
}

/// The way to look at the node's interfaces.
fn interfaces(
    args: &Agent,
    features: &Features,
    ranges: Option<watch::Receiver<NodeRanges>>,
) -> Result<Box<dyn Interfaces>> {
    if args.mode.mode() == Mode::Audit {
        return Ok(Box::new(Unbindable::in_audit()));
    }
    if !features.binding {
        return Ok(Box::new(Unbindable::default()));
    }
    let mut interfaces = NodeInterfaces::new(args.binding.given());
    interfaces.watch().context("watch the node's interfaces")?;
    Ok(Box::new(match ranges {
        Some(ranges) => interfaces.with_node_ranges(ranges),
        None => interfaces,
    }))
}

/// What `nftpol restore` reads when the node starts again.
fn boot_file(args: &Agent) -> Result<Option<BootFile>> {
    let start = |path| BootFile::start(path, args.node_name.clone());
    args.restore_file.clone().map(start).transpose().context("start a thread that writes a file")
}

/// Without conntrack there is no connection to end.
fn flow_cleanup() -> Option<Box<dyn FlowCleanup>> {
    match ConntrackCleanup::start() {
        Ok(cleanup) => Some(Box::new(cleanup)),
        Err(error) => {
            tracing::warn!("open connections that become denied are not ended: {error}");
            None
        }
    }
}
