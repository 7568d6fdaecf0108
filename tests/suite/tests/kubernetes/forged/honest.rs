//! The honest ways beside the attacks: an echo of datagrams on each.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Context, Result};
use netbed::testbed::Endpoint;

use super::attacks::Stage;
use super::cast::{BACKEND, Cast, NAMESPACE, NODE_PORTS};
use super::socket::{at, bind, next_port, receive};
use crate::scene::addresses;

/// How often a way is tried until an answer comes. A busy machine may need more than
/// one try.
const TRIES: usize = 4;

impl Stage<'_> {
    /// The honest ways that are shut.
    pub fn lost(&self) -> Result<Vec<String>> {
        let mut lost = Vec::new();
        for &v6 in self.scene.kubernetes.options().families() {
            for (from, to) in self.pods() {
                let server = at(to, v6, next_port())?;
                self.note(&mut lost, from, server, (to, server))?;
            }
            let backend = at(&self.cast.attacker, v6, BACKEND)?;
            for (from, service) in self.services(v6)? {
                self.note(&mut lost, from, service, (&self.cast.attacker, backend))?;
            }
        }
        Ok(lost)
    }

    /// Pods and nodes that may open flows to pods.
    fn pods(&self) -> Vec<(&Endpoint, &Endpoint)> {
        let Cast { attacker, silent, friend, victim, choosy, open } = self.cast;
        let mut ways = vec![
            (friend, choosy),
            (friend, attacker),
            (friend, silent),
            (open, silent),
            (attacker, open),
            (attacker, friend),
            (victim, open),
            (victim, friend),
            (choosy, attacker),
        ];
        let nodes: Vec<&Endpoint> = self.scene.kubernetes.cluster().nodes().take(2).collect();
        if let [first, second] = nodes[..] {
            ways.extend([(first, attacker), (first, silent), (second, victim), (second, choosy)]);
            ways.extend([(first, open), (second, friend)]);
        }
        ways
    }

    /// Who may use the attacker's Services, and by which address.
    fn services(&self, v6: bool) -> Result<Vec<(&Endpoint, SocketAddr)>> {
        let Cast { attacker, friend, victim, open, .. } = self.cast;
        let cluster = self.scene.kubernetes.cluster();
        let outsider = cluster.endpoint("outsider")?;
        let mut ways = Vec::new();
        for (policy, port) in NODE_PORTS {
            let address = self.cluster_address(&policy.to_lowercase(), v6)?;
            let service = SocketAddr::new(address, 53);
            ways.extend([friend, open, victim, attacker].map(|from| (from, service)));
            let (first, second) = (cluster.endpoint("node-1")?, cluster.endpoint("node-2")?);
            let (first, second) = (at(first, v6, port)?, at(second, v6, port)?);
            ways.extend([friend, open, victim, outsider].map(|from| (from, first)));
            ways.extend([open, victim].map(|from| (from, second)));
            if policy == "Cluster" {
                // Under the policy Local the answer to a pod beside the server does not
                // come back by the other node, which translated the address.
                ways.extend([friend, outsider].map(|from| (from, second)));
            }
        }
        Ok(ways)
    }

    fn cluster_address(&self, service: &str, v6: bool) -> Result<IpAddr> {
        let words = ["-n", NAMESPACE, "get", "service", service, "-o", "json"];
        let service = serde_json::from_str(&self.scene.kubectl(&words)?)?;
        let mut all = addresses(&service).into_iter();
        all.find(|address| address.is_ipv6() == v6).context("no such ClusterIP")
    }

    /// Asks `to`, which leads to the port of the server, and notes when no answer
    /// comes.
    fn note(
        &self,
        lost: &mut Vec<String>,
        from: &Endpoint,
        to: SocketAddr,
        (server, own): (&Endpoint, SocketAddr),
    ) -> Result<()> {
        let listening = bind(server, own)?;
        let any = if to.is_ipv6() { "[::]:0" } else { "0.0.0.0:0" };
        for _ in 0..TRIES {
            let asking = bind(from, any.parse()?)?;
            // A refusal is no answer.
            if asking.connect(to).and_then(|()| asking.send(b"ask!")).is_err() {
                continue;
            }
            let Some(asker) = receive(&listening) else { continue };
            listening.send_to(b"yes!", asker).ok();
            if receive(&asking).is_some() {
                return Ok(());
            }
        }
        lost.push(format!("{} to {} by {to}", from.name, server.name));
        Ok(())
    }
}
