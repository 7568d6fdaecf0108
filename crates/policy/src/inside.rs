//! What is known in a pod's own network namespace.
//!
//! In: nothing. Out: an explicit input of specification, compiler and proof, as
//! [`crate::NodeNetwork`] is. Never: netlink, or a guess.

use std::net::IpAddr;

use imbl::OrdSet;

use crate::{InterfaceIndex, ObjectKey};

/// A pod's own network namespace, as a table in it sees it.
///
/// There, what comes in is to the pod and what goes out is from the pod, whatever
/// address it has. So packets of addresses that the pod does not report are judged, too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inside {
    /// Whose namespace it is.
    pub pod: ObjectKey,
    /// Addresses of the pod's node, beside those that the pod itself reports
    /// (`status.hostIPs`). What comes from them or goes to them always passes.
    pub node: OrdSet<IpAddr>,
    /// The interfaces that policies do not judge: the loopback interface, and those of
    /// networks that are not the pod's own.
    pub apart: OrdSet<InterfaceIndex>,
}

impl Inside {
    /// The loopback interface, in every network namespace (`LOOPBACK_IFINDEX`,
    /// include/net/flow.h; the first device that `setup_net` makes, net/core/net_namespace.c,
    /// Linux 6.18).
    pub const LOOPBACK: InterfaceIndex = InterfaceIndex(1);

    /// The namespace of a pod of which no more is known. All interfaces but the loopback
    /// interface are judged.
    pub fn of(pod: ObjectKey) -> Self {
        Self { pod, node: OrdSet::new(), apart: OrdSet::unit(Self::LOOPBACK) }
    }
}
