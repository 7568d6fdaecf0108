//! Runs the DaemonSet's container with containerd and runc, as a node does.
//!
//! `nftpol agent` runs in a container with exactly what the pod's spec gives it.
//! Never: the machine's own containerd. This one has its own folders and socket and
//! ends with its value.

mod settings;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use k8s_openapi::api::core::v1::PodSpec;
use netbed::net::Namespace;
use netbed::program;
use nix::unistd::Pid;
use samples::scratch::Folder;

use crate::apiserver::ApiServer;
use crate::daemon::{Daemon, HEALTH};
use crate::rootfs;

/// How long containerd may take to start, and its processes to end.
const PATIENCE: Duration = Duration::from_secs(30);
/// Where pods find their service account.
const ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// Shims keep their sockets in a folder that no option changes.
const START: &str = "mkdir -p /run/containerd && mount -t tmpfs tmpfs /run/containerd && \
                     exec containerd --config \"$0\"";

/// containerd in a node's network namespace, as long as this value lives.
#[derive(Debug)]
pub struct Runtime<'a> {
    namespace: &'a Namespace,
    child: Child,
    folder: Folder,
    cgroup: String,
    containers: AtomicU32,
}

impl<'a> Runtime<'a> {
    /// Starts it, and creates the file system of the containers: the built `nftpol`
    /// and the libraries that it loads.
    ///
    /// # Errors
    /// When something is missing (`cargo xtask setup` installs containerd and
    /// runc), or containerd does not answer, with its output.
    pub fn start(namespace: &'a Namespace) -> Result<Self> {
        let folder = Folder::new("containerd")?;
        let path = folder.path();
        rootfs::write(&path.join("rootfs"), &program::path()?)?;
        let config = path.join("config.toml");
        let lines = format!(
            "version = 2\nroot = \"{0}/root\"\nstate = \"{0}/state\"\n\
             disabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n\
             [grpc]\naddress = \"{0}/socket\"\n",
            path.display()
        );
        fs::write(&config, lines).context("write containerd's configuration")?;
        let log = File::create(path.join("log")).context("make containerd's log")?;
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--", "nsenter"]);
        // `ip netns exec` would hide the control groups.
        command.arg(format!("--net={}", namespace.path().display()));
        // When process 1 of a pid namespace ends, all its processes end.
        command.args(["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]);
        command.args(["sh", "-c", START]).arg(config);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let child = command.spawn().context("start containerd")?;
        let cgroup = format!("/nftpol-tests-{}", namespace.name());
        let mut this = Self { namespace, child, folder, cgroup, containers: AtomicU32::new(0) };
        this.wait()?;
        Ok(this)
    }

    fn wait(&mut self) -> Result<()> {
        let start = Instant::now();
        loop {
            let answer = program::finish(self.ctr(&["version"]), "");
            let answer = answer.context("run ctr (Debian package containerd)")?;
            if answer.code == Some(0) {
                return Ok(());
            }
            let ended = self.child.try_wait().context("wait for containerd")?;
            if ended.is_some() || start.elapsed() > PATIENCE {
                let log = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
                bail!("containerd does not answer: {ended:?}: {}\n{log}", answer.stderr);
            }
            sleep(Duration::from_millis(20));
        }
    }

    /// Starts the agent of this pod's spec on a node. Adds what a kubelet adds: how
    /// to reach the API server, and the service account's folder. End it with
    /// [`Daemon::stop`]. Killing it ends only `ctr`.
    ///
    /// # Errors
    /// When the spec has a setting that is not translated here, or the container
    /// cannot be started.
    pub fn agent(&self, server: &ApiServer, pod: &PodSpec, node: &str) -> Result<Daemon<'a>> {
        let settings = settings::read(pod, node, &self.default_capabilities()?)?;
        let account = server.service_account_folder("kube-system", &settings.account)?;
        let number = self.containers.fetch_add(1, Ordering::Relaxed);
        let path = self.folder.path();
        let mut command = self.ctr(&["run", "--rm", "--rootfs", "--cgroup", &self.cgroup]);
        // Next to containerd's view of /run.
        command.arg("--fifo-dir").arg(path.join("fifo"));
        command.args(settings.flags);
        let address = server.address();
        command.arg(format!("--env=KUBERNETES_SERVICE_HOST={}", address.ip()));
        command.arg(format!("--env=KUBERNETES_SERVICE_PORT={}", address.port()));
        let account = account.display();
        command.arg(format!("--mount=type=bind,src={account},dst={ACCOUNT},options=rbind:ro"));
        command.arg(path.join("rootfs")).arg(format!("agent-{number}"));
        command.arg(rootfs::PROGRAM).args(settings.arguments);
        Daemon::spawn(self.namespace, command, HEALTH.parse()?)
    }

    /// The process id of the running agent, as the machine numbers it.
    ///
    /// # Errors
    /// When none is running.
    pub fn process(&self) -> Result<Pid> {
        let runs = |pid: &Pid| {
            let program = fs::read_link(format!("/proc/{pid}/exe"));
            program.is_ok_and(|program| program == Path::new(rootfs::PROGRAM))
        };
        self.namespace.processes().into_iter().find(runs).context("no agent in the namespace")
    }

    /// The folders of the containers' control group. There is one in version 2, and
    /// one per controller in version 1.
    fn cgroups(&self) -> Vec<PathBuf> {
        let root = PathBuf::from("/sys/fs/cgroup");
        let controllers = fs::read_dir(&root).into_iter().flatten().flatten();
        let folders = controllers.map(|one| one.path()).chain([root]);
        folders.map(|folder| folder.join(self.cgroup.trim_start_matches('/'))).collect()
    }

    /// The capabilities of a container whose spec does not mention them.
    fn default_capabilities(&self) -> Result<Vec<String>> {
        let spec = program::finish(self.ctr(&["oci", "spec"]), "")?.success()?;
        let spec: serde_json::Value = serde_json::from_str(&spec).context("read `ctr oci spec`")?;
        let bounding = spec.pointer("/process/capabilities/bounding").context("no capabilities")?;
        Ok(serde_json::from_value(bounding.clone())?)
    }

    fn ctr(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("ctr");
        command.arg("--address").arg(self.folder.path().join("socket")).args(arguments);
        command
    }
}

impl Drop for Runtime<'_> {
    fn drop(&mut self) {
        // A process that is already gone is as good as killed.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let folders = self.cgroups();
        let start = Instant::now();
        // A control group is busy until its last process is gone. If the agent
        // ended by itself, runc has already removed the group.
        while folders.iter().any(|folder| folder.exists() && fs::remove_dir(folder).is_err()) {
            if start.elapsed() > PATIENCE {
                return eprintln!("leaving {folders:?} behind");
            }
            sleep(Duration::from_millis(10));
        }
    }
}
