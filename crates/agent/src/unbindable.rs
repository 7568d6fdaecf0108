//! A node on which nothing is bound.
//!
//! In: nothing. Out: an empty network, and why. Never: I/O.

use std::sync::Arc;

use policy::{BindingFinding, Claims, NodeNetwork, Pod};

use crate::enforcer::Interfaces;

/// A node whose kernel cannot bind addresses to interfaces.
#[derive(Debug, Default)]
pub struct Unbindable {
    network: NodeNetwork,
}

impl Interfaces for Unbindable {
    fn remember(&mut self, _: Claims) {}

    fn pods(&mut self, _: Vec<Arc<Pod>>) {}

    fn look(&mut self) -> Result<(), String> {
        Ok(())
    }

    fn network(&self) -> Option<&NodeNetwork> {
        Some(&self.network)
    }

    fn lacks(&self) -> Option<String> {
        let why = "the kernel cannot bind addresses to interfaces: any pod can send under the \
                   address of another; load the kernel modules nf_tables and nft_meta on the host";
        Some(why.to_owned())
    }

    fn findings(&self) -> &[BindingFinding] {
        &[]
    }

    fn is_alive(&self) -> bool {
        true
    }
}
