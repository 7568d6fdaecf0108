//! A node on which nothing is bound, because the kernel cannot or the node is in audit.
//!
//! In: nothing. Out: an empty network, and why. Never: I/O.

use std::sync::Arc;

use imbl::OrdSet;
use policy::{BindingFinding, Claims, NodeNetwork, Placement, Pod, PodRange};

use crate::enforcer::Interfaces;

/// A node that binds no addresses to interfaces.
#[derive(Debug, Default)]
pub struct Unbindable {
    network: NodeNetwork,
    is_in_audit: bool,
}

impl Unbindable {
    /// A node that is to drop nothing, so nothing is to be bound.
    pub fn in_audit() -> Self {
        Self { is_in_audit: true, ..Self::default() }
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
