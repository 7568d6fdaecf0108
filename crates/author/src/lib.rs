//! What policies mean, for the people who write them.
//!
//! In: manifests as authors have them, or a cluster. Out: findings, explanations, and
//! who reaches whom.
//! Never: the kernel, the rules that enforce, root.
//!
//! | module | in | out |
//! |---|---|---|
//! | [`cluster`] | manifests, or an API server | [`Cluster`]: all objects that the answers need, and where each was written |
//! | [`ports`] | rules | sets of ports |
//! | [`reach`] | a snapshot | what may pass between two addresses |
//! | [`live`] | what agents tell | lines for people, proposed policies |
//! | [`command`] | the command line | the commands, for both programs |

pub mod cluster;
pub mod command;
pub mod live;
pub mod ports;
pub mod reach;

pub use cluster::Cluster;
pub use ports::PortSet;
pub use reach::Reach;
