//! Builds a described cluster from network namespaces.
//!
//! There is one network namespace for each node, each pod, the switch between the
//! nodes, and an outsider. Every endpoint reaches every other while no policy is in
//! force.
//! Never: policies, or rules of any firewall.
//!
//! ```text
//!            outsider           192.168.77.1, no pod
//!               |
//!   switch (bridge under0)      192.168.77.0/24, fd00:77::/64
//!      |                 |         \--- router .253 --- a far node, 192.168.78.0/24
//!   node-1 .11        node-2 .12    to each other's pods by routes or an overlay
//!      |                 |
//!   Bridge: pods are ports of cni0 in the node, 10.244.<node>.0/24
//!   Routed: each pod on its own veth with a /32 and a /128 route
//! ```

mod build;
mod further;
mod overlay;
mod tunnel;
mod turn;

use std::net::IpAddr;

use anyhow::{Context, Result};
use samples::testbed_spec::TestbedSpec;

use crate::net::Namespace;
pub use overlay::tunnel_hardware;
use tunnel::Tunnel;
pub use turn::{MOST_ENDPOINTS, Turn};

/// The testbed. Dropping it removes everything.
#[derive(Debug)]
pub struct Testbed {
    spec: TestbedSpec,
    /// Declared before the nodes, because it holds their devices.
    _tunnels: Vec<Tunnel>,
    endpoints: Vec<Endpoint>,
    switch: Namespace,
    router: Option<Namespace>,
    /// Last, so that the next testbed waits until this one is gone. Another view of one
    /// testbed has none.
    _turn: Option<Turn>,
}

/// Something that can send and receive.
#[derive(Debug)]
pub struct Endpoint {
    /// A pod's `namespace/name`, a node's name, or `outsider`.
    pub name: String,
    /// Its role.
    pub role: Role,
    /// The namespace of its sockets.
    pub namespace: Namespace,
    /// Its addresses, at most one of each family.
    pub addresses: Vec<IpAddr>,
}

/// The role of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// A pod on the node with this index.
    Pod {
        /// Index into [`TestbedSpec::nodes`].
        node: usize,
    },
    /// The node with this index.
    Node {
        /// Index into [`TestbedSpec::nodes`].
        node: usize,
    },
    /// Neither pod nor node.
    Outsider,
}

impl Testbed {
    /// Builds it once no other of this process is there. Namespace names are unique and
    /// begin with `prefix` (4 characters at most).
    ///
    /// # Errors
    /// Without root, or when `ip` refuses something.
    pub fn new(spec: TestbedSpec, prefix: &str) -> Result<Self> {
        build::build(spec, Turn::alone(), &|_| Namespace::new(prefix))
    }

    /// As [`Testbed::new`], and others may be there: for a test that mostly waits and
    /// measures no time shorter than seconds.
    ///
    /// # Errors
    /// As [`Testbed::new`], and when it has too many endpoints for that.
    pub fn beside(spec: TestbedSpec, prefix: &str) -> Result<Self> {
        build::build(spec, Turn::beside(), &|_| Namespace::new(prefix))
    }

    /// Builds it with readable namespace names: `<prefix>-<endpoint>`. The `/` of
    /// pods becomes `-`.
    ///
    /// # Errors
    /// As [`Testbed::new`], and when a name is taken.
    pub fn named(spec: TestbedSpec, prefix: &str) -> Result<Self> {
        build::build(spec, Turn::alone(), &|endpoint| {
            Namespace::named(&format!("{prefix}-{}", endpoint.replace('/', "-")))
        })
    }

    /// The description it was built from.
    pub fn spec(&self) -> &TestbedSpec {
        &self.spec
    }

    /// All pods except those in their node's network namespace, in the order of the
    /// description. Then all nodes and the outsider.
    pub fn endpoints(&self) -> &[Endpoint] {
        &self.endpoints
    }

    /// The endpoint with this name: `namespace/name`, a node, `outsider`.
    ///
    /// # Errors
    /// When there is none.
    pub fn endpoint(&self, name: &str) -> Result<&Endpoint> {
        self.endpoints
            .iter()
            .find(|endpoint| endpoint.name == name)
            .with_context(|| format!("no endpoint {name} in this cluster"))
    }

    /// The nodes, by index.
    pub fn nodes(&self) -> impl Iterator<Item = &Endpoint> {
        self.endpoints.iter().filter(|endpoint| matches!(endpoint.role, Role::Node { .. }))
    }

    /// The namespace of the switch between the nodes.
    pub fn switch(&self) -> &Namespace {
        &self.switch
    }

    /// Gives the switch's namespace an address that the nodes reach,
    /// `192.168.77.254` or `fd00:77::fe`, and routes to the pods. Servers that run
    /// there need both.
    ///
    /// # Errors
    /// When `ip` refuses it.
    pub fn services_address(&self, v6: bool) -> Result<IpAddr> {
        build::services_address(&self.spec, &self.switch, v6)
    }

    /// Removes the routes of the node with this index to the pods of other nodes.
    /// The caller adds new ones.
    ///
    /// # Errors
    /// When `ip` refuses it.
    pub fn remove_routes(&self, node: usize) -> Result<()> {
        build::remove_routes(self, node)
    }

    /// Adds a pod of namespace `dev` to the first node, without changing the
    /// description. `number` names its interface on the node, `veth<number>`.
    ///
    /// # Errors
    /// When `ip` refuses something.
    pub fn add_pod(&mut self, number: usize, name: &str, addresses: &[IpAddr]) -> Result<()> {
        let endpoint = build::further_pod(self, number, name, addresses)?;
        self.endpoints.push(endpoint);
        Ok(())
    }

    /// Removes a pod with its network namespace.
    ///
    /// # Errors
    /// When there is none.
    pub fn remove_pod(&mut self, name: &str) -> Result<()> {
        let found = self.endpoints.iter().position(|one| one.name == name && one.is_pod());
        let mut endpoint = self.endpoints.swap_remove(found.context("no such pod")?);
        endpoint.namespace.end()
    }

    /// Keeps the namespaces when this value is dropped. TUN devices end anyway.
    pub fn keep(&mut self) {
        self.switch.keep();
        self.router.iter_mut().for_each(Namespace::keep);
        for endpoint in &mut self.endpoints {
            endpoint.namespace.keep();
        }
    }
}

impl Endpoint {
    /// Its address in this family.
    pub fn address(&self, v6: bool) -> Option<IpAddr> {
        self.addresses.iter().copied().find(|address| address.is_ipv6() == v6)
    }

    /// Whether it is a pod.
    pub fn is_pod(&self) -> bool {
        matches!(self.role, Role::Pod { .. })
    }
}
