//! `nftpol agent` between a real API server and a real kernel.

mod binding;
mod busy;
mod events;
mod kept;
mod killed;
mod latency;
mod manifests;
mod outages;
mod privileges;
mod repairs;
mod rights;
mod silent;
mod steps;
mod takeover;
