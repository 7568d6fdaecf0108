//! Which interface of the node is which pod's, as the kernel says.
//!
//! In: what the kernel can. Out: the way to look at the interfaces.

use agent::enforcer::Interfaces;
use anyhow::Result;
use nft::Features;

/// A way to look at the interfaces of this network namespace.
///
/// # Errors
/// They cannot be asked for.
pub fn open(features: &Features) -> Result<Box<dyn Interfaces>> {
    Ok(Box::new(agent::unbindable::Unbindable::new(features.binding)))
}
