//! The second place of enforcement: the network namespaces of this node's pods.
//!
//! In: the watches' messages, `/proc`, the interfaces in each namespace. Out: a table in
//! the namespace of each isolated pod whose packets cross no hook of the node; readiness,
//! metrics.
//! Never: the node's own namespace; a namespace that no process of a pod of this node is in;
//! a table removed because an object is gone.
//!
//! ```text
//! watches ─▶ cluster_state ─┬─▶ isolated pods ─▶ processes: uid ─▶ namespaces ─▶ judged
//!                           │                                                      │
//!                           └────────────▶ a place for each (uid, namespace) ◀─────┘
//!                                            pipeline ─▶ kernel of that namespace
//!                                               ├─▶ conntrack_cleanup
//!                                               └─▶ drops: a thread for all places
//! ```
//!
//! A pod is known by its uid, which kubelet puts into the names of its control groups. So
//! no address, no name and no interface that the pod has says whose namespace it is: a pod
//! with CAP_NET_ADMIN can change all of these. A process of a pod can be in a namespace
//! that it made itself; then an interface can be there, too, and so the pod's table is.
//!
//! While a place exists, its sockets keep the namespace alive. It is left as soon as no
//! process of the pod is in it.

mod drops;
mod enforcer;
mod events;
mod judged;
mod leftovers;
mod place;
mod processes;
mod readiness;
mod secondary;

pub use drops::PodDrops;
pub use enforcer::{Parts, PodEnforcer};
pub use judged::{apart_from_network, judged};
pub use place::has_nodes_table;
pub use processes::{InNamespaces, all_namespaces, namespaces_of, pod_uid};
pub use secondary::is_of_network;
