//! What is behind a Service, or behind a port of a node.
//!
//! In: a Service and a port of it. Out: its endpoints, each with the port there.
//! Never: another endpoint than the API server would find.

use std::net::IpAddr;

use policy::spec::ProtocolPort;
use policy::{ObjectKey, Pod, Protocol};

use super::super::end::{AskedPort, NumberOrName};
use super::super::judge::Judge;
use super::super::places::{self, Place};
use super::{Target, TargetError, Through};
use crate::cluster::{Service, ServicePort, TargetPort};

/// The pods behind a port of a node, if a Service has it.
///
/// # Errors
/// See [`TargetError`].
pub fn node_port<'a>(
    judge: &Judge<'a>,
    place: &Place<'a>,
    asked: Option<&AskedPort>,
) -> Result<Option<Vec<Target<'a>>>, TargetError> {
    let (Some(AskedPort { protocol, port: NumberOrName::Number(number) }), Some(node)) =
        (asked, place.node.as_ref().filter(|_| place.pod.is_none()))
    else {
        return Ok(None);
    };
    let has = |port: &&ServicePort| port.protocol == *protocol && port.node_port == Some(*number);
    let services = judge.cluster.services.iter();
    let Some((key, service, port)) = services
        .filter_map(|(key, service)| Some((key, service, service.ports.iter().find(has)?)))
        .next()
    else {
        return Ok(None);
    };
    let mut targets = endpoints(judge, key, service, port)?;
    for target in &mut targets {
        let at_node = format!("port {protocol} {number} of node/{node} is that of Service {key}");
        target.hops.insert(0, at_node);
        target.through = Through::NodePort {
            node: node.clone(),
            addresses: place.addresses.clone(),
            transport: ProtocolPort::Port(*protocol, *number),
            keeps_client: service.keeps_client_address,
        };
    }
    Ok(Some(targets))
}

/// The pods behind a Service's ports, or behind the one that is asked about.
///
/// # Errors
/// See [`TargetError`].
pub fn of_service<'a>(
    judge: &Judge<'a>,
    key: &'a ObjectKey,
    service: &'a Service,
    asked: Option<&AskedPort>,
) -> Result<Vec<Target<'a>>, TargetError> {
    let is_asked = |port: &&ServicePort| {
        asked.is_none_or(|asked| {
            port.protocol == asked.protocol
                && match &asked.port {
                    NumberOrName::Number(number) => port.port == *number,
                    NumberOrName::Name(name) => port.name == *name,
                }
        })
    };
    let ports: Vec<&ServicePort> = service.ports.iter().filter(is_asked).collect();
    if ports.is_empty() {
        return Err(TargetError::NoServicePort {
            service: key.clone(),
            asked: asked.map(ToString::to_string).unwrap_or_default(),
            ports: service.ports.iter().map(described).collect(),
        });
    }
    let mut targets = Vec::new();
    for port in ports {
        targets.extend(endpoints(judge, key, service, port)?);
    }
    Ok(targets)
}

/// `http 80 -> 8080`.
fn described(port: &ServicePort) -> String {
    let ServicePort { name, protocol, port, target, .. } = port;
    let name = if name.is_empty() { String::new() } else { format!("{name} ") };
    let protocol = match protocol {
        Protocol::Tcp => String::new(),
        Protocol::Udp | Protocol::Sctp => format!("/{protocol}"),
    };
    match target {
        TargetPort::Number(number) => format!("{name}{port}{protocol} -> {number}"),
        TargetPort::Name(target) => format!("{name}{port}{protocol} -> {target}"),
    }
}

fn endpoints<'a>(
    judge: &Judge<'a>,
    key: &'a ObjectKey,
    service: &'a Service,
    port: &ServicePort,
) -> Result<Vec<Target<'a>>, TargetError> {
    let cluster = judge.cluster;
    let Some(selector) = &service.selector else { return by_hand(judge, key, service, port) };
    let none = |why: String| TargetError::NoEndpoints { service: key.clone(), why };
    let pods = cluster.snapshot.pods.values().map(|pod| &**pod);
    let selected: Vec<&Pod> = pods
        .filter(|pod| pod.key.namespace == key.namespace && selector.matches(&pod.labels))
        .collect();
    if selected.is_empty() {
        return Err(none(format!("no pod of {} has {selector}", key.namespace)));
    }
    let mut targets = Vec::new();
    for pod in selected {
        let Ok(place) = places::of_pod(cluster, &judge.reach, pod) else { continue };
        let numbers = match &port.target {
            TargetPort::Number(number) => vec![*number],
            TargetPort::Name(name) => pod.named_ports(name, port.protocol),
        };
        // The API's endpoints have the first port of that name.
        let Some(number) = numbers.first() else { continue };
        targets.push(Target {
            place,
            transport: Some(ProtocolPort::Port(port.protocol, *number)),
            hops: vec![format!(
                "Service {key} port {} ({selector}): the destination becomes the pod's port {number}",
                port.port
            )],
            through: through(key, service),
        });
    }
    match (targets.is_empty(), &port.target) {
        (false, _) => Ok(targets),
        (true, TargetPort::Name(name)) => {
            Err(none(format!("no pod that it selects has a {} port named {name}", port.protocol)))
        }
        (true, TargetPort::Number(_)) => {
            Err(none("all pods that it selects have ended".to_owned()))
        }
    }
}

/// The endpoints of a Service without a selector.
fn by_hand<'a>(
    judge: &Judge<'a>,
    key: &ObjectKey,
    service: &Service,
    port: &ServicePort,
) -> Result<Vec<Target<'a>>, TargetError> {
    let none = || TargetError::NoSelector(key.clone());
    let endpoints = judge.cluster.endpoints.get(key).ok_or_else(none)?;
    let of_protocol = |one: &&(Protocol, u16)| one.0 == port.protocol;
    let number = match (&port.target, endpoints.ports.iter().find(of_protocol)) {
        (TargetPort::Number(number), _) | (TargetPort::Name(_), Some((_, number))) => *number,
        (TargetPort::Name(_), None) => return Err(none()),
    };
    let target = |address: &IpAddr| Target {
        place: places::at(judge.cluster, &judge.reach, *address),
        transport: Some(ProtocolPort::Port(port.protocol, number)),
        hops: vec![format!(
            "Service {key} port {} (endpoints by hand): the destination becomes port {number} there",
            port.port
        )],
        through: through(key, service),
    };
    let targets: Vec<Target<'a>> = endpoints.addresses.iter().map(target).collect();
    if targets.is_empty() { Err(none()) } else { Ok(targets) }
}

fn through(key: &ObjectKey, service: &Service) -> Through {
    Through::Service {
        key: key.clone(),
        is_external: service.kind != "ClusterIP" && !service.kind.is_empty(),
        by_external_address: false,
        keeps_client: service.keeps_client_address,
    }
}
