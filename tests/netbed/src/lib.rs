//! Network namespaces wired like nodes and pods, and packets between them.
//!
//! | module | what for |
//! |---|---|
//! | [`net`] | network namespaces and the wires between them |
//! | [`testbed`] | a described cluster made real: nodes, pods, a switch, tunnels, an outsider |
//! | [`program`] | runs the built `nftpol` in a namespace |
//! | [`probe`] | who reaches whom, tried with all flows at once |
//! | [`verdict`] | what was seen, held against the specification |
//! | [`scenario`] | enforces policies on a testbed, probes it and checks the verdicts |
//! | [`echo`] | flows that stay open and are asked again |
//! | [`stream`] | a stream of datagrams that shows when a change took hold |
//! | [`new_flows`] | questions to a server, each a flow of its own |
//! | [`datagram`], [`frame`], [`segment`] | single packets by hand, at the socket, link and TCP level |
//! | [`conntrack`] | flows put into connection tracking and read from it |
//! | [`forge`] | packets and frames of any content, as bytes |
//! | [`arena`] | a testbed on which pods forge packets: who sends what by which way, who sees it |
//! | [`fire`] | a shooting range: thousands of packets while the rules change |
//!
//! Every test that opens a namespace needs root. A test must not skip itself.

pub mod arena;
pub mod conntrack;
pub mod datagram;
pub mod echo;
pub mod fire;
pub mod forge;
pub mod frame;
pub mod net;
pub mod new_flows;
pub mod probe;
pub mod program;
pub mod scenario;
pub mod segment;
pub mod stream;
pub mod testbed;
pub mod verdict;
