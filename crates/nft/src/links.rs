//! The links of the node: which interface leads to which pod's addresses, and
//! which tunnels end here.
//!
//! In: rtnetlink's answers and events. Out: [`NodeLinks`], a picture of one
//! moment. `inside_interfaces` lists those of the calling thread's namespace. Never: a
//! changed link, a namespace entered, a process looked at, policy words.
//!
//! `CAP_NET_ADMIN` is enough. The kernel lists another network namespace's
//! addresses and links to those who may administer it (`rtnl_get_net_ns_capable`,
//! net/core/rtnetlink.c, Linux 6.18): the initial user namespace's
//! `CAP_NET_ADMIN` covers pods in user namespaces, too.

mod age;
mod client;
mod elsewhere;
mod error;
mod events;
mod fou;
mod inside;
mod other_ends;
mod peers;
mod reader;
mod tunnel;
mod types;
mod wire;

pub use error::LinksError;
pub use events::{LinkEvent, LinkEvents, LinkWaker};
pub use inside::{InsideInterface, InsideKind, inside_interfaces};
pub use reader::LinkReader;
pub use types::{Address, Bridge, Ends, NodeLinks, Port, Tunnel};
