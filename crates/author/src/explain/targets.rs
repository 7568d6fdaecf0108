//! The destinations that an end names: pods, addresses, and what Services lead to.
//!
//! In: an end, the cluster. Out: targets, each with the port that policies see there.
//! Never: another pod behind a Service than the API server would find.

mod behind;

use std::net::IpAddr;

use policy::ObjectKey;
use policy::spec::ProtocolPort;
use thiserror::Error;

use super::end::{AskedPort, End, Named, NumberOrName};
use super::judge::Judge;
use super::places::{self, Place, PlaceError, suggested};
use crate::cluster::Cluster;

/// Where packets end.
#[derive(Clone, Debug)]
pub struct Target<'a> {
    /// The pod, node or address.
    pub place: Place<'a>,
    /// Protocol and port there.
    pub transport: Option<ProtocolPort>,
    /// What leads there, for people.
    pub hops: Vec<String>,
    /// What leads there.
    pub through: Through,
}

/// What leads to a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Through {
    /// Nothing: its own address.
    Direct,
    /// A Service's address.
    Service {
        /// Such as `shop/cart`.
        key: ObjectKey,
        /// Clients outside reach it, too.
        is_external: bool,
        /// It was asked for by an address for clients outside: of a load balancer, an external
        /// IP.
        by_external_address: bool,
        /// `externalTrafficPolicy: Local`.
        keeps_client: bool,
    },
    /// A port of a node.
    NodePort {
        /// The node.
        node: String,
        /// Its addresses.
        addresses: Vec<IpAddr>,
        /// The port there.
        transport: ProtocolPort,
        /// `externalTrafficPolicy: Local`.
        keeps_client: bool,
    },
}

/// A destination that leads nowhere.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TargetError {
    /// No place.
    #[error(transparent)]
    Place(#[from] PlaceError),
    /// No such Service.
    #[error("there is no Service {name}{}", if .near.is_empty() { String::new() } else {
        format!("; the nearest names are {}", .near.join(", ")) })]
    NoService {
        /// Its name.
        name: String,
        /// Services that are there.
        near: Vec<String>,
    },
    /// A Service has other ports.
    #[error("Service {service} has no port {asked}; it has {}", .ports.join(", "))]
    NoServicePort {
        /// The Service.
        service: ObjectKey,
        /// The port.
        asked: String,
        /// Its ports.
        ports: Vec<String>,
    },
    /// No pod has a port of that name.
    #[error("{name} has no {asked}; its named ports are {}", if .ports.is_empty() {
        "none".to_owned() } else { .ports.join(", ") })]
    NoNamedPort {
        /// The pods.
        name: String,
        /// The port.
        asked: String,
        /// What there is.
        ports: Vec<String>,
    },
    /// Endpoints by hand.
    #[error(
        "Service {0} has no selector, so its endpoints are written by hand; ask about their addresses"
    )]
    NoSelector(ObjectKey),
    /// A Service that selects no pod.
    #[error("no pod is behind Service {service}: {why}")]
    NoEndpoints {
        /// The Service.
        service: ObjectKey,
        /// Why.
        why: String,
    },
    /// A port's name at something that is no pod.
    #[error("{0} is no pod, and only pods and Services have port names; write a number")]
    NameOfNoPod(String),
}

impl Through {
    /// A Service that was asked for by one of its addresses.
    fn by_address(&mut self, is_external: bool) {
        match self {
            Self::Service { by_external_address, .. } => *by_external_address = is_external,
            Self::Direct | Self::NodePort { .. } => {}
        }
    }
}

impl Target<'_> {
    /// Whether the way there depends on nodes.
    pub fn is_by_node(&self) -> bool {
        self.through != Through::Direct
    }
}

/// The targets of an end.
///
/// # Errors
/// See [`TargetError`].
pub fn of<'a>(judge: &Judge<'a>, end: &End) -> Result<Vec<Target<'a>>, TargetError> {
    let cluster = judge.cluster;
    match &end.named {
        Named::Service(key) => {
            let found = cluster.services.get_key_value(key);
            let (key, service) = found.ok_or_else(|| no_service(cluster, key))?;
            behind::of_service(judge, key, service, end.port.as_ref())
        }
        Named::Address(address) => {
            match cluster.services.iter().find(|(_, one)| one.addresses.contains(address)) {
                Some((key, service)) => {
                    let mut targets = behind::of_service(judge, key, service, end.port.as_ref())?;
                    let is_external = service.external_addresses.contains(address);
                    targets.iter_mut().for_each(|one| one.through.by_address(is_external));
                    Ok(targets)
                }
                None => of_places(judge, end),
            }
        }
        Named::Internet
        | Named::Node(_)
        | Named::PodOrWorkload(_)
        | Named::Workload(..)
        | Named::Selected(..)
        | Named::AllOf(_) => of_places(judge, end),
    }
}

fn no_service(cluster: &Cluster, key: &ObjectKey) -> TargetError {
    let names: Vec<String> = cluster.services.keys().map(ToString::to_string).collect();
    let near = suggested(&key.to_string(), names.iter().map(String::as_str));
    TargetError::NoService { name: key.to_string(), near }
}

fn of_places<'a>(judge: &Judge<'a>, end: &End) -> Result<Vec<Target<'a>>, TargetError> {
    let places = places::of(judge.cluster, &judge.reach, end)?;
    let mut targets = Vec::new();
    for place in &places {
        if let Some(behind) = behind::node_port(judge, place, end.port.as_ref())? {
            targets.extend(behind);
            continue;
        }
        let direct = |transport| Target {
            place: place.clone(),
            transport,
            hops: Vec::new(),
            through: Through::Direct,
        };
        match &end.port {
            None => targets.push(direct(None)),
            Some(asked) => {
                targets.extend(numbers(asked, place)?.into_iter().map(|one| direct(Some(one))));
            }
        }
    }
    if targets.is_empty() {
        return Err(no_named_port(&places, end));
    }
    Ok(targets)
}

fn no_named_port(places: &[Place<'_>], end: &End) -> TargetError {
    let pods = places.iter().filter_map(|place| place.pod);
    let ports: std::collections::BTreeSet<String> = pods
        .flat_map(|pod| &pod.ports)
        .map(|one| format!("{} ({} {})", one.name, one.protocol, one.port))
        .collect();
    TargetError::NoNamedPort {
        name: end.text.clone(),
        asked: end.port.as_ref().map(ToString::to_string).unwrap_or_default(),
        ports: ports.into_iter().collect(),
    }
}

/// What a port is at a place; empty if the pod lacks the name.
fn numbers(asked: &AskedPort, place: &Place<'_>) -> Result<Vec<ProtocolPort>, TargetError> {
    let port = |number| ProtocolPort::Port(asked.protocol, number);
    match (&asked.port, place.pod) {
        (NumberOrName::Number(number), _) => Ok(vec![port(*number)]),
        (NumberOrName::Name(name), Some(pod)) => {
            Ok(pod.named_ports(name, asked.protocol).into_iter().map(port).collect())
        }
        (NumberOrName::Name(_), None) => Err(TargetError::NameOfNoPod(place.name.clone())),
    }
}
