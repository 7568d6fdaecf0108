//! What each named set represents, and its elements.
//!
//! In: a [`SetSource`], from which the set's name is made, and a
//! `ClusterIndex`. Out: the set's type, comment and elements. A set keeps its
//! source for life. Only its elements change with the cluster.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;

use policy::{Pod, PodPeer, Protocol, Selector};
use ruleset::{AddressRange, Comment, Element, Family, Name, Set, SetType};

use crate::ClusterIndex;
use crate::names::Content;

/// The sets that rules look into.
pub type Sources = BTreeMap<Name, SetSource>;

/// What a set represents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SetSource {
    /// Addresses of one family of the pods that a peer selects.
    Pods(Family, PodsPeer),
    /// Addresses of one family of the pods that any of many peers selects.
    AnyOf(Family, BTreeSet<PodsPeer>),
    /// Address and port of each pod that has a port of this name and protocol, and
    /// that the peer selects if there is one.
    NamedPort(Family, Option<PodsPeer>, String, Protocol),
    /// Ranges of ipBlocks: disjoint, sorted, of one family.
    Blocks(Family, Vec<AddressRange>),
    /// Destination ports.
    Ports(Vec<u16>),
}

/// A `PodPeer` without its policy: the policy's namespace is in the scope.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PodsPeer {
    /// Which namespaces.
    pub scope: Scope,
    /// `podSelector`.
    pub pods: Selector,
}

/// Namespaces of a peer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// The policy's own.
    Own(String),
    /// Those that a `namespaceSelector` matches.
    Matching(Selector),
}

impl PodsPeer {
    /// The peer of a policy in `namespace`.
    pub fn new(peer: &PodPeer, namespace: &str) -> Self {
        let scope = match &peer.namespaces {
            None => Scope::Own(namespace.to_owned()),
            Some(selector) => Scope::Matching(selector.clone()),
        };
        Self { scope, pods: peer.pods.clone() }
    }

    fn content(&self, content: Content) -> Content {
        let content = match &self.scope {
            Scope::Own(namespace) => content.text("own").text(namespace),
            Scope::Matching(selector) => selector_content(content.text("all"), selector),
        };
        selector_content(content, &self.pods)
    }
}

/// `dev: app=web` or `namespaces env=prod: <all>`.
impl fmt::Display for PodsPeer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.scope {
            Scope::Own(namespace) => write!(f, "{namespace}: {}", self.pods),
            Scope::Matching(selector) => write!(f, "namespaces {selector}: {}", self.pods),
        }
    }
}

fn selector_content(content: Content, selector: &Selector) -> Content {
    let count = selector.requirements().count().to_string();
    selector.requirements().fold(content.text(&count), |content, requirement| {
        let content = content.text(&requirement.key);
        match &requirement.operator {
            policy::Operator::In(values) => content.text("In").texts(values),
            policy::Operator::NotIn(values) => content.text("NotIn").texts(values),
            policy::Operator::Exists => content.text("Exists"),
            policy::Operator::DoesNotExist => content.text("DoesNotExist"),
        }
    })
}

impl SetSource {
    /// The name of the set.
    pub fn name(&self) -> Name {
        match self {
            Self::Pods(family, peer) => peer
                .content(Content::of("pods"))
                .named(&format!("p{}", family.digit()), &Readable(peer)),
            Self::AnyOf(family, peers) => {
                let content = Content::of("any of").text(&peers.len().to_string());
                let content = peers.iter().fold(content, |content, peer| peer.content(content));
                content.named(&format!("p{}", family.digit()), &format!("any-of-{}", peers.len()))
            }
            Self::NamedPort(family, peer, port, protocol) => {
                let content = match peer {
                    Some(peer) => peer.content(Content::of("port")),
                    None => Content::of("port of any pod"),
                };
                content
                    .text(port)
                    .text(&protocol.to_string())
                    .named(&format!("n{}", family.digit()), port)
            }
            Self::Blocks(family, ranges) => {
                let readable = ranges.first().map(ToString::to_string).unwrap_or_default();
                Content::of("blocks")
                    .texts(ranges.iter().map(ToString::to_string))
                    .named(&format!("c{}", family.digit()), &readable.replace(':', "-"))
            }
            Self::Ports(ports) => {
                let first = ports.first().map(ToString::to_string).unwrap_or_default();
                let readable = format!("{first}-and-{}-more", ports.len().saturating_sub(1));
                Content::of("ports")
                    .texts(ports.iter().map(ToString::to_string))
                    .named("t", &readable)
            }
        }
    }

    /// The set with its present elements.
    pub(crate) fn set(&self, cluster: &ClusterIndex) -> Set {
        Set::new(self.set_type(), Some(self.comment())).with(self.elements(cluster))
    }

    /// The type of the set.
    pub fn set_type(&self) -> SetType {
        match self {
            Self::Pods(family, _) | Self::AnyOf(family, _) => SetType::Address(*family),
            Self::NamedPort(family, ..) => SetType::AddressPort(*family),
            Self::Blocks(family, _) => SetType::AddressRange(*family),
            Self::Ports(_) => SetType::Port,
        }
    }

    /// The present elements of the set.
    fn elements(&self, cluster: &ClusterIndex) -> BTreeSet<Element> {
        let of_pods = |pods: Vec<&Pod>| -> BTreeSet<Element> {
            pods.into_iter()
                .flat_map(|pod| cluster.addresses_of(pod).map(move |address| (pod, address)))
                .flat_map(|(pod, address)| self.elements_at(pod, address))
                .collect()
        };
        match self {
            Self::Pods(_, peer) | Self::NamedPort(_, Some(peer), ..) => {
                of_pods(cluster.selected(peer))
            }
            Self::AnyOf(_, peers) => {
                of_pods(peers.iter().flat_map(|peer| cluster.selected(peer)).collect())
            }
            Self::NamedPort(_, None, ..) => of_pods(cluster.pods().collect()),
            Self::Blocks(_, ranges) => ranges.iter().map(|range| Element::Range(*range)).collect(),
            Self::Ports(ports) => ports.iter().map(|port| Element::Port(*port)).collect(),
        }
    }

    /// The elements of the set for an address that this pod owns.
    pub(crate) fn elements_of(
        &self,
        cluster: &ClusterIndex,
        pod: &Pod,
        address: IpAddr,
    ) -> Vec<Element> {
        let selected = match self {
            Self::Pods(_, peer) | Self::NamedPort(_, Some(peer), ..) => cluster.selects(peer, pod),
            Self::AnyOf(_, peers) => peers.iter().any(|peer| cluster.selects(peer, pod)),
            Self::NamedPort(_, None, ..) => true,
            Self::Blocks(..) | Self::Ports(_) => false,
        };
        if selected { self.elements_at(pod, address) } else { Vec::new() }
    }

    /// The same for a pod that is selected.
    fn elements_at(&self, pod: &Pod, address: IpAddr) -> Vec<Element> {
        match self {
            Self::Pods(family, _) | Self::AnyOf(family, _) if Family::of(address) == *family => {
                vec![Element::Address(address)]
            }
            Self::NamedPort(family, _, port, protocol) if Family::of(address) == *family => {
                let numbers = pod.named_ports(port, *protocol).into_iter();
                numbers.map(|number| Element::AddressPort(address, number)).collect()
            }
            _ => Vec::new(),
        }
    }

    /// The peers that select the set's pods; `None` among them selects every pod.
    /// Empty for sets that do not depend on pods.
    pub(crate) fn peers(&self) -> Vec<Option<&PodsPeer>> {
        match self {
            Self::Pods(_, peer) => vec![Some(peer)],
            Self::AnyOf(_, peers) => peers.iter().map(Some).collect(),
            Self::NamedPort(_, peer, ..) => vec![peer.as_ref()],
            Self::Blocks(..) | Self::Ports(_) => Vec::new(),
        }
    }

    /// The comment of the set: what it represents, for people.
    pub fn comment(&self) -> Comment {
        Comment::new(&match self {
            Self::Pods(_, peer) => format!("pods of {peer}"),
            Self::AnyOf(_, peers) => format!("pods of any of {} peers", peers.len()),
            Self::NamedPort(_, Some(peer), port, protocol) => {
                format!("port {port}/{protocol} of {peer}")
            }
            Self::NamedPort(_, None, port, protocol) => {
                format!("port {port}/{protocol} of all pods")
            }
            Self::Blocks(_, ranges) => format!("ipBlocks, {} ranges", ranges.len()),
            Self::Ports(ports) => format!("{} ports", ports.len()),
        })
    }
}

/// The readable part of a pod set's name.
struct Readable<'a>(&'a PodsPeer);

impl fmt::Display for Readable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = |selector: &Selector| match selector.is_everything() {
            true => "all".to_owned(),
            false => selector.to_string().replace('=', "-"),
        };
        match &self.0.scope {
            Scope::Own(namespace) => write!(f, "{namespace}/{}", all(&self.0.pods)),
            Scope::Matching(selector) => write!(f, "{}/{}", all(selector), all(&self.0.pods)),
        }
    }
}
