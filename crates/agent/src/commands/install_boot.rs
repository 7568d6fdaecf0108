//! `nftpol install-boot`: puts `nftpol restore` before a node's kubelet.
//!
//! In: the node's root folder, as far as it is mounted. Out: this program with its
//! libraries in `/opt/nftpol`, and a systemd unit that runs it at each start. Never:
//! a file that is half written; a change of what runs now.

use std::process::ExitCode;

use anyhow::Result;

use crate::cli::InstallBoot;
use agent::{boot_unit, report};

/// Installs, or with `--remove` takes all that away.
///
/// # Errors
/// A file cannot be read or written.
pub fn install_boot(args: &InstallBoot) -> Result<ExitCode> {
    let lines = match args.remove {
        true => boot_unit::remove(&args.host)?,
        false => boot_unit::install(&args.host, &args.file)?,
    };
    for line in lines {
        report::print(&format!("{line}\n"))?;
    }
    if args.stay {
        report::print("this process waits to be ended\n")?;
        loop {
            std::thread::park();
        }
    }
    Ok(ExitCode::SUCCESS)
}
