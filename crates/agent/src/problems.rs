//! Policies that are not enforced as written: `enforcer/findings` collects them,
//! `daemon/announce` writes Events about them.

use std::collections::BTreeMap;

use policy::ObjectKey;

/// All problems of policies that isolate a pod of this node, each with a
/// message.
pub type Problems = BTreeMap<About, String>;

/// What an Event is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct About {
    /// The policy.
    pub policy: ObjectKey,
    /// Its `metadata.uid`.
    pub uid: String,
    /// Why.
    pub reason: EventReason,
}

/// Why a policy is not enforced as written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum EventReason {
    /// A part of it cannot be used and allows nothing.
    UnusablePart,
    /// The kernel refused it; it isolates and allows nothing.
    RefusedByKernel,
    /// It finds no room in the budgets; it isolates and allows nothing.
    OverBudget,
    /// Several pods report an address of a pod that it isolates.
    SharedAddress,
    /// It drops nothing until a time that is yet to come.
    Audited,
}

impl EventReason {
    /// `reason` of the Event.
    pub const fn name(self) -> &'static str {
        match self {
            Self::UnusablePart => "UnusablePart",
            Self::RefusedByKernel => "RefusedByKernel",
            Self::OverBudget => "OverBudget",
            Self::SharedAddress => "SharedAddress",
            Self::Audited => "Audited",
        }
    }
}
