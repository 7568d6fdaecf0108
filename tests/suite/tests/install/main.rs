//! Installing, watching over, upgrading and removing nftpol.

mod cleanup;
mod leftovers;
mod leftovers_of_calico;
mod manifests;
mod monitoring;
mod page;
mod standalone;
mod upgrade;
