//! One node: its namespaces, containerd, kubelet and kube-proxy.
//!
//! In: a network namespace with its wires, a folder. Out: a node that the API
//! server knows, gone with all its pods when its value is dropped.
//! Never: a program of the node outside of its namespaces.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::{cgroups, inside, settings};
use crate::apiserver::{self, ApiServer, process::Process};
use crate::net::Namespace;
use crate::program::{self, Finished};
use crate::scratch::Folder;

/// How long its namespaces and containerd may take to be there.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long its programs may take to be gone once they are killed.
const GOING: Duration = Duration::from_secs(10);
/// The namespace of containerd in which a kubelet finds images.
const IMAGES: &str = "k8s.io";

/// The node.
pub(super) struct Node {
    name: String,
    group: String,
    process_one: u32,
    first: Option<Process>,
    services: Vec<Process>,
    folder: Folder,
}

impl Node {
    /// Makes its namespaces and starts containerd.
    pub fn start(
        server: &ApiServer,
        namespace: &Namespace,
        name: &str,
        folder: Folder,
    ) -> Result<Self> {
        for own in ["lib", "log", "sysctl", "networks"] {
            let path = folder.path().join(own);
            fs::create_dir(&path).with_context(|| format!("make {}", path.display()))?;
        }
        // Not `ip netns exec`, which hides the control groups.
        let mut words: Vec<OsString> = vec!["nsenter".into()];
        words.push(format!("--net={}", namespace.path().display()).into());
        words.extend(["--".into(), program::beside("cluster")?.into(), inside::NODE.into()]);
        words.extend([folder.path().into(), name.into(), namespace.name().into()]);
        let mut first = Process::of(server.place().0, "node", &words, folder.path())?;
        let start = Instant::now();
        let process_one = loop {
            if let Some(process_one) = inside::process_one(folder.path()) {
                break process_one;
            }
            if first.ended()?.is_some() || start.elapsed() > PATIENCE {
                // What it had made already is not to stay.
                drop(cgroups::remove(namespace.name()));
                bail!("node {name} does not come up; {}", first.last_words());
            }
            sleep(Duration::from_millis(5));
        };
        let (name, group) = (name.to_owned(), namespace.name().to_owned());
        let first = Some(first);
        let mut node = Self { name, group, process_one, first, services: Vec::new(), folder };
        let config = node.path("containerd.toml");
        put(&config, &settings::containerd(&node.path("networks")))?;
        node.serve(server, "containerd", &["--config".into(), config.into()])?;
        node.wait_for_containerd()?;
        Ok(node)
    }

    /// Starts kubelet and kube-proxy.
    pub fn join(
        &mut self,
        server: &ApiServer,
        addresses: &[String],
        kubelet: &Value,
        proxy: &Value,
    ) -> Result<()> {
        let user = format!("system:node:{}", self.name);
        let kubeconfig = server.user_kubeconfig(&user, Some("system:nodes"))?;
        let (kubelets, proxys) = (self.path("kubelet.json"), self.path("kube-proxy.json"));
        put(&kubelets, &kubelet.to_string())?;
        put(&proxys, &proxy.to_string())?;
        let mut arguments = vec![flag("kubeconfig", &kubeconfig), flag("config", &kubelets)];
        arguments.push(format!("--hostname-override={}", self.name).into());
        arguments.push(format!("--node-ip={}", addresses.join(",")).into());
        self.serve(server, "kubelet", &arguments)?;
        self.serve(server, "kube-proxy", &[flag("config", &proxys)])
    }

    /// Starts flannel, which has this configuration.
    pub fn start_flannel(&mut self, server: &ApiServer, config: &Value) -> Result<()> {
        let path = self.path("flannel.json");
        put(&path, &config.to_string())?;
        let arguments = [flag("config", &path), flag("kubeconfig", &server.admin_kubeconfig())];
        self.serve(server, "flannel", &arguments)
    }

    /// The list of CNI plugins; with it, the node can become ready.
    pub fn set_network(&self, list: &Value) -> Result<()> {
        put(&self.path("networks/10-pods.conflist"), &list.to_string())
    }

    /// Gives containerd the images of a tar file.
    pub fn import(&self, archive: &Path) -> Result<()> {
        let path = archive.to_str().context("a path that is not UTF-8")?;
        let words = ["ctr", "--address", settings::SOCKET, "--namespace", IMAGES];
        let words = [&words[..], &["images", "import", path]].concat();
        let done = program::finish(self.command(&words), "")?;
        done.success().with_context(|| format!("import {path} on {}", self.name)).map(drop)
    }

    /// A command in the node.
    pub fn command(&self, words: &[&str]) -> Command {
        let mut entering = self.entering().into_iter();
        let mut command = Command::new(entering.next().unwrap_or_default());
        command.args(entering).args(words);
        command
    }

    /// Fails when one of its programs has ended.
    pub fn check(&mut self) -> Result<()> {
        for service in self.first.iter_mut().chain(&mut self.services) {
            if let Some(status) = service.ended()? {
                bail!("on node {}: ended with {status}; {}", self.name, service.last_words());
            }
        }
        Ok(())
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The number of its process 1, as this process sees it.
    pub fn process_one(&self) -> u32 {
        self.process_one
    }

    /// The words that run the words after them in the node.
    pub fn entering(&self) -> Vec<OsString> {
        // A test of this crate has no such program, and has started no node.
        let cluster = program::beside("cluster").unwrap_or_else(|_| "cluster".into());
        let process_one = self.process_one.to_string();
        vec![cluster.into(), inside::ENTER.into(), process_one.into(), self.group.clone().into()]
    }

    fn serve(&mut self, server: &ApiServer, name: &str, arguments: &[OsString]) -> Result<()> {
        let built = ["kubelet", "kube-proxy", "flannel"].contains(&name);
        let program = if built { apiserver::program(name)? } else { PathBuf::from(name) };
        let mut words = self.entering();
        words.extend(["setpriv", "--pdeathsig", "KILL", "--"].map(OsString::from));
        // Where flannel reads its node's name.
        words.extend(["env".into(), format!("NODE_NAME={}", self.name).into()]);
        words.push(program.into());
        words.extend_from_slice(arguments);
        let service = Process::of(server.place().0, name, &words, self.folder.path())?;
        self.services.push(service);
        Ok(())
    }

    fn wait_for_containerd(&mut self) -> Result<()> {
        let start = Instant::now();
        loop {
            let asked = self.command(&["ctr", "--address", settings::SOCKET, "version"]);
            let Finished { code, stderr, .. } = program::finish(asked, "")?;
            if code == Some(0) {
                return Ok(());
            }
            self.check()?;
            if start.elapsed() > PATIENCE {
                bail!("containerd on {} does not answer: {stderr}", self.name);
            }
            sleep(Duration::from_millis(50));
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // With process 1 goes whatever is in its pid namespace; who waits for
        // one of those sees it end and then ends, too.
        self.first = None;
        let start = Instant::now();
        while start.elapsed() < GOING
            && self.services.iter_mut().any(|one| matches!(one.ended(), Ok(None)))
        {
            sleep(Duration::from_millis(5));
        }
        if let Err(error) = cgroups::remove(&self.group) {
            eprintln!("leaving control groups of {} behind: {error:#}", self.name);
        }
    }
}

fn flag(name: &str, path: &Path) -> OsString {
    format!("--{name}={}", path.display()).into()
}

fn put(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("write {}", path.display()))
}
