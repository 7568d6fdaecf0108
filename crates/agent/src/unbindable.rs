//! A node on which nothing is bound.
//!
//! In: nothing. Out: an empty network, and why. Never: I/O.

use std::time::Instant;

use policy::{BindingFinding, Claims, NodeNetwork, Pod};

use crate::enforcer::Interfaces;

/// A node whose kernel cannot bind addresses to interfaces.
#[derive(Debug, Default)]
pub struct Unbindable {
    network: NodeNetwork,
    can: bool,
}

impl Unbindable {
    /// `can`: nothing is bound although the kernel could.
    pub fn new(can: bool) -> Self {
        Self { network: NodeNetwork::default(), can }
    }
}

impl Interfaces for Unbindable {
    fn remember(&mut self, _: Claims) {}

    fn look(&mut self, _: Instant, _: &[&Pod]) -> Result<(), String> {
        Ok(())
    }

    fn network(&self) -> Option<&NodeNetwork> {
        Some(&self.network)
    }

    fn lacks(&self) -> Option<String> {
        let why = "the kernel cannot bind addresses to interfaces: any pod can send under the \
                   address of another; load the kernel modules nf_tables and nft_meta on the host";
        (!self.can).then(|| why.to_owned())
    }

    fn findings(&self) -> &[BindingFinding] {
        &[]
    }
}
