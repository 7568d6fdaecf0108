//! Installing, watching over, upgrading and removing nftpol.

mod alerts;
mod cleanup;
mod dashboard;
mod leftovers;
mod leftovers_of_calico;
mod manifests;
mod monitoring;
mod page;
mod prometheus;
mod scrapers;
mod standalone;
mod upgrade;
