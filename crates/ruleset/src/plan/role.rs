//! What the elements of a set do to packets, and so when they change.
//!
//! In: a set's type and the rules that look into it. Out: its role.
//! Never: the elements.
//!
//! ```text
//! role      found means                         elements come              go
//! pair      the packet passes, whatever else    first                      last
//! gate      the packet is judged by a policy    with the entries of maps   alike
//! binding   the interface may say or hear this  after the gates            before the gates
//! guard     the packet is dropped, or must be   after the bindings         before the bindings
//!           in a binding
//! allowing  a policy allows the packet          between the two            alike
//! ```
//!
//! So an honest packet finds its binding before something guards its address or
//! interface, and until nothing does any more. The bindings change between gates
//! that come and gates that go: no packet passes that the policies deny before a
//! change and the bindings after it, nor the other way round.

use super::references::Uses;
use crate::{KeyShape, SetType};

/// The role of a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Elements allow an address to reach itself or one other.
    Pair,
    /// Elements isolate.
    Gate,
    /// Elements let something pass that a guard would stop.
    Binding,
    /// Elements stop what no binding lets pass.
    Guard,
    /// Elements allow.
    Allowing,
}

impl Role {
    /// The role of a set of this type with these uses in the old and the new rules.
    ///
    /// A set that both leads to another chain and lets packets pass is a binding,
    /// as the nodes' addresses: who sends to one of them is checked, unless he is
    /// one. Such a packet asks twice. If both its ends leave the set in one batch,
    /// it can be dropped while that batch is committed.
    pub fn of(set_type: SetType, uses: Uses) -> Self {
        let Uses { leads, drops, allows } = uses;
        match set_type {
            SetType::AddressPair(_) => Self::Pair,
            SetType::Key(shape) if has_several_parts(shape) => Self::Binding,
            SetType::Key(_) if leads || drops => Self::Guard,
            _ if leads && allows => Self::Binding,
            _ if leads => Self::Gate,
            _ if drops && !allows => Self::Guard,
            _ => Self::Allowing,
        }
    }
}

const fn has_several_parts(KeyShape { interface, mac, address }: KeyShape) -> bool {
    interface as u8 + mac as u8 + address.is_some() as u8 > 1
}
