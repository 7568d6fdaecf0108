//! What a policy costs, before it is compiled.
//!
//! In: a policy, a direction, the numbers of port names. Out: at most how many sets, rules
//! and elements of its own it becomes in each form, at the cost of reading it once.
//! Never: the pods that its peers select. What these are worth is known when sets have
//! members.

use std::collections::BTreeSet;
use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign, SubAssign};

use policy::{Direction, NetworkPolicy, Peer, Peers, Ports, Rule};

use crate::grants::MAX_INLINE_RANGES;
use crate::ports::{self, Size};
use crate::signature::{self, ResolvedPorts};

/// A policy with more distinct pod peers than this in one direction has the compact form.
/// A packet asks the rules one by one.
pub(crate) const MAX_PEER_SETS: usize = 256;
/// So has one that would have more rules than this in one chain.
pub(crate) const MAX_RULES: u64 = 1024;

/// Sets of single addresses with ports: one for each family and protocol.
const ENDS: u64 = 6;

/// How a policy is compiled. Both forms mean the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Form {
    /// A set for each peer, shared with other policies, and a rule for each peer and
    /// range of ports.
    Plain,
    /// A set for each port, of all pods that any peer with this port selects. Many ranges
    /// of ports are single ports of one set.
    Compact,
}

/// An amount of what a table holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amount {
    /// Sets that rules look into.
    pub sets: u64,
    /// Rules.
    pub rules: u64,
    /// Elements of these sets. A peer that shares a set with others counts as one: it
    /// takes as much memory.
    pub elements: u64,
}

/// What a policy costs in each form.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quote {
    /// In the plain form, if it has that.
    pub plain: Amount,
    /// In the compact one.
    pub compact: Amount,
}

impl Quote {
    /// In a form.
    pub const fn amount(&self, form: Form) -> Amount {
        match form {
            Form::Plain => self.plain,
            Form::Compact => self.compact,
        }
    }
}

/// What one direction of a policy costs at most.
pub fn quote(policy: &NetworkPolicy, direction: Direction, resolved: &ResolvedPorts) -> Quote {
    let rules = policy.rules(direction).unwrap_or_default();
    let compact = amount(rules, direction, resolved, Form::Compact);
    let plain = match form(rules, direction, resolved, Form::Plain) {
        Form::Plain => amount(rules, direction, resolved, Form::Plain),
        Form::Compact => compact,
    };
    Quote { plain, compact }
}

/// The form that these rules get if this one is wanted.
pub(crate) fn form(
    rules: &[Rule],
    direction: Direction,
    resolved: &ResolvedPorts,
    wanted: Form,
) -> Form {
    match wanted {
        Form::Plain if has_many_peers(rules) => Form::Compact,
        Form::Plain if amount(rules, direction, resolved, wanted).rules > MAX_RULES => {
            Form::Compact
        }
        Form::Plain | Form::Compact => wanted,
    }
}

fn has_many_peers(rules: &[Rule]) -> bool {
    let peers = rules.iter().filter_map(|rule| match &rule.peers {
        Peers::Only(peers) => Some(peers),
        Peers::Anyone => None,
    });
    let pods = || {
        peers.clone().flatten().filter_map(|peer| match peer {
            Peer::Pods(pods) => Some(pods),
            Peer::IpBlock(_) => None,
        })
    };
    pods().count() > MAX_PEER_SETS && pods().collect::<BTreeSet<_>>().len() > MAX_PEER_SETS
}

fn amount(rules: &[Rule], direction: Direction, resolved: &ResolvedPorts, form: Form) -> Amount {
    let mut inline = Inline::default();
    let each = rules.iter().map(|rule| of_rule(rule, direction, resolved, form, &mut inline));
    each.sum::<Amount>() + inline.amount(form)
}

/// Ranges of ipBlocks that are in no set of their rule, each with a match of ports.
#[derive(Clone, Copy, Debug, Default)]
struct Inline {
    /// All of them. In the plain form each is a rule.
    rules: u64,
    /// Those with port names. Each stays a rule.
    named: u64,
    /// Those that can be a single address with a single port.
    ends: u64,
    /// Those that can be something else, by numbers.
    ranges: u64,
}

impl Inline {
    fn amount(self, form: Form) -> Amount {
        let Self { rules, named, ends, ranges } = self;
        match form {
            Form::Plain => Amount { sets: 0, rules, elements: 0 },
            // Ranges share a set where more than a few have the same ports, else they are
            // rules. Ends share one for each family and protocol.
            Form::Compact => {
                let of_ends = ends.min(ENDS);
                Amount {
                    sets: ranges / (MAX_INLINE_RANGES as u64 + 1) + of_ends,
                    rules: ranges + of_ends + named,
                    elements: ranges + ends,
                }
            }
        }
    }
}

fn of_rule(
    rule: &Rule,
    direction: Direction,
    resolved: &ResolvedPorts,
    form: Form,
    inline: &mut Inline,
) -> Amount {
    let ports = match &rule.ports {
        Ports::All => Size::ANYTHING,
        Ports::Only(ports) => {
            let resolve =
                |name: &str, protocol| signature::numbers(direction, resolved, name, protocol);
            ports::resolved(ports, resolve).size(form)
        }
    };
    let of_ports =
        Amount { sets: u64::from(ports.elements > 1), rules: 0, elements: ports.elements };
    let of_peers = match &rule.peers {
        Peers::Anyone => {
            Amount { sets: 2 * ports.names, rules: ports.numbers + 2 * ports.names, elements: 0 }
        }
        Peers::Only(peers) => of_pods(peers, ports, form) + of_blocks(peers, ports, inline),
    };
    of_ports + of_peers
}

/// A set is one of each family.
fn of_pods(peers: &[Peer], ports: Size, form: Form) -> Amount {
    let pods = peers.iter().filter(|peer| matches!(peer, Peer::Pods(_))).count() as u64;
    let ways = ports.numbers + ports.names;
    match form {
        Form::Plain => {
            Amount { sets: 2 * pods * (1 + ports.names), rules: 2 * pods * ways, elements: 0 }
        }
        Form::Compact => {
            let ways = if pods > 0 { ways } else { 0 };
            Amount { sets: 2 * ways, rules: 2 * ways, elements: pods * ways }
        }
    }
}

/// Each except can cut a range in two, and no range is more than a block or an except.
fn of_blocks(peers: &[Peer], ports: Size, inline: &mut Inline) -> Amount {
    let mut ranges = [0, 0];
    let mut has_single = [false, false];
    for peer in peers {
        let Peer::IpBlock(block) = peer else { continue };
        let family = usize::from(block.cidr().addr().is_ipv6());
        ranges[family] += 1 + block.except().len() as u64;
        let is_single = block.cidr().prefix_len() == block.cidr().max_prefix_len();
        // An except can leave a single address.
        has_single[family] |= is_single || !block.except().is_empty();
    }
    let of_family = ranges.into_iter().zip(has_single).map(|(ranges, has_single)| {
        // Blocks that touch are one range: many can be few, and few can be single addresses
        // or not.
        let few = ranges.min(MAX_INLINE_RANGES as u64);
        inline.rules += few * (ports.numbers + ports.names);
        inline.named += few * ports.names;
        let is_end = ports.elements == 1 && has_single;
        inline.ends += if is_end { few } else { 0 };
        inline.ranges += few * (ports.numbers - u64::from(is_end && ranges == 1));
        let is_set = ranges > few;
        Amount {
            sets: u64::from(is_set) + if ranges > 0 { ports.names } else { 0 },
            rules: 0,
            elements: if is_set { ranges } else { 0 },
        }
    });
    of_family.sum()
}

impl Amount {
    /// Whether it is within another one, in each respect.
    pub const fn fits(&self, within: &Self) -> bool {
        self.sets <= within.sets && self.rules <= within.rules && self.elements <= within.elements
    }

    /// The smaller of both, in each respect.
    #[must_use]
    pub fn min(self, other: Self) -> Self {
        Self {
            sets: self.sets.min(other.sets),
            rules: self.rules.min(other.rules),
            elements: self.elements.min(other.elements),
        }
    }

    /// The larger of both, in each respect.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        Self {
            sets: self.sets.max(other.sets),
            rules: self.rules.max(other.rules),
            elements: self.elements.max(other.elements),
        }
    }

    /// Without sets and elements.
    #[must_use]
    pub const fn rules_only(self) -> Self {
        Self { sets: 0, rules: self.rules, elements: 0 }
    }
}

impl Add for Amount {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            sets: self.sets.saturating_add(other.sets),
            rules: self.rules.saturating_add(other.rules),
            elements: self.elements.saturating_add(other.elements),
        }
    }
}

impl AddAssign for Amount {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl SubAssign for Amount {
    fn sub_assign(&mut self, other: Self) {
        self.sets -= other.sets;
        self.rules -= other.rules;
        self.elements -= other.elements;
    }
}

impl AddAssign for Quote {
    fn add_assign(&mut self, other: Self) {
        self.plain += other.plain;
        self.compact += other.compact;
    }
}

impl SubAssign for Quote {
    fn sub_assign(&mut self, other: Self) {
        self.plain -= other.plain;
        self.compact -= other.compact;
    }
}

impl Sum for Amount {
    fn sum<I: Iterator<Item = Self>>(amounts: I) -> Self {
        amounts.fold(Self::default(), Add::add)
    }
}

/// `12 sets, 30 rules and 400 elements`.
impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} sets, {} rules and {} elements", self.sets, self.rules, self.elements)
    }
}

#[cfg(test)]
mod tests;
