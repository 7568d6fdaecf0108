//! A program of a node: containerd, kubelet, kube-proxy, flannel and others.
//!
//! Knows where the program is and how it ends. Never: starts one.

use std::ffi::OsString;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::apiserver::{self, process::Process};

/// How long programs may take to end once they are killed.
pub(super) const GOING: Duration = Duration::from_secs(10);
/// The programs that `cargo xtask kube` builds. The others are the machine's.
const BUILT: [&str; 5] = ["kubelet", "kube-proxy", "flannel", "kube-router", "calico-felix"];

/// A program of the node.
pub(super) struct Service {
    pub name: &'static str,
    /// The program and its arguments.
    pub words: Vec<OsString>,
    pub process: Option<Process>,
}

impl Service {
    /// Kills it, and waits until it is gone.
    pub fn stop(&mut self, node: &str) -> Result<()> {
        let Some(process) = self.process.take() else { return Ok(()) };
        let programs = process.children();
        drop(process);
        let start = Instant::now();
        while programs.iter().any(|program| program.exists()) {
            ensure!(start.elapsed() < GOING, "{} on {node} does not end", self.name);
            sleep(Duration::from_millis(1));
        }
        Ok(())
    }
}

/// Where the program is.
pub(super) fn built(name: &str) -> Result<PathBuf> {
    if BUILT.contains(&name) { apiserver::program(name) } else { Ok(PathBuf::from(name)) }
}
