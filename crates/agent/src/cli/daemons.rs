//! The commands that stay: `agent` and `pod-agent`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::NODE_NAME;
use super::metrics::MetricsServed;
use super::options::{Binding, Budget, Log, NodeMode};

/// The variable that stands for `--cni-plugin`. An agent that does not know it yet, and answers
/// the plugin without it, ignores it. It would end at an argument.
const CNI_PLUGIN: &str = "NFTPOL_CNI_PLUGIN";

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
    /// Take spec.podCIDRs of this node's Node object as ranges of its pods' addresses, too, as
    /// if given by --pod-cidr: for --unknown-pods before the first pod, and for pods on no
    /// bridge. Needs the right to get Nodes. Not where the network gives pods other addresses
    /// (Calico's IPAM).
    #[arg(long)]
    pub node_pod_cidrs: bool,
    /// Answer the chained CNI plugin, which tells of new pods' addresses and interfaces. Any process
    /// that is root in the node's network can say the same, so this is for nodes with the plugin.
    #[arg(long, env = CNI_PLUGIN)]
    pub cni_plugin: bool,
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
