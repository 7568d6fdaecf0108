//! nftpol's life in a cluster as `docs/install.md` tells it, once by kustomize and once
//! by Helm: installed, a policy in force, a denied connection shown, upgraded to a build
//! with other tables, rolled back, removed.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use kubebed::apiserver;
use kubebed::image::Image;
use kubebed::world::manifests;
use kubebed::{other_build, rootfs};
use netbed::program;
use netbed::testbed::Endpoint;
use samples::scratch::Folder;

use crate::scene::{HTTP, Scene, Try, hold};

/// In `examples/first-policy.yaml`.
const NAMESPACE: &str = "try-nftpol";
const POLICY: &str = "try-nftpol/web-from-friends";
const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The tag of the other build.
const NEXT: &str = "next";
/// How soon a denied connection is shown, in half of these tries.
const SHOWN_WITHIN: Duration = Duration::from_millis(100);
const TRIES: usize = 5;
/// TCP repeats the packet after a second (tcp(7)).
const ONE_SYN: Duration = Duration::from_millis(300);

/// A way to install, upgrade and remove.
enum Way {
    /// A `kustomization.yaml` beside a copy of `manifests/`, as README.md shows it.
    Kustomize(Folder),
    Helm,
}

impl Scene {
    /// Begins and ends with nftpol as `manifests/` installs it.
    pub fn install(&mut self) -> Result<()> {
        let manifests = manifests().display().to_string();
        self.kubectl(&["delete", "-k", &manifests, "--wait=true", "--cascade=foreground"])?;
        self.rules_removed()?;
        let folder = Folder::new("builds")?;
        let other = folder.path().join("nftpol");
        other_build::write(&program::path()?, &other)?;
        let image = Image::of(&format!("nftpol:{NEXT}"), &other, rootfs::PROGRAM)?;
        self.kubernetes.import(&image)?;
        let example = root().join("examples/first-policy.yaml").display().to_string();
        self.kubectl(&["apply", "-f", &example])?;
        self.pods_ready(NAMESPACE)?;
        for way in [Way::kustomize(&manifests)?, Way::Helm] {
            self.life(&way).with_context(|| format!("by {}", way.name()))?;
        }
        self.kubernetes.deploy()?;
        self.remove(&[NAMESPACE])
    }

    fn life(&self, way: &Way) -> Result<()> {
        let name = way.name();
        let pod = |name: &str| self.kubernetes.pod(&format!("{NAMESPACE}/{name}"));
        let (web, friend, stranger) = (pod("web")?, pod("friend")?, pod("stranger")?);
        let to = SocketAddr::new(web.addresses[0], HTTP);
        let tried = |enforced: bool| {
            let one = |what: &str, from, passes| Try { what: what.to_owned(), from, to, passes };
            hold(&[one("friend", &friend, true), one("stranger", &stranger, !enforced)])
        };
        tried(false)?;
        way.install(self)?;
        self.agents_ready()?;
        let kubeconfig = self.kubernetes.server().admin_kubeconfig();
        let status = self.nftpol(&kubeconfig, &["status", POLICY, "--wait", "--all-nodes"])?;
        let expected = format!("{POLICY} in force on {0} of {0} nodes", self.nodes());
        ensure!(status.starts_with(&expected), "{status}");
        tried(true)?;
        self.say(&format!("{name}: {}", status.trim()));
        self.shown_soon(&kubeconfig, &stranger, to)?;
        for (step, tag, set) in
            [("upgraded", NEXT, other_build::OTHER_SET), ("rolled back", VERSION, other_build::SET)]
        {
            way.change(self, tag)?;
            self.agents_ready()?;
            for number in 1..=self.nodes() {
                let list = ["nft", "-t", "list", "table", "inet", "nftpol"];
                let table = self.kubernetes.exec(&format!("node-{number}"), &list)?.success()?;
                ensure!(table.contains(&format!("set {set} ")), "node-{number}, {step}: {table}");
            }
            tried(true)?;
            self.nftpol(&kubeconfig, &["status", POLICY, "--wait", "--all-nodes"])?;
            self.say(&format!("{name}: {step} to nftpol:{tag}"));
        }
        way.uninstall(self)?;
        tried(true).context("without agents the rules stay")?;
        self.rules_removed()?;
        tried(false)
    }

    /// `monitor` names both ends and the policy, soon after the packet.
    fn shown_soon(&self, kubeconfig: &Path, stranger: &Endpoint, to: SocketAddr) -> Result<()> {
        let denied = || {
            let tried = stranger.namespace.run(|| TcpStream::connect_timeout(&to, ONE_SYN))?;
            ensure!(tried.is_err(), "the stranger got through");
            Ok(())
        };
        let shown = self.shown_after(kubeconfig, NAMESPACE, 1 + TRIES, denied)?;
        let ends = [
            " DENY in  try-nftpol/stranger:",
            " -> try-nftpol/web:80 TCP SYN  try-nftpol/web-from-friends",
        ];
        for (line, _) in &shown {
            ensure!(ends.iter().all(|end| line.contains(end)), "{ends:?} are not in {line:?}");
        }
        let mut times: Vec<Duration> = shown.iter().skip(1).map(|(_, after)| *after).collect();
        times.sort();
        self.say(&format!("{} (after {times:?})", shown[0].0));
        ensure!(times[TRIES / 2] < SHOWN_WITHIN, "shown after {times:?}");
        Ok(())
    }

    /// Runs the real Helm against the cluster.
    fn helm(&self, words: &[&str]) -> Result<String> {
        let mut command = self.kubernetes.cluster().switch().command(apiserver::program("helm")?);
        command.args(["--namespace", "kube-system", "--kubeconfig"]);
        command.arg(self.kubernetes.server().admin_kubeconfig()).args(words);
        // It keeps nothing of this machine's user.
        let home = self.kubernetes.folder().join("helm");
        command.env("HELM_CACHE_HOME", &home).env("HELM_CONFIG_HOME", &home);
        command.env("HELM_DATA_HOME", &home).env("NO_PROXY", "*");
        program::finish(command, "")?.success()
    }
}

impl Way {
    fn kustomize(manifests: &str) -> Result<Self> {
        let folder = Folder::new("kustomize")?;
        let mut copy = std::process::Command::new("cp");
        copy.args(["-r", manifests]).arg(folder.path().join("manifests"));
        program::finish(copy, "")?.success()?;
        Ok(Self::Kustomize(folder))
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Kustomize(_) => "kustomize",
            Self::Helm => "helm",
        }
    }

    fn install(&self, scene: &Scene) -> Result<()> {
        match self {
            Self::Kustomize(_) => self.change(scene, VERSION),
            Self::Helm => {
                let notes = scene.helm(&["install", "nftpol", &chart()])?;
                ensure!(notes.contains("leaves the rules in force"), "{notes}");
                Ok(())
            }
        }
    }

    /// To this build: forwards by a new tag, with Helm back by its own history.
    fn change(&self, scene: &Scene, tag: &str) -> Result<()> {
        match self {
            Self::Kustomize(folder) => {
                let text = format!(
                    "resources: [manifests]\nimages: [{{name: nftpol, newName: nftpol, newTag: {tag}}}]\n"
                );
                fs::write(folder.path().join("kustomization.yaml"), text)?;
                scene.kubectl(&["apply", "-k", &folder.path().display().to_string()]).map(drop)
            }
            Self::Helm if tag == NEXT => {
                let tag = format!("image.tag={tag}");
                scene.helm(&["upgrade", "nftpol", &chart(), "--set", &tag]).map(drop)
            }
            Self::Helm => scene.helm(&["rollback", "nftpol"]).map(drop),
        }
    }

    fn uninstall(&self, scene: &Scene) -> Result<()> {
        match self {
            Self::Kustomize(folder) => {
                let folder = folder.path().display().to_string();
                scene.kubectl(&["delete", "-k", &folder]).map(drop)
            }
            Self::Helm => scene.helm(&["uninstall", "nftpol"]).map(drop),
        }
    }
}

fn root() -> PathBuf {
    manifests().join("..")
}

fn chart() -> String {
    root().join("charts/nftpol").display().to_string()
}
