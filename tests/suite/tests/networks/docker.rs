//! Pods of two containers, as Docker joins a container to the network of another. To
//! all others both containers are the pod. They reach each other whatever the
//! policies say.

use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use netbed::scenario;
use netbed::testbed::Endpoint;
use samples::fixtures;
use samples::testbed_spec::{Families, Network};

/// The ports of the two containers.
const PORTS: [u16; 2] = [8001, 8002];
const MOMENT: Duration = Duration::from_millis(250);

/// The pair accepts port 8001 from its friend and may send to no one.
fn policy() -> String {
    let ingress = format!("[{{from: [{}], ports: [{{port: 8001}}]}}]", fixtures::peer("friend"));
    fixtures::policy_for("pair", &[("ingress", &ingress), ("policyTypes", "[Ingress, Egress]")])
}

fn connects(from: &Endpoint, to: (IpAddr, u16)) -> Result<bool> {
    let to = SocketAddr::from(to);
    Ok(from.namespace.run(|| TcpStream::connect_timeout(&to, MOMENT))?.is_ok())
}

/// The server of a container. As in a real container, the thread that opens it enters
/// the pod's namespace itself.
fn container(pod: &Endpoint, port: u16) -> Result<Vec<TcpListener>> {
    let at = pod.addresses.iter().copied().chain([IpAddr::from([127, 0, 0, 1])]);
    let listen = || at.map(|address| TcpListener::bind((address, port))).collect::<Vec<_>>();
    let listeners = pod.namespace.run(listen)?.into_iter();
    listeners.map(|listener| listener.context("listen")).collect()
}

#[test]
fn networks_of_joined_containers() -> Result<()> {
    for network in [Network::Bridge, Network::Routed] {
        let names = ["pair", "friend", "stranger"];
        let spec = fixtures::dev_pods(network, &["node-1"], &names, Families::Both);
        let testbed = scenario::connected(spec, "nw")?;
        let pair = testbed.endpoint("dev/pair")?;
        let (friend, stranger) =
            (testbed.endpoint("dev/friend")?, testbed.endpoint("dev/stranger")?);
        let _containers =
            PORTS.map(|port| container(pair, port)).into_iter().collect::<Result<Vec<_>>>()?;
        let _friend = container(friend, PORTS[0])?;
        scenario::apply(&testbed, &policy())?;
        for v6 in [false, true] {
            let address = |endpoint: &Endpoint| endpoint.address(v6).context("an address");
            for (from, to, port, expected) in [
                (friend, pair, PORTS[0], true),
                (friend, pair, PORTS[1], false),
                (stranger, pair, PORTS[0], false),
                (stranger, pair, PORTS[1], false),
                (pair, friend, PORTS[0], false),
                (stranger, friend, PORTS[0], true),
                (pair, pair, PORTS[0], true),
                (pair, pair, PORTS[1], true),
            ] {
                let seen = connects(from, (address(to)?, port))?;
                let what = format!("{network:?}: {} to {} port {port}", from.name, to.name);
                ensure!(seen == expected, "{what} over {}: {seen}", address(to)?);
            }
        }
        ensure!(connects(pair, ([127, 0, 0, 1].into(), PORTS[1]))?, "{network:?}: loopback");
    }
    Ok(())
}
