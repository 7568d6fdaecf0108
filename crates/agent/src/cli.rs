//! The command line.

mod boot;
mod daemons;
mod metrics;
mod options;

use std::path::PathBuf;

use clap::{ArgGroup, Args, Parser, Subcommand};

use crate::input::AllowNoPods;
pub use boot::{InstallBoot, Restore};
pub use daemons::{Agent, LogFormat, LogLevel, PodAgent, TableOwner};
pub use metrics::{MetricsAccess, MetricsServed};
pub use options::{Binding, Input, Output, PlaceArgs};

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
    /// Which table.
    #[command(flatten)]
    pub place: PlaceArgs,
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
    #[arg(long, conflicts_with = "place")]
    pub watch: bool,
    /// What is bound to the node's interfaces.
    #[command(flatten)]
    pub binding: Binding,
    /// Where to enforce.
    #[command(flatten)]
    pub place: PlaceArgs,
    /// The file of the pod's network namespace: /proc/PID/ns/net or /run/netns/NAME.
    #[arg(long, value_name = "FILE", requires = "pod", required_if_eq("place", "pod"))]
    pub netns: Option<PathBuf>,
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
    /// Which table.
    #[command(flatten)]
    pub place: PlaceArgs,
    /// The file of the pod's network namespace: /proc/PID/ns/net or /run/netns/NAME.
    #[arg(long, value_name = "FILE", requires = "pod", required_if_eq("place", "pod"))]
    pub netns: Option<PathBuf>,
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
    /// Which table.
    #[command(flatten)]
    pub place: PlaceArgs,
    /// The file of the pod's network namespace, for --kernel: /proc/PID/ns/net or
    /// /run/netns/NAME.
    #[arg(long, value_name = "FILE", requires_all = ["pod", "kernel"])]
    pub netns: Option<PathBuf>,
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
