//! `nftpol agent` between a real API server and a real kernel.

mod audit;
mod binding;
mod budget;
mod bundle;
mod busy;
mod events;
mod kept;
mod killed;
mod latency;
mod misnamed;
mod monitor;
mod node_ranges;
mod outages;
mod owned;
mod privileges;
mod repairs;
mod rights;
mod silent;
mod steps;
mod takeover;
mod truth;
mod unknown;
mod unread;
