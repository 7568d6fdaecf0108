//! Prepares a machine to build and test: Debian packages, kernel modules.
//!
//! Does nothing when all is there. As root it installs missing packages. Otherwise
//! it fails with the one command to run.
//! Never: a change when nothing is missing.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Result, bail};

use crate::cargo::finish;

/// What a fresh Debian 12 with Rust and gcc lacks.
const PACKAGES: [&str; 12] = [
    // To build: the two C libraries, pkg-config to find them, and make for jemalloc.
    "make",
    "libmnl-dev",
    "libnftnl-dev",
    "pkg-config",
    // To test: nft(8) for comparison, namespaces and links, system calls,
    // sysctl(8).
    "nftables",
    "iproute2",
    "strace",
    "procps",
    // To test: the agent, run as a node's container runtime runs it.
    "containerd",
    "runc",
    // To test: what others left in iptables, and the alerts and the dashboard.
    "iptables",
    "prometheus",
];

/// What a node of a real Kubernetes needs in addition.
const OF_NODES: [&str; 6] = [
    "containernetworking-plugins",
    // For kubelet and kube-proxy.
    "iptables",
    "conntrack",
    "socat",
    "ethtool",
    // For kube-router and Calico.
    "ipset",
];

/// What a virtual machine with IPVS needs in addition, and what is tried in it.
const OF_VM: [&str; 3] = ["qemu-system-x86", "busybox-static", "ipvsadm"];

/// A package of Docker's that conflicts with two of ours and contains their
/// programs, too.
const INSTEAD: (&str, [&str; 2]) = ("containerd.io", ["containerd", "runc"]);

/// Modules that no socket or rule loads by itself, with a path that exists once the
/// module is loaded or built in.
const MODULES: [(&str, &str); 1] = [("br_netfilter", "/proc/sys/net/bridge")];

/// Installs what is missing to build and test.
pub fn packages() -> Result<()> {
    install_all(&PACKAGES)
}

/// Also installs what is missing for nodes of a real Kubernetes.
pub fn packages_of_nodes() -> Result<()> {
    install_all(&[&PACKAGES[..], &OF_NODES].concat())
}

/// Also installs what is missing for a virtual machine with IPVS.
pub fn packages_of_vm() -> Result<()> {
    install_all(&[&PACKAGES[..], &OF_VM].concat())
}

/// Also installs what is missing to build libFuzzer.
pub fn packages_of_fuzzing() -> Result<()> {
    install_all(&[&PACKAGES[..], &["g++"]].concat())
}

fn install_all(packages: &[&'static str]) -> Result<()> {
    let Some(missing) = missing(packages) else {
        eprintln!("setup: no dpkg on this machine; needed are {}", packages.join(", "));
        return Ok(());
    };
    if !missing.is_empty() {
        if !root() {
            bail!(
                "Debian packages are missing; run this, then the same command again:\n\n    \
                 sudo apt-get update && sudo apt-get install --yes --no-install-recommends {}\n",
                missing.join(" ")
            );
        }
        install(&missing)?;
    }
    if root() {
        modules();
    }
    Ok(())
}

/// The packages that dpkg does not list as installed. `None` without dpkg.
fn missing(packages: &[&'static str]) -> Option<Vec<&'static str>> {
    let output = Command::new("dpkg-query")
        .args(["--show", "--showformat=${Package} ${db:Status-Status}\n"])
        .args(packages)
        .arg(INSTEAD.0)
        .stderr(Stdio::null())
        .output()
        .ok()?;
    Some(not_installed(packages, &String::from_utf8_lossy(&output.stdout)))
}

fn not_installed(packages: &[&'static str], listing: &str) -> Vec<&'static str> {
    let installed =
        |package: &str| listing.lines().any(|line| line == format!("{package} installed"));
    let (other, replaced) = INSTEAD;
    let there =
        |package: &str| installed(package) || (replaced.contains(&package) && installed(other));
    packages.iter().copied().filter(|package| !there(package)).collect()
}

fn install(missing: &[&str]) -> Result<()> {
    eprintln!("setup: installing {}", missing.join(" "));
    let apt = |args: &[&str]| {
        let mut command = Command::new("apt-get");
        // Another process may be installing. Wait for its lock (seconds).
        command.args(["--quiet", "--yes", "-o", "DPkg::Lock::Timeout=120"]).args(args);
        // On stderr, because stdout is for the output of the chore itself.
        command.env("DEBIAN_FRONTEND", "noninteractive").stdout(std::io::stderr());
        finish(command)
    };
    apt(&["update"])?;
    apt(&[&["install", "--no-install-recommends"], missing].concat())
}

/// Loads missing modules. If that fails, the tests that need a module report it.
fn modules() {
    for (module, there) in MODULES {
        if Path::new(there).exists() {
            continue;
        }
        match Command::new("modprobe").arg(module).status() {
            Ok(status) if status.success() => {}
            Ok(status) => eprintln!("setup: modprobe {module}: {status}; continuing without it"),
            Err(error) => eprintln!("setup: modprobe {module}: {error}; continuing without it"),
        }
    }
}

/// Whether the effective uid is 0, from `/proc/self/status` (real, effective,
/// saved, file system; proc(5)).
fn root() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let uids = status.lines().find_map(|line| line.strip_prefix("Uid:"));
    uids.and_then(|uids| uids.split_whitespace().nth(1)) == Some("0")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_counts_only_as_installed() {
        let all: String = PACKAGES.iter().map(|p| format!("{p} installed\n")).collect();
        assert!(not_installed(&PACKAGES, &all).is_empty());
        let removed = all.replace("strace installed", "strace config-files");
        assert_eq!(not_installed(&PACKAGES, &removed), ["strace"]);
        assert_eq!(not_installed(&PACKAGES, ""), PACKAGES);
        let docker = all.replace("containerd installed", "containerd.io installed");
        assert!(not_installed(&PACKAGES, &docker.replace("runc installed", "")).is_empty());
    }
}
