//! The commands of a node that starts.

use std::path::PathBuf;

use agent::binding_options::{self};
use clap::Args;
use ipnet::IpNet;

/// Where the agent of the overlay `boot` writes what `restore` reads.
const BOOT_FILE: &str = "/var/lib/nftpol/boot";

/// `nftpol restore`.
#[derive(Debug, Args)]
pub struct Restore {
    /// The file that the agent writes (--restore-file).
    #[arg(long, value_name = "FILE", default_value = BOOT_FILE)]
    pub file: PathBuf,
    /// How old the file may be. The agent writes it again each hour.
    #[arg(long, value_name = "DAYS", default_value_t = 30)]
    pub max_age: u32,
    /// A further range of pods' addresses. May be given several times.
    #[arg(long, value_name = "CIDR", value_parser = binding_options::pod_cidr)]
    pub pod_cidr: Vec<IpNet>,
    /// Also replace a table of nftpol that is here, unless an agent is at work. For the start of
    /// a node, before its first agent: such a table is of a saved ruleset, and the pods that
    /// come are not in it.
    #[arg(long)]
    pub replace: bool,
}

/// `nftpol install-boot`.
#[derive(Debug, Args)]
pub struct InstallBoot {
    /// Where the node's root folder is. Of it, /opt/nftpol and /etc/systemd/system are used.
    #[arg(long, value_name = "DIR", default_value = "/host")]
    pub host: PathBuf,
    /// The file for `restore`, as the node names it.
    #[arg(long, value_name = "FILE", default_value = BOOT_FILE)]
    pub file: PathBuf,
    /// Remove what was installed.
    #[arg(long)]
    pub remove: bool,
    /// Afterwards do nothing until killed: a container of a DaemonSet may not end.
    #[arg(long)]
    pub stay: bool,
}
