//! The systemd unit that shuts pods before the kubelet starts.
//!
//! In: a node's root folder; this process's own files. Out: the program with the loader
//! and the libraries that it runs with, and the unit. Never: a library of the node, which
//! may have none of ours; a call of systemctl, which the image does not have.
//!
//! ```text
//! /opt/nftpol/nftpol, ld-linux-*.so, lib*.so
//! /etc/systemd/system/nftpol-restore.service
//! /etc/systemd/system/multi-user.target.wants/nftpol-restore.service -> the unit
//! ```
//!
//! The link is what `systemctl enable` makes. systemd reads it at the next start, which is
//! the first one that the unit is for.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::boot_file::write_whole;

/// Where the program is on the node.
const PROGRAMS: &str = "/opt/nftpol";
/// Where administrators' units are (systemd.unit(5), "Unit File Load Path").
const UNITS: &str = "/etc/systemd/system";
/// The unit's name.
pub const UNIT: &str = "nftpol-restore.service";
/// What a usual start brings up (systemd.special(7)).
const WANTS: &str = "multi-user.target.wants";

/// Programs that start pods, and container runtimes that start them again by themselves.
const BEFORE: &str = "containerd.service crio.service docker.service kubelet.service k3s.service \
                      k3s-agent.service rke2-server.service rke2-agent.service k0scontroller.service \
                      k0sworker.service snap.microk8s.daemon-containerd.service \
                      snap.microk8s.daemon-kubelite.service";
/// Units that write rules of their own, some of which flush all rules first, and that make
/// modules and files available.
const AFTER: &str = "local-fs.target systemd-modules-load.service nftables.service \
                     netfilter-persistent.service firewalld.service ufw.service";

/// Installs what runs `nftpol restore --replace --file FILE` at each start. Returns what was done.
///
/// # Errors
/// A file cannot be read or written.
pub fn install(host: &Path, file: &Path) -> Result<Vec<String>> {
    if file.to_str().is_none_or(|file| !file.starts_with('/') || file.contains([' ', '%', '"'])) {
        bail!("--file {}: give a path of the node without spaces and signs", file.display());
    }
    let units = inside(host, UNITS);
    if !units.is_dir() {
        bail!("{} is no folder: a node without systemd starts nothing by this", units.display());
    }
    let programs = inside(host, PROGRAMS);
    fs::create_dir_all(&programs).with_context(|| format!("make {}", programs.display()))?;
    let loader = copy_all(&programs)?;
    let mut done = vec![format!("{PROGRAMS} has this program and its libraries")];
    put(&units.join(UNIT), unit(loader.as_deref(), file).as_bytes(), 0o644)?;
    let wants = units.join(WANTS);
    fs::create_dir_all(&wants).with_context(|| format!("make {}", wants.display()))?;
    let link = wants.join(UNIT);
    match symlink(Path::new("..").join(UNIT), &link) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            return Err(error).with_context(|| format!("make {}", link.display()));
        }
        Ok(()) | Err(_) => {}
    }
    done.push(format!("{UNITS}/{UNIT} runs at each start of this node, before the kubelet"));
    Ok(done)
}

/// Takes it away: the unit first, so that no start finds a unit without its program.
/// Returns what was done.
///
/// # Errors
/// A file cannot be removed.
pub fn remove(host: &Path) -> Result<Vec<String>> {
    let mut done = Vec::new();
    let units = inside(host, UNITS);
    for path in [units.join(WANTS).join(UNIT), units.join(UNIT)] {
        match fs::remove_file(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            removed => {
                removed.with_context(|| format!("remove {}", path.display()))?;
                done.push(format!("{} removed", path.display()));
            }
        }
    }
    let programs = inside(host, PROGRAMS);
    let entries = match fs::read_dir(&programs) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(done),
        entries => entries.with_context(|| format!("list {}", programs.display()))?,
    };
    // The folder itself may be a mount.
    for entry in entries {
        let path = entry.context("list the programs")?.path();
        fs::remove_file(&path).with_context(|| format!("remove {}", path.display()))?;
    }
    done.push(format!("{PROGRAMS} is empty"));
    Ok(done)
}

/// The unit's text. `loader`: the file name of the program's loader; `None` if it needs
/// none.
fn unit(loader: Option<&str>, file: &Path) -> String {
    let loaded = loader.map(|name| format!("{PROGRAMS}/{name} --library-path {PROGRAMS} "));
    let loaded = loaded.unwrap_or_default();
    format!(
        "# Installed by nftpol (manifests/overlays/boot). `nftpol install-boot --remove` removes it.\n\
         [Unit]\n\
         Description=Shut the addresses of pods until nftpol's agent enforces NetworkPolicy\n\
         After={AFTER}\n\
         Before={BEFORE}\n\
         \n\
         [Service]\n\
         Type=oneshot\n\
         RemainAfterExit=yes\n\
         ExecStartPre=-modprobe br_netfilter\n\
         ExecStart={loaded}{PROGRAMS}/nftpol restore --replace --file {}\n\
         \n\
         [Install]\n\
         WantedBy=multi-user.target\n",
        file.display()
    )
}

/// Copies this program and what it runs with. Returns the name of its loader.
fn copy_all(to: &Path) -> Result<Option<String>> {
    let own = std::env::current_exe().context("find this program")?;
    let maps = fs::read_to_string("/proc/self/maps").context("read /proc/self/maps")?;
    let mut loader = None;
    for path in libraries(&maps, &own) {
        let name = file_name(&path)?;
        copy(&path, &to.join(&name))?;
        for alias in aliases(&path)? {
            copy(&path, &to.join(alias))?;
        }
        let name = name.to_string_lossy();
        if name.starts_with("ld-") || name.starts_with("ld.so") {
            loader = Some(name.into_owned());
        }
    }
    copy(&own, &to.join("nftpol"))?;
    Ok(loader)
}

/// The libraries that a process has mapped (proc_pid_maps(5)): the sixth column.
fn libraries(maps: &str, own: &Path) -> BTreeSet<PathBuf> {
    let paths = maps.lines().filter_map(|line| {
        let at = line.find('/')?;
        let path = Path::new(&line[at..]);
        let name = path.file_name()?.to_string_lossy();
        let is_library = name.contains(".so") && !name.ends_with("(deleted)");
        (is_library && path != own).then(|| path.to_owned())
    });
    paths.collect()
}

/// Other names of a library in its folder: programs ask for one of them, such as
/// `libmnl.so.0` for `libmnl.so.0.2.0`.
fn aliases(library: &Path) -> Result<Vec<OsString>> {
    let folder = library.parent().context("a library in no folder")?;
    let name = file_name(library)?;
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("list {}", folder.display()))? {
        let entry = entry?;
        let is_link = entry.file_type()?.is_symlink();
        if is_link && fs::read_link(entry.path())?.file_name() == Some(name.as_os_str()) {
            found.push(entry.file_name());
        }
    }
    Ok(found)
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    let bytes = fs::read(from).with_context(|| format!("read {}", from.display()))?;
    // The same file is left: it may be running.
    if fs::read(to).is_ok_and(|there| there == bytes) {
        return Ok(());
    }
    put(to, &bytes, 0o755)
}

fn put(path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    write_whole(path, bytes, mode).with_context(|| format!("write {}", path.display()))
}

fn file_name(path: &Path) -> Result<OsString> {
    path.file_name().map(ToOwned::to_owned).context("a path without a name")
}

fn inside(host: &Path, path: &str) -> PathBuf {
    host.join(path.trim_start_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("nftpol-unit-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(path.join("etc/systemd/system")).unwrap();
        path
    }

    #[test]
    fn the_unit_runs_before_whatever_starts_pods() {
        let unit = unit(Some("ld-linux-x86-64.so.2"), Path::new("/var/lib/nftpol/boot"));
        for line in [
            "ExecStart=/opt/nftpol/ld-linux-x86-64.so.2 --library-path /opt/nftpol \
             /opt/nftpol/nftpol restore --replace --file /var/lib/nftpol/boot",
            "Type=oneshot",
            "WantedBy=multi-user.target",
        ] {
            assert!(unit.lines().any(|one| one == line), "{line}: {unit}");
        }
        let before = unit.lines().find(|line| line.starts_with("Before=")).unwrap();
        assert!(before.contains("kubelet.service") && before.contains("containerd.service"));
        let after = unit.lines().find(|line| line.starts_with("After=")).unwrap();
        assert!(after.contains("nftables.service"), "which flushes all rules: {after}");
    }

    #[test]
    fn it_is_installed_twice_and_removed_twice() {
        let host = folder("twice");
        let file = Path::new("/var/lib/nftpol/boot");
        for _ in 0..2 {
            install(&host, file).unwrap();
            let link = host.join("etc/systemd/system/multi-user.target.wants").join(UNIT);
            assert!(
                fs::read_to_string(link).unwrap().contains("restore --replace --file"),
                "the unit"
            );
            let program = fs::metadata(host.join("opt/nftpol/nftpol")).unwrap();
            assert_eq!(
                program.len(),
                fs::metadata(std::env::current_exe().unwrap()).unwrap().len()
            );
        }
        let there = |path: &str| host.join(path).exists();
        assert!(there("opt/nftpol/libc.so.6"), "its libraries");
        assert_eq!(remove(&host).unwrap().len(), 3);
        assert!(!there("etc/systemd/system/nftpol-restore.service") && there("opt/nftpol"));
        assert_eq!(remove(&host).unwrap(), ["/opt/nftpol is empty"]);
        fs::remove_dir_all(host).unwrap();
    }

    #[test]
    fn a_node_without_systemd_and_a_path_that_a_unit_would_misread_are_refused() {
        let host = folder("none");
        let refused = |host: &Path, file: &str| install(host, Path::new(file)).unwrap_err();
        assert!(refused(&host.join("opt"), "/a").to_string().contains("without systemd"));
        for file in ["boot", "/a b", "/a%n"] {
            assert!(refused(&host, file).to_string().contains("--file"), "{file}");
        }
        assert!(!host.join("opt").exists());
        fs::remove_dir_all(host).unwrap();
    }

    #[test]
    fn what_is_mapped_is_copied() {
        let maps = "55d0-55d1 r-xp 00000000 08:01 1   /usr/local/bin/nftpol\n\
                    7f00-7f01 r--p 00000000 08:01 2   /lib/x/libmnl.so.0.2.0\n\
                    7f01-7f02 r-xp 00001000 08:01 2   /lib/x/libmnl.so.0.2.0\n\
                    7f02-7f03 rw-p 00000000 00:00 0\n\
                    7f03-7f04 rw-p 00000000 00:00 0   [heap]\n\
                    7f04-7f05 r-xp 00000000 08:01 3   /lib64/ld-linux-x86-64.so.2\n";
        let found = libraries(maps, Path::new("/usr/local/bin/nftpol"));
        let expected = ["/lib/x/libmnl.so.0.2.0", "/lib64/ld-linux-x86-64.so.2"];
        assert_eq!(found, expected.map(PathBuf::from).into());
    }
}
