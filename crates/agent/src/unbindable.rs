//! A node on which nothing is bound, because the kernel cannot or the node is in audit.
//!
//! In: whether the kernel has IPVS. Out: a network with that alone, and why. Never: a look
//! at interfaces.

use std::sync::Arc;
use std::time::{Duration, Instant};

use imbl::OrdSet;
use policy::{BindingFinding, Claims, NodeNetwork, Placement, Pod, PodRange};

use crate::enforcer::Interfaces;
use crate::node_network::ipvs;

/// How often it is asked whether there is IPVS.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// A node that binds no addresses to interfaces.
#[derive(Debug, Default)]
pub struct Unbindable {
    network: NodeNetwork,
    is_in_audit: bool,
    looked: Option<Instant>,
}

impl Unbindable {
    /// A node that is to drop nothing, so nothing is to be bound.
    pub fn in_audit() -> Self {
        Self { is_in_audit: true, ..Self::default() }
    }

    /// What is known of the network of such a node now: whether the kernel has IPVS, which
    /// sends past the forward hook.
    pub fn seen() -> NodeNetwork {
        NodeNetwork { ipvs: ipvs::is_there(), ..NodeNetwork::default() }
    }
}

impl Interfaces for Unbindable {
    fn remember(&mut self, _: Claims, _: OrdSet<PodRange>) {}

    fn pods(&mut self, _: Vec<Arc<Pod>>) {}

    fn place(&mut self, _: Vec<Placement>) {}

    fn binds(&self) -> bool {
        false
    }

    fn look(&mut self) -> Result<(), String> {
        if self.looked.is_none_or(|looked| looked.elapsed() >= LOOK_EVERY) {
            self.looked = Some(Instant::now());
            self.network = Self::seen();
        }
        Ok(())
    }

    fn network(&self) -> Option<&NodeNetwork> {
        Some(&self.network)
    }

    fn lacks(&self) -> Option<String> {
        let why = "the kernel's nf_tables cannot look an interface up together with an address, so \
                   nothing is bound, and any pod can send under the address of another; use a \
                   newer kernel";
        (!self.is_in_audit).then(|| why.to_owned())
    }

    fn findings(&self) -> &[BindingFinding] {
        &[]
    }

    fn is_alive(&self) -> bool {
        true
    }
}
