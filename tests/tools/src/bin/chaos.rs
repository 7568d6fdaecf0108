//! Everything that can go wrong, for as long as you like.
//!
//! `chaos MINUTES [--seed N] [--quick] [--only FAULT]`: 15 minutes and a random seed by
//! default. Prints the seed, each fault and the counts. A seed gives the same plan again.
//! `--only`, repeatable, has the words of the counts, such as `UnreadLog` or `lie Empty`.
//! Exits with 1 when something did not hold. See [`tools::chaos`].

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use tools::chaos::{Plan, run};
use tools::interrupt;

fn main() -> Result<()> {
    interrupt::listen()?;
    run(plan(std::env::args().skip(1))?).map(drop)
}

fn plan(mut words: impl Iterator<Item = String>) -> Result<Plan> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).context("the time")?;
    let (seed, length) = (now.as_micros() as u64, Duration::from_secs(900));
    let mut plan = Plan { seed, length, quick: false, untrue: false, only: Vec::new() };
    while let Some(word) = words.next() {
        match word.as_str() {
            "--quick" => plan.quick = true,
            "--only" => plan.only.push(words.next().context("--only needs a fault")?),
            "--seed" => {
                let seed = words.next().context("--seed needs a number")?;
                plan.seed = seed.parse().context("--seed")?;
            }
            minutes => {
                let minutes: f64 = minutes.parse().context("how many minutes")?;
                plan.length = Duration::from_secs_f64(minutes * 60.0);
            }
        }
    }
    Ok(plan)
}
