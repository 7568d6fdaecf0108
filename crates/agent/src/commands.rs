//! The subcommands, a file each. A success returns its exit code.

mod agent;
mod apply;
mod apply_inside;
mod cleanup;
mod diff;
mod here;
mod in_pod;
mod install_boot;
mod pod_agent;
mod render;
mod restore;
mod verify;

pub use agent::agent;
pub use apply::apply;
pub use cleanup::cleanup;
pub use diff::diff;
pub use here::ThisNode;
pub use install_boot::install_boot;
pub use pod_agent::pod_agent;
pub use render::render;
pub use restore::restore;
pub use verify::verify;

use anyhow::{Context, Result};
use compiler::Options;
use nft::{Features, Kernel};

use crate::cli::Input;
use ::agent::report;

/// The kernel of this network namespace.
fn open() -> Result<Kernel> {
    Kernel::open().context("nftpol needs nf_tables (kernel module nf_tables) and CAP_NET_ADMIN")
}

/// Options for this kernel, without logging where it cannot log, and what the kernel
/// can.
fn options(kernel: &mut Kernel, input: &Input) -> Result<(Options, Features)> {
    let features = kernel.probe().context("probe the kernel's nf_tables")?;
    if input.log.is_wanted() && !features.log {
        report::notice("this kernel has no nfnetlink_log: drops are not logged");
    }
    Ok((input.options(features.log), features))
}
