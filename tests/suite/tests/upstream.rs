//! Six of Kubernetes' own NetworkPolicy specs against nftpol as a DaemonSet in a
//! whole Kubernetes. `cargo xtask conformance` runs all of them.

use std::time::Instant;

use anyhow::{Result, ensure};
use kubebed::kubernetes::{Kubernetes, Options};
use kubebed::upstream::{self, Outcome, Verdict, choice};

/// How many run at once. They mostly wait for denied connections.
const AT_ONCE: usize = 6;

#[test]
fn six_upstream_specs_on_kubernetes() -> Result<()> {
    let specs = choice::six(&upstream::list(None)?)?;
    let start = Instant::now();
    let say = |line: &str| eprintln!("{:5.1} s  {line}", start.elapsed().as_secs_f32());
    let kubernetes = Kubernetes::up(Options::read(&["--dual-stack"])?, &say)?;
    kubernetes.deploy()?;
    say("all agents are ready");
    let tell = |outcome: &Outcome| {
        say(&format!("{:.1} s: {}", outcome.time.as_secs_f32(), outcome.spec.name));
    };
    let outcomes = upstream::run(&kubernetes, &specs, AT_ONCE, &tell)?;
    ensure!(outcomes.len() == specs.len(), "{} outcomes", outcomes.len());
    for Outcome { spec, verdict, cells, .. } in &outcomes {
        ensure!(*verdict == Verdict::Passed, "{}: {verdict:?}", spec.name);
        ensure!(cells.pairs > 0, "{} tried no pair of pods", spec.name);
        // Upstream accepts a pod that does not reach itself.
        ensure!(cells.itself_refused == 0, "{}: {cells:?}", spec.name);
    }
    Ok(())
}
