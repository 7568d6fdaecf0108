//! Who has what on this node, and who had it before.
//!
//! In: looks at the node, its pods. Out: the [`NodeNetwork`] and what changed in
//! it. Never: I/O, or a claim that is forgotten while its interface lives.

use policy::{BindingFinding, Claims, NodeNetwork, Pod, Resolved, Seen, resolve};

use super::seen::Given;

/// Concludes whose each interface is, and remembers it.
#[derive(Clone, Debug, Default)]
pub struct Binder {
    given: Given,
    resolved: Resolved,
}

/// What a new conclusion changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Update {
    /// Whether the network is another one.
    pub is_changed: bool,
    /// Findings that were not there before.
    pub came: Vec<BindingFinding>,
    /// Findings that are no more.
    pub went: Vec<BindingFinding>,
}

impl Binder {
    /// `claims` are from the kernel's tables, so that a restart keeps who had
    /// what.
    pub fn new(given: Given, claims: Claims) -> Self {
        let resolved = Resolved { claims, ..Resolved::default() };
        Self { given, resolved }
    }

    /// Concludes anew from a look that was made: what a picture lacks is
    /// forgotten. `pods` are this node's pods without those that the operator left
    /// out.
    pub fn update<'a>(&mut self, seen: &Seen, pods: impl IntoIterator<Item = &'a Pod>) -> Update {
        let Given { tunnels, tunnel_peers, tunnel_sources } = &self.given;
        let pods: Vec<&Pod> = pods.into_iter().collect();
        let mut now = resolve(seen, pods, &self.resolved.claims);
        now.network.tunnels.extend(tunnels.iter().copied());
        now.network.tunnel_peers.extend(tunnel_peers.iter().copied());
        now.network.tunnel_sources = *tunnel_sources;
        let before = std::mem::replace(&mut self.resolved, now);
        let now = &self.resolved;
        Update {
            is_changed: now.network != before.network,
            came: missing(&now.findings, &before.findings),
            went: missing(&before.findings, &now.findings),
        }
    }

    /// What is bound now.
    pub const fn network(&self) -> &NodeNetwork {
        &self.resolved.network
    }

    /// What people should know now, in order.
    pub fn findings(&self) -> &[BindingFinding] {
        &self.resolved.findings
    }

    /// What the next conclusion begins with.
    pub const fn claims(&self) -> &Claims {
        &self.resolved.claims
    }
}

/// What `of` has and `others` lacks. Both are in order.
fn missing(of: &[BindingFinding], others: &[BindingFinding]) -> Vec<BindingFinding> {
    of.iter().filter(|one| others.binary_search(one).is_err()).cloned().collect()
}
