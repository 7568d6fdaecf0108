//! The tables of further networks in one network namespace.
//!
//! In: what is known, the interfaces there now. Out: the places that are wanted, and no others.
//! Never: an interface that nothing judges between two places.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use compiler::budget::Budgets;
use compiler::price::Amount;
use compiler::{Excerpts, Options, Place};
use nft::links::{InsideInterface, inside_interfaces};
use nft::{Kernel, Namespace};
use policy::secondary::{Secondary, networks_of};
use policy::{Inside, InterfaceIndex, ObjectKey, Pod, PodUid};
use ruleset::TableId;

use super::super::judged::{apart_on, named, own, unnamed};
use super::super::place::{EnterError, How, PodPlace};
use super::claims::{Claims, Shut};
use super::is_of_network;

/// What is known of the cluster.
#[derive(Debug)]
pub(super) struct Known {
    /// This node.
    pub node: String,
    /// The pods of this node that are on any further network, or may be.
    pub pods: BTreeMap<PodUid, Arc<Pod>>,
    pub claims: Claims,
    pub networks: Secondary,
    /// Of each network with a place, what the places depend on.
    pub excerpts: BTreeMap<ObjectKey, Excerpts>,
}

impl Known {
    /// A pod's name.
    pub fn name(&self, uid: PodUid) -> String {
        self.pods.get(&uid).map(|pod| pod.key.to_string()).unwrap_or_default()
    }
}

/// A namespace that processes of a pod are in.
#[derive(Debug)]
pub(super) struct Space {
    namespace: Namespace,
    networks: BTreeMap<ObjectKey, NetworkPlace>,
    /// What cuts the pod off where its networks are not known.
    shut: Option<(Shut, NetworkPlace)>,
    /// Whether tables of earlier times were looked for.
    is_swept: bool,
}

/// A place, and the interfaces that it judges.
#[derive(Debug)]
struct NetworkPlace {
    place: PodPlace,
    judged: BTreeSet<u32>,
    /// How many tables share the budgets.
    share: usize,
}

impl Space {
    /// Without a table.
    pub fn of(namespace: Namespace) -> Self {
        Self { namespace, networks: BTreeMap::new(), shut: None, is_swept: false }
    }

    /// The networks with a place.
    pub fn networks(&self) -> impl Iterator<Item = &ObjectKey> {
        self.networks.keys()
    }

    /// The place of a network.
    pub fn on(&mut self, network: &ObjectKey) -> Option<&mut PodPlace> {
        self.networks.get_mut(network).map(|one| &mut one.place)
    }

    /// The pod of a network's place.
    pub fn pod_on(&self, network: &ObjectKey) -> Option<&ObjectKey> {
        self.networks.get(network).map(|one| &one.place.pod)
    }

    /// All places.
    pub fn places(&self) -> impl Iterator<Item = &PodPlace> {
        let shut = self.shut.iter().map(|(_, one)| one);
        self.networks.values().chain(shut).map(|one| &one.place)
    }

    /// All places.
    pub fn places_mut(&mut self) -> impl Iterator<Item = &mut PodPlace> {
        let shut = self.shut.iter_mut().map(|(_, one)| one);
        self.networks.values_mut().chain(shut).map(|one| &mut one.place)
    }

    /// Makes the places fit to what is wanted and to the interfaces that are there. No place is
    /// made after `until`: then this is false.
    ///
    /// # Errors
    /// The last one. The other places are made nevertheless.
    pub fn look(
        &mut self,
        uid: PodUid,
        known: &mut Known,
        how: How<'_>,
        until: Instant,
    ) -> Result<bool, EnterError> {
        let shut = known.claims.shut.get(&uid).cloned();
        let mut networks: BTreeSet<ObjectKey> = known.claims.networks(uid).cloned().collect();
        networks.extend(self.networks.keys().cloned());
        let is_idle = networks.is_empty() && shut.is_none() && self.shut.is_none();
        if is_idle && self.is_swept {
            return Ok(true);
        }
        let interfaces = self.namespace.inside(inside_interfaces)??;
        let work = Work { uid, how, until, interfaces: &interfaces };
        let (mut is_done, mut failed) = (true, None);
        for network in &networks {
            match self.fit(network, shut.as_ref(), known, work) {
                Ok(is_fit) => is_done &= is_fit,
                Err(error) => failed = Some(error),
            }
        }
        match self.fit_shut(shut, known, work) {
            Ok(is_fit) => is_done &= is_fit,
            Err(error) => failed = Some(error),
        }
        // What an earlier agent left may be all that judges an interface until now.
        if failed.is_none() && is_done && !self.is_swept && self.is_settled() {
            self.sweep(&known.name(uid))?;
            self.is_swept = true;
        }
        failed.map_or(Ok(is_done), Err)
    }

    /// Whether the kernel enforces all that is known here.
    fn is_settled(&self) -> bool {
        self.places().all(PodPlace::is_settled)
    }

    /// Makes the place of a network, goes on with it, or ends it.
    fn fit(
        &mut self,
        network: &ObjectKey,
        shut: Option<&Shut>,
        known: &mut Known,
        work: Work<'_>,
    ) -> Result<bool, EnterError> {
        let pod = known.pods.get(&work.uid).cloned();
        let mut judged: BTreeSet<u32> = match &pod {
            Some(pod) => named(pod, network, work.interfaces).collect(),
            None => BTreeSet::new(),
        };
        let before = self.networks.get(network).map(|one| &one.judged);
        judged.extend(before.into_iter().flat_map(|before| work.still_there(before)));
        if judged.is_empty() {
            return self.end(network).map(|()| true);
        }
        // The processes of a pod without an object may live on.
        let Some(pod) = pod else { return Ok(true) };
        let is_claimed = known.claims.tables.contains_key(&(work.uid, network.clone()));
        if !is_claimed {
            let is_cut = shut.is_some_and(|shut| shut.networks.contains(network));
            let is_over = networks_of(&pod).contains(network);
            if is_over && (!is_cut || self.is_covered(&judged)) {
                return self.end(network).map(|()| true);
            }
        }
        let apart = apart_on(&pod, &judged, work.interfaces);
        let share = known.claims.count(work.uid);
        if let Some(one) = self.networks.get_mut(network) {
            // A status that cannot be read says nothing of the other interfaces.
            if !pod.attachment.is_unread {
                one.place.is_apart(&apart);
            }
            one.judged.clone_from(&judged);
            if one.share == share {
                return Ok(true);
            }
        }
        let Some(whole) = known.networks.network(network).filter(|_| is_claimed) else {
            return Ok(true);
        };
        if work.is_late() {
            return Ok(false);
        }
        // Its table stays. Two processes cannot own it, nor can two places.
        self.networks.remove(network);
        let options = shared(work.how.options, share);
        let how = How { options: &options, ..work.how };
        let to = Place::on_network(pod.key.clone(), network);
        let place = PodPlace::on_network(&pod, network, to, self.namespace.again()?, &apart, how)?;
        let mut one = NetworkPlace { place, judged, share };
        let excerpts = known.excerpts.entry(network.clone());
        let excerpts = excerpts.or_insert_with(|| Excerpts::of(Some(&known.node)));
        excerpts.follow(whole);
        excerpts.add(&pod.key, &BTreeSet::new());
        one.place.follow_excerpt(excerpts, whole, &known.node);
        self.networks.insert(network.clone(), one);
        Ok(true)
    }

    /// Whether the table that cuts the pod off judges these interfaces, in the kernel.
    fn is_covered(&self, judged: &BTreeSet<u32>) -> bool {
        let covers = |one: &NetworkPlace| one.place.is_settled() && judged.is_subset(&one.judged);
        self.shut.as_ref().is_some_and(|(_, one)| covers(one))
    }

    /// Makes the place that cuts the pod off, goes on with it, or ends it.
    fn fit_shut(
        &mut self,
        wanted: Option<Shut>,
        known: &Known,
        work: Work<'_>,
    ) -> Result<bool, EnterError> {
        let Some(wanted) = wanted else {
            return match known.pods.contains_key(&work.uid) {
                true => self.end_shut().map(|()| true),
                false => Ok(true),
            };
        };
        let judged = self.cut_off(&wanted, work);
        if judged.is_empty() {
            return self.end_shut().map(|()| true);
        }
        let apart = work.interfaces.iter().map(|one| one.index);
        let apart = apart.filter(|index| !judged.contains(index)).map(InterfaceIndex);
        let apart: BTreeSet<InterfaceIndex> = apart.chain([Inside::LOOPBACK]).collect();
        if let Some((before, one)) = &mut self.shut {
            one.place.is_apart(&apart);
            one.judged = judged;
            if *before != wanted {
                one.place.follow(&wanted.snapshot(), &known.node);
                *before = wanted;
            }
            return Ok(true);
        }
        if work.is_late() {
            return Ok(false);
        }
        let pod = &wanted.pod;
        let mut place = PodPlace::cut_off(pod, self.namespace.again()?, &apart, work.how)?;
        place.follow(&wanted.snapshot(), &known.node);
        self.shut = Some((wanted, NetworkPlace { place, judged, share: 1 }));
        Ok(true)
    }

    /// The interfaces by which a pod is cut off. What the table of a network judges is left to
    /// that, unless it is to go.
    fn cut_off(&self, wanted: &Shut, work: Work<'_>) -> BTreeSet<u32> {
        let pod = &wanted.pod;
        let mut judged: BTreeSet<u32> = unnamed(pod, work.interfaces).collect();
        let networks = wanted.networks.iter();
        judged.extend(networks.flat_map(|network| named(pod, network, work.interfaces)));
        let before = self.shut.as_ref().map(|(_, one)| &one.judged);
        let before: BTreeSet<u32> =
            before.into_iter().flat_map(|before| work.still_there(before)).collect();
        let own = own(pod, work.interfaces);
        judged.extend(before.iter().filter(|index| !own.contains(*index)));
        let others = self.networks.iter().filter(|(one, _)| !wanted.networks.contains(*one));
        for index in others.flat_map(|(_, one)| &one.judged) {
            judged.remove(index);
        }
        if !self.is_settled() {
            judged.extend(before);
        }
        judged
    }

    fn end_shut(&mut self) -> Result<(), EnterError> {
        if self.is_settled()
            && let Some((_, one)) = &mut self.shut
        {
            one.place.remove()?;
            self.shut = None;
        }
        Ok(())
    }

    /// Removes a table, once nothing isolates the pod on its network or no interface is left.
    fn end(&mut self, network: &ObjectKey) -> Result<(), EnterError> {
        if let Some(one) = self.networks.get_mut(network) {
            one.place.remove()?;
            self.networks.remove(network);
        }
        Ok(())
    }

    /// Removes tables that nothing needs any more. An earlier agent left them.
    fn sweep(&self, pod: &str) -> Result<(), EnterError> {
        let mut kernel = self.namespace.inside(Kernel::open)??;
        let needed: BTreeSet<&TableId> = self.places().map(PodPlace::table).collect();
        for table in kernel.tables_named(is_of_network)? {
            if !needed.contains(&table) {
                kernel.delete_table(&table)?;
                tracing::info!(%pod, "removed table {table}: no policy isolates the pod there");
            }
        }
        Ok(())
    }
}

/// What one look has.
#[derive(Clone, Copy, Debug)]
struct Work<'a> {
    uid: PodUid,
    how: How<'a>,
    /// No place is made after this.
    until: Instant,
    /// Those that are there now.
    interfaces: &'a [InsideInterface],
}

impl Work<'_> {
    fn is_late(&self) -> bool {
        Instant::now() > self.until
    }

    fn still_there(&self, before: &BTreeSet<u32>) -> impl Iterator<Item = u32> {
        self.interfaces.iter().map(|one| one.index).filter(move |index| before.contains(index))
    }
}

/// The networks of one pod share the budgets of a table. So a pod that is on many of them takes
/// no more of the kernel than one that is on a single one.
fn shared(options: &Options, share: usize) -> Options {
    let share = share.max(1) as u64;
    let part = |Amount { sets, rules, elements }| Amount {
        sets: sets / share,
        rules: rules / share,
        elements: elements / share,
    };
    let Budgets { node, namespace } = options.budgets;
    let budgets = Budgets { node: part(node), namespace: part(namespace) };
    Options { budgets, ..options.clone() }
}
