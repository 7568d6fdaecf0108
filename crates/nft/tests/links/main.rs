//! The links of nodes, as the running kernel shows them. Each test has a network
//! namespace of its own as node, and others as pods. They need root and the `ip`
//! program. Without these they fail.

mod bed;
mod churn;
mod events;
mod ports;
mod rights;
mod scale;
mod tunnels;
