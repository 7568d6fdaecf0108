//! A whole Kubernetes on this machine, without a container engine or a registry.
//!
//! You get a control plane, nodes that run pods, `kubectl`, and commands in nodes.
//! Each node is in its own namespaces. Everything ends when the value is dropped.
//! Never: a change of the machine outside of these namespaces, or an image from
//! elsewhere.
//!
//! ```text
//!   switch's namespace: etcd, kube-apiserver, kube-controller-manager, kube-scheduler
//!      |                                  |
//!   node-1 .11                         node-2 .12        netbed::testbed's wires and routes
//!   pid 1, containerd, kubelet,        the same          (net, mount, pid, uts, ipc, cgroup)
//!   kube-proxy, CNI plugins,
//!   flannel, kube-router or Felix if wanted
//! ```

mod calico;
mod cgroups;
mod deploy;
mod faults;
mod inside;
mod machine;
mod networks;
mod node;
mod options;
mod plugins;
mod pods;
pub mod running;
pub mod second;
mod service;
mod services_in_pods;
mod settings;

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use anyhow::{Context, Result};
use netbed::program::{self, Finished};
use netbed::testbed::Testbed;
use samples::scratch::Folder;
use samples::testbed_spec::{self, TestbedSpec};
use serde_json::{Value, json};

use crate::apiserver::{self, ApiServer, Purpose, process::Process};
use crate::image::Image;
pub use inside::{CALLS, serve};
pub use machine::Machine;
use node::Node;
pub use options::{Backend, Network, Options, Proxy};
use plugins::Place;

/// The image that holds the namespaces of a pod open.
const PAUSE: &str = "nftpol.test/pause:1";
/// The program of upstream's tests that serves and sends requests. The name is the
/// one that the tests use (`e2e.test --list-images` of Kubernetes 1.36).
pub const AGNHOST: &str = "registry.k8s.io/e2e-test-images/agnhost:2.63.0";
/// Prefix of the namespaces of a cluster with unique names. Its folder has it in
/// its name.
const PREFIX: &str = "npt";
const FOLDER: &str = "kubernetes";
/// How long nodes may take to be ready, in kubectl's format.
const PATIENCE: &str = "--timeout=180s";

/// The cluster, as long as this value lives.
pub struct Kubernetes {
    options: Options,
    nodes: Vec<Node>,
    _controllers: [Process; 2],
    server: ApiServer,
    cluster: Testbed,
    /// Last: the others write into it.
    folder: Folder,
}

impl Kubernetes {
    /// Starts a cluster with unique names. Calls `say` at each step.
    ///
    /// # Errors
    /// When a program is missing (`cargo xtask cluster up` gets them all), ends, or
    /// does not become ready. The error has its output.
    pub fn up(options: Options, say: &dyn Fn(&str)) -> Result<Self> {
        let cluster = Testbed::new(described(&options), PREFIX)?;
        Self::on(options, cluster, Folder::new(FOLDER)?, say)
    }

    fn on(options: Options, cluster: Testbed, folder: Folder, say: &dyn Fn(&str)) -> Result<Self> {
        say("etcd, kube-apiserver, kube-controller-manager, kube-scheduler");
        let address = cluster.services_address(false)?;
        if options.dual_stack {
            cluster.services_address(true)?;
        }
        let purpose = Purpose::Nodes;
        let server =
            ApiServer::start_for(purpose, cluster.switch(), address, folder.inner("control")?)?;
        let controllers = controllers(&server, options.ghosts)?;
        say("containerd on each node");
        let nodes = together(cluster.nodes(), |node| {
            let folder = folder.inner(&node.name)?;
            Node::start(&server, &node.namespace, &node.name, folder)
        })?;
        let mut this = Self { options, nodes, _controllers: controllers, server, cluster, folder };
        say("images: pause, agnhost, nftpol");
        this.import_all()?;
        say("kubelet, kube-proxy and the pods' network on each node");
        if this.options.network.has_calico() {
            this.add_calicos_kinds()?;
        }
        this.join()?;
        if this.options.network == Network::KubeRouter {
            say("kube-router on each node, and its routes");
            this.start_kube_router()?;
        }
        if this.options.network == Network::CalicoVxlan {
            say("Felix on each node, and its routes");
            this.start_felix_with_routes()?;
        }
        let ready = ["wait", "--for=condition=Ready", "node", "--all", PATIENCE];
        if let Err(error) = this.kubectl(&ready, "")?.success() {
            this.check()?;
            return Err(error.context("the nodes do not become ready"));
        }
        Ok(this)
    }

    /// Its options.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// The API server, in the switch's namespace.
    pub fn server(&self) -> &ApiServer {
        &self.server
    }

    /// The API server, to stop it and start it again. etcd and the other programs
    /// of the control plane keep running.
    pub fn server_mut(&mut self) -> &mut ApiServer {
        &mut self.server
    }

    /// The namespaces of nodes, the switch and the outsider, and their wires. Pods
    /// are not included: kubelets create those.
    pub fn cluster(&self) -> &Testbed {
        &self.cluster
    }

    /// The folder of logs and other files.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Runs kubectl as administrator.
    ///
    /// # Errors
    /// As [`ApiServer::kubectl`].
    pub fn kubectl(&self, arguments: &[&str], input: &str) -> Result<Finished> {
        self.server.kubectl(arguments, input)
    }

    /// A command that runs in all namespaces of a node.
    ///
    /// # Errors
    /// When there is no such node.
    pub fn command(&self, node: &str, words: &[&str]) -> Result<Command> {
        let node = self.nodes.iter().find(|one| one.name() == node);
        Ok(node.context("no such node")?.command(words))
    }

    /// Runs a command in a node to its end.
    ///
    /// # Errors
    /// When there is no such node or the command cannot be started.
    pub fn exec(&self, node: &str, words: &[&str]) -> Result<Finished> {
        program::finish(self.command(node, words)?, "")
    }

    /// Gives every node an image.
    ///
    /// # Errors
    /// When it cannot be written or a containerd refuses it.
    pub fn import(&self, image: &Image) -> Result<()> {
        let archive = self.folder.path().join("image.tar");
        image.write(&archive)?;
        together(&self.nodes, |node| node.import(&archive)).map(drop)
    }

    /// Gives every node the images of a tar file for `ctr images import`.
    ///
    /// # Errors
    /// When it cannot be read or a containerd refuses it.
    pub fn import_file(&self, file: &Path) -> Result<()> {
        // The nodes do not see every folder of the machine.
        let archive = self.folder.path().join("image.tar");
        fs::copy(file, &archive).with_context(|| format!("copy {}", file.display()))?;
        together(&self.nodes, |node| node.import(&archive)).map(drop)
    }

    /// Fails, with its last output, when a program of a node has ended.
    ///
    /// # Errors
    /// The program that has ended.
    pub fn check(&mut self) -> Result<()> {
        self.nodes.iter_mut().try_for_each(Node::check)
    }

    /// The words to put before a command to run it in each node, by the node's
    /// name.
    fn doors(&self) -> impl Iterator<Item = (&str, Vec<OsString>)> {
        self.nodes.iter().map(|node| (node.name(), node.entering()))
    }

    fn import_all(&self) -> Result<()> {
        // Only sleep runs in it. containerd kills it when its pod ends.
        let pause = Image::of(PAUSE, &find("sleep")?, "/sleep")?.command(&["infinity"]);
        let agnhost = Image::of(AGNHOST, &apiserver::program("agnhost")?, "/agnhost")?;
        let plugin = program::beside("nftpol-cni")?;
        let nftpol = Image::nftpol(&program::path()?)?.plugin(&plugin);
        for image in [pause, agnhost.command(&["pause"]), nftpol] {
            self.import(&image)?;
        }
        Ok(())
    }

    fn join(&mut self) -> Result<()> {
        let Self { options, nodes, server, cluster, .. } = self;
        let families = options.families();
        let objects = (0..nodes.len()).map(|index| {
            let mut object = node_object(cluster.spec(), index, families);
            if options.network == Network::CalicoVxlan {
                let annotations = calico::annotations(cluster.spec(), index, families);
                object["metadata"]["annotations"] = annotations;
            }
            object
        });
        let objects: Vec<Value> = objects.collect();
        server.apply(&json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string())?;
        let kubelet = settings::kubelet(&server.file("ca.crt"));
        let proxys = server.user_kubeconfig("system:kube-proxy", None)?;
        let pods: Vec<String> = families.iter().map(|&v6| TestbedSpec::pods_range(v6)).collect();
        let kubeconfig = server.admin_kubeconfig();
        for (index, (node, endpoint)) in nodes.iter_mut().zip(cluster.nodes()).enumerate() {
            if options.network.has_bridge() {
                endpoint.namespace.sysctl("bridge.bridge-nf-call-iptables", "1")?;
                endpoint.namespace.sysctl("bridge.bridge-nf-call-ip6tables", "1")?;
            }
            if !options.network.has_our_routes() {
                cluster.remove_routes(index)?;
            }
            if let Some(backend) = options.network.flannel() {
                node.start_flannel(server, &settings::flannel(options, backend))?;
            }
            if options.network == Network::Macvlan {
                networks::shim(&endpoint.namespace, index, families)?;
            }
            if options.network.has_calico() {
                plugins::link(&apiserver::program("calico")?, &node.path("plugins/calico"))?;
            }
            let name = node.name().to_owned();
            let place = Place { index, node: &name, kubeconfig: &kubeconfig };
            node.set_network(&plugins::list(options, place))?;
            let addresses = families.iter().filter_map(|&v6| endpoint.address(v6));
            let addresses: Vec<String> = addresses.map(|address| address.to_string()).collect();
            let proxy = settings::proxy(options, node.name(), &proxys, &pods);
            node.join(server, &addresses, &kubelet, &proxy)?;
        }
        Ok(())
    }
}

/// Does this with all of them at the same time.
fn together<T: Send, U: Send>(
    items: impl IntoIterator<Item = T>,
    each: impl Fn(T) -> Result<U> + Sync,
) -> Result<Vec<U>> {
    let each = &each;
    thread::scope(|scope| {
        let started: Vec<_> =
            items.into_iter().map(|item| scope.spawn(move || each(item))).collect();
        let done = started.into_iter().map(|one| match one.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        });
        done.collect()
    })
}

/// What the wires of the cluster connect: nodes without pods. Always routed,
/// because CNI plugins create the bridge.
fn described(options: &Options) -> TestbedSpec {
    let names: Vec<String> = (1..=options.nodes).map(|number| format!("node-{number}")).collect();
    TestbedSpec::new(
        testbed_spec::Network::Routed,
        &names.iter().map(String::as_str).collect::<Vec<_>>(),
    )
}

/// The Node object that its kubelet finds, with the ranges of its pods.
fn node_object(spec: &TestbedSpec, index: usize, families: &[bool]) -> Value {
    let ranges: Vec<String> =
        families.iter().map(|&v6| TestbedSpec::pod_range(index, v6)).collect();
    json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": spec.nodes[index]},
        "spec": {"podCIDR": ranges[0], "podCIDRs": ranges},
    })
}

fn controllers(server: &ApiServer, ghosts: bool) -> Result<[Process; 2]> {
    let start = |name: &str, more: &[String]| {
        let kubeconfig = server.user_kubeconfig(&format!("system:{name}"), None)?;
        let mut arguments = vec![
            format!("--kubeconfig={}", kubeconfig.display()),
            "--leader-elect=false".to_owned(),
            "--bind-address=127.0.0.1".to_owned(),
        ];
        arguments.extend_from_slice(more);
        let (inside, folder) = server.place();
        Process::start(inside, name, &arguments, folder)
    };
    let file = |flag: &str, name: &str| format!("--{flag}={}", server.file(name).display());
    let mut manager = vec![
        file("root-ca-file", "ca.crt"),
        file("service-account-private-key-file", "service-accounts.key"),
        // RBAC does not know the user of its kubeconfig, so each controller
        // uses its own service account.
        "--use-service-account-credentials=true".to_owned(),
    ];
    if ghosts {
        // The controllers that check whether the nodes of pods exist.
        let without = "-node-lifecycle-controller,-pod-garbage-collector-controller";
        manager.push(format!("--controllers=*,{without}"));
    }
    Ok([start("kube-controller-manager", &manager)?, start("kube-scheduler", &[])?])
}

/// A program on the machine's `PATH`.
fn find(program: &str) -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|folder| folder.join(program));
    let found = found.into_iter().find(|candidate| candidate.is_file());
    found.with_context(|| format!("no {program} on the PATH"))
}
