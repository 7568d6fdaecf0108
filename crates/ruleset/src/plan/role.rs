//! What the elements of a set do to packets, and so when they change.
//!
//! In: a set's type and the rules that look into it. Out: its role.
//! Never: the elements.
//!
//! ```text
//! role      found means                              elements come              go
//! pair      the packet passes, whatever else         first                      last
//! gate      the packet is judged by a policy         with the entries of maps   alike
//!           (of an address that is dropped while     before it is known         when it is forgotten
//!           nobody knows it: see `shut`)
//! permit    the interface may say this               after the gates            before the gates
//! binding   the same, or further permits are asked   with the permits           before the permits
//! guard     the interface may only what is bound     after the bindings         before the bindings
//! ban       the packet is dropped if nothing before  after the guards           before the guards
//!           let it pass
//! allowing  a policy allows the packet               between the two            alike
//! known     the address is known: what nobody        last of what lets pass     first
//!           knows is dropped, whatever it sends
//! ```
//!
//! So an honest packet finds its bindings and permits before anything asks for them,
//! and until nothing does any more. A guard leads to another chain, where a ban on
//! what the interface owns does not hit its own packets. The bindings change between
//! gates that come and gates that go: no packet passes that the policies deny before
//! a change and the bindings after it, nor the other way round.
//!
//! A packet asks for its two ends at two moments. If both change whose they are in
//! one change, it can find one as before and the other as after. An address that
//! nobody owns any more can then still be heard at its pod, and packets between two
//! nodes that leave at once can be dropped in a tunnel through this node.

use std::collections::BTreeSet;

use super::references::{References, Uses};
use crate::{Field, KeyShape, Name, SetType};

/// The role of a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Elements allow an address to reach itself or one other.
    Pair,
    /// Elements isolate.
    Gate,
    /// Elements let something pass that a guard or a ban would stop.
    Permit,
    /// Such elements that also lead to a chain where permits are asked.
    Binding,
    /// Elements send to where only what is bound passes.
    Guard,
    /// Elements stop what nothing before them lets pass.
    Ban,
    /// Elements allow.
    Allowing,
    /// Elements let pass what is not known to any policy. A gate of the same address
    /// comes before and goes not earlier, and so do the rules of policies: an address
    /// is either unknown or judged.
    Known,
}

impl Role {
    /// The role of a set of this type with these uses in the old and the new rules.
    ///
    /// A set that both leads to another chain and lets packets pass is a binding, as
    /// the nodes' addresses: who sends to one of them is checked, unless he is one.
    pub fn of(set_type: SetType, uses: Uses) -> Self {
        let Uses { leads, drops, allows } = uses;
        match set_type {
            SetType::AddressPair(_) => Self::Pair,
            SetType::Key(shape) if has_several_parts(shape) => {
                if leads {
                    Self::Binding
                } else {
                    Self::Permit
                }
            }
            SetType::Key(_) if leads => Self::Guard,
            SetType::Key(_) if drops => Self::Ban,
            _ if leads && allows => Self::Binding,
            _ if leads => Self::Gate,
            _ if drops && !allows => Self::Ban,
            _ => Self::Allowing,
        }
    }

    /// The role of a set that allows. If no map leads to the chains that ask it, they
    /// are asked of each packet, and no policy's. `sides`: see [`References::sides`].
    pub fn of_allowing(set_type: SetType, sides: &BTreeSet<Field>) -> Self {
        match set_type {
            SetType::Address(_) if sides.is_empty() => Self::Known,
            _ => Self::Allowing,
        }
    }
}

/// What a set is to the old rules.
pub(super) struct Before {
    pub is_visible: bool,
    pub uses: Uses,
    /// Of a set that allows.
    pub sides: BTreeSet<Field>,
    /// Of a set of known addresses.
    pub shut_by: BTreeSet<Field>,
}

impl Before {
    pub fn of(name: &Name, set_type: SetType, references: &References) -> Self {
        let uses = references.uses(name);
        let allows = Role::of(set_type, uses) == Role::Allowing;
        let sides = if allows { references.sides(name) } else { BTreeSet::new() };
        let is_known = allows && Role::of_allowing(set_type, &sides) == Role::Known;
        let shut_by = if is_known { references.shut_by(name) } else { BTreeSet::new() };
        Self { is_visible: references.is_visible(name), uses, sides, shut_by }
    }
}

const fn has_several_parts(KeyShape { interface, mac, address }: KeyShape) -> bool {
    interface as u8 + mac as u8 + address.is_some() as u8 > 1
}
