//! The command line.

mod metrics;

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use agent::amounts::Amounts;
use agent::binding_options::{self, BindingOptions, UnboundPods};
use agent::node_network::Given;
use author::ModeOption;
use clap::{ArgGroup, Args, Parser, Subcommand, ValueEnum};
use compiler::budget::Budgets;
use compiler::{LogOptions, Options};
use ipnet::IpNet;
use nft::Features;
use policy::{Mode, Tunnel, UnknownPods};
use watcher::files::{Source, Validation};

use crate::input::AllowNoPods;
pub use metrics::{MetricsAccess, MetricsServed};

/// The environment variable that names the node where no flag does.
pub const NODE_NAME: &str = "NODE_NAME";

const EXAMPLES: &str = "\
Examples:
  nftpol render -f manifests/ --node node-1        print the rules of one node
  nftpol render --node node-1                      ... read from the cluster, as the agent there does
  nftpol diff -f manifests/ --node node-1          what would change in the kernel
  nftpol verify -f manifests/ --node node-1        prove that the rules are right
  nftpol apply -f manifests/ --node node-1         enforce them
  nftpol apply -f manifests/ --node node-1 --watch ... and follow the files
  kubectl get namespaces,pods,networkpolicies -A -o yaml | nftpol render -f - --node node-1

Policies isolate pods: give the Pods (with their status) and Namespaces, too.
Without --node, the node is $NODE_NAME; without both, all pods are local.";

/// Kubernetes NetworkPolicy, enforced with nftables.
#[derive(Debug, Parser)]
#[command(name = "nftpol", version, max_term_width = 100, after_help = EXAMPLES)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Follow the API server and enforce on this node (the process of the DaemonSet).
    Agent(Agent),
    /// Print the ruleset without touching the kernel (dry run).
    Render(Render),
    /// Make the kernel of this network namespace enforce the files.
    Apply(Apply),
    /// Show what `apply` would open and close; exit 0 same, 1 different, 2 error.
    Diff(Diff),
    /// Prove that the table does what the specification says; exit 0 same, 1 different, 2 error.
    Verify(Verify),
    /// Shut the addresses of pods when the node starts, until its agent enforces; exit 0 as the
    /// file says, 1 all that is forwarded, 2 error.
    Restore(Restore),
    /// Install on this node what runs `restore` at each start, before the kubelet.
    InstallBoot(InstallBoot),
    /// Enforce on MacVLAN, IPVLAN and SR-IOV pods of this node, in their own network namespaces;
    /// beside `agent`.
    PodAgent(PodAgent),
    /// Remove the tables from the kernel of this network namespace.
    Cleanup(Cleanup),
    /// Those that need no kernel and no root, as in `kubectl nftpol`.
    #[command(flatten)]
    Author(author::command::Command),
}

/// `nftpol render`.
#[derive(Debug, Args)]
pub struct Render {
    /// What to compile.
    #[command(flatten)]
    pub input: Input,
    /// Whether it goes on without local Pods.
    #[command(flatten)]
    pub pods: AllowNoPods,
    /// Form of the output: a script for `nft -f`, or libnftables JSON.
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Output,
    /// The table in a pod's own network namespace, and not the node's.
    #[arg(long, value_enum, default_value_t, requires_if("pod", "pod"))]
    pub place: PlaceOption,
    /// The pod in whose network namespace it would be.
    #[arg(long, value_name = "NAMESPACE/NAME")]
    pub pod: Option<String>,
    /// The table of this network of the pod, by its MultiNetworkPolicies.
    #[arg(long, value_name = "NAMESPACE/NAME", requires = "pod")]
    pub network: Option<String>,
}

/// `nftpol apply`. It reads files only; to follow a cluster, run the agent.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("manifests").args(["filenames"]).required(true)))]
pub struct Apply {
    /// What to enforce.
    #[command(flatten)]
    pub input: Input,
    /// Whether it goes on without local Pods.
    #[command(flatten)]
    pub pods: AllowNoPods,
    /// Keep running: follow the files and the node's interfaces, and restore the tables when
    /// others change them.
    #[arg(long)]
    pub watch: bool,
    /// What is bound to the node's interfaces.
    #[command(flatten)]
    pub binding: Binding,
    /// Where to enforce.
    #[command(flatten)]
    pub place: PlaceArgs,
}

/// Where to enforce.
#[derive(Debug, Args)]
pub struct PlaceArgs {
    /// Where packets are judged: on the node, or in the network namespace of one pod, for
    /// interfaces that bypass the node (MacVLAN, IPVLAN, SR-IOV).
    #[arg(long, value_enum, default_value_t, conflicts_with = "watch")]
    pub place: PlaceOption,
    /// The pod in whose network namespace to enforce.
    #[arg(long, value_name = "NAMESPACE/NAME", required_if_eq("place", "pod"))]
    pub pod: Option<String>,
    /// Enforce the MultiNetworkPolicies of this network of the pod, and not the NetworkPolicies of
    /// its primary one.
    #[arg(long, value_name = "NAMESPACE/NAME", requires = "pod")]
    pub network: Option<String>,
    /// The file of the pod's network namespace: /proc/PID/ns/net or /run/netns/NAME.
    #[arg(long, value_name = "FILE", requires = "pod", required_if_eq("place", "pod"))]
    pub netns: Option<PathBuf>,
}

/// `--place`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum PlaceOption {
    /// The node's forward hook.
    #[default]
    Node,
    /// The input and output hooks of one pod.
    Pod,
}

/// `nftpol diff`.
#[derive(Debug, Args)]
pub struct Diff {
    /// What to compare the kernel with.
    #[command(flatten)]
    pub input: Input,
    /// Whether it goes on without local Pods.
    #[command(flatten)]
    pub pods: AllowNoPods,
    /// What is bound to the node's interfaces.
    #[command(flatten)]
    pub binding: Binding,
    /// Show the rules that differ, too.
    #[arg(long)]
    pub rules: bool,
}

/// `nftpol verify`.
#[derive(Debug, Args)]
pub struct Verify {
    /// The objects that the specification is applied to.
    #[command(flatten)]
    pub input: Input,
    /// Verify the tables in the kernel of this network namespace, with what is bound to its
    /// interfaces, instead of the table that `render` prints.
    #[arg(long)]
    pub kernel: bool,
    /// What is bound to the node's interfaces.
    #[command(flatten)]
    pub binding: Binding,
}

/// Options that `render`, `apply`, `diff` and `verify` share.
#[derive(Debug, Args)]
pub struct Input {
    /// Manifests: a file, a folder (all .yaml, .yml, .json below it), or - for
    /// standard input. May be given several times [default, except for `apply`: the objects
    /// of the API server].
    #[arg(short = 'f', long = "filename", value_name = "FILE|DIR|-")]
    filenames: Vec<PathBuf>,
    /// How to reach the API server where no manifests are given (not for `apply`)
    /// [default: $KUBECONFIG, ~/.kube/config, or the ServiceAccount of the pod].
    #[arg(long, value_name = "FILE", conflicts_with = "filenames")]
    pub kubeconfig: Option<PathBuf>,
    /// Take the pods whose spec.nodeName is NAME as local [default: all pods].
    #[arg(long, value_name = "NAME", env = NODE_NAME)]
    node: Option<String>,
    /// How to treat unknown or invalid fields of manifests. Objects of the API server are
    /// always treated as with `warn`.
    #[arg(long, value_enum, default_value_t)]
    validate: Validate,
    /// Whether policies drop.
    #[command(flatten)]
    pub mode: NodeMode,
    /// How drops are logged.
    #[command(flatten)]
    pub log: Log,
    /// What policies may take.
    #[command(flatten)]
    pub budget: Budget,
}

/// Options about audit.
#[derive(Debug, Args)]
pub struct NodeMode {
    /// What policies do that say nothing of it, and whose Namespaces do not either (annotation
    /// nftpol.dev/mode). With `audit`, addresses are not bound to interfaces and unknown addresses
    /// pass, whatever other options say.
    #[arg(long, value_enum, default_value_t)]
    mode: ModeOption,
}

impl NodeMode {
    /// The mode.
    pub fn mode(&self) -> Mode {
        self.mode.into()
    }
}

/// Options about logging.
#[derive(Debug, Args)]
pub struct Log {
    /// NFLOG group for dropped packets.
    #[arg(long, value_name = "GROUP", default_value_t = LogOptions::default().group)]
    log_group: u16,
    /// Do not log dropped packets.
    #[arg(long)]
    no_log: bool,
}

/// `nftpol cleanup`.
#[derive(Debug, Args)]
pub struct Cleanup {
    /// Afterwards do nothing until killed: a container of a DaemonSet may not end.
    #[arg(long)]
    pub stay: bool,
    /// Remove those that `pod-agent` made, in the network namespaces of pods.
    #[arg(long)]
    pub pods: bool,
    /// The node's /proc, for --pods: it has the pods' processes (hostPID).
    #[arg(long, value_name = "DIR", default_value = "/proc", requires = "pods")]
    pub proc: PathBuf,
}

/// `nftpol pod-agent`.
#[derive(Debug, Args)]
pub struct PodAgent {
    /// The name of this node: pods with this spec.nodeName are local.
    #[arg(long, value_name = "NAME", env = NODE_NAME)]
    pub node_name: String,
    /// How to reach the API server [default: $KUBECONFIG, ~/.kube/config, or the ServiceAccount of
    /// the pod].
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Where to serve /healthz, /readyz and /metrics.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:9477")]
    pub health_address: SocketAddr,
    /// Metrics for scrapers of other nodes.
    #[command(flatten)]
    pub metrics: MetricsServed,
    /// The node's /proc: it has the pods' processes (hostPID).
    #[arg(long, value_name = "DIR", default_value = "/proc")]
    pub proc: PathBuf,
    /// Enforce MultiNetworkPolicies (k8s.cni.cncf.io) on the pods' further networks, which Multus
    /// reports, whatever the kind of their interfaces. Needs the right to list and watch them.
    #[arg(long)]
    pub multi_network_policies: bool,
    /// Prove each table against the specification before it is committed. Without a proof the
    /// old table stays.
    #[arg(long)]
    pub verify: bool,
    /// Whether the tables belong to this process, so that not even a pod with CAP_NET_ADMIN can
    /// change its own while it runs. They stay when it ends.
    #[arg(long, value_enum, default_value_t)]
    pub table_owner: TableOwner,
    /// Whether policies drop. What they would drop is not told in a pod's own namespace.
    #[command(flatten)]
    pub mode: NodeMode,
    /// How drops are logged. The group is one of each pod's own network namespace.
    #[command(flatten)]
    pub log: Log,
    /// Write a line of the log for denied packets, one a minute for each pair of pods and
    /// policies, 100 a minute at most.
    #[arg(long)]
    pub log_denied: bool,
    /// What policies may take.
    #[command(flatten)]
    pub budget: Budget,
    /// Form of the log's lines.
    #[arg(long, value_enum, default_value_t)]
    pub log_format: LogFormat,
    /// What is logged: this and what is more important [default: $RUST_LOG, or info].
    #[arg(long, value_enum)]
    pub log_level: Option<LogLevel>,
}

/// Where the agent of the overlay `boot` writes what `restore` reads.
const BOOT_FILE: &str = "/var/lib/nftpol/boot";

/// `nftpol restore`.
#[derive(Debug, Args)]
pub struct Restore {
    /// The file that the agent writes (--restore-file).
    #[arg(long, value_name = "FILE", default_value = BOOT_FILE)]
    pub file: PathBuf,
    /// How old the file may be. The agent writes it again each hour.
    #[arg(long, value_name = "DAYS", default_value_t = 30)]
    pub max_age: u32,
    /// A further range of pods' addresses. May be given several times.
    #[arg(long, value_name = "CIDR", value_parser = binding_options::pod_cidr)]
    pub pod_cidr: Vec<IpNet>,
    /// Also replace a table of nftpol that is here, unless an agent is at work. For the start of
    /// a node, before its first agent: such a table is of a saved ruleset, and the pods that
    /// come are not in it.
    #[arg(long)]
    pub replace: bool,
}

/// `nftpol install-boot`.
#[derive(Debug, Args)]
pub struct InstallBoot {
    /// Where the node's root folder is. Of it, /opt/nftpol and /etc/systemd/system are used.
    #[arg(long, value_name = "DIR", default_value = "/host")]
    pub host: PathBuf,
    /// The file for `restore`, as the node names it.
    #[arg(long, value_name = "FILE", default_value = BOOT_FILE)]
    pub file: PathBuf,
    /// Remove what was installed.
    #[arg(long)]
    pub remove: bool,
    /// Afterwards do nothing until killed: a container of a DaemonSet may not end.
    #[arg(long)]
    pub stay: bool,
}

/// `nftpol agent`.
#[derive(Debug, Args)]
pub struct Agent {
    /// The name of this node: pods with this spec.nodeName are local.
    #[arg(long, value_name = "NAME", env = NODE_NAME)]
    pub node_name: String,
    /// How to reach the API server [default: $KUBECONFIG, ~/.kube/config, or the ServiceAccount of
    /// the pod].
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// The uid of the Namespace kube-system of the cluster to enforce. Give it when a node moves to
    /// another cluster with rules in its kernel [default: that of the rules in the kernel, or of
    /// the first cluster seen].
    #[arg(long, value_name = "UID")]
    pub cluster_uid: Option<String>,
    /// Where to serve /healthz, /readyz and /metrics.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:9478")]
    pub health_address: SocketAddr,
    /// Metrics for scrapers of other nodes.
    #[command(flatten)]
    pub metrics: MetricsServed,
    /// Prove each table against the specification before it is committed. Without a proof the
    /// old table stays. Takes seconds of CPU time for each change on a large node.
    #[arg(long)]
    pub verify: bool,
    /// Whether the tables belong to this process, so that no other program on the node can
    /// change or delete them while it runs. They stay when it ends.
    #[arg(long, value_enum, default_value_t)]
    pub table_owner: TableOwner,
    /// Whether policies drop.
    #[command(flatten)]
    pub mode: NodeMode,
    /// Where to write what `nftpol restore` reads when the node starts [default: nowhere].
    #[arg(long, value_name = "FILE")]
    pub restore_file: Option<PathBuf>,
    /// What is bound to the node's interfaces.
    #[command(flatten)]
    pub binding: Binding,
    /// How drops are logged.
    #[command(flatten)]
    pub log: Log,
    /// What policies may take.
    #[command(flatten)]
    pub budget: Budget,
    /// Write a line of the log for denied packets, one a minute for each pair of pods and
    /// policies, 100 a minute at most.
    #[arg(long)]
    pub log_denied: bool,
    /// Form of the log's lines.
    #[arg(long, value_enum, default_value_t)]
    pub log_format: LogFormat,
    /// What is logged: this and what is more important [default: $RUST_LOG, or info].
    #[arg(long, value_enum)]
    pub log_level: Option<LogLevel>,
}

/// `--log-format`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// An object on each line.
    Json,
}

/// `--log-level`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogLevel {
    /// Something failed for good.
    Error,
    /// Something is wrong.
    Warn,
    /// What is worth knowing.
    Info,
    /// Each step.
    Debug,
    /// Everything.
    Trace,
}

/// `--table-owner`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum TableOwner {
    /// They do where the kernel can do that: from Linux 6.9 on.
    #[default]
    Auto,
    /// They do not. What others change is restored.
    Off,
}

/// Options about the node's interfaces and tunnels.
#[derive(Debug, Args)]
pub struct Binding {
    /// Do not bind the pods of this namespace, or those of them that a label selector matches,
    /// to their interfaces: pods that send under other addresses than their own, such as VPN
    /// gateways or virtual machines. May be given several times.
    #[arg(long, value_name = "NAMESPACE[/SELECTOR]")]
    unbound: Vec<UnboundPods>,
    /// A tunnel from node to node that is not seen as such: it is no interface, or nothing names
    /// its other ends. Only nodes may send to it. May be given several times.
    #[arg(long, value_name = "udp/PORT|ip/PROTOCOL", value_parser = binding_options::tunnel)]
    tunnel: Vec<Tunnel>,
    /// An address from which the node's tunnels take packets, beside the addresses of the nodes.
    /// May be given several times.
    #[arg(long, value_name = "ADDRESS")]
    tunnel_peer: Vec<IpAddr>,
    /// Where the node's tunnels take packets from.
    #[arg(long, value_enum, default_value_t)]
    tunnel_sources: Sources,
    /// What becomes of new flows from and to addresses in the pods' ranges that no Pod names yet,
    /// such as those of a pod that just starts. The ranges are the subnets of the bridges that
    /// only pods are on, and those of --pod-cidr.
    #[arg(long, value_enum, default_value_t)]
    unknown_pods: Unknown,
    /// A range of pods' addresses, of this node or of the whole cluster: needed where pods are on
    /// no bridge. May be given several times.
    #[arg(long, value_name = "CIDR", value_parser = binding_options::pod_cidr)]
    pod_cidr: Vec<IpNet>,
}

/// `--unknown-pods`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Unknown {
    /// They pass.
    #[default]
    Open,
    /// They are dropped while the cluster has a NetworkPolicy.
    Selected,
    /// They are dropped.
    Closed,
}

/// `--tunnel-sources`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Sources {
    /// The nodes' addresses, as the pods report them, and the peers of the tunnels. Tunnels of
    /// which nothing names a peer take packets from anywhere but pods of this node.
    #[default]
    Nodes,
    /// Anywhere but pods of this node, all tunnels.
    Any,
}

impl Binding {
    /// What is not bound, or not judged, with what this kernel has.
    pub fn options(&self, features: &Features, mode: Mode) -> BindingOptions {
        BindingOptions {
            unbound: self.unbound.clone(),
            no_bridges: !features.bridge,
            no_ipvs: !features.fib,
            unknown_pods: match self.unknown_pods {
                _ if mode == Mode::Audit => UnknownPods::Open,
                Unknown::Open => UnknownPods::Open,
                Unknown::Selected => UnknownPods::Selected,
                Unknown::Closed => UnknownPods::Closed,
            },
        }
    }

    /// What the operator says of tunnels.
    pub fn given(&self) -> Given {
        Given {
            tunnels: self.tunnel.iter().copied().collect(),
            tunnel_peers: self.tunnel_peer.iter().copied().collect(),
            any_source: match self.tunnel_sources {
                Sources::Nodes => false,
                Sources::Any => true,
            },
            pod_cidrs: self.pod_cidr.iter().copied().collect(),
        }
    }
}

/// Options about budgets.
#[derive(Debug, Args)]
pub struct Budget {
    /// What the policies of one namespace may take of this node's table. Policies that find no
    /// room isolate and allow nothing.
    #[arg(
        long,
        value_name = "SETS,RULES,ELEMENTS",
        default_value_t = Budgets::default().namespace.into(),
    )]
    namespace_budget: Amounts,
    /// What the policies of all namespaces together may take. If they ask for more, the
    /// largest namespaces shrink to one and the same share.
    #[arg(
        long,
        value_name = "SETS,RULES,ELEMENTS",
        default_value_t = Budgets::default().node.into(),
    )]
    node_budget: Amounts,
}

impl Budget {
    /// The budgets.
    pub fn budgets(&self) -> Budgets {
        Budgets { node: self.node_budget.0, namespace: self.namespace_budget.0 }
    }
}

/// `--validate`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Validate {
    /// Refuse all manifests if anything is wrong, as the API server would.
    #[default]
    Strict,
    /// Isolate the pods of a broken policy, allow nothing by its broken part,
    /// and report it, as the agent does with objects of the API server.
    Warn,
}

/// `--output`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// A script for `nft -f`.
    #[default]
    Nft,
    /// libnftables-json(5), for `nft -j -f`.
    Json,
}

impl Input {
    /// The node whose pods are local; `None`: all pods are.
    pub fn node(&self) -> Option<&str> {
        self.node.as_deref()
    }

    /// The files.
    pub fn sources(&self) -> Vec<Source> {
        let source = |path: &PathBuf| match path.as_os_str() == "-" {
            true => Source::Stdin,
            false => Source::Path(path.clone()),
        };
        self.filenames.iter().map(source).collect()
    }

    /// How to read them.
    pub fn validation(&self) -> Validation {
        match self.validate {
            Validate::Strict => Validation::Strict,
            Validate::Warn => Validation::Warn,
        }
    }

    /// What to compile for. `log`: whether the kernel can log.
    pub fn options(&self, log: bool) -> Options {
        Options {
            node: self.node.clone(),
            log: self.log.options(log),
            budgets: self.budget.budgets(),
            ..Options::default()
        }
    }
}

impl Log {
    /// How drops are logged. `possible`: whether the kernel can log.
    pub fn options(&self, possible: bool) -> Option<LogOptions> {
        let options = LogOptions { group: self.log_group, ..LogOptions::default() };
        (possible && self.is_wanted()).then_some(options)
    }

    /// The group of NFLOG.
    pub fn group(&self) -> u16 {
        self.log_group
    }

    /// Whether to log drops.
    pub fn is_wanted(&self) -> bool {
        !self.no_log
    }
}
