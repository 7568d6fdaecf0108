//! The cluster as the watches report it.
//!
//! In: events of the watches, and what the node's interfaces are bound to. Out: a
//! snapshot with what is kept of objects that are gone, the kinds that are not listed
//! yet, and what is wrong with objects.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use imbl::OrdMap;
use policy::{
    Announcement, Announcements, AttachmentKey, Diagnostic, Keeper, Kept, Mode, Modes,
    MultiNetworkPolicy, NetworkPolicy, NodeNetwork, Now, ObjectKey, Placement, Pod, Snapshot,
    multi_policies_with,
};
use watcher::api::{Event, Found, StandIn};
use watcher::{Kind, Known, Object, Store};

use crate::report;
use crate::tenant_lines::TenantLines;

/// The cluster as far as it is known.
#[derive(Debug, Default)]
pub struct ClusterState {
    store: Store,
    /// `None`: nothing is kept.
    keeper: Option<Keeper>,
    /// Which policies are in audit.
    modes: Modes,
    /// The same of those of further networks.
    multi_modes: Modes,
    /// Those, with their modes.
    multi_policies: OrdMap<ObjectKey, Arc<MultiNetworkPolicy>>,
    /// The time that was passed last.
    now: Now,
    said: TenantLines,
    /// What the CNI plugin says of pods whose objects do not yet.
    announcements: Announcements,
    /// The objects, with the addresses that the pods have.
    objects: Snapshot,
    /// The same, and what is kept.
    snapshot: Snapshot,
    /// For the watches, which read lists again.
    known: Known,
    listed: BTreeSet<Kind>,
    findings: BTreeMap<(Kind, ObjectKey), Vec<Diagnostic>>,
    /// Objects that cannot be read now.
    unreadable: BTreeMap<(Kind, ObjectKey), Unreadable>,
}

/// An object that cannot be read.
#[derive(Debug)]
struct Unreadable {
    /// Why.
    why: String,
    /// Whether a list that lacks it follows.
    in_list: bool,
}

impl ClusterState {
    /// The objects of this state, now and later, for the watches.
    pub fn known(&self) -> Known {
        self.known.clone()
    }

    /// Keeps what is needed of objects that go while their pods may run on this node.
    #[must_use]
    pub fn keeping(self, node: &str) -> Self {
        Self { keeper: Some(Keeper::of(node)), announcements: Announcements::of(node), ..self }
    }

    /// Where nobody says whether policies are enforced, this holds.
    #[must_use]
    pub fn in_mode(self, mode: Mode) -> Self {
        Self { modes: Modes::of(mode), multi_modes: Modes::of(mode), ..self }
    }

    /// Which policies are in audit.
    pub fn modes(&self) -> &Modes {
        &self.modes
    }

    /// The time since the start, as of the last [`Self::pass`].
    pub fn steady(&self) -> Duration {
        self.now.steady
    }

    /// It is this time now. Whether a policy has another mode.
    pub fn pass(&mut self, now: Now) -> bool {
        self.now = now;
        let is_multi_news = self.multi_modes.pass(now);
        if is_multi_news {
            self.judge_multi_policies();
        }
        let is_news = self.modes.pass(now) || is_multi_news;
        if is_news {
            self.compose();
        }
        is_news
    }

    /// The policies of namespaces that ended which are kept.
    pub fn kept_policies(&self) -> OrdMap<ObjectKey, Arc<NetworkPolicy>> {
        self.keeper.as_ref().map(|keeper| keeper.policies().clone()).unwrap_or_default()
    }

    /// The pods of which something is kept.
    pub fn kept_pods(&self) -> Vec<Arc<Pod>> {
        let mut pods = self.keeper.as_ref().map(Keeper::pods).unwrap_or_default();
        let announced = self.announced();
        // Two pods with one address would be bound to no interface.
        for pod in &mut pods {
            if pod.addresses.iter().any(|address| announced.contains_key(address)) {
                let mut other = Pod::clone(pod);
                other.addresses.retain(|address| !announced.contains_key(address));
                *pod = Arc::new(other);
            }
        }
        pods.retain(|pod| !pod.addresses.is_empty());
        let stand_ins: BTreeMap<&ObjectKey, &Arc<Pod>> =
            announced.values().map(|kept| (&kept.pod.key, &kept.pod)).collect();
        pods.extend(stand_ins.into_values().cloned());
        pods
    }

    /// What is announced for pods of which nothing else is known. The last object of a pod
    /// says more.
    fn announced(&self) -> BTreeMap<IpAddr, Arc<Kept>> {
        let last = |address: &IpAddr| self.keeper.as_ref()?.kept().get(address);
        let mut all: BTreeMap<IpAddr, Arc<Kept>> = self.announcements.shut().into_iter().collect();
        all.retain(|address, one| last(address).is_none_or(|last| last.pod.key != one.pod.key));
        all
    }

    /// At start: the kernel's tables isolate these addresses, and bind this. Whether something
    /// else is kept now. See [`Keeper::begin`].
    pub fn begin(&mut self, isolated: &BTreeSet<IpAddr>, bound: &NodeNetwork) -> bool {
        let begin = |keeper: &mut Keeper| keeper.begin(isolated, bound);
        let is_news = self.keeper.as_mut().is_some_and(begin);
        self.compose();
        is_news
    }

    /// The node's interfaces are bound to this, if it is known. Whether something else is
    /// kept now. See [`Keeper::look`].
    pub fn look(&mut self, network: Option<&NodeNetwork>, now: Duration) -> bool {
        let ended = self.announcements.look(network, now);
        if ended {
            self.follow_objects();
        }
        let look = |keeper: &mut Keeper| keeper.look(network, now);
        let is_news = self.keeper.as_mut().is_some_and(look);
        if is_news {
            self.compose();
        }
        is_news || ended
    }

    /// The CNI plugin has given addresses to a pod.
    pub fn announce(&mut self, attachment: AttachmentKey, announcement: Announcement) {
        self.announcements.announce(attachment, announcement);
        self.follow_objects();
    }

    /// Which interfaces the CNI plugin says lead to which pods.
    pub fn placements(&self) -> Vec<Placement> {
        self.announcements.placements()
    }

    /// The CNI plugin says that an attachment ended.
    pub fn withdraw(&mut self, attachment: &AttachmentKey) {
        if self.announcements.withdraw(attachment) {
            self.follow_objects();
        }
    }

    /// The container runtime says that these are all attachments.
    pub fn keep_attachments(&mut self, attachments: &BTreeSet<AttachmentKey>) {
        if self.announcements.keep_only(attachments) {
            self.follow_objects();
        }
    }

    /// Takes over what the store and the announcements say now. Whether something else is
    /// kept, or a pod has another address.
    fn follow_objects(&mut self) -> bool {
        let mut after = self.store.snapshot().clone();
        self.announcements.follow(&after.pods);
        self.announcements.apply(&mut after.pods);
        let before = std::mem::replace(&mut self.objects, after);
        let is_news = !before.diff(&self.objects).pods.is_empty();
        if !before.multi_policies.ptr_eq(&self.objects.multi_policies)
            || !before.namespaces.ptr_eq(&self.objects.namespaces)
        {
            self.judge_multi_policies();
        }
        let after = &self.objects;
        let follow = |keeper: &mut Keeper| keeper.follow(&before, after);
        let is_kept = self.keeper.as_mut().is_some_and(follow);
        self.compose();
        is_news || is_kept
    }

    fn judge_multi_policies(&mut self) {
        self.multi_policies = multi_policies_with(&mut self.multi_modes, &self.objects, self.now);
    }

    fn compose(&mut self) {
        self.snapshot = self.objects.clone();
        self.snapshot.multi_policies = self.multi_policies.clone();
        if let Some(keeper) = &self.keeper {
            self.snapshot.kept = keeper.kept().clone();
            for (address, kept) in self.announced() {
                self.snapshot.kept.insert(address, kept);
            }
            for (key, policy) in keeper.policies() {
                self.snapshot.policies.insert(key.clone(), Arc::clone(policy));
            }
        }
        self.modes.follow(&self.snapshot, self.now);
        self.snapshot.policies = self.modes.policies().clone();
        // A node in audit drops nothing because it does not know something.
        if self.modes.node() == Mode::Audit {
            let modes = &self.modes;
            let is_enforced = |namespace: &str| modes.of_namespace(namespace) == Mode::Enforce;
            let kept = std::mem::take(&mut self.snapshot.kept).into_iter();
            let kept =
                kept.filter(|(_, one)| !one.is_shut() || is_enforced(&one.pod.key.namespace));
            self.snapshot.kept = kept.collect();
        }
    }

    /// Takes an event in. Returns whether anything changed, findings included:
    /// an object can be wrong in a new way and still mean the same.
    pub fn take(&mut self, event: Event) -> bool {
        let changed = self.store_event(event);
        let changed = self.follow_objects() || changed;
        self.known.set(self.store.snapshot());
        changed
    }

    fn store_event(&mut self, event: Event) -> bool {
        match event {
            Event::Listed { kind, objects } => {
                let mut changed = self.forget_findings(kind, &objects);
                let mut kept = self.unreadable_of(kind);
                for Found { object, diagnostics } in objects {
                    changed |= self.find(&object, diagnostics) | self.is_read(&object);
                    kept.push(object);
                }
                let is_first = self.listed.insert(kind);
                self.store.replace(kind, kept) || is_first || changed
            }
            Event::Applied(Found { object, diagnostics }) => {
                self.unreadable.remove(&(object.kind(), object.key()));
                let changed = self.find(&object, diagnostics) | self.is_read(&object);
                self.store.apply(object) || changed
            }
            Event::Deleted { kind, key } => {
                self.findings.remove(&(kind, key.clone()));
                self.unreadable.remove(&(kind, key.clone()));
                self.store.delete(kind, &key)
            }
            Event::Unreadable { stand_in, in_list, error } => {
                self.cannot_read(&stand_in, Unreadable { why: error.to_string(), in_list })
            }
            Event::Failed { .. } => false,
        }
    }

    /// Keeps the last object that could be read. If there is none, takes what stands for
    /// it. Always a change, because the readiness follows.
    fn cannot_read(&mut self, stand_in: &StandIn, unreadable: Unreadable) -> bool {
        let identity = stand_in.identity();
        let is_known = self.store.get(identity.0, &identity.1).is_some();
        self.unreadable.insert(identity, unreadable);
        match stand_in {
            StandIn::Policy(key) if !is_known => {
                self.store.apply(Object::NetworkPolicy(Arc::new(NetworkPolicy::shut(key.clone()))));
            }
            // It can have addresses that the last readable one lacks.
            StandIn::Pod(pod) => {
                if let Some(keeper) = &mut self.keeper {
                    keeper.unreadable(pod);
                }
            }
            StandIn::MultiPolicy(key) if !is_known => {
                let shut = MultiNetworkPolicy::shut(key.clone());
                self.store.apply(Object::MultiNetworkPolicy(Arc::new(shut)));
            }
            StandIn::Policy(_) | StandIn::MultiPolicy(_) | StandIn::Namespace(_) => {}
        }
        true
    }

    /// An object can be read. Whether something is not kept any longer.
    fn is_read(&mut self, object: &Object) -> bool {
        match (object, &mut self.keeper) {
            (Object::Pod(pod), Some(keeper)) => keeper.readable(pod),
            (
                Object::Pod(_)
                | Object::NetworkPolicy(_)
                | Object::MultiNetworkPolicy(_)
                | Object::Namespace(_),
                _,
            ) => false,
        }
    }

    /// The known objects of a kind that its list lacks because they cannot be read. Those
    /// that could not be read before this list came are forgotten: they are in it, or gone.
    fn unreadable_of(&mut self, kind: Kind) -> Vec<Object> {
        self.unreadable.retain(|(of, _), one| *of != kind || std::mem::take(&mut one.in_list));
        let keys = self.unreadable.keys().filter(|(of, _)| *of == kind);
        keys.filter_map(|(_, key)| self.store.get(kind, key)).collect()
    }

    /// The objects that cannot be read, each with why; a few of many.
    pub fn unreadable(&self) -> Option<String> {
        /// How many are named.
        const NAMED: usize = 5;
        let all = self.unreadable.values().map(|one| one.why.as_str());
        let named: Vec<&str> = all.take(NAMED).collect();
        let more = self.unreadable.len().saturating_sub(NAMED);
        let rest = if more > 0 { format!("; and {more} more") } else { String::new() };
        (!named.is_empty()).then(|| {
            format!(
                "{}{rest}. The last readable one holds; without one nothing is allowed",
                named.join("; ")
            )
        })
    }

    /// Forgets what is wrong with objects that are not listed any more. Returns
    /// whether anything was.
    fn forget_findings(&mut self, kind: Kind, listed: &[Found]) -> bool {
        let before = self.findings.len();
        if self.findings.keys().any(|(of, _)| *of == kind) {
            let keys: BTreeSet<ObjectKey> = listed.iter().map(|one| one.object.key()).collect();
            self.findings.retain(|(of, key), _| *of != kind || keys.contains(key));
        }
        self.findings.len() != before
    }

    /// Stores what is wrong with an object, and logs it if it is new. Returns
    /// whether it changed.
    fn find(&mut self, object: &Object, diagnostics: Vec<Diagnostic>) -> bool {
        if diagnostics.is_empty() && self.findings.is_empty() {
            return false;
        }
        let key = (object.kind(), object.key());
        if diagnostics.is_empty() {
            return self.findings.remove(&key).is_some();
        }
        if self.findings.get(&key) == Some(&diagnostics) {
            return false;
        }
        for diagnostic in &diagnostics {
            if self.said.may_say(&key.1, self.now.steady) {
                report::diagnosed(diagnostic);
            }
        }
        self.findings.insert(key, diagnostics);
        true
    }

    /// The kinds that were not listed yet.
    pub fn missing(&self) -> Vec<Kind> {
        Kind::ALL.into_iter().filter(|kind| !self.listed.contains(kind)).collect()
    }

    /// Whether a kind was listed.
    pub fn has_listed(&self, kind: Kind) -> bool {
        self.listed.contains(&kind)
    }

    /// The cluster as it is known now, with what is kept.
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// What is wrong with policies.
    pub fn policy_findings(&self) -> impl Iterator<Item = &Diagnostic> {
        let of_policies = |(key, _): &(&(Kind, ObjectKey), _)| key.0 == Kind::NetworkPolicy;
        self.findings.iter().filter(of_policies).flat_map(|(_, found)| found)
    }
}
