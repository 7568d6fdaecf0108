//! Judges a question: every source with every destination, folded into cases.
//!
//! In: two ends. Out: an [`Answer`], or why there is none.
//! Never: a case left out. Ends that policies treat alike are judged once.

mod fold;

use std::net::IpAddr;

use policy::{Direction, Labels, NamedPort};
use thiserror::Error;

use fold::{Judged, Names, classes, folded};

use super::end::{End, EndError, Named};
use super::judge::{Judge, verdict};
use super::places::{self, Place, PlaceError};
use super::repair;
use super::report::{Answer, Case, Verdict};
use super::targets::{self, Target, TargetError};
use super::ways::{Way, WayError, ways};
use crate::cluster::Cluster;
use crate::reach::{Family, blocks};

/// A question that has no answer.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum AskError {
    /// An end that cannot be read.
    #[error(transparent)]
    End(#[from] EndError),
    /// An end that names nothing.
    #[error(transparent)]
    Place(#[from] PlaceError),
    /// A destination without that port, or without pods behind it.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// No way from the one to the other.
    #[error(transparent)]
    Way(#[from] WayError),
    /// A source with a port.
    #[error("{0}: the port belongs to the destination, as in FROM TO:80")]
    PortOfSource(String),
    /// A Service as source.
    #[error("Service {0} opens no connections; name its pods, such as {1}")]
    ServiceAsSource(String, String),
    /// A Service or a node on a further network.
    #[error(
        "{0} is on the primary network, and not on network {1}; name pods, workloads or addresses"
    )]
    OnPrimary(String, String),
    /// Nothing common.
    #[error("{0} and {1} have no addresses of one family: nothing passes between them")]
    NoFamily(String, String),
    /// The same pod.
    #[error("{0} is the only pod on both ends: a pod always reaches itself")]
    Itself(String),
}

/// Answers a question: may `from` open connections to `to`?
///
/// # Errors
/// See [`AskError`].
pub fn explain(cluster: &Cluster, from: &End, to: &End) -> Result<Answer, AskError> {
    if from.port.is_some() {
        return Err(AskError::PortOfSource(from.text.clone()));
    }
    if let Some(network) = &cluster.network
        && let Some(end) = [from, to].into_iter().find(|end| is_primary(end))
    {
        return Err(AskError::OnPrimary(end.text.clone(), network.key.to_string()));
    }
    let judge = Judge::new(cluster);
    if let Named::Service(key) = &from.named {
        let selector = cluster.services.get(key).and_then(|one| one.selector.as_ref());
        let pods = selector
            .map_or("namespace/pod".to_owned(), |selector| format!("{}/{selector}", key.namespace));
        return Err(AskError::ServiceAsSource(key.to_string(), pods));
    }
    let sources = places::of(cluster, &judge.reach, from)?;
    let targets = targets::of(&judge, to)?;
    let mut cases: Vec<Case> = Vec::new();
    for family in Family::BOTH {
        merge(&mut cases, of_family(&judge, family, (from, &sources), (to, &targets))?);
    }
    if cases.is_empty() {
        return Err(nothing_to_say(&sources, &targets, from, to));
    }
    note_missing_families(&mut cases, &sources, &targets);
    let notes = super::notes::of(&judge, &sources, &targets, &cases);
    Ok(Answer {
        from: from.text.clone(),
        to: to.text.clone(),
        network: cluster.network.as_ref().map(|network| network.key.to_string()),
        port: to.port.as_ref().map(ToString::to_string),
        verdict: together(&cases),
        cases,
        notes,
    })
}

/// Whether an end has no address on a further network.
fn is_primary(end: &End) -> bool {
    match end.named {
        Named::Service(_) | Named::Node(_) => true,
        Named::Internet
        | Named::Address(_)
        | Named::PodOrWorkload(_)
        | Named::Workload(..)
        | Named::Selected(..)
        | Named::AllOf(_) => false,
    }
}

fn nothing_to_say(sources: &[Place<'_>], targets: &[Target<'_>], from: &End, to: &End) -> AskError {
    match (sources, targets) {
        ([one], [other]) if one.name == other.place.name => AskError::Itself(one.name.clone()),
        _ => AskError::NoFamily(from.text.clone(), to.text.clone()),
    }
}

fn together(cases: &[Case]) -> Verdict {
    let all = |wanted| cases.iter().all(|case| case.verdict == wanted);
    match (all(Verdict::Allowed), all(Verdict::Denied)) {
        (true, _) => Verdict::Allowed,
        (_, true) => Verdict::Denied,
        _ => Verdict::Partly,
    }
}

/// Adds the cases of another family. What is equal but for addresses is one case.
fn merge(cases: &mut Vec<Case>, others: Vec<Case>) {
    for mut other in others {
        match cases.iter_mut().find(|case| case.outcome() == other.outcome()) {
            Some(case) => case.families.append(&mut other.families),
            None => cases.push(other),
        }
    }
}

fn note_missing_families(cases: &mut [Case], sources: &[Place<'_>], targets: &[Target<'_>]) {
    for family in Family::BOTH {
        let has = |place: &Place<'_>| place.address(family).is_some();
        let exists = sources.iter().any(has) && targets.iter().any(|one| has(&one.place));
        for case in cases.iter_mut().filter(|_| !exists) {
            case.without.push(family);
        }
    }
}

fn of_family(
    judge: &Judge<'_>,
    family: Family,
    (from, sources): (&End, &[Place<'_>]),
    (to, targets): (&End, &[Target<'_>]),
) -> Result<Vec<Case>, AskError> {
    let has = |place: &Place<'_>| place.address(family).is_some();
    let sources: Vec<&Place<'_>> = sources.iter().filter(|one| has(one)).collect();
    let targets: Vec<&Target<'_>> = targets.iter().filter(|one| has(&one.place)).collect();
    let by_node =
        |one: &&Place<'_>| one.pod.is_none() || one.pod.is_some_and(|pod| pod.host_network);
    let with_nodes = targets.iter().any(|one| one.is_by_node() || by_node(&&one.place))
        || sources.iter().any(by_node);
    let alike = |place: &Place<'_>| Alike::of(judge, place, family, with_nodes);
    let from_classes = classes(sources.iter().map(|one| alike(one)));
    let to_classes =
        classes(targets.iter().map(|one| (alike(&one.place), one.transport, &one.hops)));
    let mut judged = Vec::new();
    for members in &from_classes {
        for others in &to_classes {
            let Some((source, target)) = apart(members, others, &sources, &targets) else {
                continue;
            };
            for way in ways(judge, sources[source], targets[target], family)? {
                let case = case(judge, family, sources[source], targets[target], way);
                let pairs =
                    members.iter().flat_map(|&from| others.iter().map(move |&to| (from, to)));
                judged.extend(pairs.map(|(from, to)| Judged { from, to, case: case.clone() }));
            }
        }
    }
    let names = Names {
        from: (from, sources.iter().map(|one| one.end_name()).collect()),
        to: (to, targets.iter().map(|one| one.place.end_name()).collect()),
    };
    Ok(folded(judged, &names))
}

/// A source and a destination of two classes that are not one pod.
fn apart(
    sources: &[usize],
    targets: &[usize],
    places: &[&Place<'_>],
    to: &[&Target<'_>],
) -> Option<(usize, usize)> {
    let alone = places.len() == 1 && to.len() == 1;
    let pairs = sources.iter().flat_map(|&from| targets.iter().map(move |&to| (from, to)));
    // Two pods of one workload may have its name.
    let is_same = |from: &Place<'_>, to: &Place<'_>| {
        from.name == to.name && from.pod.map(|pod| &pod.key) == to.pod.map(|pod| &pod.key)
    };
    let differ = |&(from, target): &(usize, usize)| {
        alone || !to[target].hops.is_empty() || !is_same(places[from], &to[target].place)
    };
    pairs.into_iter().find(differ)
}

fn case(judge: &Judge<'_>, family: Family, source: &Place<'_>, to: &Target<'_>, way: Way) -> Case {
    let egress = judge.side(Direction::Egress, &way.egress);
    let ingress = judge.side(Direction::Ingress, &way.ingress);
    let mut passes = judge.ports(Direction::Ingress, &way.ingress);
    let verdict = if way.egress == way.ingress {
        passes = passes.intersection(&judge.ports(Direction::Egress, &way.egress));
        verdict(&passes, way.ingress.transport)
    } else {
        egress.verdict.max(ingress.verdict)
    };
    let nearest = match verdict {
        Verdict::Allowed => Vec::new(),
        Verdict::Partly | Verdict::Denied => repair::nearest(judge, source, &to.place, &way),
    };
    let named = |transport| match transport {
        policy::spec::ProtocolPort::Port(protocol, port) => format!("{protocol} {port}"),
        policy::spec::ProtocolPort::Other(number) => format!("protocol {number}"),
    };
    Case {
        verdict,
        from: Vec::new(),
        to: Vec::new(),
        families: vec![family],
        without: Vec::new(),
        port: way.ingress.transport.map(named),
        passes: passes.to_string(),
        hops: to.hops.iter().cloned().chain(way.hops).collect(),
        egress,
        ingress,
        nearest,
    }
}

/// What policies look at. Places that are equal in this are treated alike.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Alike {
    /// What selectors see; `None` for what is no pod.
    pod: Option<(String, Labels, Vec<NamedPort>, bool)>,
    /// Its own name, where it is judged alone.
    alone: Option<String>,
    /// The node and its addresses, where that matters.
    node: Option<(Option<String>, Vec<IpAddr>)>,
    /// Which ipBlocks hold the address.
    blocks: Vec<bool>,
}

impl Alike {
    fn of(judge: &Judge<'_>, place: &Place<'_>, family: Family, with_nodes: bool) -> Self {
        let address = place.address(family);
        let snapshot = &judge.cluster.snapshot;
        let owned = address.and_then(|address| judge.reach.owner(address));
        let is_its = place.pod.is_some_and(|pod| owned.is_some_and(|owner| owner.key == pod.key));
        let reported = |address| policy::subjects(snapshot, None, address).len();
        let alone = !is_its || address.is_some_and(|address| reported(address) != 1);
        let blocks = blocks(snapshot).into_iter();
        Self {
            pod: place.pod.map(|pod| {
                (pod.key.namespace.clone(), pod.labels.clone(), pod.ports.clone(), pod.host_network)
            }),
            alone: alone.then(|| place.name.clone()),
            node: with_nodes.then(|| {
                let hosts = place.pod.map(|pod| pod.host_addresses.clone());
                (place.node.clone(), hosts.unwrap_or_default())
            }),
            blocks: blocks.map(|one| address.is_some_and(|it| one.contains(it))).collect(),
        }
    }
}
