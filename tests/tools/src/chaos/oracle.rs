//! Whether the kernel's tables do what the specification says of the objects that the API
//! server truly has.
//!
//! What the agent keeps of objects that are gone is an input of the specification
//! ([`policy::Snapshot::kept`]). The kernel's tables tell of which addresses: they are
//! isolated or in audit, and no local pod reports them. Whose they were is one of the pods
//! that once reported the address, or nobody knows: the chains tell which. The proof then is
//! of the whole.
//! Never: the agent's word.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use agent::binding_options::BindingOptions;
use agent::enforcer::Interfaces;
use agent::interfaces::NodeInterfaces;
use agent::local_pods::LocalPods;
use agent::node_network::Given;
use agent::pipeline::{InForce, Pipeline};
use anyhow::{Context, Result, ensure};
use compiler::{Engine, Layout, Options, scaffold};
use netbed::net::Namespace;
use nft::Kernel;
use policy::{Direction, Kept, KeptFor, NodeNetwork, ObjectKey, Pod, Snapshot};
use ruleset::{Family, Name, Ruleset, TableFamily, TableId};

/// Pods that once reported an address which are tried.
const TRIED: usize = 40;

/// What was proved.
#[derive(Clone, Copy, Debug, Default)]
pub struct Proved {
    /// Isolated addresses.
    pub addresses: usize,
    /// Addresses that are kept, isolated or in audit.
    pub kept: usize,
}

/// Remembers who reported which address.
#[derive(Debug)]
pub struct Oracle {
    node: String,
    versions: BTreeMap<IpAddr, Vec<Arc<Pod>>>,
}

/// The chains to which the tables send an address, if it is isolated or in audit: by the
/// maps of [`maps`].
type Chains = [Option<Name>; 4];

impl Oracle {
    /// Of a node.
    pub fn of(node: &str) -> Self {
        Self { node: node.to_owned(), versions: BTreeMap::new() }
    }

    /// These are the objects now.
    pub fn remember(&mut self, objects: &Snapshot) {
        let local = |pod: &&Arc<Pod>| pod.is_on(Some(&self.node)) && pod.is_subject();
        for pod in objects.pods.values().filter(local) {
            for address in &pod.addresses {
                let versions = self.versions.entry(*address).or_default();
                versions.retain(|known| known != pod);
                versions.insert(0, Arc::clone(pod));
                versions.truncate(TRIED);
            }
        }
    }

    /// Proves the tables of this network namespace.
    ///
    /// # Errors
    /// They do something else, or cannot be read. The error has the first differences.
    pub fn prove(&self, namespace: &Namespace, objects: &Snapshot) -> Result<Proved> {
        namespace.run(|| self.prove_here(objects))?
    }

    fn prove_here(&self, objects: &Snapshot) -> Result<Proved> {
        let options = Options { node: Some(self.node.clone()), ..Options::default() };
        let mut pipeline = Pipeline::new(Kernel::open()?, options.clone());
        let reported = self.reported(objects);
        let pod_of = |address: IpAddr| {
            let known = reported.get(&address).cloned();
            known.or_else(|| Some(Kept::key_of_restart(address)))
        };
        let InForce { claims, network, isolated } = pipeline.in_force(pod_of)?;
        let [inet, bridge] = [TableFamily::Inet, TableFamily::Bridge]
            .map(|family| TableId { family, name: scaffold::table() })
            .map(|id| pipeline.sink().dump(&id));
        let inet = inet?.context("there is no table inet nftpol")?;
        ensure!(inet.foreign.is_empty(), "in the table: {:?}", inet.foreign);
        let bridge = bridge?.map(|bridge| bridge.ruleset);
        let mut left = isolated;
        left.extend(audited(&inet.ruleset));
        left.retain(|address| !reported.contains_key(address));
        let mut snapshot = objects.clone();
        let kept = self.kept(objects, &inet.ruleset, (&left, &network), &options)?;
        snapshot.kept = kept.into_iter().collect();
        let mut interfaces = NodeInterfaces::new(Given::default());
        interfaces.remember(claims, network.pod_ranges.clone());
        let mut local = LocalPods::of(Some(&self.node));
        local.follow(objects);
        let pods = BindingOptions::default().bindable(&local, pods_of(&snapshot));
        interfaces.pods(pods);
        interfaces.look_now()?;
        let network = interfaces.network().cloned().unwrap_or_default();
        let report = verify::verify(
            &snapshot,
            Some(&self.node),
            &BTreeSet::new(),
            &network,
            &inet.ruleset,
            bridge.as_ref(),
        )?;
        let ways: Vec<String> = report.ways().take(5).collect();
        ensure!(ways.is_empty(), "{}\nkept: {:?}", ways.join("\n"), snapshot.kept);
        Ok(Proved { addresses: report.counts.addresses, kept: left.len() })
    }

    /// Who reports which address, of the pods of the node.
    fn reported(&self, objects: &Snapshot) -> BTreeMap<IpAddr, ObjectKey> {
        let local = objects.pods.values().filter(|pod| pod.is_on(Some(&self.node)));
        local
            .filter(|pod| pod.is_subject())
            .flat_map(|pod| pod.addresses.iter().map(|address| (*address, pod.key.clone())))
            .collect()
    }

    /// What may be kept of pods that once reported an address: the object, or the little
    /// that can be read of one that is garbled.
    fn once(&self, address: IpAddr) -> Vec<Arc<Kept>> {
        let versions = || self.versions.get(&address).into_iter().flatten();
        let running = versions().map(|pod| Kept { pod: Arc::clone(pod), why: KeptFor::Running });
        let keys: BTreeSet<&ObjectKey> = versions().map(|pod| &pod.key).collect();
        let garbled = keys.into_iter().map(|key| Kept {
            pod: Arc::new(Kept::stand_in(key.clone(), vec![address])),
            why: KeptFor::Unreadable,
        });
        running.chain(garbled).map(Arc::new).collect()
    }

    /// Whose these addresses were.
    fn kept(
        &self,
        objects: &Snapshot,
        inet: &Ruleset,
        (left, network): (&BTreeSet<IpAddr>, &NodeNetwork),
        options: &Options,
    ) -> Result<BTreeMap<IpAddr, Arc<Kept>>> {
        let shut = shut(left, network);
        let candidates: BTreeMap<IpAddr, Vec<Arc<Kept>>> = left
            .iter()
            .map(|address| {
                let unknown = shut.get(address).cloned();
                (*address, unknown.into_iter().chain(self.once(*address)).collect())
            })
            .collect();
        let mut found: BTreeMap<IpAddr, Arc<Kept>> = BTreeMap::new();
        for number in 0..candidates.values().map(Vec::len).max().unwrap_or(0) {
            let open = candidates.iter().filter(|(address, _)| !found.contains_key(*address));
            let tried: BTreeMap<IpAddr, Arc<Kept>> = open
                .filter_map(|(address, all)| Some((*address, all.get(number)?.clone())))
                .collect();
            if tried.is_empty() {
                continue;
            }
            let mut snapshot = objects.clone();
            snapshot.kept = tried.clone().into_iter().collect();
            let compiled = Engine::new(options.clone()).update(&snapshot, network).ruleset.clone();
            for (address, kept) in tried {
                if chains(&compiled, address) == chains(inet, address) {
                    found.insert(address, kept);
                }
            }
        }
        let unknown = left.iter().find(|address| !found.contains_key(*address));
        if let Some(address) = unknown {
            let versions = self.versions.get(address);
            anyhow::bail!(
                "{address} is isolated or in audit ({:?}), and no pod of this node reports it or did so with \
                 these policies: {:?}",
                chains(inet, *address),
                versions
                    .map(|all| all.iter().map(|pod| (&pod.key, &pod.labels)).collect::<Vec<_>>())
            );
        }
        Ok(found)
    }
}

/// What stands for pods that are not known. What one interface has is one pod's.
fn shut(left: &BTreeSet<IpAddr>, network: &NodeNetwork) -> BTreeMap<IpAddr, Arc<Kept>> {
    let ports = network.ports.values();
    let mut groups: Vec<Vec<IpAddr>> =
        ports.map(|port| port.addresses.intersection(left).copied().collect()).collect();
    let bound: BTreeSet<IpAddr> = groups.iter().flatten().copied().collect();
    groups.extend(left.difference(&bound).map(|address| vec![*address]));
    let mut all = BTreeMap::new();
    for group in groups {
        if let Some(kept) = Kept::of_restart(&group).map(Arc::new) {
            all.extend(group.into_iter().map(|address| (address, Arc::clone(&kept))));
        }
    }
    all
}

/// The pods of which something is kept, each with the addresses that are.
fn pods_of(snapshot: &Snapshot) -> Vec<Arc<Pod>> {
    let mut all: BTreeMap<ObjectKey, Pod> = BTreeMap::new();
    for (address, kept) in &snapshot.kept {
        let pod = all
            .entry(kept.pod.key.clone())
            .or_insert_with(|| Pod { addresses: Vec::new(), ..Pod::clone(&kept.pod) });
        pod.addresses.push(*address);
    }
    all.into_values().map(Arc::new).collect()
}

/// The addresses that are in audit in a direction.
fn audited(inet: &Ruleset) -> impl Iterator<Item = IpAddr> {
    let sides = Layout::sides().map(|(one, family)| scaffold::audit::dispatch(one, family));
    let maps = sides.filter_map(|name| inet.maps.get(&name));
    maps.flat_map(|map| map.entries.keys().copied())
}

fn chains(inet: &Ruleset, address: IpAddr) -> Chains {
    let chain = |map: Name| inet.maps.get(&map)?.entries.get(&address).cloned();
    maps(Family::of(address)).map(chain)
}

/// Enforced policies of egress and ingress, then those in audit.
fn maps(family: Family) -> [Name; 4] {
    let [egress, ingress] = Direction::BOTH;
    [
        scaffold::dispatch(egress, family),
        scaffold::dispatch(ingress, family),
        scaffold::audit::dispatch(egress, family),
        scaffold::audit::dispatch(ingress, family),
    ]
}
