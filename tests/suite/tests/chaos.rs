//! A sample of `cargo xtask chaos`, always the same. See [`tools::chaos`].

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tools::chaos::{Plan, run};

const SEED: u64 = 3;
const LENGTH: Duration = Duration::from_secs(60);

#[test]
fn a_minute_in_which_everything_goes_wrong() -> Result<()> {
    let plan = Plan { seed: SEED, length: LENGTH, quick: true, untrue: false, only: Vec::new() };
    let tally = run(plan)?;
    let faults: usize = tally.faults.values().sum();
    // On a machine that is busy there are fewer.
    ensure!(faults >= 3 && tally.proofs > faults, "{tally:?}");
    ensure!(tally.addresses > 0 && tally.kept > 0, "{tally:?}");
    Ok(())
}

/// A pod that is open is seen.
#[test]
fn lists_that_look_complete_and_lack_policies_are_found_out() -> Result<()> {
    let plan = Plan { seed: SEED, length: LENGTH, quick: true, untrue: true, only: Vec::new() };
    let ended = run(plan);
    let error = format!("{:#}", ended.err().context("nothing was found")?);
    ensure!(error.contains("an isolated pod was open: "), "{error}");
    ensure!(error.starts_with(&format!("seed {SEED}, step ")), "{error}");
    Ok(())
}
