//! nftpol as a DaemonSet in a whole Kubernetes: containerd, kubelets, kube-proxy, CNI
//! plugins, a scheduler, controllers.
//!
//! By default the test runs the scenes of CI. `NFTPOL_SCENES` names others, or `all`;
//! `cargo xtask test cluster` sets it. `NFTPOL_CLUSTER="--proxy iptables --nodes 3"`
//! chooses another cluster than the one of CI.

mod absence;
mod agents;
mod beside_felix;
mod crash;
mod edits;
mod faults;
mod forged;
mod install;
mod listening;
mod macvlan;
mod migration;
mod monitor;
mod paths;
mod plugin;
mod reboot;
mod removal;
mod report;
mod scene;
mod secondary;
mod short;
mod workloads;

use std::time::Instant;

use anyhow::{Result, ensure};
use kubebed::kubernetes::{Kubernetes, Machine, Options};

use migration::Before;
use scene::Scene;

const CLUSTER: &str = "NFTPOL_CLUSTER";
const SCENES: &str = "NFTPOL_SCENES";
/// The scenes that start clusters of their own.
const CRASH: &str = "crash";
const OVERLAYS: &str = "overlays";
const MACVLAN: &str = "macvlan";
const SECONDARY: &str = "secondary";
const MIGRATION: &str = "migration";
const FROM_CANAL: &str = "migration-canal";
const BESIDE_FELIX: &str = "beside-felix";

type RunScene = fn(&mut Scene) -> Result<()>;

/// All scenes in this order, and whether CI runs them.
const ALL: [(&str, RunScene, bool); 12] = [
    ("short", Scene::short, true),
    ("agents", Scene::agents, true),
    ("monitor", Scene::monitor, true),
    ("forged", Scene::forged, true),
    ("paths", Scene::paths, false),
    ("workloads", Scene::workloads, false),
    ("edits", Scene::edits, false),
    ("faults", Scene::faults, false),
    ("reboot", Scene::reboot, false),
    ("first-packet", Scene::first_packet, false),
    ("removal", Scene::removal, true),
    ("install", Scene::install, false),
];

#[test]
fn in_a_real_kubernetes() -> Result<()> {
    let words = std::env::var(CLUSTER).unwrap_or("--dual-stack".into());
    let options = Options::read(&words.split_whitespace().collect::<Vec<_>>())?;
    let scenes = std::env::var(SCENES).unwrap_or_default();
    let scenes_to_run = chosen(&scenes)?;
    let before = Machine::now()?;
    let start = Instant::now();
    let say = |line: &str| scene::say(start, line);
    if !scenes_to_run.is_empty() {
        in_one_cluster(options, &scenes_to_run, start)?;
        assert_eq!(Machine::now()?, before);
        say("down, the machine is as it was");
    }
    if has(&scenes, OVERLAYS, true) {
        forged::overlays(&say)?;
        assert_eq!(Machine::now()?, before);
    }
    if has(&scenes, MACVLAN, false) {
        macvlan::macvlan(&say)?;
        assert_eq!(Machine::now()?, before);
    }
    if has(&scenes, SECONDARY, false) {
        secondary::secondary(&say)?;
        assert_eq!(Machine::now()?, before);
    }
    if has(&scenes, MIGRATION, false) {
        migration::migration(Before::KubeRouter, &say)?;
        assert_eq!(Machine::now()?, before);
    }
    if has(&scenes, FROM_CANAL, false) {
        migration::migration(Before::Canal, &say)?;
        assert_eq!(Machine::now()?, before);
    }
    if has(&scenes, BESIDE_FELIX, false) {
        beside_felix::beside_felix(&say)?;
        assert_eq!(Machine::now()?, before);
    }
    if has(&scenes, CRASH, true) {
        crash::crash()?;
        assert_eq!(Machine::now()?, before);
        say("another one crashed and was removed, the machine is as it was");
    }
    Ok(())
}

/// Runs scenes that share a cluster.
fn in_one_cluster(
    options: Options,
    scenes: &[(&'static str, RunScene)],
    start: Instant,
) -> Result<()> {
    let say = |line: &str| scene::say(start, line);
    say(&options.to_string());
    let mut scene = Scene { kubernetes: Kubernetes::up(options, &say)?, start };
    scene.kubernetes.deploy()?;
    say("all agents are ready");
    for (name, run) in scenes {
        say(&format!("--- {name}"));
        if let Err(error) = run(&mut scene) {
            scene.last_words();
            return Err(error.context(*name));
        }
    }
    scene.kubernetes.check()
}

/// Whether these words name the scene. Without words, the scenes of CI are chosen.
fn has(scenes: &str, name: &str, of_ci: bool) -> bool {
    let mut words = scenes.split_whitespace().peekable();
    if words.peek().is_none() { of_ci } else { words.any(|word| word == name || word == "all") }
}

fn chosen(scenes: &str) -> Result<Vec<(&'static str, RunScene)>> {
    let known = || {
        ALL.iter()
            .map(|(name, ..)| *name)
            .chain([OVERLAYS, MACVLAN, SECONDARY, MIGRATION, FROM_CANAL, BESIDE_FELIX, CRASH])
            .chain(["all"])
    };
    for word in scenes.split_whitespace() {
        let names: Vec<_> = known().collect();
        ensure!(known().any(|name| name == word), "no scene {word}; the scenes are {names:?}");
    }
    let chosen = ALL.iter().filter(|(name, _, of_ci)| has(scenes, name, *of_ci));
    Ok(chosen.map(|&(name, run, _)| (name, run)).collect())
}
