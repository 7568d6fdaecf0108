//! Pods that lie about who they are, in a whole Kubernetes with flannel and kube-proxy.
//!
//! Every attack is tried twice: without nftpol, where it must work, and with it, where
//! it must not. The honest ways beside them must stay open.

mod attacks;
mod cast;
mod honest;
mod packet;
mod socket;
mod tunnel;

use std::time::Instant;

use anyhow::{Result, ensure};
use kubebed::kubernetes::{Kubernetes, Options};

use crate::scene::Scene;
use attacks::{Attack, Stage};
use cast::NAMESPACE;

/// The clusters whose nodes have a tunnel.
const OVERLAYS: [&[&str]; 2] =
    [&["--network", "flannel-vxlan", "--dual-stack"], &["--network", "flannel-udp"]];

/// Plays [`Scene::forged`] on real flannel.
pub fn overlays(say: &dyn Fn(&str)) -> Result<()> {
    for words in OVERLAYS {
        let options = Options::read(words)?;
        say(&options.to_string());
        let kubernetes = Kubernetes::up(options, say)?;
        let mut scene = Scene { kubernetes, start: Instant::now() };
        scene.masquerade()?;
        if let Err(error) = scene.forged() {
            scene.last_words();
            return Err(error.context(scene.kubernetes.options().to_string()));
        }
        scene.kubernetes.check()?;
    }
    Ok(())
}

impl Scene {
    /// It removes nftpol first, and leaves it deployed.
    pub fn forged(&mut self) -> Result<()> {
        ensure!(self.nodes() >= 2, "this needs two nodes");
        let cast = self.cast()?;
        let stage = Stage::new(self, &cast)?;
        let attacks = stage.attacks()?;
        self.without_nftpol()?;
        let before = stage.results(&attacks, false)?;
        let honest_before = stage.lost()?;
        self.kubernetes.deploy()?;
        stage.forget_flows()?;
        stage.in_force()?;
        let after = stage.results(&attacks, true)?;
        let honest_after = stage.lost()?;
        self.say("attack | without nftpol | with nftpol");
        for ((attack, before), after) in attacks.iter().zip(&before).zip(&after) {
            let word = |works: &bool| if *works { "open" } else { "closed" };
            self.say(&format!("{attack} | {} | {}", word(before), word(after)));
        }
        let chosen = |results: &[bool], works: bool| -> Vec<String> {
            let of = attacks.iter().zip(results).filter(|(_, result)| **result == works);
            of.map(|(attack, _)| attack.to_string()).collect()
        };
        let (idle, open) = (chosen(&before, false), chosen(&after, true));
        ensure!(idle.is_empty(), "do not work without nftpol, so they show nothing: {idle:#?}");
        ensure!(honest_before.is_empty(), "shut without nftpol: {honest_before:#?}");
        ensure!(honest_after.is_empty(), "honest, and lost: {honest_after:#?}");
        ensure!(open.is_empty(), "attacks that work: {open:#?}");
        self.proved()?;
        self.remove(&[NAMESPACE])
    }

    /// Removes the agents and their tables.
    fn without_nftpol(&self) -> Result<()> {
        let delete = ["-n", "kube-system", "delete", "daemonset", "nftpol", "--cascade=foreground"];
        self.kubectl(&[&delete[..], &["--ignore-not-found"]].concat())?;
        for node in self.kubernetes.cluster().nodes() {
            for family in ["inet", "bridge"] {
                let deleted = self
                    .kubernetes
                    .exec(&node.name, &["nft", "delete", "table", family, "nftpol"])?;
                let is_none = deleted.stderr.contains("No such file or directory");
                ensure!(is_none || deleted.code == Some(0), "{deleted:?}");
            }
        }
        Ok(())
    }
}

impl std::fmt::Display for Attack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} | {}", self.name, if self.v6 { "IPv6" } else { "IPv4" })
    }
}
