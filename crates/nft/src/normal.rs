//! The form in which rules are read back from the kernel.
//!
//! In: any [`Rule`]. Out: a rule with the same meaning that equals what
//! [`crate::Kernel::dump`] returns after it was sent.
//! Never: a change of order or meaning.

use ruleset::{Family, Finish, Match, Rule, Transport};

/// The rule without redundant tests of family or protocol. A test is redundant
/// if its value is already known, or if the next match that depends on it implies
/// it. For the kernel, `meta l4proto tcp` followed by `tcp dport 80` is the same
/// as `tcp dport 80` alone, which contains that test. Compare rules in this form.
#[must_use]
pub fn normal_form(rule: Rule) -> Rule {
    let mut family = TestedValue::default();
    let mut protocol = TestedValue::default();
    let mut implied = Vec::new();
    for (at, test) in rule.matches.iter().enumerate() {
        match test {
            Match::Family(value) => implied.extend(family.tested(*value, at)),
            Match::Protocol(value) => implied.extend(protocol.tested(*value, at)),
            _ => {
                implied.extend(needed_family(test).and_then(|value| family.needed(value)));
                implied.extend(needed_protocol(test).and_then(|value| protocol.needed(value)));
            }
        }
    }
    let at_the_end = rule.log.as_ref().map(|log| log.family).into_iter();
    let at_the_end = at_the_end.chain(match rule.finish {
        Some(Finish::Dispatch(_, family, _)) => Some(family),
        _ => None,
    });
    implied.extend(at_the_end.filter_map(|value| family.needed(value)));
    let matches = rule.matches.into_iter().enumerate();
    let matches = matches.filter(|(at, _)| !implied.contains(at)).map(|(_, test)| test).collect();
    Rule { matches, ..rule }
}

/// The value that was tested last, and at which match while no match depends on
/// that test.
struct TestedValue<T> {
    known: Option<T>,
    unused_at: Option<usize>,
}

impl<T> Default for TestedValue<T> {
    fn default() -> Self {
        Self { known: None, unused_at: None }
    }
}

impl<T: PartialEq> TestedValue<T> {
    /// Records a test. Returns the index of the test if it is redundant.
    fn tested(&mut self, value: T, at: usize) -> Option<usize> {
        if self.known.as_ref() == Some(&value) {
            return Some(at);
        }
        *self = Self { known: Some(value), unused_at: Some(at) };
        None
    }

    /// Records that a match needs this value. Returns the index of the test that
    /// the match makes redundant.
    fn needed(&mut self, value: T) -> Option<usize> {
        if self.known.as_ref() == Some(&value) {
            return self.unused_at.take();
        }
        *self = Self { known: Some(value), unused_at: None };
        None
    }
}

fn needed_family(test: &Match) -> Option<Family> {
    match test {
        Match::Address(_, test) => Some(test.family()),
        Match::AddressPort(_, family, ..) | Match::AddressPair(family, _) => Some(*family),
        Match::HopLimit(_) | Match::Icmpv6Type(_) => Some(Family::V6),
        Match::CtState(_)
        | Match::NotToHost
        | Match::Family(_)
        | Match::Protocol(_)
        | Match::NotOpening
        | Match::Port(..)
        | Match::Key(..)
        | Match::EtherType(_)
        | Match::PriorityTag(_)
        | Match::NotProtocol(_)
        | Match::IcmpType(_)
        | Match::NotInit => None,
    }
}

fn needed_protocol(test: &Match) -> Option<u8> {
    match test {
        Match::Port(transport, _) | Match::AddressPort(_, _, transport, _) => {
            Some(transport.number())
        }
        Match::NotOpening => Some(Transport::Tcp.number()),
        Match::Icmpv6Type(_) => Some(crate::write::rule::ICMPV6),
        Match::CtState(_)
        | Match::NotToHost
        | Match::Family(_)
        | Match::HopLimit(_)
        | Match::Protocol(_)
        | Match::Address(..)
        | Match::AddressPair(..)
        | Match::Key(..)
        | Match::EtherType(_)
        | Match::PriorityTag(_)
        | Match::NotProtocol(_)
        | Match::IcmpType(_)
        | Match::NotInit => None,
    }
}

#[cfg(test)]
mod tests;
