//! What each named set represents, and its elements.
//!
//! In: a [`SetSource`], from which the set's name is made, and a
//! `ClusterIndex`. Out: the set's type, comment and elements. A set keeps its
//! source for life. Only its elements change with the cluster.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use policy::{NamedPort, Pod, PodPeer, Protocol, Selector};
use ruleset::{AddressRange, Comment, Element, Family, Name, Set, SetType, Store, Transport};

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
    AnyOf(Family, Arc<BTreeSet<PodsPeer>>),
    /// Addresses of one family with the ports that have a name there.
    NamedPorts(Family, Arc<NamedPorts>),
    /// Ranges of ipBlocks: disjoint, sorted, of one family.
    Blocks(Family, Vec<AddressRange>),
    /// Destination ports, in order.
    Ports(Vec<(Transport, u16)>),
    /// Single addresses of ipBlocks, each with a destination port of this protocol, in
    /// order.
    Ends(Family, Transport, Vec<(IpAddr, u16)>),
}

/// Address and port of each pod that has a port of one of these names, and that one of
/// the peers selects if there are any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedPorts {
    /// `None`: all pods.
    pub peers: Option<BTreeSet<PodsPeer>>,
    /// The names.
    pub names: BTreeSet<String>,
    /// The protocol of all.
    pub protocol: Protocol,
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

impl NamedPorts {
    fn content(&self) -> Content {
        let content = match (&self.peers, self.names.first(), self.names.len()) {
            (None, Some(name), 1) => Content::of("port of any pod").text(name),
            (Some(peers), Some(name), 1) if peers.len() == 1 => {
                let peers = peers.iter();
                peers.fold(Content::of("port"), |content, peer| peer.content(content)).text(name)
            }
            (None, ..) => Content::of("ports of any pod").texts(&self.names),
            (Some(peers), ..) => any_of(Content::of("ports"), peers).texts(&self.names),
        };
        content.text(&self.protocol.to_string())
    }

    /// The numbers of a pod's ports with one of the names, each once.
    fn of(&self, pod: &Pod) -> impl Iterator<Item = u16> {
        let ports = pod.ports.iter().filter(|port| self.is_one(port));
        ports.map(|port| port.port).collect::<BTreeSet<u16>>().into_iter()
    }

    fn has_any(&self, pod: &Pod) -> bool {
        pod.ports.iter().any(|port| self.is_one(port))
    }

    fn is_one(&self, port: &NamedPort) -> bool {
        port.protocol == self.protocol && self.names.contains(&port.name)
    }
}

/// `port http/TCP of dev: app=web`.
impl fmt::Display for NamedPorts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.names.first(), self.names.len()) {
            (Some(name), 1) => write!(f, "port {name}/{}", self.protocol)?,
            (_, count) => write!(f, "{count} port names/{}", self.protocol)?,
        }
        match &self.peers {
            Some(peers) => match (peers.first(), peers.len()) {
                (Some(peer), 1) => write!(f, " of {peer}"),
                (_, count) => write!(f, " of any of {count} peers"),
            },
            None => f.write_str(" of all pods"),
        }
    }
}

fn any_of(content: Content, peers: &BTreeSet<PodsPeer>) -> Content {
    let content = content.text(&peers.len().to_string());
    peers.iter().fold(content, |content, peer| peer.content(content))
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
    /// The name of the set, if no other set of its table has the same tag. All but ranges
    /// of ipBlocks are stored.
    pub fn name(&self) -> Name {
        match self.store() {
            Some(store) => self.content().stored(store),
            None => self.own_name(),
        }
    }

    /// The name of the set as one of its own.
    pub fn own_name(&self) -> Name {
        let kind = match self {
            Self::Blocks(family, _) => format!("c{}", family.digit()),
            Self::Pods(family, _)
            | Self::AnyOf(family, _)
            | Self::NamedPorts(family, _)
            | Self::Ends(family, ..) => format!("s{}", family.digit()),
            Self::Ports(_) => "s".to_owned(),
        };
        let readable = match self {
            Self::Blocks(_, ranges) => ranges.first().map(ToString::to_string).unwrap_or_default(),
            Self::Pods(..)
            | Self::AnyOf(..)
            | Self::NamedPorts(..)
            | Self::Ports(_)
            | Self::Ends(..) => self.to_string(),
        };
        self.content().named(&kind, &readable.replace(':', "-"))
    }

    /// Where the set is stored, if its name is that of a stored set.
    const fn store(&self) -> Option<Store> {
        match self {
            Self::Pods(family, _) | Self::AnyOf(family, _) => Some(Store::Addresses(*family)),
            Self::NamedPorts(family, _) | Self::Ends(family, ..) => {
                Some(Store::AddressPorts(*family))
            }
            Self::Ports(_) => Some(Store::Ports),
            Self::Blocks(..) => None,
        }
    }

    /// All that the set represents but for its family.
    fn content(&self) -> Content {
        match self {
            Self::Pods(_, peer) => peer.content(Content::of("pods")),
            Self::AnyOf(_, peers) => any_of(Content::of("any of"), peers),
            Self::NamedPorts(_, ports) => ports.content(),
            Self::Blocks(_, ranges) => {
                Content::of("blocks").texts(ranges.iter().map(ToString::to_string))
            }
            Self::Ports(ports) => {
                let ports =
                    ports.iter().map(|(transport, port)| format!("{}/{port}", transport.keyword()));
                Content::of("ports").texts(ports)
            }
            Self::Ends(_, transport, ends) => {
                let ends = ends.iter().map(|(address, port)| format!("{address} {port}"));
                Content::of("ends").text(transport.keyword()).texts(ends)
            }
        }
    }

    /// The set of this name with its present elements.
    pub(crate) fn set(&self, name: &Name, cluster: &ClusterIndex) -> Set {
        Set::new(self.set_type(), self.comment(name)).with(self.elements(cluster))
    }

    /// How many elements the set takes whatever pods there are: ports, ranges, and peers
    /// that share it.
    pub fn own_elements(&self) -> u64 {
        match self {
            Self::Pods(..) => 0,
            // Both families share one list of peers.
            Self::AnyOf(Family::V4, peers) => peers.len() as u64,
            Self::AnyOf(Family::V6, _) | Self::NamedPorts(..) => 0,
            Self::Blocks(_, ranges) => ranges.len() as u64,
            Self::Ports(ports) => ports.len() as u64,
            Self::Ends(_, _, ends) => ends.len() as u64,
        }
    }

    /// The type of the set.
    pub fn set_type(&self) -> SetType {
        match self {
            Self::Pods(family, _) | Self::AnyOf(family, _) => SetType::Address(*family),
            Self::NamedPorts(family, _) | Self::Ends(family, ..) => SetType::AddressPort(*family),
            Self::Blocks(family, _) => SetType::AddressRange(*family),
            Self::Ports(_) => SetType::ProtocolPort,
        }
    }

    /// The family of the addresses in the set; none in one of ports.
    pub(crate) fn family(&self) -> Option<Family> {
        match self {
            Self::Pods(family, _)
            | Self::AnyOf(family, _)
            | Self::NamedPorts(family, _)
            | Self::Blocks(family, _)
            | Self::Ends(family, ..) => Some(*family),
            Self::Ports(_) => None,
        }
    }

    /// How many elements the set has because of pods.
    pub(crate) fn count(&self, cluster: &ClusterIndex) -> u64 {
        match self {
            Self::Pods(family, peer) => {
                let pods = cluster.selected(peer).into_iter();
                let addresses = pods.flat_map(|pod| cluster.addresses_of(pod));
                addresses.filter(|address| Family::of(*address) == *family).count() as u64
            }
            Self::AnyOf(..) | Self::NamedPorts(..) => self.elements(cluster).len() as u64,
            Self::Blocks(..) | Self::Ports(_) | Self::Ends(..) => 0,
        }
    }

    /// The present elements of the set.
    fn elements(&self, cluster: &ClusterIndex) -> BTreeSet<Element> {
        let of_pods = |pods: &mut dyn Iterator<Item = &Pod>| -> BTreeSet<Element> {
            pods.flat_map(|pod| cluster.addresses_of(pod).map(move |address| (pod, address)))
                .flat_map(|(pod, address)| self.elements_at(pod, address))
                .collect()
        };
        let any_of = |peers: &BTreeSet<PodsPeer>| {
            of_pods(&mut peers.iter().flat_map(|peer| cluster.selected(peer)))
        };
        match self {
            Self::Pods(_, peer) => of_pods(&mut cluster.selected(peer).into_iter()),
            Self::AnyOf(_, peers) => any_of(peers),
            Self::NamedPorts(_, ports) => match &ports.peers {
                Some(peers) => any_of(peers),
                None => of_pods(&mut cluster.pods()),
            },
            Self::Blocks(_, ranges) => ranges.iter().map(|range| Element::Range(*range)).collect(),
            Self::Ports(ports) => {
                let ports = ports.iter();
                ports.map(|(transport, port)| Element::ProtocolPort(*transport, *port)).collect()
            }
            Self::Ends(_, _, ends) => {
                ends.iter().map(|(address, port)| Element::AddressPort(*address, *port)).collect()
            }
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
            Self::Pods(_, peer) => cluster.selects(peer, pod),
            Self::AnyOf(_, peers) => peers.iter().any(|peer| cluster.selects(peer, pod)),
            Self::NamedPorts(_, ports) => ports.peers.as_ref().is_none_or(|peers| {
                ports.has_any(pod) && peers.iter().any(|peer| cluster.selects(peer, pod))
            }),
            Self::Blocks(..) | Self::Ports(_) | Self::Ends(..) => false,
        };
        if selected { self.elements_at(pod, address) } else { Vec::new() }
    }

    /// The same for a pod that is selected.
    fn elements_at(&self, pod: &Pod, address: IpAddr) -> Vec<Element> {
        match self {
            Self::Pods(family, _) | Self::AnyOf(family, _) if Family::of(address) == *family => {
                vec![Element::Address(address)]
            }
            Self::NamedPorts(family, ports) if Family::of(address) == *family => {
                ports.of(pod).map(|number| Element::AddressPort(address, number)).collect()
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
            Self::NamedPorts(_, ports) => match &ports.peers {
                Some(peers) => peers.iter().map(Some).collect(),
                None => vec![None],
            },
            Self::Blocks(..) | Self::Ports(_) | Self::Ends(..) => Vec::new(),
        }
    }

    /// The comment of the set of this name. A stored one has none.
    pub fn comment(&self, name: &Name) -> Option<Comment> {
        name.stored().is_none().then(|| Comment::new(&self.to_string()))
    }
}

/// For people: `pods of dev: app=web`.
impl fmt::Display for SetSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pods(_, peer) => write!(f, "pods of {peer}"),
            Self::AnyOf(_, peers) => write!(f, "pods of any of {} peers", peers.len()),
            Self::NamedPorts(_, ports) => ports.fmt(f),
            Self::Blocks(_, ranges) => write!(f, "ipBlocks, {} ranges", ranges.len()),
            Self::Ports(ports) => write!(f, "{} ports", ports.len()),
            Self::Ends(_, transport, ends) => {
                write!(f, "ipBlocks, {} addresses with a port/{}", ends.len(), transport.keyword())
            }
        }
    }
}
