//! From the policy model to the table that enforces it on one node.
//!
//! In: a [`policy::Snapshot`], a [`policy::NodeNetwork`], the node's name, [`Options`].
//! Out: a [`Compiled`]: the tables, diagnostics, and the policies that each object
//! of the first comes from.
//! Never: sockets, clocks, environment. Equal input gives equal output.
//!
//! An [`Engine`] goes from one snapshot to the next, at the cost of what changed.
//!
//! The work is cut into pure pieces, each a function of a small input:
//!
//! | piece | from | to |
//! |---|---|---|
//! | [`sets`] | what a set represents, and the cluster | its elements |
//! | [`signature`] | one pod and the policies that select it | the name of its chain |
//! | [`price`] | one policy, one direction, resolved ports | what it costs, before it is compiled |
//! | [`budget`] | what each policy costs, by namespace | the form of each, and those that find no room |
//! | [`grants`] | one policy, one direction, resolved ports | what its rules allow |
//! | [`chain`] | one signature | the rules of its chain |
//! | [`scaffold`] | the place, whether a local pod is isolated, what the node's network asks for | the chains before all that |
//! | [`boot`] | the pods' ranges | the table of a node that has just started |
//! | [`Excerpts`] | a cluster, and pods with a table of their own | what of it each of these tables depends on |
//! | [`scaffold::of_port`] | one port of the node's network | its elements in both tables |

pub mod blocks;
pub mod boot;
pub mod budget;
pub mod chain;
mod cluster_index;
mod compiled;
mod engine;
mod excerpt;
pub mod grants;
mod layout;
mod names;
pub mod naming;
mod place;
mod ports;
pub mod price;
pub mod scaffold;
pub mod sets;
pub mod signature;
mod spans;
mod work;

pub use compiled::Compiled;
pub use engine::{Engine, SharedAddress, over_budget};
pub use excerpt::Excerpts;
pub use layout::Layout;
pub use place::{NETWORK_TABLE, Place, network_table, unknown_table};

use std::collections::BTreeSet;

use budget::Budgets;
use cluster_index::ClusterIndex;
use policy::ObjectKey;
use price::Amount;

/// What to compile for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The node whose pods are local (`spec.nodeName`); `None` takes all pods
    /// as local.
    pub node: Option<String>,
    /// Log what is dropped.
    pub log: Option<LogOptions>,
    /// Policies that the kernel refused: they isolate their pods and allow
    /// nothing.
    pub set_aside: BTreeSet<ObjectKey>,
    /// How much of the table policies may take.
    pub budgets: Budgets,
}

/// What is used of the budgets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// By all policies. At most: sets that namespaces share count for each.
    pub node: Amount,
    /// By the policies of the namespace that uses most, in each respect.
    pub namespace: Amount,
}

/// How drops are logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogOptions {
    /// NFLOG group (nft(8), "LOG STATEMENT").
    pub group: u16,
    /// Messages a second for each pod and direction.
    pub per_second: u32,
}

impl LogOptions {
    /// The group when none is named. kube-router takes 100, ulogd's examples take 0 to 2
    /// (their documentation); a group has one reader (`nfulnl_recv_config`,
    /// net/netfilter/nfnetlink_log.c, Linux 6.18).
    pub const GROUP: u16 = 9478;
}

impl Default for LogOptions {
    fn default() -> Self {
        Self { group: Self::GROUP, per_second: 10 }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            node: None,
            log: Some(LogOptions::default()),
            set_aside: BTreeSet::new(),
            budgets: Budgets::default(),
        }
    }
}
