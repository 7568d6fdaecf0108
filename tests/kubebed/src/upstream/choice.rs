//! Which of upstream's specs run where.
//!
//! Named lists of specs, and why a spec cannot run on this kernel. Never: a spec
//! that is left out because of nftpol.

use anyhow::{Context, Result};
use nix::sys::socket::{AddressFamily, SockFlag, SockProtocol, SockType, socket};

use super::Spec;

/// The names of upstream's two suites of NetworkPolicy begin with these.
pub const SUITES: [&str; 2] = ["Netpol", "NetworkPolicyLegacy"];

/// Twelve specs that together try each feature of a policy, for networks on which
/// all specs would take too long. Upstream has no spec that sends packets to a
/// range of ports (`endPort`). The other specs vary these twelve.
const DOZEN: [&str; 12] = [
    // Nothing in, nothing out.
    "Netpol NetworkPolicy between server and client should support a 'default-deny-all' policy",
    // Egress only: the sender's node decides.
    "Netpol NetworkPolicy between server and client should deny egress from all pods in a namespace",
    // A peer by its namespace.
    "Netpol NetworkPolicy between server and client should enforce policy to allow traffic only from \
     a different namespace, based on NamespaceSelector",
    // A peer by namespace and pod labels.
    "Netpol NetworkPolicy between server and client should enforce policy based on PodSelector and \
     NamespaceSelector",
    // A port that each pod names for itself.
    "Netpol NetworkPolicy between server and client should allow ingress access on one named port",
    // Several policies for one pod, with ports.
    "Netpol NetworkPolicy between server and client should enforce multiple, stacked policies with \
     overlapping podSelectors",
    // Both directions, of one policy.
    "Netpol NetworkPolicy between server and client should work with Ingress, Egress specified \
     together",
    // An ipBlock with an except, and a second policy that allows the except.
    "Netpol NetworkPolicy between server and client should ensure an IP overlapping both \
     IPBlock.CIDR and IPBlock.Except is allowed",
    // A policy changes.
    "Netpol NetworkPolicy between server and client should enforce updated policy",
    // A namespace's labels change.
    "Netpol NetworkPolicy between server and client should allow ingress access from updated \
     namespace",
    // A pod's labels change: it is isolated.
    "Netpol NetworkPolicy between server and client should deny ingress access to updated pod",
    // UDP, whose replies follow no handshake.
    "Netpol [LinuxOnly] NetworkPolicy between server and client using UDP should enforce policy \
     based on Ports",
];

/// Six of the twelve, for every run of CI: both directions, labels, a named port,
/// an ipBlock, a change, UDP.
const SIX: [usize; 6] = [0, 3, 4, 7, 9, 11];

/// The twelve specs.
///
/// # Errors
/// When upstream has dropped or renamed one.
pub fn dozen(all: &[Spec]) -> Result<Vec<Spec>> {
    let named = DOZEN.iter().map(|name| {
        let found = all.iter().find(|spec| {
            let rest = spec.name.strip_prefix(name);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(" ["))
        });
        found.cloned().with_context(|| format!("upstream has no spec `{name}`"))
    });
    named.collect()
}

/// The six specs for CI.
///
/// # Errors
/// As [`dozen`].
pub fn six(all: &[Spec]) -> Result<Vec<Spec>> {
    let dozen = dozen(all)?;
    Ok(SIX.map(|index| dozen[index].clone()).to_vec())
}

/// Why this kernel cannot run the spec, if it cannot.
pub fn obstacle(spec: &Spec) -> Option<String> {
    let wants_sctp = spec.labels.iter().any(|label| label == "Feature:SCTPConnectivity");
    (wants_sctp && !has_sctp()).then(|| {
        "this kernel opens no SCTP socket (CONFIG_IP_SCTP), neither for the server nor for a probe"
            .to_owned()
    })
}

fn has_sctp() -> bool {
    let flags = SockFlag::empty();
    socket(AddressFamily::Inet, SockType::Stream, flags, SockProtocol::Sctp).is_ok()
}
