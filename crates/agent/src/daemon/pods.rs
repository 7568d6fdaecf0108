//! `nftpol pod-agent`: enforces the API server's policies in pods' network namespaces.
//!
//! In: an API server, a node's name. Out: what `agent::pods` draws, and a thread that talks
//! to others, as for `nftpol agent`. Never: a table on the node, rules removed when it ends.

use std::sync::Arc;
use std::time::Instant;

use agent::door::{self, Behind};
use agent::drops::{Ring, Teller};
use agent::metrics::Metrics;
use agent::pods::{Parts, PodDrops, PodEnforcer};
use agent::status::{Condition, Status};
use agent::view::View;
use anyhow::{Context, Result};
use compiler::Options;
use nft::Features;
use watcher::api::{Cluster, Contact, Following};

use super::process::{self, Begun, patiently};
use super::remote::Settings;
use crate::cli::{PodAgent, TableOwner};
use crate::lock::Lock;

/// What holds for this agent whatever the node is.
const OF_THE_NODE: [Condition; 3] = [Condition::Bound, Condition::Bridges, Condition::Services];

/// Runs until asked to stop.
///
/// # Errors
/// The configuration names no API server, or a thread died: the process has to be started
/// again. The rules stay in force.
pub fn run(args: &PodAgent) -> Result<()> {
    let settings = Settings {
        node: args.node_name.clone(),
        kubeconfig: args.kubeconfig.clone(),
        health: args.health_address,
        metrics: super::metrics_address(&args.metrics)?,
        multi_network_policies: args.multi_network_policies,
        node_ranges: None,
    };
    let Begun { messages, problems, begin, status, metrics } = process::begin(settings)?;
    OF_THE_NODE.into_iter().for_each(|condition| status.holds(condition));

    let Some(_lock) = patiently(&messages, &status, || alone(&status))? else { return Ok(()) };
    let found = patiently(&messages, &status, || Ok(kernel(&status, &metrics)))?;
    let Some(features) = found else { return Ok(()) };
    let view = View::default();
    let drops = open_door(args, &view, features.log, (&status, &metrics))?;
    let options = Options {
        node: Some(args.node_name.clone()),
        log: args.log.options(features.log),
        budgets: args.budget.budgets(),
        ..Options::default()
    };
    let enforcer = PodEnforcer::new(Parts {
        messages,
        node: args.node_name.clone(),
        proc: args.proc.clone(),
        options,
        mode: args.mode.mode(),
        verify: args.verify,
        multi_network_policies: args.multi_network_policies,
        owns: args.table_owner == TableOwner::Auto,
        drops,
        view,
        problems,
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
    process::run(enforcer, PodEnforcer::run)
}

/// Answers `nftpol monitor`, and reads what the rules in pods' namespaces log.
fn open_door(
    args: &PodAgent,
    view: &View,
    can_log: bool,
    (status, metrics): (&Status, &Arc<Metrics>),
) -> Result<Option<PodDrops>> {
    let ring = Arc::new(Ring::default());
    let node = args.node_name.clone();
    let is_read = can_log && args.log.is_wanted();
    let drops = is_read.then(|| {
        let (ring, metrics) = (Arc::clone(&ring), Arc::clone(metrics));
        let teller = Teller::new(node.clone(), args.log_denied, ring, metrics);
        PodDrops::start(args.log.group(), teller, view.clone())
    });
    let drops = drops.transpose().context("start a thread that reads denied packets")?;
    let behind = Behind {
        socket: door::protocol::SOCKET_OF_PODS,
        node,
        view: view.clone(),
        drops: match is_read {
            true => Ok(ring),
            false => Err("this node's pod agent logs no denied packets".to_owned()),
        },
        status: status.clone(),
        metrics: Arc::clone(metrics),
        started: Instant::now(),
        // No CNI plugin asks here.
        cni: None,
    };
    door::open(behind).context("start a thread that answers questions")?;
    Ok(drops)
}

fn alone(status: &Status) -> Result<Option<Lock>> {
    let taken = "another nftpol enforces in the pods' network namespaces of this node (it holds \
                 the socket @nftpol-pods)";
    Ok(process::alone(Lock::try_acquire_of_pods()?, taken, status))
}

/// Whether the kernel has all features that the rules need. The node's own namespace has
/// the same kernel.
fn kernel(status: &Status, metrics: &Metrics) -> Option<Features> {
    process::kernel(status, metrics, |_| Ok(())).map(|(_, features)| features)
}
