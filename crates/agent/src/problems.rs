//! Policies that are not enforced as written, and pods that change their own rules:
//! `enforcer/findings` and `pods` collect them, `daemon/announce` writes Events about them.

use std::collections::BTreeMap;

use policy::ObjectKey;

/// All problems of policies that isolate a pod of this node, and of such pods, each with
/// a message.
pub type Problems = BTreeMap<About, String>;

/// What an Event is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct About {
    /// The policy or pod.
    pub object: ObjectKey,
    /// Its `metadata.uid`.
    pub uid: String,
    /// Why.
    pub reason: EventReason,
}

/// Why a policy is not enforced as written, or what a pod does against its rules.
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
    /// Something in a pod's own network namespace changed or removed the rules there.
    TableRemoved,
    /// Nobody knows which of a pod's further networks its interfaces are of, or they are too
    /// many.
    CutOff,
}

impl EventReason {
    /// `apiVersion` and `kind` of what the Event is about.
    pub const fn kind(self) -> (&'static str, &'static str) {
        match self {
            Self::TableRemoved | Self::CutOff => ("v1", "Pod"),
            Self::UnusablePart
            | Self::RefusedByKernel
            | Self::OverBudget
            | Self::SharedAddress
            | Self::Audited => ("networking.k8s.io/v1", "NetworkPolicy"),
        }
    }

    /// `reason` of the Event.
    pub const fn name(self) -> &'static str {
        match self {
            Self::UnusablePart => "UnusablePart",
            Self::RefusedByKernel => "RefusedByKernel",
            Self::OverBudget => "OverBudget",
            Self::SharedAddress => "SharedAddress",
            Self::Audited => "Audited",
            Self::TableRemoved => "TableRemoved",
            Self::CutOff => "CutOff",
        }
    }
}
