//! The pods' networks beside the primary one, under MultiNetworkPolicy.
//!
//! In: snapshots, the namespaces of pods, the interfaces in each. Out: in the namespace of each
//! pod that is isolated on such a network a table of its own for that network; where its
//! networks are not known, or too many, one that cuts it off.
//! Never: a table changed before MultiNetworkPolicies are listed; one that stays once no
//! policy isolates the pod; one that goes before another one takes its place; a look at the
//! table of the primary network.
//!
//! ```text
//! cluster ─▶ claims: which tables, who is cut off ─┬─▶ namespaces of these pods ─▶ interfaces
//!    │                                             │                                   │
//!    │                                             └▶ space: a place for each network ◀┘
//!    └─▶ policy::secondary: a snapshot for each network ─▶ excerpts ─▶ places
//! ```
//!
//! The pod's annotation says which interfaces are of a network. A tenant who may write it
//! can say that the pod has no such network, before this agent has seen it. Afterwards an interface
//! stays judged while it is there.

mod claims;
mod room;
mod space;
mod turns;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use compiler::NETWORK_TABLE;
use imbl::OrdMap;
use nft::NamespaceId;
use policy::secondary::Secondary;
use policy::{MultiNetworkPolicy, ObjectKey, Pod, PodUid, Snapshot};

use super::place::{How, PodPlace};
use super::processes::InNamespaces;
use crate::local_pods::LocalPods;
use crate::metrics::Metrics;
use crate::report;
use crate::tenant_lines::TenantLines;
use claims::Claims;
use space::{Known, Space};

/// Pods that the status names.
const NAMED: usize = 5;
/// How many network namespaces of one pod are judged. A process can make any number of them in
/// a user namespace, with interfaces of any name.
const NAMESPACES_OF_A_POD: usize = 16;
/// How long places are made at once. Other pods' packets wait meanwhile.
const MAKING: Duration = Duration::from_millis(100);

/// Whether a table is one of a pod's further networks, by its name. Their stand-ins are, too.
pub fn is_of_network(table: &str) -> bool {
    let rest = table.strip_prefix("nftpol-0").map(|rest| format!("nftpol{rest}"));
    rest.as_deref().unwrap_or(table).starts_with(NETWORK_TABLE)
}

/// All that is known of the networks.
#[derive(Debug)]
pub(super) struct Secondaries {
    local: LocalPods,
    known: Known,
    /// The policies of which the claims are.
    claimed: OrdMap<ObjectKey, Arc<MultiNetworkPolicy>>,
    spaces: BTreeMap<(PodUid, NamespaceId), Space>,
    /// Where [`turns`] goes on.
    turn: usize,
    /// Pods that have more namespaces than are judged.
    crowded: BTreeSet<String>,
    /// Why pods are not enforced that have no place.
    problems: BTreeMap<String, String>,
    /// Isolated pods of which no process is found.
    unfound: Vec<String>,
    /// Why the kind could not be listed.
    unlisted: Option<String>,
    started: Instant,
    said: TenantLines,
}

impl Secondaries {
    /// Nothing is known yet.
    pub fn new(node: &str) -> Self {
        Self {
            local: LocalPods::of(Some(node)),
            known: Known {
                node: node.to_owned(),
                pods: BTreeMap::new(),
                claims: Claims::default(),
                networks: Secondary::default(),
                excerpts: BTreeMap::new(),
            },
            claimed: OrdMap::new(),
            spaces: BTreeMap::new(),
            turn: 0,
            crowded: BTreeSet::new(),
            problems: BTreeMap::new(),
            unfound: Vec::new(),
            unlisted: None,
            started: Instant::now(),
            said: TenantLines::default(),
        }
    }

    /// The kind could not be listed or watched.
    pub fn cannot_list(&mut self, why: String) {
        self.unlisted = Some(why);
    }

    /// Goes on to a snapshot. Whether other tables are wanted than before.
    pub fn follow(&mut self, snapshot: &Snapshot) -> bool {
        let is_news = self.claim(snapshot);
        let mut wanted: BTreeSet<ObjectKey> =
            self.known.claims.tables.keys().map(|(_, network)| network.clone()).collect();
        wanted.extend(self.spaces.values().flat_map(Space::networks).cloned());
        let Known { node, networks, excerpts, .. } = &mut self.known;
        networks.follow(snapshot, &wanted);
        for (network, excerpts) in excerpts {
            if let Some(whole) = networks.network(network) {
                excerpts.follow(whole);
                let places = self.spaces.values_mut().filter_map(|space| space.on(network));
                places.for_each(|place| place.follow_excerpt(excerpts, whole, node));
            }
        }
        is_news
    }

    /// What pods need depends on the policies and on this node's pods. Most changes are none of
    /// these.
    fn claim(&mut self, snapshot: &Snapshot) -> bool {
        self.local.follow(snapshot);
        let pods = self.local.iter().filter(|pod| {
            let is_attached = !pod.attachment.networks.is_empty() || pod.attachment.is_unread;
            pod.is_subject() && pod.attachment.uid != PodUid::default() && is_attached
        });
        let pods: BTreeMap<PodUid, Arc<Pod>> =
            pods.map(|pod| (pod.attachment.uid, Arc::clone(pod))).collect();
        let are_same = self.claimed.ptr_eq(&snapshot.multi_policies);
        if are_same && pods == self.known.pods {
            return false;
        }
        self.claimed = snapshot.multi_policies.clone();
        self.known.pods = pods;
        let claims = Claims::of(snapshot, &self.known.pods);
        let before = std::mem::replace(&mut self.known.claims, claims);
        for (uid, shut) in &self.known.claims.shut {
            let is_news = before.shut.get(uid) != Some(shut);
            if is_news && self.said.may_say(&shut.pod.key, self.started.elapsed()) {
                tracing::warn!(pod = %shut.pod.key, "{}", shut.why());
            }
        }
        before.tables != self.known.claims.tables || before.shut != self.known.claims.shut
    }

    /// The pods whose namespaces matter.
    pub fn wanted(&self) -> impl Iterator<Item = PodUid> {
        self.known.pods.keys().chain(self.spaces.keys().map(|(uid, _)| uid)).copied()
    }

    /// Whether this needs no look at what a process has open.
    pub fn knows(&self, uid: PodUid, id: NamespaceId) -> bool {
        !self.known.pods.contains_key(&uid) || self.spaces.contains_key(&(uid, id))
    }

    /// Takes in the namespaces of pods, and removes the tables that nothing needs. Whether
    /// there is more to do at once.
    pub fn scan(&mut self, found: &InNamespaces, how: How<'_>) -> bool {
        self.problems.clear();
        self.crowded.clear();
        let is_there = |(uid, id): &(PodUid, NamespaceId)| {
            found.get(uid).is_some_and(|all| all.contains_key(id))
        };
        self.spaces.retain(|at, _| is_there(at));
        for (uid, namespaces) in found {
            let Some(pod) = self.known.pods.get(uid) else { continue };
            let mut count = self.spaces.keys().filter(|(one, _)| one == uid).count();
            for (id, namespace) in namespaces {
                let Some(namespace) = namespace else { continue };
                if self.spaces.contains_key(&(*uid, *id)) {
                    continue;
                }
                if count >= NAMESPACES_OF_A_POD {
                    self.crowded.insert(pod.key.to_string());
                    continue;
                }
                count += 1;
                match namespace.again() {
                    Ok(namespace) => drop(self.spaces.insert((*uid, *id), Space::of(namespace))),
                    Err(error) => {
                        drop(self.problems.insert(pod.key.to_string(), error.to_string()))
                    }
                }
            }
        }
        let claims = &self.known.claims;
        let isolated = claims.tables.iter().map(|((uid, _), pod)| (uid, pod));
        let isolated = isolated.chain(claims.shut.iter().map(|(uid, shut)| (uid, &shut.pod)));
        let unfound = isolated.filter(|(uid, _)| !found.contains_key(*uid));
        let unfound: BTreeSet<String> = unfound.map(|(_, pod)| pod.key.to_string()).collect();
        self.unfound = unfound.into_iter().collect();
        let until = Instant::now() + MAKING;
        let mut is_unfinished = false;
        for ((uid, _), space) in &mut self.spaces {
            match space.look(*uid, &mut self.known, how, until) {
                Ok(is_done) => is_unfinished |= !is_done,
                Err(error) => drop(self.problems.insert(self.known.name(*uid), error.to_string())),
            }
        }
        self.retain_excerpts();
        is_unfinished
    }

    /// Forgets what no place depends on any more.
    fn retain_excerpts(&mut self) {
        let spaces = &self.spaces;
        self.known.excerpts.retain(|network, excerpts| {
            let places = spaces.values().filter_map(|space| space.pod_on(network));
            let pods: BTreeSet<&ObjectKey> = places.collect();
            excerpts.retain(|pod| pods.contains(pod));
            !pods.is_empty()
        });
    }

    /// Makes the kernel enforce what is known, for a while.
    pub fn step(&mut self, metrics: &Metrics) {
        let places = self.spaces.values_mut().flat_map(Space::places_mut);
        turns::step(places.collect(), &mut self.turn, metrics);
    }

    /// All places.
    pub fn places(&self) -> impl Iterator<Item = &PodPlace> {
        self.spaces.values().flat_map(Space::places)
    }

    /// The pods that are cut off, with why.
    pub fn cut_off(&self) -> impl Iterator<Item = (PodUid, &ObjectKey, String)> {
        let shut = self.known.claims.shut.iter();
        shut.map(|(uid, shut)| (*uid, &shut.pod.key, shut.why()))
    }

    /// What is not enforced, by pod.
    pub fn problems(&self) -> Vec<(String, String)> {
        let of_places = self
            .places()
            .filter_map(|place| Some((place.whose().to_owned(), place.problem.clone()?)));
        let all = self.problems.iter().map(|(pod, why)| (pod.clone(), why.clone()));
        all.chain(of_places).collect()
    }

    /// What there is to say where everything is enforced.
    pub fn remark(&self, is_listed: bool) -> String {
        let why = self.unlisted.as_deref().unwrap_or("they are not listed yet");
        if !is_listed {
            return format!("MultiNetworkPolicies are not enforced: {why}");
        }
        let tables = self.places().count();
        let mut remark = format!("MultiNetworkPolicies by {tables} tables");
        let mut add = |pods: Vec<&String>, what: &str| {
            if !pods.is_empty() {
                remark.push_str(&format!(
                    "; {}",
                    what.replace('*', &report::some(pods.into_iter(), NAMED))
                ));
            }
        };
        add(self.unfound.iter().collect(), "no process is found of pods *, which they isolate");
        add(
            self.crowded.iter().collect(),
            "pods * have so many network namespaces that some are not judged",
        );
        let (unread, many): (Vec<_>, Vec<_>) =
            self.known.claims.shut.values().partition(|shut| shut.pod.attachment.is_unread);
        let names = |all: Vec<&claims::Shut>| -> Vec<String> {
            all.into_iter().map(|shut| shut.pod.key.to_string()).collect()
        };
        let (unread, many) = (names(unread), names(many));
        add(
            unread.iter().collect(),
            "pods * are cut off on further networks: their network-status cannot be read, or \
             names too many",
        );
        add(
            many.iter().collect(),
            "pods * are cut off on further networks: their namespace's pods are on too many here",
        );
        remark
    }
}
