//! Addresses for pods that have none yet: made up, and known to be so.
//!
//! In: a cluster. Out: the same, in which each pod that lives has addresses on each network
//! that it is on or asks for.
//! Never: an address that a pod or a node of the cluster has.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use policy::secondary::networks_of;
use policy::{AttachedNetwork, Mac, ObjectKey, Peer, Peers, Phase, Pod, Snapshot};

use super::Cluster;

/// Where made-up addresses come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MadeUp {
    /// IPv4.
    pub ipv4: Ipv4Net,
    /// IPv6.
    pub ipv6: Ipv6Net,
    /// Whether somebody said that these are the pods' addresses.
    pub is_given: bool,
}

/// The networks that are reserved for measurements (RFC 2544 and RFC 5180), which no
/// policy names.
impl Default for MadeUp {
    fn default() -> Self {
        let ipv4 = Ipv4Net::new_assert(Ipv4Addr::new(198, 18, 0, 0), 15);
        let ipv6 = Ipv6Net::new_assert(Ipv6Addr::new(0x2001, 2, 0, 0, 0, 0, 0, 0), 48);
        Self { ipv4, ipv6, is_given: false }
    }
}

/// The network of a `--pod-cidr`.
impl MadeUp {
    /// Takes addresses of a family from this network.
    pub fn within(&mut self, net: IpNet) {
        self.is_given = true;
        match net {
            IpNet::V4(net) => self.ipv4 = net,
            IpNet::V6(net) => self.ipv6 = net,
        }
    }
}

/// Gives addresses of both families to pods that live and have none.
pub(super) fn give_addresses(cluster: &mut Cluster, made_up: MadeUp) {
    cluster.made_up = made_up;
    let mut free = Free::new(cluster, made_up);
    let lacking = cluster.snapshot.pods.values().filter(|pod| {
        pod.addresses.is_empty() && !matches!(pod.phase, Phase::Succeeded | Phase::Failed)
    });
    let lacking: Vec<Arc<Pod>> = lacking.cloned().collect();
    let count = lacking.len();
    for pod in lacking {
        let mut pod = Pod::clone(&pod);
        pod.addresses = free.next();
        if pod.host_network {
            pod.host_addresses.clone_from(&pod.addresses);
        }
        cluster.symbolic.insert(pod.key.clone());
        cluster.snapshot.pods.insert(pod.key.clone(), Arc::new(pod));
    }
    if count > 0 && !made_up.is_given && has_blocks(&cluster.snapshot) {
        cluster.notices.push(format!(
            "{count} {} no address here, so it is not known which ipBlock holds them; they count \
             as outside of every private network (--pod-cidr tells)",
            if count == 1 { "pod has" } else { "pods have" }
        ));
    }
}

/// Puts pods on the further networks that they ask for and that they do not report: those of
/// manifests, and such as just start. Their addresses there are made up.
pub(super) fn attach(cluster: &mut Cluster, asked: &BTreeMap<ObjectKey, BTreeSet<ObjectKey>>) {
    let mut free = Free::new(cluster, MadeUp::default());
    for (key, networks) in asked {
        let Some(pod) = cluster.snapshot.pods.get(key) else { continue };
        let reported = networks_of(pod);
        let missing: Vec<&ObjectKey> = networks.difference(&reported).collect();
        if missing.is_empty() || pod.host_network {
            continue;
        }
        let mut pod = Pod::clone(pod);
        let mut all = pod.attachment.networks.to_vec();
        for network in missing {
            all.push(AttachedNetwork {
                network: network.to_string(),
                interface: String::new(),
                mac: Mac::NONE,
                addresses: free.next(),
            });
            cluster.symbolic_on.insert((key.clone(), network.clone()));
        }
        pod.attachment.networks = all.into();
        cluster.snapshot.pods.insert(key.clone(), Arc::new(pod));
    }
}

pub(super) fn has_blocks(snapshot: &Snapshot) -> bool {
    let mut rules = snapshot
        .policies
        .values()
        .flat_map(|policy| [&policy.ingress, &policy.egress].into_iter().flatten().flatten());
    rules.any(|rule| match &rule.peers {
        Peers::Anyone => false,
        Peers::Only(peers) => peers.iter().any(|peer| match peer {
            Peer::IpBlock(_) => true,
            Peer::Pods(_) => false,
        }),
    })
}

/// Addresses that nobody has.
pub(super) struct Free {
    made_up: MadeUp,
    taken: BTreeSet<IpAddr>,
    next: u32,
}

impl Free {
    pub fn new(cluster: &Cluster, made_up: MadeUp) -> Self {
        let pods = cluster.snapshot.pods.values();
        let taken = pods.flat_map(|pod| {
            let further = pod.attachment.networks.iter().flat_map(|one| &one.addresses);
            pod.addresses.iter().chain(&pod.host_addresses).chain(further)
        });
        Self { made_up, taken: taken.copied().collect(), next: 0 }
    }

    /// One of each family, as long as there are any.
    pub fn next(&mut self) -> Vec<IpAddr> {
        loop {
            self.next += 1;
            let (ipv4, ipv6) = (self.made_up.ipv4, self.made_up.ipv6);
            let one = ipv4.network().to_bits().checked_add(self.next).map(Ipv4Addr::from_bits);
            let one = one.filter(|address| ipv4.contains(address)).map(IpAddr::V4);
            let six = ipv6.network().to_bits().checked_add(self.next.into());
            let six = six.map(Ipv6Addr::from_bits).filter(|address| ipv6.contains(address));
            let both: Vec<IpAddr> = one.into_iter().chain(six.map(IpAddr::V6)).collect();
            if both.iter().all(|address| !self.taken.contains(address)) {
                return both;
            }
        }
    }
}
