//! The command line. Its defaults do not depend on the machine.

use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};
use kubebed::kubernetes::Options;

pub const USAGE: &str = "\
Usage: cargo xtask conformance [option...]

Runs upstream's own tests of NetworkPolicy against nftpol in a Kubernetes on this machine.

  --network NAME   bridge, ptp, flannel-vxlan, flannel-vxlan-direct, flannel-host-gw,
                   flannel-udp, kube-router, calico, calico-vxlan, canal or macvlan;
                   repeatable (default bridge and flannel-vxlan)
  --single-stack   pods and nodes without IPv6 (flannel-udp never has it)
  --dozen          twelve specs that cover each part of a policy
  --spec NAME      the one spec with this in its name; repeatable
  --focus REGEX    the specs that match a regular expression of Go
  --procs N        how many specs run at once (default 4)
  --none           without nftpol: specs that deny must fail, otherwise they prove nothing
  --write FILE     writes the page of results; other networks keep their last written ones
  --list           lists the specs, and those that this kernel cannot run
";

/// The networks to test when the command line names none.
const NETWORKS: [&str; 2] = ["bridge", "flannel-vxlan"];
/// The network without IPv6.
const WITHOUT_V6: &str = "flannel-udp";
/// How many specs run at once. They mostly wait for denied connections.
const AT_ONCE: usize = 4;

/// The specs to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection {
    /// All specs that the kernel can run.
    All,
    /// The dozen of `choice`.
    Dozen,
    /// Specs that match Ginkgo's focus.
    Focus(String),
    /// Specs by a part of their names.
    Named(Vec<String>),
}

/// What to run.
#[derive(Debug)]
pub struct Arguments {
    pub clusters: Vec<Options>,
    pub which: Selection,
    pub at_once: usize,
    pub none: bool,
    pub list: bool,
    pub help: bool,
    pub write: Option<PathBuf>,
}

impl Arguments {
    pub fn read(words: &[String]) -> Result<Self> {
        let mut networks = Vec::new();
        let mut single = false;
        let mut this = Self {
            clusters: Vec::new(),
            which: Selection::All,
            at_once: AT_ONCE,
            none: false,
            list: false,
            help: false,
            write: None,
        };
        let mut words = words.iter().map(String::as_str);
        while let Some(word) = words.next() {
            let mut value = || words.next().with_context(|| format!("{word} needs a value"));
            match word {
                "--network" => networks.push(value()?),
                "--single-stack" => single = true,
                "--dozen" => this.choose(Selection::Dozen)?,
                "--focus" => this.choose(Selection::Focus(value()?.to_owned()))?,
                "--spec" => this.choose(Selection::Named(vec![value()?.to_owned()]))?,
                "--procs" => this.at_once = value()?.parse().context("--procs needs a number")?,
                "--none" => this.none = true,
                "--list" => this.list = true,
                "--write" => this.write = Some(value()?.into()),
                "--help" | "-h" => this.help = true,
                _ => bail!("unexpected argument `{word}`\n\n{USAGE}"),
            }
        }
        ensure!((1..=16).contains(&this.at_once), "--procs must be 1 to 16");
        let partly = !matches!(this.which, Selection::All | Selection::Dozen) || this.none;
        ensure!(this.write.is_none() || !partly, "--write takes all specs or --dozen, of nftpol");
        let networks = if networks.is_empty() { NETWORKS.to_vec() } else { networks };
        for network in networks {
            let dual = !single && network != WITHOUT_V6;
            let words = ["--network", network, "--dual-stack"];
            this.clusters.push(Options::read(&words[..if dual { 3 } else { 2 }])?);
        }
        Ok(this)
    }

    fn choose(&mut self, which: Selection) -> Result<()> {
        match (&mut self.which, which) {
            (chosen @ Selection::All, which) => *chosen = which,
            (Selection::Named(names), Selection::Named(more)) => names.extend(more),
            _ => bail!("--dozen, --focus and --spec exclude each other"),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(words: &str) -> Result<Arguments> {
        Arguments::read(&words.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn the_default_is_all_on_two_networks_with_both_families() -> Result<()> {
        let arguments = read("")?;
        assert_eq!(arguments.which, Selection::All);
        let clusters: Vec<_> = arguments.clusters.iter().map(Options::to_string).collect();
        assert_eq!(clusters.len(), 2);
        assert!(clusters.iter().all(|cluster| cluster.ends_with("--dual-stack")), "{clusters:?}");
        Ok(())
    }

    #[test]
    fn udp_has_one_family() -> Result<()> {
        assert!(!read("--network flannel-udp")?.clusters[0].dual_stack);
        assert!(!read("--network ptp --single-stack")?.clusters[0].dual_stack);
        assert!(read("--network ptp")?.clusters[0].dual_stack);
        Ok(())
    }

    #[test]
    fn a_page_is_of_whole_runs() -> Result<()> {
        assert!(read("--write x --dozen").is_ok());
        for wrong in ["--write x --spec y", "--write x --none", "--dozen --spec y", "--procs 0"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
        let named = Selection::Named(vec!["a".to_owned(), "b".to_owned()]);
        assert_eq!(read("--spec a --spec b")?.which, named);
        Ok(())
    }
}
