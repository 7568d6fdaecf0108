//! Installing, watching over, upgrading and removing nftpol.

mod cleanup;
mod leftovers;
mod manifests;
mod monitoring;
mod page;
mod standalone;
mod upgrade;
