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
    /// kube-router: its bridge, and routes between nodes that it learns by BGP. No
    /// overlay. It leaves policies and Services to others.
    KubeRouter,
    /// Calico's CNI plugin: a veth and a host route for each pod. Our routes between
    /// nodes.
    Calico,
    /// The same plugin. Felix connects the nodes by VXLAN, and enforces policies, too.
    CalicoVxlan,
    /// Calico's CNI plugin, and flannel's VXLAN between nodes.
    Canal,
    /// The CNI plugin `macvlan`: pods are on the wire between the nodes. The node has an
    /// interface of this kind, too, and is the pods' router.
    Macvlan,
}

impl Network {
    /// Whether the pods of a node are ports of a bridge.
    pub const fn has_bridge(self) -> bool {
        match self {
            Self::Bridge | Self::Flannel(_) | Self::KubeRouter => true,
            Self::Ptp | Self::Calico | Self::CalicoVxlan | Self::Canal | Self::Macvlan => false,
        }
    }

    /// How flannel connects the nodes, if it does.
    pub const fn flannel(self) -> Option<Backend> {
        match self {
            Self::Flannel(backend) => Some(backend),
            Self::Canal => Some(Backend::Vxlan),
            Self::Bridge
            | Self::Ptp
            | Self::KubeRouter
            | Self::Calico
            | Self::CalicoVxlan
            | Self::Macvlan => None,
        }
    }

    /// Whether our routes lead to the pods of other nodes.
    pub const fn has_our_routes(self) -> bool {
        match self {
            Self::Bridge | Self::Ptp | Self::Calico => true,
            Self::Flannel(_)
            | Self::KubeRouter
            | Self::CalicoVxlan
            | Self::Canal
            | Self::Macvlan => false,
        }
    }

    /// Whether the CNI plugin is Calico's.
    pub const fn has_calico(self) -> bool {
        match self {
            Self::Calico | Self::CalicoVxlan | Self::Canal => true,
            Self::Bridge | Self::Ptp | Self::Flannel(_) | Self::KubeRouter | Self::Macvlan => false,
        }
    }
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
const NETWORKS: [(&str, Network); 11] = [
    ("bridge", Network::Bridge),
    ("ptp", Network::Ptp),
    ("flannel-vxlan", Network::Flannel(Backend::Vxlan)),
    ("flannel-vxlan-direct", Network::Flannel(Backend::VxlanDirect)),
    ("flannel-host-gw", Network::Flannel(Backend::HostGw)),
    ("flannel-udp", Network::Flannel(Backend::Udp)),
    ("kube-router", Network::KubeRouter),
    ("calico", Network::Calico),
    ("calico-vxlan", Network::CalicoVxlan),
    ("canal", Network::Canal),
    ("macvlan", Network::Macvlan),
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
    /// Whether each pod has a second interface, `net1`, of kind macvlan on the wire
    /// between the nodes.
    pub second_network: bool,
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
            second_network: false,
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
                "--second-network" => options.second_network = true,
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
        for (is, word) in
            [(self.dual_stack, " --dual-stack"), (self.second_network, " --second-network")]
        {
            if is {
                f.write_str(word)?;
            }
        }
        Ok(())
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
            "--nodes 2 --network kube-router --proxy nftables --dual-stack --second-network",
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
