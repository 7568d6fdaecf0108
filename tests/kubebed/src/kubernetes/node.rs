//! One node: its namespaces, containerd, kubelet and kube-proxy.
//!
//! The API server knows the node. Its programs can be killed and started again,
//! singly or together. The node and all its pods end when the value is dropped.
//! Never: a program of the node outside of its namespaces.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use netbed::net::Namespace;
use netbed::program::{self, Finished};
use samples::scratch::Folder;
use serde_json::Value;

use super::service::{GOING, Service, built};
use super::{cgroups, inside, plugins, second, settings};
use crate::apiserver::{ApiServer, process::Process};

/// How long its namespaces and containerd may take to start.
const PATIENCE: Duration = Duration::from_secs(60);
/// The namespace of containerd where a kubelet looks for images.
const IMAGES: &str = "k8s.io";
/// The program that the others connect to as soon as they start.
const CONTAINERD: &str = "containerd";

/// The node.
pub(super) struct Node {
    name: String,
    /// The file of its network namespace.
    network: PathBuf,
    /// Its control groups have the name of its network namespace.
    group: String,
    process_one: u32,
    first: Option<Process>,
    /// In the order in which they start.
    services: Vec<Service>,
    folder: Folder,
}

impl Node {
    /// Creates its namespaces and starts containerd.
    pub fn start(
        server: &ApiServer,
        namespace: &Namespace,
        name: &str,
        folder: Folder,
    ) -> Result<Self> {
        for own in ["lib", "log", "sysctl", "networks", "plugins"] {
            let path = folder.path().join(own);
            fs::create_dir(&path).with_context(|| format!("make {}", path.display()))?;
        }
        let mut node = Self {
            name: name.to_owned(),
            network: namespace.path(),
            group: namespace.name().to_owned(),
            process_one: 0,
            first: None,
            services: Vec::new(),
            folder,
        };
        node.make_namespaces(server)?;
        let config = node.path("containerd.toml");
        plugins::link_all(&node.path("plugins"))?;
        second::install(&node.path("plugins"))?;
        put(&config, &settings::containerd(&node.path("networks"), &node.path("plugins")))?;
        node.serve(server, CONTAINERD, &["--config".into(), config.into()])?;
        Ok(node)
    }

    /// Kills its process 1, and with it everything that runs in the node. Files
    /// stay, as on a disk. The content of the network namespace stays, too.
    pub fn kill(&mut self) -> Result<()> {
        // When process 1 ends, every process of its pid namespace ends. Processes
        // that wait for one of those then end, too.
        self.first = None;
        let start = Instant::now();
        for process in self.services.iter_mut().filter_map(|one| one.process.as_mut()) {
            while start.elapsed() < GOING && matches!(process.ended(), Ok(None)) {
                sleep(Duration::from_millis(5));
            }
        }
        self.services.iter_mut().for_each(|service| service.process = None);
        cgroups::remove(&self.group)
    }

    /// Starts a killed node again, with the programs that it had. Before them runs this
    /// command, as a unit of systemd would, if it has words. It must succeed.
    pub fn boot(&mut self, server: &ApiServer, before: &[&str]) -> Result<()> {
        inside::forget(self.folder.path())?;
        self.make_namespaces(server)?;
        if !before.is_empty() {
            let done = program::finish(self.command(before), "")?;
            done.success().with_context(|| format!("{before:?} on {}", self.name))?;
        }
        (0..self.services.len()).try_for_each(|index| self.run(server, index))
    }

    /// Kills one of its programs and starts it again.
    pub fn restart(&mut self, server: &ApiServer, name: &str) -> Result<()> {
        let index = self.services.iter().position(|one| one.name == name);
        let index = index.with_context(|| format!("{name} does not run on {}", self.name))?;
        self.services[index].stop(&self.name)?;
        self.run(server, index)
    }

    fn make_namespaces(&mut self, server: &ApiServer) -> Result<()> {
        // Not `ip netns exec`, which hides the control groups.
        let mut words: Vec<OsString> = vec!["nsenter".into()];
        words.push(format!("--net={}", self.network.display()).into());
        words.extend(["--".into(), program::beside("cluster")?.into(), inside::NODE.into()]);
        let folder = self.folder.path();
        words.extend([folder.into(), self.name.clone().into(), self.group.clone().into()]);
        let mut first = Process::of(server.place().0, "node", &words, folder)?;
        let start = Instant::now();
        self.process_one = loop {
            if let Some(process_one) = inside::process_one(folder) {
                break process_one;
            }
            if first.ended()?.is_some() || start.elapsed() > PATIENCE {
                bail!("node {} does not come up; {}", self.name, first.last_words());
            }
            sleep(Duration::from_millis(5));
        };
        self.first = Some(first);
        Ok(())
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

    /// Starts flannel with this configuration.
    pub fn start_flannel(&mut self, server: &ApiServer, config: &Value) -> Result<()> {
        let path = self.path("flannel.json");
        put(&path, &config.to_string())?;
        let arguments = [flag("config", &path), flag("kubeconfig", &server.admin_kubeconfig())];
        self.serve(server, "flannel", &arguments)
    }

    /// Starts a program with these variables and arguments. If it runs already, it is
    /// killed first.
    pub fn start_program(
        &mut self,
        server: &ApiServer,
        name: &'static str,
        variables: &[(&str, String)],
        arguments: &[String],
    ) -> Result<()> {
        self.end_program(name)?;
        let mut words: Vec<OsString> = Vec::new();
        if !variables.is_empty() {
            words.push("env".into());
            words.extend(variables.iter().map(|(name, value)| format!("{name}={value}").into()));
        }
        words.push(built(name)?.into());
        words.extend(arguments.iter().map(OsString::from));
        self.services.push(Service { name, words, process: None });
        self.run(server, self.services.len() - 1)
    }

    /// Kills a program of the node for good, if it has it.
    pub fn end_program(&mut self, name: &str) -> Result<()> {
        let Some(index) = self.services.iter().position(|one| one.name == name) else {
            return Ok(());
        };
        self.services.remove(index).stop(&self.name)
    }

    /// The file with the list of CNI plugins.
    pub fn network(&self) -> PathBuf {
        self.path("networks/10-pods.conflist")
    }

    /// Writes the list of CNI plugins. The node can become ready only with this
    /// list.
    pub fn set_network(&self, list: &Value) -> Result<()> {
        put(&self.network(), &list.to_string())
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
        let services = self.services.iter_mut().filter_map(|one| one.process.as_mut());
        for process in self.first.iter_mut().chain(services) {
            if let Some(status) = process.ended()? {
                bail!("on node {}: ended with {status}; {}", self.name, process.last_words());
            }
        }
        Ok(())
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The process id of its process 1, as this process sees it.
    pub fn process_one(&self) -> u32 {
        self.process_one
    }

    /// The words to put before a command to run it in the node.
    pub fn entering(&self) -> Vec<OsString> {
        // A test of this crate has no such program, and starts no node.
        let cluster = program::beside("cluster").unwrap_or_else(|_| "cluster".into());
        let process_one = self.process_one.to_string();
        vec![cluster.into(), inside::ENTER.into(), process_one.into(), self.group.clone().into()]
    }

    fn serve(
        &mut self,
        server: &ApiServer,
        name: &'static str,
        arguments: &[OsString],
    ) -> Result<()> {
        let words = [&[built(name)?.into()], arguments].concat();
        self.services.push(Service { name, words, process: None });
        self.run(server, self.services.len() - 1)
    }

    fn run(&mut self, server: &ApiServer, index: usize) -> Result<()> {
        let Service { name, words: own, .. } = &self.services[index];
        let name = *name;
        let mut words = self.entering();
        words.extend(["setpriv", "--pdeathsig", "KILL", "--"].map(OsString::from));
        // Where flannel finds the name of its node.
        words.extend(["env".into(), format!("NODE_NAME={}", self.name).into()]);
        words.extend_from_slice(own);
        let process = Process::of(server.place().0, name, &words, self.folder.path())?;
        self.services[index].process = Some(process);
        if name == CONTAINERD { self.wait_for_containerd() } else { Ok(()) }
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

    /// A file or folder of the node. `lib` is its /var/lib.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Err(error) = self.kill() {
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
