//! What a table costs a packet and a TCP connection, compared with no table.
//!
//! Prints a Markdown table for each network: for no table, nanoseconds of CPU time; for
//! each other table, the ratio to it. A round measures all tables one after the other. It
//! sets no limits, because times depend on the machine.

mod bed;
mod kube_proxy;
mod kube_router;
mod shoot;
mod tables;

use std::net::TcpListener;

use anyhow::{Context, Result, ensure};

use crate::figures::{spread, typical};
use bed::{Bed, Links};
use shoot::{Flows, Gun, SLICE};
pub use tables::SIZES;
use tables::{Table, tables};

/// Rounds before those that count.
const WARM: usize = 2;

/// What to measure.
pub struct Plan<'a> {
    pub rounds: usize,
    /// Numbers of isolated pods, and of Services.
    pub sizes: &'a [u32],
    /// Further tables for nft(8), `NAME=FILE`.
    pub files: &'a [String],
}

/// What was measured of one table.
pub struct Figure {
    pub links: &'static str,
    pub form: &'static str,
    pub size: u32,
    /// Nanoseconds of CPU time of a packet of a new flow, of an established flow, and of
    /// a connection.
    pub new: f64,
    pub established: f64,
    pub connect: f64,
}

/// Measures both networks and prints their tables.
pub fn measure(plan: &Plan<'_>) -> Result<Vec<Figure>> {
    ensure!(plan.rounds > 0, "measure at least once");
    shoot::stay()?;
    let mut figures = Vec::new();
    for (links, name) in [(Links::Routed, "routed"), (Links::Bridged, "bridged")] {
        figures.extend(network(links, name, plan).with_context(|| format!("{name} pods"))?);
    }
    Ok(figures)
}

/// A table in the kernel, and what sends through it.
struct Range {
    table: Table,
    bed: Bed,
    gun: Gun,
    listener: TcpListener,
}

fn network(links: Links, name: &'static str, plan: &Plan<'_>) -> Result<Vec<Figure>> {
    let tables = tables(links, plan.sizes, plan.files)?;
    eprintln!("packets: {} tables, {name} pods, {} rounds", tables.len(), plan.rounds);
    let ranges: Result<Vec<Range>> = tables.into_iter().map(|table| range(links, table)).collect();
    let ranges = ranges?;
    let connect = rounds(&ranges, plan.rounds, connects)?;
    for range in &ranges {
        let opened = range.bed.establish(range.table.target());
        opened.with_context(|| range.table.name.clone())?;
    }
    // Only then the flow that was established may be forgotten.
    let established = rounds(&ranges, plan.rounds, |range| fire(range, Flows::Established))?;
    let new = rounds(&ranges, plan.rounds, |range| fire(range, Flows::New))?;
    println!("| {name} pods | new flow | established | TCP connect and close |");
    println!("|---|---:|---:|---:|");
    for (index, range) in ranges.iter().enumerate() {
        let [new, established, connect] =
            [&new, &established, &connect].map(|times| ratio(times, index));
        println!("| {} | {new} | {established} | {connect} |", range.table.name);
    }
    println!();
    Ok(ranges
        .iter()
        .enumerate()
        .map(|(index, range)| Figure {
            links: name,
            form: range.table.form,
            size: range.table.size,
            new: typical(&new[index]),
            established: typical(&established[index]),
            connect: typical(&connect[index]),
        })
        .collect())
}

fn range(links: Links, table: Table) -> Result<Range> {
    let bed = Bed::new(links)?;
    bed.load(links, &table)?;
    let (gun, listener) = (Gun::new(&bed.sender)?, bed.listen()?);
    Ok(Range { table, bed, gun, listener })
}

/// Nanoseconds, by table and round.
fn rounds(
    ranges: &[Range],
    count: usize,
    measure: impl Fn(&Range) -> Result<f64>,
) -> Result<Vec<Vec<f64>>> {
    let mut times = vec![Vec::new(); ranges.len()];
    for round in 0..WARM + count {
        // Each table is first once: what it follows leaves its mark on the caches.
        for place in 0..ranges.len() {
            let index = (place + round) % ranges.len();
            let range = &ranges[index];
            let time = measure(range).with_context(|| range.table.name.clone())?;
            if round >= WARM {
                times[index].push(time);
            }
        }
    }
    Ok(times)
}

fn fire(range: &Range, flows: Flows) -> Result<f64> {
    let Range { table, bed, gun, .. } = range;
    let before = bed.arrived()?;
    let time = gun.fire(flows, table.target())?;
    let arrived = bed.arrived()? - before;
    ensure!(arrived == SLICE as u64, "{arrived} of {SLICE} packets arrived");
    if flows == Flows::New {
        bed.forget_flows()?;
    }
    Ok(time)
}

fn connects(range: &Range) -> Result<f64> {
    let Range { table, bed, listener, .. } = range;
    let time = shoot::connect(&bed.sender, listener, table.target())?;
    bed.forget_flows()?;
    Ok(time)
}

/// The table's times divided by those of no table; for no table itself, nanoseconds.
fn ratio(times: &[Vec<f64>], index: usize) -> String {
    let none = typical(&times[0]);
    if index == 0 {
        return format!("1.00 ({none:.0} ns)");
    }
    let ratios: Vec<f64> = times[index].iter().map(|time| time / none).collect();
    spread(&ratios, 2)
}

#[cfg(test)]
mod tests;
