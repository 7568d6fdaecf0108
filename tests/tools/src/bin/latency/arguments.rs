//! The command line: what to measure. It opens no file.

use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};
use kubebed::kubernetes::Options;

pub const USAGE: &str = "\
Usage: cargo xtask latency [option...]

  --none              no controller; changes without an effect are reported as `never`
  --manifest FILE     this controller instead of nftpol, beside the cluster's own CNI plugins
  --image TAR         an image that it needs, as `ctr images import` takes it; repeatable
  --agent-flag FLAG   an option of `nftpol agent`, such as --unknown-pods=selected; repeatable
  --process NAME      its process, whose memory and CPU time are measured on each node
  --network NETWORK   bridge (default), ptp, flannel-vxlan, flannel-vxlan-direct, flannel-host-gw, flannel-udp
  --proxy PROXY       nftables (default), iptables
  --rounds N          how often to take each measure (default 25)
  --empty, --loaded   only one of the two states
  --new-pods          only what new pods wait for and are open for
  --json FILE         writes all measured values
";

/// What enforces policies.
#[derive(Clone, Debug)]
pub enum Controller {
    Nobody,
    /// With these options of its agent.
    Nftpol(Vec<String>),
    /// A controller from this manifest, with these images.
    Other {
        manifest: PathBuf,
        images: Vec<PathBuf>,
    },
}

#[derive(Clone, Debug)]
pub struct Arguments {
    pub cluster: Options,
    pub controller: Controller,
    pub process: Option<String>,
    pub rounds: usize,
    pub empty: bool,
    pub loaded: bool,
    pub new_pods: bool,
    pub json: Option<PathBuf>,
}

impl Arguments {
    /// # Errors
    /// At the first argument that is not understood.
    pub fn read(words: &[&str]) -> Result<Self> {
        let (mut none, mut manifest, mut images) = (false, None, Vec::new());
        let mut flags = Vec::new();
        let (mut empty, mut loaded, mut new_pods) = (false, false, false);
        let (mut process, mut rounds, mut json) = (None, 25, None);
        let mut cluster = Vec::new();
        let mut words = words.iter();
        while let Some(&word) = words.next() {
            let mut value = || words.next().with_context(|| format!("{word} needs a value"));
            match word {
                "--none" => none = true,
                "--manifest" => manifest = Some(value()?.into()),
                "--image" => images.push(value()?.into()),
                "--agent-flag" => flags.push((*value()?).to_owned()),
                "--process" => process = Some((*value()?).to_owned()),
                "--network" | "--proxy" => cluster.extend([word, *value()?]),
                "--rounds" => rounds = value()?.parse().context("--rounds needs a number")?,
                "--empty" => empty = true,
                "--loaded" => loaded = true,
                "--new-pods" => new_pods = true,
                "--json" => json = Some(value()?.into()),
                _ => bail!("unexpected argument `{word}`\n\n{USAGE}"),
            }
        }
        ensure!(rounds > 0, "--rounds is at least 1");
        ensure!(!(none && manifest.is_some()), "--none and --manifest exclude each other");
        ensure!(manifest.is_some() || images.is_empty(), "--image belongs to --manifest");
        let is_other = none || manifest.is_some();
        ensure!(!is_other || flags.is_empty(), "--agent-flag is for nftpol");
        let controller = match manifest {
            Some(manifest) => Controller::Other { manifest, images },
            None if none => Controller::Nobody,
            None => Controller::Nftpol(flags),
        };
        let process = match controller {
            Controller::Nftpol(_) => process.or_else(|| Some("nftpol".to_owned())),
            _ => process,
        };
        let cluster = Options { ghosts: true, ..Options::read(&cluster)? };
        let both = empty == loaded;
        let (empty, loaded) = (both || empty, both || loaded);
        Ok(Self { cluster, controller, process, rounds, empty, loaded, new_pods, json })
    }
}

impl Controller {
    /// Its name in the output.
    pub fn name(&self) -> String {
        match self {
            Self::Nobody => "none".to_owned(),
            Self::Nftpol(flags) => {
                let words = ["nftpol", env!("CARGO_PKG_VERSION")].into_iter();
                words.chain(flags.iter().map(String::as_str)).collect::<Vec<_>>().join(" ")
            }
            Self::Other { manifest, .. } => manifest.display().to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(words: &str) -> Result<Arguments> {
        Arguments::read(&words.split_whitespace().collect::<Vec<_>>())
    }

    #[test]
    fn words_are_understood_or_refused() -> Result<()> {
        let usual = read("")?;
        assert!(usual.empty && usual.loaded);
        assert!(matches!(usual.controller, Controller::Nftpol(flags) if flags.is_empty()));
        let flagged = read("--agent-flag --unknown-pods=closed --agent-flag --verify")?;
        assert!(flagged.controller.name().ends_with(" --unknown-pods=closed --verify"));
        assert_eq!((usual.rounds, usual.process.as_deref()), (25, Some("nftpol")));
        assert!(usual.cluster.ghosts);
        let words = "--manifest m.yaml --image a.tar --image b.tar --network ptp --loaded";
        let other = read(words)?;
        let Controller::Other { manifest, images } = other.controller else { bail!("{other:?}") };
        assert_eq!((manifest, images.len()), (PathBuf::from("m.yaml"), 2));
        assert!(other.loaded && !other.empty && other.process.is_none());
        let words = [
            "--none --manifest m",
            "--none --agent-flag --verify",
            "--image a.tar",
            "--rounds 0",
            "--rounds",
            "up",
        ];
        for wrong in words {
            assert!(read(wrong).is_err(), "{wrong}");
        }
        Ok(())
    }
}
