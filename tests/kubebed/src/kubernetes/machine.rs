//! Shows whether a cluster left something behind on the machine.
//!
//! The value is the same before and after a cluster of this process. What other
//! processes make does not count.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use netbed::net::Namespace;

use super::{FOLDER, PREFIX, cgroups, inside};

/// Where kubelets and plugins write outside of their own namespaces.
const FOLDERS: [&str; 6] = [
    "/etc/cni",
    "/opt/cni",
    "/var/lib/cni",
    "/var/lib/kubelet",
    "/var/log/containers",
    "/var/log/pods",
];

/// The machine, as far as clusters of this process could change it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// Values of the sysctls that kubelets set.
    sysctls: Vec<(&'static str, String)>,
    /// Which of the folders exist.
    folders: Vec<&'static str>,
    /// Network namespaces, control groups, mounts, files and processes that have
    /// our names.
    ours: Vec<String>,
}

impl Machine {
    /// The present state.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn now() -> Result<Self> {
        let number = std::process::id();
        let folder = format!("nftpol-{FOLDER}-{number}-");
        let names = format!("{PREFIX}{number}-");
        let sysctls = inside::TUNABLES.iter().map(|&(name, _)| {
            let path = Path::new("/proc/sys").join(name);
            let value = fs::read_to_string(&path).with_context(|| format!("read {name}"))?;
            Ok((name, value.trim().to_owned()))
        });
        let mut ours = Namespace::list(&names)?;
        ours.extend(cgroups::list(&names)?);
        let mounts = fs::read_to_string("/proc/self/mountinfo").context("read the mounts")?;
        let named = |text: &str| text.contains(&folder) || text.contains(&names);
        // Named namespaces are mounts, too. They are already counted above.
        let mounts = mounts.lines().filter(|line| !line.contains(" nsfs ") && named(line));
        ours.extend(mounts.map(str::to_owned));
        for path in [std::env::temp_dir(), "/proc".into()] {
            for entry in fs::read_dir(&path).with_context(|| format!("read {}", path.display()))? {
                let path = entry?.path();
                let words = fs::read(path.join("cmdline")).unwrap_or_default();
                let words = String::from_utf8_lossy(&words).replace('\0', " ");
                if named(&path.display().to_string()) || named(&words) {
                    ours.push(format!("{} {words}", path.display()));
                }
            }
        }
        Ok(Self {
            sysctls: sysctls.collect::<Result<_>>()?,
            folders: FOLDERS.into_iter().filter(|path| Path::new(path).exists()).collect(),
            ours,
        })
    }
}
