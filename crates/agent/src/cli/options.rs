//! Options that several commands share.

use std::net::IpAddr;
use std::path::PathBuf;

use agent::amounts::Amounts;
use agent::binding_options::{self, BindingOptions, UnboundPods};
use agent::node_network::Given;
use anyhow::{Result, bail};
use author::ModeOption;
use clap::{Args, ValueEnum};
use compiler::budget::Budgets;
use compiler::{LogOptions, Options};
use ipnet::IpNet;
use nft::Features;
use policy::{Mode, Tunnel, UnknownPods};
use watcher::files::{Source, Validation};

use super::NODE_NAME;

/// Which table: the node's, or one in the network namespace of a pod.
#[derive(Debug, Args)]
pub struct PlaceArgs {
    /// Where packets are judged: on the node, or in the network namespace of one pod, for
    /// interfaces that bypass the node (MacVLAN, IPVLAN, SR-IOV).
    #[arg(long, value_enum, default_value_t)]
    place: PlaceOption,
    /// The pod, for --place=pod.
    #[arg(long, value_name = "NAMESPACE/NAME", required_if_eq("place", "pod"))]
    pod: Option<String>,
    /// The table of this network of the pod, by its MultiNetworkPolicies, and not that of its
    /// primary network by its NetworkPolicies.
    #[arg(long, value_name = "NAMESPACE/NAME", requires = "pod")]
    pub network: Option<String>,
}

impl PlaceArgs {
    /// The pod in whose network namespace the table is; `None`: it is the node's.
    ///
    /// # Errors
    /// A pod is named, and the table is the node's.
    pub fn pod(&self) -> Result<Option<&str>> {
        match (self.place, &self.pod) {
            (PlaceOption::Pod, pod) => Ok(pod.as_deref()),
            (PlaceOption::Node, None) => Ok(None),
            (PlaceOption::Node, Some(pod)) => {
                bail!("--pod {pod}: add --place=pod for the table in that pod's network namespace")
            }
        }
    }
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
