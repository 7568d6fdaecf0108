//! What the cluster shall be like.
//!
//! In: words of a command line. Out: options, and the words again.
//! Never: a default that depends on the machine.

use std::fmt;

use anyhow::{Context, Result, bail, ensure};

use crate::cluster::Network;

/// How kube-proxy does Services.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proxy {
    /// By nftables.
    Nftables,
    /// By iptables.
    Iptables,
}

/// What the cluster shall be like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// How many nodes, at least one.
    pub nodes: usize,
    /// How pods hang on their node: by the CNI plugin `bridge` or `ptp`.
    pub network: Network,
    /// Whether pods and nodes have IPv6 addresses, too.
    pub dual_stack: bool,
    /// How kube-proxy does Services.
    pub proxy: Proxy,
}

impl Default for Options {
    fn default() -> Self {
        Self { nodes: 2, network: Network::Bridge, dual_stack: false, proxy: Proxy::Nftables }
    }
}

impl Options {
    /// Reads the words of a command line.
    ///
    /// # Errors
    /// At the first that is not understood.
    pub fn read(words: &[&str]) -> Result<Self> {
        let mut options = Self::default();
        let mut words = words.iter();
        while let Some(&word) = words.next() {
            let mut value = || words.next().with_context(|| format!("{word} needs a value"));
            match word {
                "--nodes" => options.nodes = value()?.parse().context("--nodes needs a number")?,
                "--network" => options.network = network(value()?)?,
                "--proxy" => options.proxy = proxy(value()?)?,
                "--dual-stack" => options.dual_stack = true,
                _ => bail!("unexpected argument `{word}`"),
            }
        }
        ensure!((1..=20).contains(&options.nodes), "--nodes is 1 to 20");
        Ok(options)
    }

    /// The families of its addresses, each by whether it is IPv6.
    pub fn families(&self) -> &'static [bool] {
        if self.dual_stack { &[false, true] } else { &[false] }
    }
}

fn network(word: &str) -> Result<Network> {
    match word {
        "bridge" => Ok(Network::Bridge),
        "ptp" => Ok(Network::Routed),
        _ => bail!("--network is bridge or ptp, not `{word}`"),
    }
}

fn proxy(word: &str) -> Result<Proxy> {
    match word {
        "nftables" => Ok(Proxy::Nftables),
        "iptables" => Ok(Proxy::Iptables),
        _ => bail!("--proxy is nftables or iptables, not `{word}`"),
    }
}

impl fmt::Display for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let network = match self.network {
            Network::Bridge => "bridge",
            Network::Routed => "ptp",
        };
        let proxy = match self.proxy {
            Proxy::Nftables => "nftables",
            Proxy::Iptables => "iptables",
        };
        write!(f, "--nodes {} --network {network} --proxy {proxy}", self.nodes)?;
        if self.dual_stack { f.write_str(" --dual-stack") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_as_they_are_written() -> Result<()> {
        for words in [
            "--nodes 2 --network bridge --proxy nftables",
            "--nodes 3 --network ptp --proxy iptables --dual-stack",
        ] {
            let read = Options::read(&words.split(' ').collect::<Vec<_>>())?;
            assert_eq!(read.to_string(), words);
        }
        assert_eq!(Options::read(&[])?, Options::default());
        for wrong in [&["--nodes"][..], &["--nodes", "0"], &["--network", "vxlan"], &["up"]] {
            assert!(Options::read(wrong).is_err(), "{wrong:?}");
        }
        Ok(())
    }
}
