//! The loop that enforces in pods' namespaces.
//!
//! In: messages of the watches, time. Out: places that follow the cluster, readiness.
//! Never: a wait for the API server; a namespace entered before every kind is listed and a
//! Pod of this node was seen.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use compiler::{Excerpts, Options};
use nft::links::{LinkReader, inside_interfaces};
use nft::{Namespace, NamespaceId};
use policy::{
    Direction, InterfaceIndex, Isolation, Mode, Now, ObjectKey, Pod, PodUid, Subject, isolation,
};
use tokio::sync::watch;
use watcher::api::Event;
use watcher::{Kind, Known};

use super::drops::PodDrops;
use super::events;
use super::judged::judged;
use super::leftovers::Leftovers;
use super::place::{EnterError, How, PodPlace};
use super::processes::{InNamespaces, namespaces_of};
use super::readiness::Found;
use super::secondary::Secondaries;
use crate::clock::{Clock, SystemClock};
use crate::cluster_state::ClusterState;
use crate::enforcer::{Message, ThreadDied};
use crate::local_pods::LocalPods;
use crate::metrics::Metrics;
use crate::own_node::OwnNode;
use crate::problems::Problems;
use crate::status::{Condition, Status};
use crate::view::View;

/// How often it is looked whether others changed a table.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How often processes are looked at without an event. While an isolated pod has no
/// namespace yet, at each look, for a while.
const SCAN_EVERY: Duration = Duration::from_secs(1);
/// How long processes are looked for that often.
const AWAITING: Duration = Duration::from_secs(5);

/// How many network namespaces of one pod get a table. A process can make any number of them in
/// a user namespace, with interfaces that lead nowhere. A namespace with an address of the pod
/// always gets a table.
const NAMESPACES_OF_A_POD: usize = 16;

/// What the loop works with.
#[derive(Debug)]
pub struct Parts {
    /// From the thread that watches.
    pub messages: Receiver<Message>,
    /// The name of this node.
    pub node: String,
    /// `/proc` of the node: its processes.
    pub proc: PathBuf,
    /// What to compile for.
    pub options: Options,
    /// Whether policies drop that say nothing of it.
    pub mode: Mode,
    /// Whether MultiNetworkPolicies are enforced, too.
    pub multi_network_policies: bool,
    /// Whether each table must be proved before it is sent.
    pub verify: bool,
    /// Whether the tables belong to this process, where the kernel can do that.
    pub owns: bool,
    /// To the thread that reads denied packets; `None`: nobody reads them.
    pub drops: Option<PodDrops>,
    /// The objects that are known, for that thread.
    pub view: View,
    /// To the thread that writes Events.
    pub problems: watch::Sender<Problems>,
    /// For probes.
    pub status: Status,
    /// For scrapers.
    pub metrics: Arc<Metrics>,
}

/// The loop.
#[derive(Debug)]
pub struct PodEnforcer {
    parts: Parts,
    started: Instant,
    cluster: ClusterState,
    own_node: OwnNode,
    /// The node's own namespace.
    own: NamespaceId,
    links: LinkReader,
    local: LocalPods,
    /// As of the last event.
    isolated: BTreeMap<PodUid, Arc<Pod>>,
    places: BTreeMap<(PodUid, NamespaceId), PodPlace>,
    /// What of the cluster each place depends on.
    excerpts: Excerpts,
    /// `None`: MultiNetworkPolicies are not enforced.
    secondaries: Option<Secondaries>,
    /// What an agent that enforced them left.
    leftovers: Leftovers,
    /// Namespaces that need no table, as the pod was then.
    passed_over: BTreeMap<(PodUid, NamespaceId), Arc<Pod>>,
    is_changed: bool,
    /// Pods that have more namespaces than are judged.
    crowded: BTreeMap<PodUid, String>,
    /// Isolated pods of which no process is found, and since when there are any.
    unfound: Vec<String>,
    unfound_since: Option<Instant>,
    scanned: Option<Instant>,
    /// Why pods are not enforced that have no place.
    problems: BTreeMap<String, String>,
}

impl PodEnforcer {
    /// A loop that knows nothing yet.
    ///
    /// # Errors
    /// There is no `/proc`, or no socket.
    pub fn new(parts: Parts) -> std::io::Result<Self> {
        let own = Namespace::own()?.id();
        Ok(Self {
            started: Instant::now(),
            cluster: ClusterState::default().in_mode(parts.mode),
            own_node: OwnNode::of(&parts.node),
            own,
            links: LinkReader::open().map_err(|error| error.0)?,
            local: LocalPods::of(Some(&parts.node)),
            isolated: BTreeMap::new(),
            places: BTreeMap::new(),
            excerpts: Excerpts::of(Some(&parts.node)),
            secondaries: parts.multi_network_policies.then(|| Secondaries::new(&parts.node)),
            leftovers: Leftovers::default(),
            passed_over: BTreeMap::new(),
            is_changed: false,
            crowded: BTreeMap::new(),
            unfound: Vec::new(),
            unfound_since: None,
            scanned: None,
            problems: BTreeMap::new(),
            parts,
        })
    }

    /// The objects that the loop knows, now and later.
    pub fn known(&self) -> Known {
        self.cluster.known()
    }

    /// Runs until asked to stop; the rules stay.
    ///
    /// # Errors
    /// The thread that watches died.
    pub fn run(&mut self) -> Result<(), ThreadDied> {
        loop {
            self.parts.status.heartbeat();
            let mut patience = LOOK_EVERY;
            loop {
                match self.parts.messages.recv_timeout(patience) {
                    Ok(Message::Stop) => return Ok(()),
                    Ok(Message::Event(_, event)) => self.take(event),
                    Err(RecvTimeoutError::Timeout) => break,
                    Err(RecvTimeoutError::Disconnected) => return Err(ThreadDied("remote")),
                }
                patience = Duration::ZERO;
            }
            self.pass_time();
            self.work();
        }
    }

    fn take(&mut self, event: Event) {
        if let Event::Failed { kind: Kind::MultiNetworkPolicy, error } = &event
            && let Some(secondaries) = &mut self.secondaries
        {
            secondaries.cannot_list(error.to_string());
        }
        self.is_changed |= self.cluster.take(event);
    }

    /// Ends audits whose time came.
    fn pass_time(&mut self) {
        let (wall_seconds, steady) = (SystemClock.wall_seconds(), self.started.elapsed());
        self.is_changed |= self.cluster.pass(Now { wall_seconds, steady });
    }

    fn work(&mut self) {
        let status = self.parts.status.clone();
        let missing = self.cluster.missing();
        if !missing.is_empty() {
            let names: Vec<&str> = missing.into_iter().map(Kind::name).collect();
            let problem = format!("waiting for the API server to list {}", names.join(", "));
            return status.begins(Condition::Listed, problem);
        }
        status.holds(Condition::Listed);
        match self.cluster.unreadable() {
            None => status.holds(Condition::Readable),
            Some(problem) => status.fails(Condition::Readable, problem),
        }
        let now = Instant::now();
        if !self.own_node.is_seen(self.cluster.snapshot(), now, &status) {
            return;
        }
        if std::mem::take(&mut self.is_changed) {
            self.excerpts.follow(self.cluster.snapshot());
            self.parts.view.knows(self.cluster.snapshot());
            for place in self.places.values_mut() {
                place.follow_excerpt(&self.excerpts, self.cluster.snapshot(), &self.parts.node);
            }
            let isolated = self.isolated();
            if isolated != self.isolated {
                self.isolated = isolated;
                self.scanned = None;
            }
            if self.has_listed_multi()
                && let Some(secondaries) = &mut self.secondaries
                && secondaries.follow(self.cluster.snapshot())
            {
                self.scanned = None;
            }
        }
        let is_awaited = self.unfound_since.is_some_and(|since| now < since + AWAITING);
        let is_due = |scanned| is_awaited || now >= scanned + SCAN_EVERY;
        if self.scanned.is_none_or(is_due) {
            self.scanned = Some(now);
            self.scan();
        }
        self.places.values_mut().for_each(|place| place.step(&self.parts.metrics));
        if let Some(secondaries) = &mut self.secondaries {
            secondaries.step(&self.parts.metrics);
        }
        self.parts.metrics.knows(self.cluster.snapshot());
        let all = self.secondaries.as_ref();
        let places = self.places.values().chain(all.into_iter().flat_map(|all| all.places()));
        let cut_off = all.into_iter().flat_map(|all| all.cut_off());
        events::announce(places, cut_off, now, &self.parts.problems);
        let secondaries = self.secondaries.as_ref().map(|all| (all, self.has_listed_multi()));
        let found = Found {
            places: &self.places,
            problems: &self.problems,
            unfound: &self.unfound,
            secondaries,
            leftovers: &self.leftovers,
            crowded: &self.crowded,
        };
        found.report(&status);
    }

    fn has_listed_multi(&self) -> bool {
        self.cluster.has_listed(Kind::MultiNetworkPolicy)
    }

    fn scan_secondaries(&mut self, found: &InNamespaces) {
        let is_listed = self.has_listed_multi();
        let Some(secondaries) = self.secondaries.as_mut().filter(|_| is_listed) else { return };
        let Parts { options, verify, owns, .. } = &self.parts;
        let how = How { options, verify: *verify, owns: *owns };
        if secondaries.scan(found, how) {
            self.scanned = None;
        }
    }

    /// Finds the namespaces of isolated pods, and leaves those that no process is in.
    fn scan(&mut self) {
        self.problems.clear();
        if self.secondaries.is_none()
            && let Err(error) = self.leftovers.look(&self.parts.proc, self.own, Instant::now())
        {
            tracing::warn!("look for tables of further networks: {error}");
        }
        let isolated = self.isolated.clone();
        for pod in isolated.values().filter(|pod| pod.attachment.uid == PodUid::default()) {
            self.problem(pod, "its object has no uid in the form of a UUID");
        }
        let mut wanted: BTreeSet<PodUid> = isolated.keys().copied().collect();
        wanted.extend(self.places.keys().map(|(uid, _)| *uid));
        wanted.remove(&PodUid::default());
        let mut seen = wanted.clone();
        seen.extend(self.secondaries.iter().flat_map(Secondaries::wanted));
        let (places, passed_over) = (&self.places, &self.passed_over);
        let is_known = |uid: PodUid, id: NamespaceId| {
            let same = |before: &Arc<Pod>| isolated.get(&uid).is_some_and(|pod| pod == before);
            !wanted.contains(&uid)
                || places.contains_key(&(uid, id))
                || passed_over.get(&(uid, id)).is_some_and(same)
        };
        let is_known_to_all = |uid: PodUid, id: NamespaceId| {
            let mut secondaries = self.secondaries.iter();
            is_known(uid, id) && secondaries.all(|secondaries| secondaries.knows(uid, id))
        };
        let found = match namespaces_of(&self.parts.proc, &seen, self.own, is_known_to_all) {
            Ok(found) => found,
            Err(error) => {
                let proc = self.parts.proc.display();
                self.problems
                    .insert(String::new(), format!("list the processes in {proc}: {error}"));
                return;
            }
        };
        let news: BTreeSet<(PodUid, NamespaceId)> = found
            .iter()
            .flat_map(|(uid, all)| all.keys().map(|id| (*uid, *id)))
            .filter(|(uid, id)| !is_known(*uid, *id))
            .collect();
        self.scan_secondaries(&found);
        let is_there = |(uid, id): &(PodUid, NamespaceId)| {
            found.get(uid).is_some_and(|all| all.contains_key(id))
        };
        self.places.retain(|at, place| {
            let stays = is_there(at);
            if !stays {
                tracing::info!(pod = %place.pod, "no process of the pod is in its namespace any more");
            }
            stays
        });
        self.passed_over.retain(|at, _| is_there(at));
        self.make_room();
        let pods: BTreeSet<&ObjectKey> = self.places.values().map(|place| &place.pod).collect();
        self.excerpts.retain(|pod| pods.contains(pod));
        let is_unfound = |(uid, pod): &(&PodUid, &Arc<Pod>)| {
            **uid != PodUid::default() && !pod.addresses.is_empty() && !found.contains_key(uid)
        };
        let unfound = isolated.iter().filter(is_unfound);
        let unfound: Vec<String> = unfound.map(|(_, pod)| pod.key.to_string()).collect();
        if unfound != self.unfound {
            self.unfound_since = (!unfound.is_empty()).then(Instant::now);
            self.unfound = unfound;
        }
        self.look_again(&isolated);
        for (uid, namespaces) in found {
            for (id, namespace) in namespaces {
                let namespace = namespace.filter(|_| news.contains(&(uid, id)));
                if let (Some(namespace), Some(pod)) = (namespace, isolated.get(&uid)) {
                    self.enter(pod, (uid, id), namespace);
                }
            }
        }
    }

    /// The isolated pods of this node, by uid.
    fn isolated(&mut self) -> BTreeMap<PodUid, Arc<Pod>> {
        let snapshot = self.cluster.snapshot();
        self.local.follow(snapshot);
        let here = self.local.iter().filter(|pod| pod.is_subject());
        let is_isolated = |pod: &&Arc<Pod>| {
            let subject = [Subject { pod, is_shut: false }];
            let of = |direction| isolation(snapshot, &subject, direction) != Isolation::None;
            Direction::BOTH.into_iter().any(of)
        };
        here.filter(is_isolated).map(|pod| (pod.attachment.uid, Arc::clone(pod))).collect()
    }

    /// Interfaces of further networks may have come to the pods of places.
    fn look_again(&mut self, isolated: &BTreeMap<PodUid, Arc<Pod>>) {
        for ((uid, _), place) in &mut self.places {
            let Some(pod) = isolated.get(uid).filter(|pod| !pod.attachment.networks.is_empty())
            else {
                continue;
            };
            let Ok(interfaces) = place.interfaces() else { continue };
            let seen = interfaces.iter().map(|one| InterfaceIndex(one.index)).collect();
            if let Some(apart) = judged(pod, &interfaces, &BTreeSet::new()) {
                place.set_apart(&apart, &seen);
            }
        }
    }

    /// Makes a place, if the pod's packets go past the node there.
    fn enter(&mut self, pod: &Arc<Pod>, at: (PodUid, NamespaceId), namespace: Namespace) {
        let place = self.placed(pod, namespace);
        match place {
            Ok(Some(mut place)) => {
                if let Some(drops) = &self.parts.drops {
                    place.read_drops(pod, drops);
                }
                self.excerpts.add(&pod.key, &place.node());
                let whole = self.cluster.snapshot();
                place.follow_excerpt(&self.excerpts, whole, &self.parts.node);
                self.passed_over.remove(&at);
                self.places.insert(at, place);
            }
            Ok(None) => drop(self.passed_over.insert(at, Arc::clone(pod))),
            Err(error) => self.problem(pod, &error.to_string()),
        }
    }

    fn placed(&mut self, pod: &Pod, namespace: Namespace) -> Result<Option<PodPlace>, EnterError> {
        let interfaces = namespace.inside(inside_interfaces)??;
        let wanted: BTreeSet<IpAddr> = pod.addresses.iter().copied().collect();
        let links = self.links.read(&wanted)?;
        let on_node = links.ports.iter().flat_map(|port| &port.addresses);
        let on_node = on_node.map(|one| one.address).collect();
        let Some(apart) = judged(pod, &interfaces, &on_node) else { return Ok(None) };
        let mut addresses = interfaces.iter().flat_map(|one| &one.addresses);
        let is_crowded = self.count(pod.attachment.uid) >= NAMESPACES_OF_A_POD;
        if is_crowded && !addresses.any(|address| pod.addresses.contains(address)) {
            self.crowded.insert(pod.attachment.uid, pod.key.to_string());
            return Ok(None);
        }
        let Parts { options, verify, owns, .. } = &self.parts;
        let how = How { options, verify: *verify, owns: *owns };
        PodPlace::open(pod, namespace, &apart, &links.own_addresses, how).map(Some)
    }

    /// Where namespaces of a crowded pod are left, others are looked at again.
    fn make_room(&mut self) {
        let crowded = std::mem::take(&mut self.crowded);
        let (still, freed): (BTreeMap<_, _>, BTreeMap<_, _>) =
            crowded.into_iter().partition(|(uid, _)| self.count(*uid) >= NAMESPACES_OF_A_POD);
        self.passed_over.retain(|(uid, _), _| !freed.contains_key(uid));
        self.crowded = still;
    }

    /// How many namespaces of a pod have a table.
    fn count(&self, uid: PodUid) -> usize {
        self.places.keys().filter(|(one, _)| *one == uid).count()
    }

    fn problem(&mut self, pod: &Pod, why: &str) {
        self.problems.insert(pod.key.to_string(), why.to_owned());
    }
}
