//! The form in which rules are read back from the kernel.
//!
//! In: any [`Rule`]. Out: a rule with the same meaning that equals what
//! [`crate::Kernel::dump`] returns after it was sent.
//! Never: a change of order or meaning.

use ruleset::{AddressTest, EtherType, Field, Finish, KeyAddress, KeyFields, Match, Rule};

use crate::needs::Needs;
use crate::packet::Network;

/// The rule without redundant tests of family or protocol. A test is redundant
/// if its value is already known, or if the next match that depends on it implies
/// it. For the kernel, `meta l4proto tcp` followed by `tcp dport 80` is the same
/// as `tcp dport 80` alone, which contains that test. A test of the frame's type is
/// never redundant, and one stands before each key with a field of ARP. Compare rules
/// in this form.
#[must_use]
pub fn normal_form(rule: Rule) -> Rule {
    let mut network = TestedValue::default();
    let mut protocol = TestedValue::default();
    let (mut implied, mut missing) = (Vec::new(), Vec::new());
    for (at, test) in rule.matches.iter().enumerate() {
        match test {
            Match::Family(value) => implied.extend(network.tested(Network::Ip(*value), at)),
            Match::Protocol(value) => implied.extend(protocol.tested(*value, at)),
            Match::EtherType(kind) => network.told(Network::of(*kind)),
            _ => {
                let needs = Needs::of(test);
                if needs.network == Some(Network::Arp) && network.known != needs.network {
                    missing.push(at);
                }
                implied.extend(needs.network.and_then(|value| network.needed(value)));
                implied.extend(needs.protocol.and_then(|value| protocol.needed(value)));
            }
        }
    }
    let at_the_end = rule.log.as_ref().map(|log| log.family).into_iter();
    let at_the_end = at_the_end.chain(match rule.finish {
        Some(Finish::Dispatch(_, family, _)) => Some(family),
        _ => None,
    });
    implied.extend(at_the_end.filter_map(|value| network.needed(Network::Ip(value))));
    let matches = rule.matches.into_iter().enumerate();
    let matches = matches.filter(|(at, _)| !implied.contains(at)).flat_map(|(at, test)| {
        let arp = missing.contains(&at).then_some(Match::EtherType(EtherType::Arp));
        arp.into_iter().chain([simplest(test)])
    });
    Rule { matches: matches.collect(), ..rule }
}

/// The match that the reader takes for a key of one address.
fn simplest(test: Match) -> Match {
    match test {
        Match::Key(KeyFields { interface: None, mac: None, address: Some(address) }, set) => {
            let alone = KeyFields { address: Some(address), ..KeyFields::NONE };
            match address {
                KeyAddress::Source(family) => {
                    Match::Address(Field::Source, AddressTest::Set(family, set))
                }
                KeyAddress::Destination(family) => {
                    Match::Address(Field::Destination, AddressTest::Set(family, set))
                }
                KeyAddress::ArpSender | KeyAddress::Target => Match::Key(alone, set),
            }
        }
        other => other,
    }
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

    /// Records that a match of its own tells this value.
    fn told(&mut self, value: T) {
        *self = Self { known: Some(value), unused_at: None };
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

#[cfg(test)]
mod tests;
