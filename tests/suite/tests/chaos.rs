//! A sample of `cargo xtask chaos`, always the same. See [`tools::chaos`].

use std::time::Duration;

use anyhow::{Result, ensure};
use tools::chaos::{Plan, run};

const SEED: u64 = 1;
const LENGTH: Duration = Duration::from_secs(60);

#[test]
fn a_minute_in_which_everything_goes_wrong() -> Result<()> {
    let tally = run(Plan { seed: SEED, length: LENGTH, quick: true })?;
    let faults: usize = tally.faults.values().sum();
    // On a machine that is busy there are fewer.
    ensure!(faults >= 3 && tally.proofs > faults, "{tally:?}");
    ensure!(tally.addresses > 0 && tally.kept > 0, "{tally:?}");
    Ok(())
}
