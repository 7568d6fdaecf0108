//! A container runtime: libcni with the real bridge and host-local plugins, the folders of a
//! node, and the installer beside it.
//!
//! Each call reads the first list of the folder, as containerd does at each change.

use std::fs;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use kubebed::apiserver;
use kubebed::world::{PATIENCE, World};
use netbed::net::Namespace;
use netbed::program::{self, Finished};
use policy::Pod;
use samples::scratch::Folder;
use samples::testbed_spec::{pod_address, pod_prefix};
use serde_json::{Value, json};

use super::newcomer::{NODE, object};

/// The list that the primary plugin writes.
pub const LIST: &str = "10-pods.conflist";
const PLUGINS: &str = "/usr/lib/cni";
/// Where the outsider hears pods.
const SINK: u16 = 7779;
/// How soon a kubelet reports an address, here.
const REPORTED_AFTER: Duration = Duration::from_millis(200);

/// The runtime of a node.
pub struct Runtime<'a> {
    pub world: &'a World,
    node: &'a Namespace,
    folder: Folder,
}

/// What the runtime was asked to start.
pub struct Sandbox {
    pub name: String,
    pub uid: String,
    pub namespace: Namespace,
}

/// `nftpol-cni install --watch`, as long as this value lives.
pub struct Installer(Child);

/// What an outsider hears of pods.
pub struct Sink(UdpSocket, SocketAddr);

impl<'a> Runtime<'a> {
    pub fn new(world: &'a World) -> Result<Self> {
        let this = Self {
            world,
            node: &world.cluster.endpoint(NODE)?.namespace,
            folder: Folder::new("runtime")?,
        };
        for name in ["net.d", "bin", "cache", "ipam"] {
            fs::create_dir(this.path(name))?;
        }
        for plugin in ["bridge", "host-local"] {
            symlink(PathBuf::from(PLUGINS).join(plugin), this.path("bin").join(plugin))?;
        }
        this.primary()?;
        Ok(this)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The plugin's program on the node.
    pub fn program(&self) -> PathBuf {
        self.path("bin").join("nftpol-cni")
    }

    /// The primary plugin writes its list, without ours.
    pub fn primary(&self) -> Result<()> {
        let (first, last) = (pod_address(0, 60, false), pod_address(0, 250, false));
        let subnet = format!("{}/{}", pod_address(0, 0, false), pod_prefix(false));
        let range = json!({"subnet": subnet, "rangeStart": first, "rangeEnd": last,
            "gateway": pod_address(0, 1, false)});
        let ipam = json!({"type": "host-local", "ranges": [[range]], "dataDir": self.path("ipam"),
            "routes": [{"dst": "0.0.0.0/0"}]});
        let list = json!({"cniVersion": "1.0.0", "name": "pods", "plugins": [
            {"type": "bridge", "bridge": "cni0", "ipam": ipam}]});
        let new = self.path("net.d").join(".primary");
        fs::write(&new, list.to_string())?;
        fs::rename(&new, self.path("net.d").join(LIST)).context("write the list")
    }

    /// Whether the list names the plugin.
    pub fn is_chained(&self) -> Result<bool> {
        Ok(fs::read_to_string(self.path("net.d").join(LIST))?.contains("nftpol-cni"))
    }

    /// Runs the installer with these words.
    pub fn installer(&self, words: &[&str]) -> Result<Command> {
        let mut command = Command::new(program::beside("nftpol-cni")?);
        command.args(words).env_remove("CNI_COMMAND");
        for (word, name) in
            [("--conf-dir", "net.d"), ("--bin-dir", "bin"), ("--cache-dir", "cache")]
        {
            command.arg(word).arg(self.path(name));
        }
        Ok(command)
    }

    /// The installer, once the plugin is in the list.
    pub fn install(&self) -> Result<Installer> {
        let mut command = self.installer(&["install", "--watch"])?;
        let child = command.stderr(Stdio::null()).spawn().context("start the installer")?;
        let installer = Installer(child);
        let start = Instant::now();
        while !self.is_chained()? {
            ensure!(start.elapsed() < PATIENCE, "the installer does not chain the plugin");
            sleep(Duration::from_millis(5));
        }
        Ok(installer)
    }

    pub fn sandbox(&self, name: &str, number: u32) -> Result<Sandbox> {
        let uid = format!("00000000-0000-4000-8000-{number:012x}");
        Ok(Sandbox { name: name.to_owned(), uid, namespace: Namespace::new("rt")? })
    }

    /// A call of all plugins in the first list.
    pub fn call(&self, command: &str, sandbox: &Sandbox, more: &[&str]) -> Result<Finished> {
        self.call_of(&self.path("net.d").join(LIST), command, sandbox, more)
    }

    pub fn call_of(
        &self,
        list: &std::path::Path,
        command: &str,
        sandbox: &Sandbox,
        more: &[&str],
    ) -> Result<Finished> {
        let mut runtime = self.node.command(apiserver::program("cni-runtime")?);
        let pod = format!("K8S_POD_NAMESPACE=dev;K8S_POD_NAME={}", sandbox.name);
        // libcni takes no pair without a value.
        let uid = match sandbox.uid.as_str() {
            "" => String::new(),
            uid => format!(";K8S_POD_UID={uid}"),
        };
        runtime
            .arg(command)
            .arg(list)
            .arg(self.path("cache"))
            .arg(sandbox.container())
            .arg(sandbox.namespace.path())
            .args(more)
            .env("CNI_PATH", self.path("bin"))
            .env("CNI_ARGS", format!("IgnoreUnknown=1;{pod}{uid}"));
        program::finish(runtime, "")
    }

    /// Its object, whose uid the API server chooses.
    pub fn create(&self, sandbox: &mut Sandbox) -> Result<Pod> {
        let pod = object(&sandbox.name);
        self.world.server.create_pods(std::slice::from_ref(&pod))?;
        let words = ["-n", "dev", "get", "pod", &sandbox.name, "-o", "jsonpath={.metadata.uid}"];
        sandbox.uid = self.world.server.kubectl(&words, "")?.success()?;
        Ok(pod)
    }

    /// Starts a pod as a kubelet does, sends from it at once, and ends it. What the runtime
    /// said at each attempt that failed.
    pub fn live(&self, sandbox: &mut Sandbox, sink: &Sink) -> Result<Vec<String>> {
        let pod = self.create(sandbox)?;
        let mut problems = Vec::new();
        let start = Instant::now();
        let address = loop {
            let done = self.call("ADD", sandbox, &[])?;
            if done.code == Some(0) {
                break address(&done)?;
            }
            problems.push(done.stderr.trim().to_owned());
            ensure!(start.elapsed() < PATIENCE, "{} does not start: {problems:?}", sandbox.name);
            // As a kubelet does before it tries again.
            self.call("DEL", sandbox, &[])?.success()?;
        };
        let pod = Pod { addresses: vec![address], ..pod };
        let socket = sandbox.namespace.run(|| UdpSocket::bind("0.0.0.0:0"))??;
        let start = Instant::now();
        let mut is_reported = false;
        while start.elapsed() < 2 * REPORTED_AFTER {
            let _ = socket.send_to(b"wrong", sink.1);
            sleep(Duration::from_millis(2));
            if start.elapsed() > REPORTED_AFTER && !is_reported {
                self.world.server.set_pods_status(std::slice::from_ref(&pod))?;
                is_reported = true;
            }
        }
        self.call("DEL", sandbox, &[])?.success()?;
        self.world.server.delete_pods(&[pod.key])?;
        Ok(problems)
    }
}

impl Sandbox {
    pub fn container(&self) -> String {
        format!("sandbox-of-{}", self.name)
    }
}

/// The address in a result of ADD.
pub fn address(added: &Finished) -> Result<IpAddr> {
    let result: Value = serde_json::from_str(&added.stdout).context(added.stdout.clone())?;
    let text = result["ips"][0]["address"].as_str().context("no address")?;
    let text = text.split_once('/').map_or(text, |(address, _)| address);
    text.parse().context("an address")
}

impl Sink {
    pub fn new(world: &World) -> Result<Self> {
        let outsider = world.cluster.endpoint("outsider")?;
        let at = SocketAddr::new(outsider.address(false).context("an address")?, SINK);
        let socket = outsider.namespace.run(|| UdpSocket::bind(at))??;
        socket.set_nonblocking(true)?;
        Ok(Self(socket, at))
    }

    /// How many packets came since the last call, and of whom.
    pub fn heard(&self) -> Vec<IpAddr> {
        let mut buffer = [0; 16];
        let all = std::iter::from_fn(|| self.0.recv_from(&mut buffer).ok());
        all.map(|(_, from)| from.ip()).collect()
    }
}

impl Installer {
    pub fn of(child: Child) -> Self {
        Self(child)
    }
}

impl Drop for Installer {
    fn drop(&mut self) {
        // One that has ended is as good as killed.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
