//! nftpol beside a Felix that stays, and enforces the same policies.
//!
//! In: a cluster with Calico's CNI plugin and Felix' VXLAN between the nodes, and pods that ask
//! others without a pause. Out: an error when a question is answered that the policies deny, or
//! when one of the two changes what the other has in the kernel. Never: a policy of
//! Calico's own kinds.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use kubebed::kubernetes::{Kubernetes, Options};
use kubebed::world::manifests;

use crate::migration::{Before, Pods, objects};
use crate::scene::{Scene, hold};

/// Felix' rules are the same on both networks.
const FELIX: Before = Before::Canal;

/// Plays it in a cluster of its own.
pub fn beside_felix(say: &dyn Fn(&str)) -> Result<()> {
    let options = Options::read(&["--network", "calico-vxlan", "--dual-stack"])?;
    say(&options.to_string());
    let mut scene = Scene { kubernetes: Kubernetes::up(options, say)?, start: Instant::now() };
    if let Err(error) = scene.with_felix() {
        scene.last_words();
        return Err(error.context("calico-vxlan"));
    }
    scene.kubernetes.check()
}

impl Scene {
    fn with_felix(&mut self) -> Result<()> {
        self.put(&objects()?)?;
        self.pods_ready("migration")?;
        let pods = Pods::of(&self.kubernetes)?;
        hold(&pods.tries(self)?).context("Felix alone")?;
        let flows = pods.flows(self)?;
        self.counted(&flows, "Felix alone")?;
        let rules = self.rules_of(FELIX)?;
        let lines: usize = rules.iter().map(|one| one.lines().count()).sum();
        self.say(&format!("Felix' rules and sets are {lines} lines"));
        self.kubernetes.deploy()?;
        self.names_the_other(FELIX)?;
        self.counted(&flows, "both")?;
        hold(&pods.tries(self)?).context("both")?;
        unchanged(&rules, &self.rules_of(FELIX)?).context("nftpol has come")?;
        self.proved()?;
        self.each_node(Kubernetes::start_felix)?;
        self.counted(&flows, "Felix was killed and started again")?;
        self.proved()?;
        unchanged(&rules, &self.rules_of(FELIX)?).context("Felix was started again")?;
        self.say("Felix' rules are as they were");

        self.label_late()?;
        hold(&pods.late(self, true)?).context("a new peer, for both")?;
        self.counted(&flows, "both have followed a label")?;
        let rules = self.rules_of(FELIX)?;
        let base = manifests().display().to_string();
        self.kubectl(&["delete", "-k", &base, "--wait=true", "--cascade=foreground"])?;
        self.rules_removed()?;
        self.counted(&flows, "Felix alone again")?;
        hold(&pods.tries(self)?).context("Felix alone again")?;
        hold(&pods.late(self, true)?).context("a new peer, for Felix")?;
        unchanged(&rules, &self.rules_of(FELIX)?).context("nftpol has gone")?;
        self.say("Felix' rules outlived nftpol as they were");
        drop(flows);
        self.remove(&["migration"])
    }
}

/// Felix' set of the node's own addresses follows link-local ones, which come and go with the
/// interfaces that Felix makes.
const LINK_LOCAL: &str = "this-host fe80:";

/// Whether each node has the same lines as before.
fn unchanged(before: &[String], after: &[String]) -> Result<()> {
    let lines = |text: &String| -> Vec<String> {
        text.lines().filter(|line| !line.contains(LINK_LOCAL)).map(str::to_owned).collect()
    };
    for (before, after) in before.iter().zip(after) {
        let (before, after) = (lines(before), lines(after));
        let only = |one: &[String], other: &[String]| -> Vec<String> {
            one.iter().filter(|line| !other.contains(line)).cloned().collect()
        };
        let (gone, new) = (only(&before, &after), only(&after, &before));
        ensure!(before == after, "Felix' rules have changed: {gone:?} became {new:?}");
    }
    Ok(())
}
