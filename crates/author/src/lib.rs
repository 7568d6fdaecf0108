//! What policies mean, for the people who write them.
//!
//! In: manifests as authors have them, or a cluster. Out: findings, explanations, and
//! who reaches whom.
//! Never: the kernel, the rules that enforce, root.
//!
//! | module | in | out |
//! |---|---|---|
//! | [`cluster`] | manifests, or an API server | [`Cluster`]: all objects that the answers need, and where each was written |
//! | [`input`] | the options about manifests and clusters | a [`Cluster`] |
//! | [`ports`] | rules | sets of ports |
//! | [`reach`] | a snapshot | what may pass between two addresses |
//! | [`check`](mod@check) | a cluster | findings, repairs |
//! | [`expect`] | lines of what has to pass | which hold |
//! | [`explain`] | two ends | whether they may connect, and why |
//! | [`matrix`] | a cluster, or two versions | who reaches whom; what a change opens and closes |
//! | [`progress`] | how far long work is | a bar on a terminal |
//! | [`live`] | what agents tell | lines for people, proposed policies |
//! | [`command`] | the command line | the commands, for both programs |

pub mod check;
pub mod cluster;
pub mod command;
pub mod expect;
pub mod explain;
pub mod input;
pub mod live;
pub mod matrix;
mod mode;
pub mod ports;
mod printable;
pub mod progress;
pub mod reach;

pub use cluster::Cluster;
pub use input::InputArgs;
pub use mode::ModeOption;
pub use ports::PortSet;
pub use reach::Reach;
