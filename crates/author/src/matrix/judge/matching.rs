//! Which rules have an address among their peers.
//!
//! Pods of one namespace with the same labels are the same to a selector. So each selector
//! is asked once for all of them.

use std::net::IpAddr;

use policy::{Peer, Peers, Pod};

use super::{Judge, PolicyRule};

impl<'a> Judge<'a> {
    /// Bit by bit, whether a rule has it.
    pub(super) fn matched(&mut self, address: IpAddr, owner: Option<&'a Pod>) -> Vec<u64> {
        let mut matched = match owner {
            None => vec![0; self.rules.len().div_ceil(64)],
            Some(pod) => {
                let key = (pod.key.namespace.as_str(), &pod.labels);
                match self.selecting.get(&key) {
                    Some(known) => known.clone(),
                    None => {
                        let selecting = self.selecting_rules(pod);
                        self.selecting.insert(key, selecting.clone());
                        selecting
                    }
                }
            }
        };
        for (at, rule) in self.rules.iter().enumerate() {
            let is_peer = match &rule.rule.peers {
                Peers::Anyone => true,
                Peers::Only(peers) => peers.iter().any(|peer| match peer {
                    Peer::IpBlock(block) => block.contains(address),
                    Peer::Pods(_) => false,
                }),
            };
            if is_peer {
                matched[at / 64] |= 1 << (at % 64);
            }
        }
        matched
    }

    /// The rules one of whose selectors selects a pod.
    fn selecting_rules(&self, pod: &Pod) -> Vec<u64> {
        let mut selecting = vec![0; self.rules.len().div_ceil(64)];
        for (at, PolicyRule { policy, rule, .. }) in self.rules.iter().enumerate() {
            let Peers::Only(peers) = &rule.peers else { continue };
            let selects = peers.iter().any(|peer| match peer {
                Peer::IpBlock(_) => false,
                Peer::Pods(pods) => self.snapshot.peer_selects(pods, &policy.key.namespace, pod),
            });
            if selects {
                selecting[at / 64] |= 1 << (at % 64);
            }
        }
        selecting
    }
}
