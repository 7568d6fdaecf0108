//! `nftpol restore`: shuts the addresses of pods when the node starts, before the kubelet.
//!
//! In: the file that the agent keeps. Out: a table that an agent takes over. Never: a
//! change of a table that may enforce; a node that is left open because the file cannot be
//! believed.
//!
//! | a table of nftpol | what happens to it |
//! |---|---|
//! | is here | it stays: the agent may be dead, and the table enforces |
//! | is here, and `--replace` says that the node starts | it goes. It is of a ruleset that was saved while nftpol ran (`nft list ruleset > /etc/nftables.conf`): it isolates the pods of that time, and the next ones are open |
//! | is not here, and somebody has the lock | it is made: an agent that begins takes it over, and any process can have that name |
//!
//! | the file | the table drops |
//! |---|---|
//! | is as an agent wrote it | new flows from and to the pods' ranges |
//! | is missing, damaged, too old or too new | all new flows that the node forwards |

use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use compiler::{LogOptions, Options, boot};
use imbl::OrdSet;
use nft::Kernel;
use policy::{PodRange, pod_ranges};
use ruleset::plan::Budget;

use super::open;
use crate::bridge;
use crate::cli::Restore;
use crate::lock::Lock;
use agent::boot_file::BootRecord;
use agent::pipeline::Pipeline;
use agent::report;

const DAY: Duration = Duration::from_secs(86_400);
/// Ranges that are named at most.
const NAMED: usize = 8;

/// Loads the table. Exits with 1 if it drops everything that is forwarded.
///
/// # Errors
/// The kernel refuses: the node is open.
pub fn restore(args: &Restore) -> Result<ExitCode> {
    let lock = Lock::try_acquire()?;
    let mut kernel = open()?;
    if !make_room(&mut kernel, args.replace && lock.is_some())? {
        return Ok(ExitCode::SUCCESS);
    }
    if lock.is_none() {
        report::notice(
            "another process has the socket @nftpol; it has made no table, so the pods are shut",
        );
    }
    let max_age = DAY.saturating_mul(args.max_age);
    let found = BootRecord::read(&args.file, SystemTime::now(), max_age);
    let ranges = match &found {
        Ok(record) => record.ranges.clone() + pod_ranges(args.pod_cidr.iter().copied()),
        Err(_) => boot::everything(),
    };
    load(kernel, &ranges).context(
        "load the table that shuts pods until an agent enforces; the addresses of pods are open",
    )?;
    bridge::not_seen().iter().for_each(report::notice);
    match found {
        Ok(BootRecord { node, .. }) => {
            let named = report::some(ranges.iter(), NAMED);
            report::print(&format!(
                "until the agent of node {node} enforces, new flows from and to {named} are \
                 dropped\n"
            ))?;
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => {
            report::error(&anyhow::Error::new(error).context(format!(
                "{} cannot be used, so all new flows that this node forwards are dropped until \
                 its agent enforces; the agent writes the file (--restore-file)",
                args.file.display()
            )));
            Ok(ExitCode::FAILURE)
        }
    }
}

/// Whether no table is here, or none is left.
fn make_room(kernel: &mut Kernel, replace: bool) -> Result<bool> {
    let tables = kernel.tables().context("list tables")?;
    if let Some(table) = tables.first().filter(|_| !replace) {
        report::print(&format!("table {table} is here already: it is left as it is\n"))?;
        return Ok(false);
    }
    for table in &tables {
        kernel.delete_table(table).with_context(|| {
            format!("delete table {table}, which a saved ruleset may have brought; pods are open")
        })?;
        report::notice(format!(
            "table {table} was here before any agent of this start, and is removed; a saved \
             ruleset has it (/etc/nftables.conf): take it out there"
        ));
    }
    Ok(true)
}

/// The table stays when this process ends, and an agent can own it.
fn load(mut kernel: Kernel, ranges: &OrdSet<PodRange>) -> Result<()> {
    let features = kernel.probe().context("probe the kernel's nf_tables")?;
    kernel.own_tables().context("try the ownership of tables")?;
    let table = boot::closed(ranges, features.log.then(LogOptions::default), features.fib);
    let mut pipeline = Pipeline::new(kernel, Options::default());
    let pieces = pipeline.difference(&table)?.pieces;
    for batch in pieces.batches(Budget::of(Duration::from_secs(1))) {
        pipeline.sink().send(&table.id(), &batch, None)?;
    }
    Ok(())
}
