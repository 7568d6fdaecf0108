//! Builds the real Kubernetes for the tests, once.
//!
//! Builds the modules pinned in `tests/{kube,cni,flannel,kube-router,calico}/go.mod`. The
//! programs of a [`Group`] go to `target/kube`, where the tests look for them.
//! Never: a build when nothing has changed. Never: a build of programs that are
//! already in the folder named by `$KUBEBUILDER_ASSETS` (book.kubebuilder.io,
//! "Configuring envtest for integration tests").
//!
//! Without a cache, on two cores, the server takes some four minutes, the nodes two
//! more and upstream's tests three. With Go's cache it takes seconds. [`Builds`]
//! run in the background of other work.

mod builds;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};

use crate::background;
use crate::cargo::{Cargo, finish};
pub use builds::Builds;

/// Programs that are built together. Most tests need only the first group.
#[derive(Debug, PartialEq, Eq)]
pub struct Group {
    /// The folder of their go.mod.
    source: &'static str,
    /// Whether the programs are Kubernetes' own. Those contain their version.
    kubernetes: bool,
    /// Whether the programs are static: without C.
    is_static: bool,
    /// The arguments of `go` for the build.
    build: &'static [&'static str],
    /// The file that records what they were built from.
    stamp: &'static str,
    /// The name of each program, and its Go package. Each package is a `tool` of
    /// go.mod, or in that folder itself.
    programs: &'static [(&'static str, &'static str)],
}

/// An API server and its client.
pub const SERVER: Group = Group {
    source: SOURCE,
    kubernetes: true,
    is_static: true,
    build: &["build"],
    stamp: "built-from",
    programs: &[
        ("etcd", "go.etcd.io/etcd/server/v3"),
        ("kube-apiserver", "k8s.io/kubernetes/cmd/kube-apiserver"),
        ("kubectl", "k8s.io/kubernetes/cmd/kubectl"),
    ],
};

/// What calls CNI plugins as container runtimes do: libcni, with our own main.
pub const CNI: Group = Group {
    source: "tests/cni",
    kubernetes: false,
    is_static: true,
    build: &["build"],
    stamp: "cni-built-from",
    programs: &[("cni-runtime", ".")],
};

/// The other programs of a cluster, and the program that upstream's tests run in
/// its pods.
pub const NODES: Group = Group {
    source: SOURCE,
    kubernetes: true,
    is_static: true,
    build: &["build"],
    stamp: "nodes-built-from",
    programs: &[
        ("kube-controller-manager", "k8s.io/kubernetes/cmd/kube-controller-manager"),
        ("kube-scheduler", "k8s.io/kubernetes/cmd/kube-scheduler"),
        ("kubelet", "k8s.io/kubernetes/cmd/kubelet"),
        ("kube-proxy", "k8s.io/kubernetes/cmd/kube-proxy"),
        ("agnhost", "k8s.io/kubernetes/test/images/agnhost"),
    ],
};

/// Upstream's tests of a cluster. By default Go runs `go vet` on a test that it
/// builds. That takes longer than the build.
pub const E2E: Group = Group {
    source: SOURCE,
    kubernetes: true,
    is_static: true,
    build: &["test", "-c", "-vet=off"],
    stamp: "e2e-built-from",
    programs: &[("e2e.test", "k8s.io/kubernetes/test/e2e")],
};

/// flannel, with our own main.
pub const FLANNEL: Group = Group {
    source: "tests/flannel",
    kubernetes: false,
    // Its UDP backend is in C.
    is_static: false,
    build: &["build"],
    stamp: "flannel-built-from",
    programs: &[("flannel", ".")],
};

/// kube-router, for the networks of clusters. No test of CI needs it.
pub const KUBE_ROUTER: Group = Group {
    source: "tests/kube-router",
    kubernetes: false,
    is_static: false,
    build: &["build"],
    stamp: "kube-router-built-from",
    programs: &[("kube-router", "github.com/cloudnativelabs/kube-router/v2/cmd/kube-router")],
};

/// Calico's CNI plugin and its Felix, for the networks of clusters. No test of CI needs
/// them. Four minutes of CPU time without a cache. Two packages at a time, because some
/// need much memory to compile.
pub const CALICO: Group = Group {
    source: "tests/calico",
    kubernetes: false,
    // With C, Felix needs libbpf. Without it, it has no eBPF (felix/bpf/libbpf).
    is_static: true,
    build: &["build", "-p", "2"],
    stamp: "calico-built-from",
    programs: &[
        ("calico", "github.com/projectcalico/calico/cni-plugin/cmd/calico"),
        ("calico-felix", "github.com/projectcalico/calico/felix/cmd/calico-felix"),
    ],
};

/// Helm, for the rendered chart. Two minutes of a core without a cache, so CI does not
/// build it: it compares what `cargo xtask helm --write` rendered.
pub const HELM: Group = Group {
    source: "tests/helm",
    kubernetes: false,
    is_static: false,
    build: &["build"],
    stamp: "helm-built-from",
    programs: &[("helm", "helm.sh/helm/v3/cmd/helm")],
};

/// The go.mod that pins most programs.
const SOURCE: &str = "tests/kube";
/// The module that has Kubernetes' version.
const KUBERNETES: &str = "k8s.io/kubernetes";
/// The first minor version of Go 1 that can build it: the `go` line of its go.mod.
const GO_MINOR: u32 = 26;
/// Flags of Go's linker: no symbols.
const STRIPPED: &str = "-s -w";
/// Where Go's own archive is unpacked (go.dev/doc/install), even if it is not on
/// `PATH`.
const GO_DEFAULT: &str = "/usr/local/go/bin/go";
/// Names a folder with the programs, as in envtest.
const ASSETS: &str = "KUBEBUILDER_ASSETS";

/// Builds what is missing.
pub fn build(cargo: &Cargo, group: &'static Group) -> Result<()> {
    build_by(cargo, group, &[])
}

/// The same, with these words before each command.
fn build_by(cargo: &Cargo, group: &'static Group, before: &[&str]) -> Result<()> {
    if let Some(folder) = std::env::var_os(ASSETS)
        && given(Path::new(&folder), group)?
    {
        return Ok(());
    }
    let source = cargo.workspace_folder()?.join(group.source);
    let recipe = Recipe::read(&source, group)?;
    let folder = cargo.target_folder()?.join("kube");
    if recipe.is_built(&folder) {
        return Ok(());
    }
    recipe.build(&source, &folder, before)
}

/// Whether a foreign folder has these programs. It must have those of the server.
fn given(folder: &Path, group: &Group) -> Result<bool> {
    for (program, _) in group.programs {
        let path = folder.join(program);
        if !path.is_file() {
            let other = SERVER.programs.iter().all(|(server, _)| server != program);
            ensure!(other, "${ASSETS} is set, but there is no {}", path.display());
            return Ok(false);
        }
    }
    eprintln!("kube: using the programs in {}", folder.display());
    Ok(true)
}

/// Everything that the programs depend on.
struct Recipe {
    group: &'static Group,
    linker_flags: String,
    /// The linker's flags, the programs, go.mod, go.sum and our own code.
    stamp: String,
}

impl Recipe {
    fn read(source: &Path, group: &'static Group) -> Result<Self> {
        let read = |name: &str| {
            let path = source.join(name);
            fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))
        };
        let (modules, sums) = (read("go.mod")?, read("go.sum")?);
        let linker_flags =
            if group.kubernetes { linker_flags(&version(&modules)?)? } else { STRIPPED.to_owned() };
        let has_main = group.programs.iter().any(|(_, package)| *package == ".");
        let own = if has_main { read("main.go")? } else { String::new() };
        let Group { build, programs, .. } = group;
        let stamp = format!("{build:?} {linker_flags}\n{programs:?}\n{modules}\n{sums}{own}");
        Ok(Self { group, linker_flags, stamp })
    }

    fn is_built(&self, folder: &Path) -> bool {
        let Group { stamp, programs, .. } = self.group;
        fs::read_to_string(folder.join(stamp)).is_ok_and(|stamp| stamp == self.stamp)
            && programs.iter().all(|(program, _)| folder.join(program).is_file())
    }

    fn build(&self, source: &Path, folder: &Path, before: &[&str]) -> Result<()> {
        let go = go(source)?;
        fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
        let stamp = folder.join(self.group.stamp);
        // A build that is interrupted must not look complete.
        if stamp.exists() {
            fs::remove_file(&stamp).with_context(|| format!("remove {}", stamp.display()))?;
        }
        for (program, package) in self.group.programs {
            eprintln!("kube: building {program} ...");
            let start = Instant::now();
            let mut command = background::command(before, &go);
            command.current_dir(source).env("GOWORK", "off");
            command.env("CGO_ENABLED", if self.group.is_static { "0" } else { "1" });
            command.args(self.group.build);
            command.args(["-trimpath", "-ldflags", &self.linker_flags, "-o"]);
            command.arg(folder.join(program)).arg(package);
            finish(command)?;
            eprintln!("kube: {program} built in {:.1} s", start.elapsed().as_secs_f32());
        }
        fs::write(&stamp, &self.stamp).with_context(|| format!("write {}", stamp.display()))
    }
}

/// The version of Kubernetes that a go.mod requires: `v1.36.3`.
fn version(modules: &str) -> Result<String> {
    let required = modules.lines().find_map(|line| {
        let line = line.trim();
        line.strip_prefix("require ").unwrap_or(line).strip_prefix(KUBERNETES)?.strip_prefix(' ')
    });
    let version = required.and_then(|rest| rest.split_whitespace().next());
    Ok(version.with_context(|| format!("tests/kube/go.mod requires no {KUBERNETES}"))?.to_owned())
}

/// Without symbols the size is half. The linker sets the version, which would
/// otherwise be v0.0.0 (hack/lib/version.sh in Kubernetes 1.36).
fn linker_flags(version: &str) -> Result<String> {
    let mut parts = version.strip_prefix('v').unwrap_or(version).split('.');
    let (Some(major), Some(minor)) = (parts.next(), parts.next()) else {
        bail!("{version} is not a version of Kubernetes");
    };
    let set =
        |name: &str, value: &str| format!(" -X k8s.io/component-base/version.git{name}={value}");
    Ok([STRIPPED, &set("Version", version), &set("Major", major), &set("Minor", minor)].concat())
}

/// A Go that is new enough, from `PATH` or from its default place of installation.
fn go(source: &Path) -> Result<PathBuf> {
    let wanted = format!(
        "building the Kubernetes that tests run needs Go 1.{GO_MINOR}: install it from \
         https://go.dev/dl, or set {ASSETS} to a folder with its programs"
    );
    for go in ["go", GO_DEFAULT] {
        // Run in the module's folder: from 1.21 on, Go fetches the version that
        // go.mod asks for.
        let output = Command::new(go).arg("version").current_dir(source).output();
        let Ok(output) = output else { continue };
        let said = String::from_utf8_lossy(&output.stdout);
        let minor = minor(&said);
        if minor.is_some_and(|minor| minor >= GO_MINOR) {
            return Ok(go.into());
        }
        let problem = String::from_utf8_lossy(&output.stderr);
        bail!("`{go} version` says: {}{}\n{wanted}", said.trim(), problem.trim());
    }
    bail!("there is no Go on this machine; {wanted}")
}

/// `go version go1.26.8 linux/amd64`
fn minor(said: &str) -> Option<u32> {
    let (_, version) = said.split_once(" go1.")?;
    let digits = version.split(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse().ok()
}

#[cfg(test)]
mod tests;
