//! The options of a cluster.
//!
//! Reads options from a command line, and writes them back. The defaults do not
//! depend on the machine.

use std::fmt;

use anyhow::{Context, Result, bail, ensure};

/// How pods are connected to their node, and how nodes reach each other's pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    /// The CNI plugin `bridge`. Our routes lead to the pods of other nodes.
    Bridge,
    /// The CNI plugin `ptp`: a veth and a host route for each pod. The same routes
    /// between nodes.
    Ptp,
    /// The CNI plugin `bridge`. flannel connects the nodes.
    Flannel(Backend),
}

/// How flannel sends packets to another node (Documentation/backends.md of flannel
/// 0.28).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// By VXLAN.
    Vxlan,
    /// By routes between neighbours, which these nodes are, else by VXLAN.
    VxlanDirect,
    /// By routes.
    HostGw,
    /// By UDP, with a TUN device and flannel's own process. IPv4 only.
    Udp,
}

/// Every network by its name on the command line.
const NETWORKS: [(&str, Network); 6] = [
    ("bridge", Network::Bridge),
    ("ptp", Network::Ptp),
    ("flannel-vxlan", Network::Flannel(Backend::Vxlan)),
    ("flannel-vxlan-direct", Network::Flannel(Backend::VxlanDirect)),
    ("flannel-host-gw", Network::Flannel(Backend::HostGw)),
    ("flannel-udp", Network::Flannel(Backend::Udp)),
];

/// How kube-proxy implements Services.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proxy {
    /// By nftables.
    Nftables,
    /// By iptables.
    Iptables,
}

/// The options of a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// How many nodes, at least one.
    pub nodes: usize,
    /// How pods are connected to their node, and how nodes reach each other's pods.
    pub network: Network,
    /// Whether pods and nodes have IPv6 addresses, too.
    pub dual_stack: bool,
    /// How kube-proxy implements Services.
    pub proxy: Proxy,
    /// Whether pods of nodes that do not exist stay. By default a controller
    /// deletes them after about a minute. The command line has no such option.
    pub ghosts: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            nodes: 2,
            network: Network::Bridge,
            dual_stack: false,
            proxy: Proxy::Nftables,
            ghosts: false,
        }
    }
}

impl Options {
    /// Reads the words of a command line.
    ///
    /// # Errors
    /// At the first unknown word.
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
        let udp = options.network == Network::Flannel(Backend::Udp);
        ensure!(!(udp && options.dual_stack), "flannel's backend udp has no IPv6");
        Ok(options)
    }

    /// The name of its network on the command line.
    pub fn network_name(&self) -> &'static str {
        let network = NETWORKS.iter().find(|(_, network)| *network == self.network);
        network.map_or("", |(name, _)| name)
    }

    /// The families of its addresses, each by whether it is IPv6.
    pub fn families(&self) -> &'static [bool] {
        if self.dual_stack { &[false, true] } else { &[false] }
    }
}

fn network(word: &str) -> Result<Network> {
    let found = NETWORKS.iter().find(|(name, _)| *name == word);
    found.map(|(_, network)| *network).with_context(|| {
        let names: Vec<_> = NETWORKS.iter().map(|(name, _)| *name).collect();
        format!("--network is {}, not `{word}`", names.join(", "))
    })
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
        let network = self.network_name();
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
            "--nodes 2 --network flannel-vxlan-direct --proxy nftables --dual-stack",
        ] {
            let read = Options::read(&words.split(' ').collect::<Vec<_>>())?;
            assert_eq!(read.to_string(), words);
        }
        assert_eq!(Options::read(&[])?, Options::default());
        assert!(Options::read(&["--network", "flannel-udp", "--dual-stack"]).is_err());
        for wrong in [&["--nodes"][..], &["--nodes", "0"], &["--network", "vlan"], &["up"]] {
            assert!(Options::read(wrong).is_err(), "{wrong:?}");
        }
        Ok(())
    }
}
