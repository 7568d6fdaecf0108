//! `nftpol restore`: shuts the addresses of pods when the node starts, before the kubelet.
//!
//! In: the file that the agent keeps. Out: a table that an agent takes over. Never: a
//! change where a table of nftpol is; a node that is left open because the file cannot be
//! believed.
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
    let Some(_lock) = Lock::try_acquire()? else {
        report::print("another nftpol is at work in this network namespace: nothing to restore\n")?;
        return Ok(ExitCode::SUCCESS);
    };
    let mut kernel = open()?;
    if let Some(table) = kernel.tables().context("list tables")?.first() {
        report::print(&format!("table {table} is here already: it is left as it is\n"))?;
        return Ok(ExitCode::SUCCESS);
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
