//! `nftpol agent` between a real API server and a real kernel.

mod latency;
mod outages;
mod privileges;
mod repairs;
mod steps;
mod takeover;
