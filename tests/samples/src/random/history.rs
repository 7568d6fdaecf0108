//! Random histories of a cluster, as watches of an API server deliver them.
//!
//! Events of one kind keep their order, kinds come in any order, and several events
//! can come together.
//! Never: an event that no API server would send.

use std::collections::{BTreeMap, BTreeSet};

use policy::{ObjectKey, Phase, Pod, Snapshot, SnapshotDiff};
use proptest::collection::{btree_set, vec};
use proptest::prelude::*;
use proptest::sample::select;
use watcher::api::{Event, Found};
use watcher::{Kind, Object};

use super::edit::{Edit, upheaval};

/// Changes, and how watches deliver them.
#[derive(Clone, Debug)]
pub struct Step {
    /// What happens.
    pub edits: Vec<Edit>,
    /// How watches deliver it, together with what was held back before.
    pub delivery: Delivery,
}

/// How watches deliver what happened.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// Which kind is delivered first.
    pub order: Vec<Kind>,
    /// Kinds whose watch is late. Their events come with a later step.
    pub held: BTreeSet<Kind>,
    /// Kinds whose watch broke. They are listed again.
    pub relisted: BTreeSet<Kind>,
    /// Which events come together.
    pub grouping: Grouping,
    /// Whether everything is delivered twice.
    pub twice: bool,
}

/// Which events come together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grouping {
    /// Each event alone.
    Split,
    /// All events, in their order.
    Together,
    /// All events, and only the last event of each object.
    Squashed,
}

/// A random step.
pub fn step() -> impl Strategy<Value = Step> {
    (vec(upheaval(), 0..4), delivery()).prop_map(|(edits, delivery)| Step { edits, delivery })
}

fn delivery() -> impl Strategy<Value = Delivery> {
    let kinds = || select(Kind::ALL.to_vec());
    let rarely = || {
        prop_oneof![
            5 => Just(BTreeSet::new()),
            1 => btree_set(kinds(), 1..=2),
        ]
    };
    let grouping = select(vec![Grouping::Split, Grouping::Together, Grouping::Squashed]);
    let order = Just(Kind::ALL.to_vec()).prop_shuffle();
    (order, rarely(), rarely(), grouping, prop::bool::weighted(0.1)).prop_map(
        |(order, held, relisted, grouping, twice)| Delivery {
            order,
            held,
            relisted,
            grouping,
            twice,
        },
    )
}

/// The objects of an API server, and what its watches have not delivered yet.
#[derive(Debug)]
pub struct Watches {
    objects: Snapshot,
    /// Whether pods that have ended are watched.
    ended: bool,
    pending: BTreeMap<Kind, Vec<PendingObject>>,
}

/// An object's key and its present state. `None` if it is gone.
type PendingObject = (ObjectKey, Option<Object>);

impl Watches {
    /// Watches of these objects that have delivered nothing yet. A field selector
    /// can leave out pods that have `ended`. A watch then reports a pod that ends
    /// as deleted.
    pub fn new(objects: Snapshot, ended: bool) -> Self {
        // No watch tells what is kept.
        let objects = Snapshot { kept: Default::default(), ..objects };
        Self { objects, ended, pending: BTreeMap::new() }
    }

    /// Everything that the watches will have delivered in the end.
    pub fn objects(&self) -> Snapshot {
        let Snapshot { policies, pods, namespaces, kept, multi_policies } = self.objects.clone();
        let pods = pods.into_iter().filter(|(_, pod)| self.shows(pod)).collect();
        Snapshot { policies, pods, namespaces, kept, multi_policies }
    }

    fn shows(&self, pod: &Pod) -> bool {
        self.ended || !matches!(pod.phase, Phase::Succeeded | Phase::Failed)
    }

    /// Changes the objects. Returns the batches of events to deliver, in order.
    pub fn step(&mut self, step: &Step) -> Vec<Vec<Event>> {
        for edit in &step.edits {
            self.change(|objects| edit.apply(objects));
        }
        self.tell(&step.delivery)
    }

    fn change(&mut self, edit: impl FnOnce(&mut Snapshot)) {
        let before = self.objects.clone();
        edit(&mut self.objects);
        self.objects.kept.clear();
        let SnapshotDiff { policies, pods, namespaces, kept: _ } = before.diff(&self.objects);
        let keys = [
            (Kind::NetworkPolicy, policies),
            (Kind::Pod, pods),
            (Kind::Namespace, namespaces.iter().map(|name| ObjectKey::new("", name)).collect()),
        ];
        for (kind, keys) in keys {
            let told = keys.into_iter().map(|key| (key.clone(), self.object(kind, &key)));
            let told: Vec<PendingObject> = told.collect();
            self.pending.entry(kind).or_default().extend(told);
        }
    }

    fn object(&self, kind: Kind, key: &ObjectKey) -> Option<Object> {
        let Snapshot { policies, pods, namespaces, kept: _, multi_policies } = &self.objects;
        match kind {
            Kind::NetworkPolicy => policies.get(key).cloned().map(Object::NetworkPolicy),
            Kind::Pod => pods.get(key).filter(|pod| self.shows(pod)).cloned().map(Object::Pod),
            Kind::Namespace => namespaces.get(&key.name).cloned().map(Object::Namespace),
            Kind::MultiNetworkPolicy => {
                multi_policies.get(key).cloned().map(Object::MultiNetworkPolicy)
            }
        }
    }

    fn tell(&mut self, delivery: &Delivery) -> Vec<Vec<Event>> {
        let mut events = Vec::new();
        for kind in delivery.order.iter().filter(|kind| !delivery.held.contains(kind)) {
            let mut told = self.pending.remove(kind).unwrap_or_default();
            let times = if delivery.twice { 2 } else { 1 };
            if delivery.relisted.contains(kind) {
                events.extend((0..times).map(|_| self.list(*kind)));
                continue;
            }
            if delivery.grouping == Grouping::Squashed {
                told = told.into_iter().collect::<BTreeMap<_, _>>().into_iter().collect();
            }
            for one in &told {
                events.extend((0..times).map(|_| event(*kind, one)));
            }
        }
        match delivery.grouping {
            Grouping::Split => events.into_iter().map(|event| vec![event]).collect(),
            Grouping::Together | Grouping::Squashed => vec![events],
        }
    }

    /// Lists every kind, in this order. Nothing is left to deliver.
    pub fn lists(&mut self, order: &[Kind]) -> Vec<Event> {
        self.pending.clear();
        order.iter().map(|kind| self.list(*kind)).collect()
    }

    fn list(&self, kind: Kind) -> Event {
        let objects = self.objects();
        let objects: Vec<Object> = match kind {
            Kind::NetworkPolicy => {
                objects.policies.values().cloned().map(Object::NetworkPolicy).collect()
            }
            Kind::Pod => objects.pods.values().cloned().map(Object::Pod).collect(),
            Kind::Namespace => {
                objects.namespaces.values().cloned().map(Object::Namespace).collect()
            }
            Kind::MultiNetworkPolicy => {
                objects.multi_policies.values().cloned().map(Object::MultiNetworkPolicy).collect()
            }
        };
        Event::Listed { kind, objects: objects.into_iter().map(found).collect() }
    }
}

fn event(kind: Kind, (key, object): &PendingObject) -> Event {
    match object {
        Some(object) => Event::Applied(found(object.clone())),
        None => Event::Deleted { kind, key: key.clone() },
    }
}

fn found(object: Object) -> Found {
    Found { object, diagnostics: Vec::new() }
}
