//! Which network namespaces the processes of which pod are in.
//!
//! In: `/proc`, the uids of pods. Out: the namespaces. Never: a process changed, or read
//! beyond its control group and its namespace.
//!
//! kubelet puts each container of a pod into a control group below one with the pod's uid
//! in its name (`GetPodCgroupNameSuffix`, pkg/kubelet/cm/helpers_linux.go; in systemd's
//! form `kubepods-burstable-pod<uid with underscores>.slice`, Kubernetes 1.34). The uid of a
//! static pod is a hash without dashes ([`PodUid`]).
//!
//! | driver | hierarchy | path of a container |
//! |---|---|---|
//! | cgroupfs | v2 | `0::/kubepods/burstable/pod<uid>/<container>` |
//! | cgroupfs | v1 | the same in each hierarchy, `N:controllers:/kubepods/...` |
//! | systemd | v2 | `0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod<uid>.slice/<scope>` |
//! | systemd | v1 | the same in each hierarchy |
//!
//! The last part is the runtime's: a folder `<container>` or a scope
//! `cri-containerd-<container>.scope` of containerd (`getCgroupsPath`,
//! pkg/cri/server/helpers_linux.go, 1.7), a folder or scope `crio-<container>` of CRI-O, where
//! crun makes a folder `container` below it (`ContainerCgroupPath` and
//! `PodAndContainerCgroupManagers`, internal/config/cgmgr). Guaranteed pods are directly below
//! `kubepods`. `--cgroup-root` puts all of it below another path (kubelet's options); the names
//! of slices then begin with that (`ToSystemd`, pkg/kubelet/cm/cgroup_manager_linux.go, 1.36).

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use nft::{Namespace, NamespaceId};
use policy::PodUid;

/// What a process's file of control groups has at most. More is of no pod of kubelet's.
const CGROUP_BYTES: u64 = 8 << 10;
/// How the part of a path with a uid begins, maybe after the class of service.
const POD: &str = "pod";

/// The namespaces that the processes of each pod are in. New ones are open.
pub type InNamespaces = BTreeMap<PodUid, BTreeMap<NamespaceId, Option<Namespace>>>;

/// The namespaces of these pods. `own` is never among them. Those that `is_known` are not
/// opened.
///
/// # Errors
/// `/proc` cannot be listed. A process that ends meanwhile is passed over.
pub fn namespaces_of(
    proc: &Path,
    pods: &BTreeSet<PodUid>,
    own: NamespaceId,
    is_known: impl Fn(PodUid, NamespaceId) -> bool,
) -> io::Result<InNamespaces> {
    let mut found = InNamespaces::new();
    if pods.is_empty() {
        return Ok(found);
    }
    each_process(proc, |process| {
        let Some(uid) = uid_of(process).filter(|uid| pods.contains(uid)) else { return };
        let Ok(namespace) = Namespace::open(&process.join("ns/net")) else { return };
        let id = namespace.id();
        let all = found.entry(uid).or_default();
        // The number of a process that ended can be another's by now.
        if id == own || all.contains_key(&id) || uid_of(process) != Some(uid) {
            return;
        }
        all.insert(id, (!is_known(uid, id)).then_some(namespace));
    })?;
    Ok(found)
}

/// All network namespaces that a process of a pod is in, but for `own`.
///
/// # Errors
/// `/proc` cannot be listed.
pub fn all_namespaces(proc: &Path, own: NamespaceId) -> io::Result<Vec<Namespace>> {
    let mut all: BTreeMap<NamespaceId, Namespace> = BTreeMap::new();
    each_process(proc, |process| {
        if uid_of(process).is_some()
            && let Ok(namespace) = Namespace::open(&process.join("ns/net"))
            && namespace.id() != own
        {
            all.entry(namespace.id()).or_insert(namespace);
        }
    })?;
    Ok(all.into_values().collect())
}

fn each_process(proc: &Path, mut each: impl FnMut(&Path)) -> io::Result<()> {
    for entry in fs::read_dir(proc)? {
        let entry = entry?;
        let name = entry.file_name();
        let is_process = name.to_str().is_some_and(|name| name.parse::<u32>().is_ok());
        if is_process {
            each(&entry.path());
        }
    }
    Ok(())
}

fn uid_of(process: &Path) -> Option<PodUid> {
    let mut text = String::new();
    let file = File::open(process.join("cgroup")).ok()?;
    file.take(CGROUP_BYTES).read_to_string(&mut text).ok()?;
    pod_uid(&text)
}

/// The uid of the pod that a process is of, by its control groups (cgroups(7):
/// `hierarchy:controllers:path`, a line each).
///
/// In each path the first part with a uid counts: what is below it, the pod itself may
/// have named. Paths that name two pods name none.
pub fn pod_uid(cgroups: &str) -> Option<PodUid> {
    let paths = cgroups.lines().filter_map(|line| line.splitn(3, ':').nth(2));
    let uids: BTreeSet<PodUid> = paths.filter_map(of_path).collect();
    let mut uids = uids.into_iter();
    uids.next().filter(|_| uids.next().is_none())
}

fn of_path(path: &str) -> Option<PodUid> {
    path.split('/').find_map(|part| {
        let part = part.strip_suffix(".slice").unwrap_or(part);
        let uid = part.strip_prefix(POD).or_else(|| {
            let (class, uid) = part.split_once(&format!("-{POD}"))?;
            // Below a slice of --cgroup-root, its name comes first.
            class.split('-').any(|part| part == "kubepods").then_some(uid)
        });
        PodUid::parse(uid?)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const UID: &str = "01234567-89ab-4def-8123-456789abcdef";
    const OTHER: &str = "fedcba98-7654-4210-8fed-cba987654321";

    #[test]
    fn the_uid_is_in_the_name_of_a_control_group() {
        let under = UID.replace('-', "_");
        for path in [
            format!("0::/kubepods/burstable/pod{UID}/0123abcd"),
            format!("0::/kubepods/pod{UID}/0123abcd"),
            format!("0::/kubepods.slice/kubepods-pod{under}.slice/cri-containerd-01.scope"),
            format!(
                "0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{under}.slice/a"
            ),
            // Seen from a container with a namespace of control groups of its own.
            format!("0::/../../kubepods-besteffort-pod{under}.slice/cri-containerd-01.scope"),
            format!(
                "12:cpu,cpuacct:/kubepods/pod{UID}/a\n1:name=systemd:/kubepods/pod{UID}/a\n0::/"
            ),
        ] {
            assert_eq!(pod_uid(&path), PodUid::parse(UID), "{path}");
        }
    }

    /// As containerd, CRI-O and kubelet's options make them.
    #[test]
    fn the_paths_of_each_driver_hierarchy_and_runtime_are_known() {
        const STATIC: &str = "0123456789abcdef0123456789abcdef";
        for uid in [UID, STATIC] {
            let under = uid.replace('-', "_");
            let slice = format!(
                "kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{under}.slice"
            );
            let folder = format!("kubepods/besteffort/pod{uid}");
            for path in [
                format!("0::/{slice}/cri-containerd-01.scope"),
                format!("0::/{slice}/crio-01.scope"),
                format!("0::/{slice}/crio-01.scope/container"),
                format!("0::/{slice}/crio-conmon-01.scope"),
                format!("0::/{folder}/01"),
                format!("0::/{folder}/crio-01"),
                format!("0::/machines/{folder}/01"),
                format!(
                    "0::/own.slice/own-kubepods.slice/own-kubepods-pod{under}.slice/crio-01.scope"
                ),
                format!(
                    "5:memory:/{folder}/01\n4:cpu,cpuacct:/{folder}/01\n1:name=systemd:/{folder}/01"
                ),
                format!(
                    "5:memory:/{slice}/crio-01.scope\n1:name=systemd:/{slice}/crio-01.scope\n0::/"
                ),
            ] {
                assert_eq!(pod_uid(&path), PodUid::parse(uid), "{path}");
            }
        }
    }

    /// A folder like `/proc` with one process, and that process's namespace.
    fn process(uid: &str) -> (tempdir::Dir, NamespaceId) {
        let dir = tempdir::Dir::new();
        let process = dir.0.join("7");
        fs::create_dir_all(process.join("ns")).unwrap();
        fs::write(process.join("cgroup"), format!("0::/kubepods/pod{uid}/01\n")).unwrap();
        std::os::unix::fs::symlink("/proc/self/ns/net", process.join("ns/net")).unwrap();
        (dir, Namespace::own().unwrap().id())
    }

    /// Numbers of processes are used again: what is there at the end counts, and so does the
    /// inode of the namespace, not the number.
    #[test]
    fn a_process_that_ended_or_became_anothers_leads_nowhere() {
        let (dir, own) = process(UID);
        let pods: BTreeSet<PodUid> = [PodUid::parse(UID).unwrap()].into();
        let elsewhere = Namespace::open(Path::new("/proc/self/ns/uts")).unwrap().id();
        let find = |is_known: bool| namespaces_of(&dir.0, &pods, elsewhere, |_, _| is_known);
        let found = find(false).unwrap();
        assert_eq!(found[&PodUid::parse(UID).unwrap()].keys().collect::<Vec<_>>(), [&own]);
        let known = find(true).unwrap();
        assert!(known[&PodUid::parse(UID).unwrap()][&own].is_none(), "not opened again");
        // The number is another pod's when it is looked at again.
        let other = format!("0::/kubepods/pod{OTHER}/01\n");
        fs::write(dir.0.join("7/cgroup"), other).unwrap();
        assert!(find(false).unwrap().is_empty());
        // It ended between the list and the look.
        fs::remove_file(dir.0.join("7/ns/net")).unwrap();
        assert!(find(false).unwrap().is_empty());
        fs::remove_file(dir.0.join("7/cgroup")).unwrap();
        assert!(find(false).unwrap().is_empty());
    }

    mod tempdir {
        use std::path::PathBuf;

        pub struct Dir(pub PathBuf);

        impl Dir {
            pub fn new() -> Self {
                let name = format!("nftpol-processes-{}", std::process::id());
                let path = std::env::temp_dir().join(name);
                let _ = std::fs::remove_dir_all(&path);
                std::fs::create_dir_all(&path).unwrap();
                Self(path)
            }
        }

        impl Drop for Dir {
            fn drop(&mut self) {
                let _ = std::fs::remove_dir_all(&self.0);
            }
        }
    }

    /// A pod may make control groups below its own.
    #[test]
    fn a_pod_does_not_name_itself_another() {
        let path = format!("0::/kubepods/burstable/pod{UID}/01/kubepods/pod{OTHER}/01");
        assert_eq!(pod_uid(&path), PodUid::parse(UID));
        let two = format!("2:cpu:/kubepods/pod{UID}/a\n1:memory:/kubepods/pod{OTHER}/a");
        assert_eq!(pod_uid(&two), None);
        for path in ["", "0::/", "0::/system.slice/containerd.service", "0::/kubepods/podless/a"] {
            assert_eq!(pod_uid(path), None, "{path}");
        }
        let not_kubelets = format!("0::/user.slice/evil-pod{UID}.slice");
        assert_eq!(pod_uid(&not_kubelets), None);
    }

    #[test]
    fn this_process_is_in_a_namespace_that_is_left_out() {
        let own = Namespace::own().unwrap().id();
        let all = all_namespaces(Path::new("/proc"), own).unwrap();
        assert!(all.iter().all(|one| one.id() != own));
        let pods = [PodUid(1)].into();
        assert!(namespaces_of(Path::new("/proc"), &pods, own, |_, _| false).unwrap().is_empty());
        assert!(namespaces_of(Path::new("/nowhere"), &pods, own, |_, _| false).is_err());
    }
}
