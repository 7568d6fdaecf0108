//! MultiNetworkPolicy between a real API server and the kernels of pods' namespaces.
//!
//! Pods have a routed primary interface, which the node's own table judges, and two further
//! ones of kind macvlan. Each case of `fixtures/multi-network/cases` has policies, and who
//! reaches whom under them as a person read it in the specification. Never: an expectation
//! from nftpol, or from `policy::spec`.

mod changes;
mod expected;
mod greedy;
mod stage;
mod traffic;

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use expected::Expected;
use netbed::fire::say;
use samples::fixtures;
use stage::{CASES, Stage};

#[test]
fn the_cases_hold_on_further_networks() -> Result<()> {
    let stage = Stage::new("mc")?;
    stage.install_kind()?;
    let agents = stage.pod_agents(&[])?;
    stage.settle()?;
    let cases = fixtures::files(CASES)?;
    ensure!(cases.len() >= 25, "{} cases", cases.len());
    let mut wrong = 0;
    for (path, text) in cases {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let expected = Expected::read(&text).with_context(|| name.clone())?;
        stage.put(&text).with_context(|| name.clone())?;
        let start = Instant::now();
        let counts = match stage.follows(&expected) {
            Ok(counts) => counts,
            Err(error) => {
                wrong += 1;
                say(&format!("| {name} | WRONG: {error:#} |\n"))?;
                stage.remove(&text)?;
                continue;
            }
        };
        let took = start.elapsed().as_millis();
        // The primary network is not theirs.
        stage.primary_is_open().with_context(|| name.clone())?;
        say(&format!(
            "| {name} | {} passed, {} refused | after {took} ms |\n",
            counts.passed, counts.refused
        ))?;
        stage.remove(&text)?;
    }
    for agent in &agents {
        ensure!(agent.metric("nftpol_repairs_total")? == 0.0, "{}", agent.log());
    }
    ensure!(
        wrong == 0,
        "{wrong} cases: {}",
        agents.iter().map(|one| one.log()).collect::<String>()
    );
    stage.follows(&Expected::default()).context("without policies all pass again")?;
    agents.into_iter().try_for_each(|agent| agent.stop().map(drop))
}
