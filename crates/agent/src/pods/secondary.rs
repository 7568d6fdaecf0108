//! The pods' networks beside the primary one, under MultiNetworkPolicy.
//!
//! In: snapshots, `/proc`, the interfaces in each namespace. Out: in the namespace of each pod
//! that is isolated on such a network a table of its own for that network.
//! Never: a table changed before MultiNetworkPolicies are listed; one that stays once no
//! policy isolates the pod; a look at the table of the primary network.
//!
//! ```text
//! policy::secondary: a snapshot for each network ─┬─▶ isolated pods ─▶ processes ─▶ interfaces
//!                                                 │                                     │
//!                                                 └──▶ a place for each (uid, namespace, network)
//! ```
//!
//! The pod's annotation says which interfaces are of a network. Whoever may write it can say
//! that the pod has no such network, before this agent has seen it. Afterwards an interface
//! stays judged while it is there.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
use std::sync::Arc;

use compiler::{Excerpts, NETWORK_TABLE, Place, network_table};
use nft::links::{InsideInterface, inside_interfaces};
use nft::{Kernel, Namespace, NamespaceId};
use policy::secondary::{Secondary, networks_of};
use policy::{Direction, Isolation, ObjectKey, Pod, PodUid, Snapshot, isolation, subject_of};
use ruleset::TableId;

use super::judged::{apart_on, named};
use super::place::{EnterError, How, PodPlace};
use super::processes::namespaces_of;
use crate::local_pods::LocalPods;
use crate::metrics::Metrics;
use crate::report;

/// Pods that the status names.
const NAMED: usize = 5;

/// A network of a pod.
type OfPod = (PodUid, ObjectKey);

/// Whether a table is one of a pod's further networks, by its name. Their stand-ins are, too.
pub fn is_of_network(table: &str) -> bool {
    let rest = table.strip_prefix("nftpol-0").map(|rest| format!("nftpol{rest}"));
    rest.as_deref().unwrap_or(table).starts_with(NETWORK_TABLE)
}

/// All that is known of the networks.
#[derive(Debug)]
pub(super) struct Secondaries {
    node: String,
    own: NamespaceId,
    local: LocalPods,
    networks: Secondary,
    /// Of each network with a place, what the places depend on.
    excerpts: BTreeMap<ObjectKey, Excerpts>,
    /// The pods that are isolated on a network, as of the last snapshot.
    isolated: BTreeMap<OfPod, Arc<Pod>>,
    /// The pods that are on any network.
    on_any: BTreeMap<PodUid, Arc<Pod>>,
    places: BTreeMap<(PodUid, NamespaceId), BTreeMap<ObjectKey, NetworkPlace>>,
    /// Namespaces in which tables of earlier times were looked for.
    swept: BTreeSet<(PodUid, NamespaceId)>,
    /// Why pods are not enforced that have no place.
    problems: BTreeMap<String, String>,
    /// Isolated pods of which no process is found.
    unfound: Vec<String>,
    /// Why the kind could not be listed.
    unlisted: Option<String>,
}

/// A place, and the interfaces that it judges.
#[derive(Debug)]
struct NetworkPlace {
    place: PodPlace,
    judged: BTreeSet<u32>,
}

impl Secondaries {
    /// Nothing is known yet. `own`: the node's namespace.
    pub fn new(node: &str, own: NamespaceId) -> Self {
        Self {
            node: node.to_owned(),
            own,
            local: LocalPods::of(Some(node)),
            networks: Secondary::default(),
            excerpts: BTreeMap::new(),
            isolated: BTreeMap::new(),
            on_any: BTreeMap::new(),
            places: BTreeMap::new(),
            swept: BTreeSet::new(),
            problems: BTreeMap::new(),
            unfound: Vec::new(),
            unlisted: None,
        }
    }

    /// The kind could not be listed or watched.
    pub fn cannot_list(&mut self, why: String) {
        self.unlisted = Some(why);
    }

    /// Goes on to a snapshot. Whether other pods are isolated than before.
    pub fn follow(&mut self, snapshot: &Snapshot) -> bool {
        self.local.follow(snapshot);
        let pods = self.local.iter().filter(|pod| {
            let has_uid = pod.attachment.uid != PodUid::default();
            pod.is_subject() && has_uid && !pod.attachment.networks.is_empty()
        });
        self.on_any = pods.map(|pod| (pod.attachment.uid, Arc::clone(pod))).collect();
        let all: BTreeSet<ObjectKey> =
            self.on_any.values().flat_map(|pod| networks_of(pod)).collect();
        let is_named = |network: &ObjectKey| {
            snapshot.multi_policies.values().any(|one| one.networks.holds_on(network))
        };
        let mut wanted: BTreeSet<ObjectKey> = all.into_iter().filter(is_named).collect();
        wanted.extend(self.places.values().flat_map(BTreeMap::keys).cloned());
        self.networks.follow(snapshot, &wanted);
        let mut isolated = BTreeMap::new();
        for (uid, pod) in &self.on_any {
            for network in networks_of(pod).intersection(&wanted) {
                if self.is_isolated(pod, network) {
                    isolated.insert((*uid, network.clone()), Arc::clone(pod));
                }
            }
        }
        for (network, excerpts) in &mut self.excerpts {
            if let Some(whole) = self.networks.network(network) {
                excerpts.follow(whole);
                let places = self.places.values_mut().filter_map(|all| all.get_mut(network));
                places.for_each(|one| one.place.follow_excerpt(excerpts, whole, &self.node));
            }
        }
        let is_news = isolated != self.isolated;
        self.isolated = isolated;
        is_news
    }

    fn is_isolated(&self, pod: &Pod, network: &ObjectKey) -> bool {
        let Some(snapshot) = self.networks.network(network) else { return false };
        let Some(subject) = subject_of(snapshot, Some(&self.node), &pod.key) else { return false };
        let of = |direction| isolation(snapshot, &[subject], direction) != Isolation::None;
        Direction::BOTH.into_iter().any(of)
    }

    /// Finds the namespaces of isolated pods, and removes the tables that nothing needs.
    ///
    /// # Errors
    /// `/proc` cannot be listed.
    pub fn scan(&mut self, proc: &Path, how: How<'_>) -> io::Result<()> {
        self.problems.clear();
        let wanted: BTreeSet<PodUid> =
            self.on_any.keys().chain(self.places.keys().map(|(uid, _)| uid)).copied().collect();
        let found = namespaces_of(proc, &wanted, self.own, |_, _| false)?;
        let is_there = |(uid, id): &(PodUid, NamespaceId)| {
            found.get(uid).is_some_and(|all| all.contains_key(id))
        };
        self.places.retain(|at, _| is_there(at));
        self.swept.retain(is_there);
        let unfound = self.isolated.iter().filter(|((uid, _), _)| !found.contains_key(uid));
        let unfound: BTreeSet<String> = unfound.map(|(_, pod)| pod.key.to_string()).collect();
        self.unfound = unfound.into_iter().collect();
        for (uid, namespaces) in &found {
            for (id, namespace) in namespaces {
                if let Some(namespace) = namespace {
                    self.look((*uid, *id), namespace, how);
                }
            }
        }
        self.retain_excerpts();
        Ok(())
    }

    /// Makes the places in a namespace fit to what is isolated.
    fn look(&mut self, at: (PodUid, NamespaceId), namespace: &Namespace, how: How<'_>) {
        let mut known: BTreeSet<ObjectKey> = BTreeSet::new();
        let of_pod = (at.0, ObjectKey::new("", ""));
        let isolated = self.isolated.range(of_pod..).take_while(|((uid, _), _)| *uid == at.0);
        known.extend(isolated.map(|((_, network), _)| network.clone()));
        known.extend(self.places.get(&at).into_iter().flat_map(BTreeMap::keys).cloned());
        let is_swept = self.swept.contains(&at);
        if known.is_empty() && is_swept {
            return;
        }
        let interfaces = match namespace.inside(inside_interfaces) {
            Ok(Ok(interfaces)) => interfaces,
            Ok(Err(error)) => return self.problem(at.0, &error.to_string()),
            Err(error) => return self.problem(at.0, &EnterError::Enter(error).to_string()),
        };
        for network in &known {
            if let Err(error) = self.fit(at, network, namespace, &interfaces, how) {
                self.problem(at.0, &format!("on {network}: {error}"));
            }
        }
        if !is_swept {
            match self.sweep(at, namespace) {
                Ok(()) => drop(self.swept.insert(at)),
                Err(error) => self.problem(at.0, &error.to_string()),
            }
        }
    }

    /// Makes a place, goes on with it, or ends it.
    fn fit(
        &mut self,
        at: (PodUid, NamespaceId),
        network: &ObjectKey,
        namespace: &Namespace,
        interfaces: &[InsideInterface],
        how: How<'_>,
    ) -> Result<(), EnterError> {
        let pod = self.on_any.get(&at.0).cloned();
        let mut judged: BTreeSet<u32> = match &pod {
            Some(pod) => named(pod, network, interfaces).collect(),
            None => BTreeSet::new(),
        };
        let place = self.places.get(&at).and_then(|places| places.get(network));
        if let Some(NetworkPlace { judged: before, .. }) = place {
            let there = interfaces.iter().map(|one| one.index);
            judged.extend(there.filter(|index| before.contains(index)));
        }
        let is_isolated = self.isolated.contains_key(&(at.0, network.clone()));
        // The processes of a pod without an object may live on.
        let is_lifted =
            !is_isolated && pod.as_ref().is_some_and(|pod| networks_of(pod).contains(network));
        if judged.is_empty() || is_lifted {
            return self.end(at, network);
        }
        let Some(pod) = pod else { return Ok(()) };
        let apart = apart_on(&pod, &judged, interfaces);
        if let Some(one) = self.places.entry(at).or_default().get_mut(network) {
            one.place.is_apart(&apart);
            one.judged = judged;
            return Ok(());
        }
        if !is_isolated {
            return Ok(());
        }
        let Some(whole) = self.networks.network(network) else { return Ok(()) };
        let to = Place::on_network(pod.key.clone(), network);
        let place = PodPlace::on_network(&pod, network, to, namespace.again()?, &apart, how)?;
        let mut place = NetworkPlace { place, judged };
        let excerpts = self.excerpts.entry(network.clone());
        let excerpts = excerpts.or_insert_with(|| Excerpts::of(Some(&self.node)));
        excerpts.follow(whole);
        excerpts.add(&pod.key, &BTreeSet::new());
        place.place.follow_excerpt(excerpts, whole, &self.node);
        self.places.entry(at).or_default().insert(network.clone(), place);
        Ok(())
    }

    /// Forgets what no place depends on any more.
    fn retain_excerpts(&mut self) {
        let places = &self.places;
        self.excerpts.retain(|network, excerpts| {
            let places = places.values().filter_map(|all| all.get(network));
            let pods: BTreeSet<&ObjectKey> = places.map(|one| &one.place.pod).collect();
            excerpts.retain(|pod| pods.contains(pod));
            !pods.is_empty()
        });
    }

    /// Removes a table, once nothing isolates the pod on its network or no interface is left.
    fn end(&mut self, at: (PodUid, NamespaceId), network: &ObjectKey) -> Result<(), EnterError> {
        let Some(places) = self.places.get_mut(&at) else { return Ok(()) };
        if let Some(one) = places.get_mut(network) {
            one.place.remove()?;
            places.remove(network);
        }
        if places.is_empty() {
            self.places.remove(&at);
        }
        Ok(())
    }

    /// Removes tables of networks on which the pod is not isolated any more. An earlier agent
    /// left them.
    fn sweep(&self, at: (PodUid, NamespaceId), namespace: &Namespace) -> Result<(), EnterError> {
        let mut kernel = namespace.inside(Kernel::open)??;
        let needed: BTreeSet<TableId> = self
            .places
            .get(&at)
            .into_iter()
            .flat_map(BTreeMap::keys)
            .map(|network| TableId::inet(network_table(network)))
            .collect();
        for table in kernel.tables_named(is_of_network)? {
            if !needed.contains(&table) {
                kernel.delete_table(&table)?;
                let pod = self.name(at.0);
                tracing::info!(%pod, "removed table {table}: no policy isolates the pod there");
            }
        }
        Ok(())
    }

    /// Makes the kernel enforce what is known.
    pub fn step(&mut self, metrics: &Metrics) {
        let places = self.places.values_mut().flat_map(BTreeMap::values_mut);
        places.for_each(|one| one.place.step(metrics));
    }

    /// What is not enforced, by pod.
    pub fn problems(&self) -> Vec<(String, String)> {
        let places = self.places.values().flat_map(BTreeMap::values);
        let of_places = places
            .filter_map(|one| Some((one.place.whose().to_owned(), one.place.problem.clone()?)));
        let all = self.problems.iter().map(|(pod, why)| (pod.clone(), why.clone()));
        all.chain(of_places).collect()
    }

    /// What there is to say where everything is enforced.
    pub fn remark(&self, is_listed: bool) -> String {
        let why = self.unlisted.as_deref().unwrap_or("they are not listed yet");
        if !is_listed {
            return format!("MultiNetworkPolicies are not enforced: {why}");
        }
        let tables: usize = self.places.values().map(BTreeMap::len).sum();
        let mut remark = format!("MultiNetworkPolicies by {tables} tables");
        if !self.unfound.is_empty() {
            let pods = report::some(self.unfound.iter(), NAMED);
            remark.push_str(&format!("; no process is found of pods {pods}, which they isolate"));
        }
        remark
    }

    fn name(&self, uid: PodUid) -> String {
        self.on_any.get(&uid).map(|pod| pod.key.to_string()).unwrap_or_default()
    }

    fn problem(&mut self, uid: PodUid, why: &str) {
        self.problems.insert(self.name(uid), why.to_owned());
    }
}
