//! What a table costs a packet, compared with no table.
//!
//! Takes the number of rounds (default 30) and further tables, `NAME=FILE`. Prints a
//! Markdown table: nanoseconds of CPU time of a packet without a table, and for each
//! table the ratio to it. A round measures all tables one after the other. It sets no
//! limits, because times depend on the machine.

mod bed;
mod shoot;
mod tables;

use anyhow::{Context, Result, ensure};

use bed::{Bed, Links};
use shoot::{Flows, Gun, SLICE};
use tables::{Table, tables};

const ROUNDS: usize = 30;
/// Slices before the first round.
const WARM: usize = 3;

fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let (rounds, files) = match words.first().and_then(|word| word.parse().ok()) {
        Some(rounds) => (rounds, &words[1..]),
        None => (ROUNDS, &words[..]),
    };
    ensure!(rounds > 0, "measure at least once");
    shoot::stay()?;
    for links in [Links::Routed, Links::Bridged] {
        measure(links, &tables(links, files)?, rounds)?;
    }
    Ok(())
}

/// One network.
fn measure(links: Links, tables: &[Table], rounds: usize) -> Result<()> {
    let mut beds = Vec::new();
    for table in tables {
        let bed = Bed::new(links)?;
        bed.prepare(links, table)?;
        let gun = Gun::new(&bed.sender)?;
        beds.push((bed, gun));
    }
    let mut columns = Vec::new();
    // Only then the flow that was established may be forgotten.
    for flows in [Flows::Established, Flows::New] {
        columns.push(rounds_of(&beds, flows, rounds).with_context(|| format!("{links:?}"))?);
    }
    let [established, new] = &columns[..] else { return Ok(()) };
    println!("| {links:?} | new flow | established |\n|---|---:|---:|");
    for (index, table) in tables.iter().enumerate() {
        println!("| {} | {} | {} |", table.name, ratio(new, index), ratio(established, index));
    }
    println!();
    Ok(())
}

/// Nanoseconds per packet, by table and round.
fn rounds_of(beds: &[(Bed, Gun)], flows: Flows, rounds: usize) -> Result<Vec<Vec<f64>>> {
    let mut times = vec![Vec::new(); beds.len()];
    for round in 0..WARM + rounds {
        // Each table is first once: what it follows leaves its mark on the caches.
        for place in 0..beds.len() {
            let index = (place + round) % beds.len();
            let (bed, gun) = &beds[index];
            let before = bed.arrived()?;
            let time = gun.fire(flows)?;
            let arrived = bed.arrived()? - before;
            ensure!(arrived == SLICE as u64, "{arrived} of {SLICE} packets arrived");
            if flows == Flows::New {
                bed.forget_flows()?;
            }
            if round >= WARM {
                times[index].push(time);
            }
        }
    }
    Ok(times)
}

/// The table's time divided by that of no table; for no table itself, nanoseconds.
fn ratio(times: &[Vec<f64>], index: usize) -> String {
    let (own, none) = (undisturbed(&times[index]), undisturbed(&times[0]));
    if index == 0 { format!("1.00 ({none:.0} ns)") } else { format!("{:.2}", own / none) }
}

/// The median of the fastest third of the rounds: others use this machine, too, and
/// can only make a round slower.
fn undisturbed(times: &[f64]) -> f64 {
    let mut times = times.to_vec();
    times.sort_unstable_by(f64::total_cmp);
    times.get(times.len() / 6).copied().unwrap_or_default()
}
