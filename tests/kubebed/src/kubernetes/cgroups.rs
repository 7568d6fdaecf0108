//! A node's control groups.
//!
//! The machine may have mounted version 1, version 2 or both (cgroups(7)). The node
//! has one group in each hierarchy, and sees that group as the root. Never: a group
//! that the node did not create.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::mount::{MsFlags, mount};

/// Where the hierarchies are mounted.
const ROOT: &str = "/sys/fs/cgroup";
/// The group of version 2 that holds the processes, because only leaves may.
const LEAF: &str = "init";
/// How long processes may take to end.
const PATIENCE: Duration = Duration::from_secs(20);

/// One mounted hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hierarchy {
    mount: PathBuf,
    version: Version,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Version {
    /// The controllers, or the name, as mount options.
    One(String),
    Two,
}

/// All mounted hierarchies.
pub(super) fn all() -> Result<Vec<Hierarchy>> {
    let text = fs::read_to_string("/proc/self/mountinfo").context("read the mounts")?;
    Ok(text.lines().filter_map(hierarchy).collect())
}

/// `32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu` (proc(5)).
fn hierarchy(line: &str) -> Option<Hierarchy> {
    let (place, kind) = line.split_once(" - ")?;
    let mount = place.split(' ').nth(4).filter(|mount| mount.starts_with(ROOT))?.into();
    let mut kind = kind.split(' ');
    let version = match kind.next()? {
        "cgroup" => {
            let options = kind.nth(1)?.split(',').filter(|option| *option != "rw");
            Version::One(options.collect::<Vec<_>>().join(","))
        }
        "cgroup2" => Version::Two,
        _ => return None,
    };
    Some(Hierarchy { mount, version })
}

impl Hierarchy {
    /// Creates the node's group.
    pub fn make(&self, name: &str) -> Result<()> {
        let group = self.mount.join(name);
        fs::create_dir(&group).with_context(|| format!("make {}", group.display()))?;
        if self.version == Version::Two {
            fs::create_dir(group.join(LEAF)).context("make a control group")?;
        }
        // A group of `cpuset` accepts no process until it has processors and
        // memory.
        for file in ["cpuset.cpus", "cpuset.mems"] {
            let from = self.mount.join(file);
            if self.version != Version::Two && from.exists() {
                fs::copy(from, group.join(file)).with_context(|| format!("copy {file}"))?;
            }
        }
        Ok(())
    }

    /// Puts this process into the node's group. A new cgroup namespace has that
    /// group as its root.
    pub fn enter_root(&self, name: &str) -> Result<()> {
        move_here(&self.mount.join(name))
    }

    /// Moves this process to where the node's processes are.
    pub fn enter(&self, name: &str) -> Result<()> {
        match self.version {
            Version::One(_) => move_here(&self.mount.join(name)),
            Version::Two => move_here(&self.mount.join(name).join(LEAF)),
        }
    }

    /// Gives groups below the node's all controllers that it has. Its own processes
    /// must already be in the leaf.
    pub fn delegate(&self, name: &str) -> Result<()> {
        if self.version != Version::Two {
            return Ok(());
        }
        let group = self.mount.join(name);
        let controllers = fs::read_to_string(group.join("cgroup.controllers"));
        let controllers = controllers.context("read the controllers")?;
        let all: Vec<String> =
            controllers.split_whitespace().map(|one| format!("+{one}")).collect();
        fs::write(group.join("cgroup.subtree_control"), all.join(" "))
            .context("enable the controllers for groups below")
    }

    /// Mounts the hierarchy at the same place, seen from this cgroup namespace.
    fn mount_again(&self) -> Result<()> {
        fs::create_dir_all(&self.mount).context("make a mount point")?;
        let (kind, options) = match &self.version {
            Version::One(options) => ("cgroup", Some(options.as_str())),
            Version::Two => ("cgroup2", None),
        };
        mount(Some(kind), &self.mount, Some(kind), MsFlags::empty(), options)
            .with_context(|| format!("mount {}", self.mount.display()))
    }
}

/// Mounts these hierarchies below a new sysfs.
pub(super) fn mount_all(hierarchies: &[Hierarchy]) -> Result<()> {
    if hierarchies.iter().all(|one| one.mount != Path::new(ROOT)) {
        mount(Some("tmpfs"), ROOT, Some("tmpfs"), MsFlags::empty(), None::<&str>)
            .context("mount a folder for control groups")?;
    }
    hierarchies.iter().try_for_each(Hierarchy::mount_again)
}

/// Removes a node's groups and all groups below, once their processes are gone.
pub(super) fn remove(name: &str) -> Result<()> {
    let start = Instant::now();
    let hierarchies = all()?;
    loop {
        let left = hierarchies.iter().map(|one| one.mount.join(name)).find(|group| {
            remove_tree(group);
            group.exists()
        });
        match left {
            None => return Ok(()),
            Some(group) if start.elapsed() > PATIENCE => {
                bail!("processes stay in {}", group.display())
            }
            Some(_) => sleep(Duration::from_millis(20)),
        }
    }
}

/// The names of nodes' groups with this prefix.
pub(super) fn list(prefix: &str) -> Result<Vec<String>> {
    let folders = all()?.into_iter().filter_map(|one| fs::read_dir(one.mount).ok());
    let names =
        folders.flatten().flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let mut names: Vec<String> = names.filter(|name| name.starts_with(prefix)).collect();
    names.sort();
    names.dedup();
    Ok(names)
}

/// Removing the folder removes its files. Groups in use stay.
fn remove_tree(group: &Path) {
    for entry in fs::read_dir(group).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_tree(&entry.path());
        }
    }
    let _ = fs::remove_dir(group);
}

fn move_here(group: &Path) -> Result<()> {
    // 0 means the writer itself.
    fs::write(group.join("cgroup.procs"), "0").with_context(|| format!("enter {}", group.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_are_read() {
        let one = "40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd";
        let two = "41 31 0:38 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate";
        let found =
            |line| hierarchy(line).map(|one| (one.mount.display().to_string(), one.version));
        let systemd = Version::One("name=systemd".into());
        assert_eq!(found(one), Some(("/sys/fs/cgroup/systemd".into(), systemd)));
        assert_eq!(found(two), Some(("/sys/fs/cgroup".into(), Version::Two)));
        assert_eq!(found("31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw"), None);
        assert_eq!(found("50 23 0:28 / /other rw - cgroup2 cgroup2 rw"), None);
    }
}
