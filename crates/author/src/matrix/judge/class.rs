//! What a policy can tell of an address.

use policy::{Direction, NetworkPolicy, Rule};

/// Addresses that no policy tells apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClassId(pub(super) u32);

impl ClassId {
    /// The number, for lists of what is known of each class.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// A rule, and the policy that it is of.
#[derive(Clone, Copy, Debug)]
pub struct PolicyRule<'a> {
    /// The policy.
    pub policy: &'a NetworkPolicy,
    /// Which of its lists.
    pub direction: Direction,
    /// The place in that list.
    pub index: usize,
    /// The rule itself.
    pub rule: &'a Rule,
}

/// What a policy can tell of an address.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Class {
    /// What isolates it as a sender.
    pub egress: Isolated,
    /// What isolates it as a receiver.
    pub ingress: Isolated,
    /// The named ports that ingress rules mean, by their place in the judge's list.
    pub(super) own_ports: usize,
    /// The named ports that egress rules of others mean.
    pub(super) peer_ports: usize,
    /// Bit by bit, the rules that have it among their peers.
    pub(super) matched: Vec<u64>,
}

/// What isolates an address in one direction.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Isolated {
    /// Nothing.
    No,
    /// These policies, by their place in `Judge::policies`.
    By(Vec<usize>),
    /// These policies, and nothing is allowed: pods that differ report the address.
    Shut(Vec<usize>),
}

impl Class {
    /// What isolates it in a direction.
    pub fn isolated(&self, direction: Direction) -> &Isolated {
        match direction {
            Direction::Egress => &self.egress,
            Direction::Ingress => &self.ingress,
        }
    }

    /// Whether a rule, by its place in `Judge::rules`, has it among its peers.
    pub fn is_peer_of(&self, rule: usize) -> bool {
        self.matched[rule / 64] >> (rule % 64) & 1 == 1
    }
}
