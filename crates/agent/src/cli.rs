//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{ArgGroup, Args, Parser, Subcommand, ValueEnum};
use compiler::{LogOptions, Options};
use watcher::files::{Source, Validation};

const EXAMPLES: &str = "\
Examples:
  nftpol render -f manifests/ --node node-1        print the rules of one node
  nftpol render --node node-1                      ... as the agent there has them, from the cluster
  nftpol diff -f manifests/ --node node-1          what would change in the kernel
  nftpol verify -f manifests/ --node node-1        prove that the rules are right
  nftpol apply -f manifests/ --node node-1         make it so
  nftpol apply -f manifests/ --node node-1 --watch ... and follow the files
  kubectl get namespaces,pods,networkpolicies -A -o yaml | nftpol render -f - --node node-1

Policies isolate pods: give the Pods (with their status) and Namespaces, too.";

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
    /// Follow the API server and enforce on this node: the DaemonSet's process.
    Agent(Agent),
    /// Print the ruleset without touching the kernel (dry run).
    Render(Render),
    /// Make the kernel of this network namespace enforce the files.
    Apply(Apply),
    /// Show what `apply` would change; exit 0 same, 1 different, 2 error.
    Diff(Diff),
    /// Prove that the table does what the specification says; exit 0 same, 1 different, 2 error.
    Verify(Verify),
    /// Remove the table from the kernel of this network namespace.
    Cleanup,
}

/// `nftpol render`.
#[derive(Debug, Args)]
pub struct Render {
    /// What to compile.
    #[command(flatten)]
    pub input: Input,
    /// Form of the output: a script for `nft -f`, or libnftables JSON.
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Output,
}

/// `nftpol apply`. Files alone: it is the agent that follows a cluster.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("manifests").args(["filenames"]).required(true)))]
pub struct Apply {
    /// What to enforce.
    #[command(flatten)]
    pub input: Input,
    /// Stay, follow the files, and mend the table when others change it.
    #[arg(long)]
    pub watch: bool,
}

/// `nftpol diff`.
#[derive(Debug, Args)]
pub struct Diff {
    /// What to compare the kernel with.
    #[command(flatten)]
    pub input: Input,
}

/// `nftpol verify`.
#[derive(Debug, Args)]
pub struct Verify {
    /// What the specification is applied to.
    #[command(flatten)]
    pub input: Input,
    /// Look at the table in the kernel of this network namespace, and not at
    /// the one that `render` prints.
    #[arg(long)]
    pub kernel: bool,
}

/// Options that `render`, `apply`, `diff` and `verify` share.
#[derive(Debug, Args)]
pub struct Input {
    /// Manifests: a file, a folder (all .yaml, .yml, .json below it), or - for
    /// standard input. May be given several times [default but for `apply`: what the API
    /// server has].
    #[arg(short = 'f', long = "filename", value_name = "FILE|DIR|-")]
    filenames: Vec<PathBuf>,
    /// How to reach the API server where no manifests are given, which `apply` does not do
    /// [default: $KUBECONFIG, ~/.kube/config, or the ServiceAccount of the pod].
    #[arg(long, value_name = "FILE", conflicts_with = "filenames")]
    pub kubeconfig: Option<PathBuf>,
    /// Take the pods whose spec.nodeName is NAME as local [default: all pods].
    #[arg(long, value_name = "NAME")]
    node: Option<String>,
    /// How to treat fields of manifests that are unknown or wrong; what the API server has is
    /// always treated as with `warn`.
    #[arg(long, value_enum, default_value_t)]
    validate: Validate,
    /// How drops are logged.
    #[command(flatten)]
    pub log: Log,
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

/// `nftpol agent`.
#[derive(Debug, Args)]
pub struct Agent {
    /// This node's name: the pods whose spec.nodeName it is are local.
    #[arg(long, value_name = "NAME", env = "NODE_NAME")]
    pub node_name: String,
    /// How to reach the API server [default: $KUBECONFIG, ~/.kube/config, or the ServiceAccount of
    /// the pod].
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Where to serve /healthz, /readyz and /metrics.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:9478")]
    pub health_address: SocketAddr,
    /// Where to serve /metrics alone, for scrapers of other nodes [default: nowhere].
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub metrics_address: Option<SocketAddr>,
    /// Prove each table against the specification before it is committed, and keep the old one
    /// where that fails. Takes seconds of CPU time for each change on a large node.
    #[arg(long)]
    pub verify: bool,
    /// How drops are logged.
    #[command(flatten)]
    pub log: Log,
}

/// `--validate`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Validate {
    /// Refuse everything when anything is wrong, as the API server would.
    #[default]
    Strict,
    /// Isolate the pods of a broken policy, allow nothing by its broken part,
    /// and say so, as the agent treats what the API gives it.
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

    /// What to compile for. `log` says whether the kernel can log.
    pub fn options(&self, log: bool) -> Options {
        Options { node: self.node.clone(), log: self.log.options(log), ..Options::default() }
    }
}

impl Log {
    /// How drops are logged. `possible` says whether the kernel can log.
    pub fn options(&self, possible: bool) -> Option<LogOptions> {
        let options = LogOptions { group: self.log_group, ..LogOptions::default() };
        (possible && self.is_wanted()).then_some(options)
    }

    /// Whether drops shall be logged.
    pub fn is_wanted(&self) -> bool {
        !self.no_log
    }
}
