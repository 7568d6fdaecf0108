//! `nftpol pod-agent`: enforces the API server's policies in pods' network namespaces.
//!
//! In: an API server, a node's name. Out: what `agent::pods` draws, and a thread that talks
//! to others, as for `nftpol agent`. Never: a table on the node, rules removed when it ends.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc;

use agent::metrics::Metrics;
use agent::pods::{Parts, PodEnforcer};
use agent::problems::Problems;
use agent::status::{Condition, Status};
use anyhow::{Context, Result};
use compiler::Options;
use nft::Kernel;
use tokio::sync::{oneshot, watch};
use watcher::api::{Cluster, Contact, Following};

use super::remote::{self, Settings};
use super::server::ServedState;
use super::{ended, patiently};
use crate::cli::{PodAgent, TableOwner};
use crate::lock::Lock;
use crate::open_files;

/// What holds for this agent whatever the node is.
const OF_THE_NODE: [Condition; 3] = [Condition::Bound, Condition::Bridges, Condition::Services];

/// Runs until asked to stop.
///
/// # Errors
/// The configuration names no API server, or a thread died: the process has to be started
/// again. The rules stay in force.
pub fn run(args: &PodAgent) -> Result<()> {
    tracing::info!(node = args.node_name, "nftpol {} starts", env!("CARGO_PKG_VERSION"));
    open_files::raise_limit()?;
    let status = Status::new();
    let metrics = Arc::new(Metrics::new());
    let (to_enforcer, messages) = mpsc::channel();
    let (_problems, to_announce) = watch::channel(Problems::new());
    let settings = Settings {
        node: args.node_name.clone(),
        kubeconfig: args.kubeconfig.clone(),
        health: args.health_address,
        metrics: super::metrics_address(&args.metrics)?,
        multi_network_policies: args.multi_network_policies,
    };
    let served = ServedState { status: status.clone(), metrics: Arc::clone(&metrics) };
    let (begin, begun) = oneshot::channel();
    remote::start(settings, served, to_enforcer, to_announce, begun)?;
    OF_THE_NODE.into_iter().for_each(|condition| status.holds(condition));

    let Some(_lock) = patiently(&messages, &status, || alone(&status))? else { return Ok(()) };
    if patiently(&messages, &status, || Ok(kernel(&status, &metrics)))?.is_none() {
        return Ok(());
    }
    let options = Options {
        node: Some(args.node_name.clone()),
        // Nobody reads a log group of a pod's namespace.
        log: None,
        budgets: args.budget.budgets(),
        ..Options::default()
    };
    let mut enforcer = PodEnforcer::new(Parts {
        messages,
        node: args.node_name.clone(),
        proc: args.proc.clone(),
        options,
        mode: args.mode.mode(),
        verify: args.verify,
        multi_network_policies: args.multi_network_policies,
        owns: args.table_owner == TableOwner::Auto,
        status,
        metrics,
    })
    .context("look at the node")?;
    let _ = begin.send(Following {
        known: enforcer.known(),
        node: Some(args.node_name.clone()),
        cluster: Cluster::default(),
        contact: Contact::default(),
    });
    let result = catch_unwind(AssertUnwindSafe(|| enforcer.run()));
    ended(result, enforcer)?;
    tracing::info!("stopped; the rules stay in force");
    Ok(())
}

fn alone(status: &Status) -> Result<Option<Lock>> {
    let lock = Lock::try_acquire_of_pods()?;
    match lock {
        Some(_) => status.holds(Condition::Alone),
        None => status.fails(
            Condition::Alone,
            "another nftpol enforces in the pods' network namespaces of this node (it holds the \
             socket @nftpol-pods); waiting until it stops",
        ),
    }
    Ok(lock)
}

/// Whether the kernel has all features that the rules need. The node's own namespace has
/// the same kernel.
fn kernel(status: &Status, metrics: &Metrics) -> Option<()> {
    let probed = Kernel::open()
        .context("open nf_tables")
        .and_then(|mut kernel| kernel.probe().context("probe the kernel's nf_tables"));
    match probed {
        Ok(features) => {
            super::surroundings::features(&features, status, metrics);
            status.problem(Condition::Kernel).is_none().then_some(())
        }
        Err(error) => {
            status.fails(
                Condition::Kernel,
                format!(
                    "{error:#}; nftpol needs the kernel module nf_tables and CAP_NET_ADMIN \
                     (securityContext.capabilities.add: [NET_ADMIN])"
                ),
            );
            None
        }
    }
}
