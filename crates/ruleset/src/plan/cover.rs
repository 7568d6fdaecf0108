//! Whether all that one chain lets pass another lets pass, too.
//!
//! In: the rules of two chains. Out: yes, or "not by what the rules say": a
//! yes is certain, a no may be wrong. Never: a look at elements that change;
//! sets of ports are constant.

use std::collections::BTreeSet;

use crate::{AddressTest, Element, Match, Name, PortTest, Ruleset, Transport};

/// What a chain lets pass.
#[derive(Debug)]
pub(super) struct Grants<'a>(Vec<Grant<'a>>);

/// What one rule lets pass.
#[derive(Debug)]
struct Grant<'a> {
    /// Conditions on anything but ports.
    others: Vec<&'a Match>,
    ports: Ports,
}

/// Destination ports of a rule.
#[derive(Debug)]
enum Ports {
    /// Every packet.
    All,
    /// All of a protocol.
    Protocol(u8),
    /// These of a protocol.
    Only(Transport, BTreeSet<u16>),
}

impl<'a> Grants<'a> {
    /// Of the rules of a chain that accept or return.
    pub fn of(ruleset: &'a Ruleset, chain: &Name) -> Self {
        let rules = ruleset.chains.get(chain).into_iter().flat_map(|chain| &chain.rules);
        Self(
            rules
                .filter(|rule| rule.allows())
                .map(|rule| Grant::of(ruleset, &rule.matches))
                .collect(),
        )
    }

    /// Whether these let pass all that `others` let pass.
    pub fn covers(&self, others: &Self) -> bool {
        others.0.iter().all(|grant| self.covers_one(grant))
    }

    fn covers_one(&self, grant: &Grant<'_>) -> bool {
        let wider = || self.0.iter().filter(|wider| wider.matches_where(grant));
        let whole = wider().any(|wider| match (&wider.ports, &grant.ports) {
            (Ports::All, _) => true,
            (Ports::Protocol(one), Ports::Protocol(other)) => one == other,
            (Ports::Protocol(one), Ports::Only(other, _)) => *one == other.number(),
            _ => false,
        });
        let Ports::Only(transport, ports) = &grant.ports else { return whole };
        let together: BTreeSet<u16> = wider()
            .filter_map(|wider| match &wider.ports {
                Ports::Only(of, ports) if of == transport => Some(ports),
                _ => None,
            })
            .flatten()
            .copied()
            .collect();
        whole || ports.is_subset(&together)
    }
}

impl<'a> Grant<'a> {
    fn of(ruleset: &Ruleset, matches: &'a [Match]) -> Self {
        let mut grant = Self { others: Vec::new(), ports: Ports::All };
        for condition in matches {
            match condition {
                Match::Protocol(number) => grant.ports = Ports::Protocol(*number),
                Match::Port(transport, test) => {
                    grant.ports = Ports::Only(*transport, numbers(ruleset, test));
                }
                other => grant.others.push(other),
            }
        }
        grant
    }

    /// Whether this matches wherever `narrower` does, ports apart.
    fn matches_where(&self, narrower: &Grant<'_>) -> bool {
        let implied = |condition: &Match| {
            narrower.others.iter().any(|given| match (*given, condition) {
                (
                    Match::Address(of, AddressTest::In(inner)),
                    Match::Address(field, AddressTest::In(outer)),
                ) => of == field && outer.contains(inner.first()) && outer.contains(inner.last()),
                (Match::Address(_, test), Match::Family(family)) => test.family() == *family,
                (given, condition) => given == condition,
            })
        };
        self.others.iter().all(|condition| implied(condition))
    }
}

fn numbers(ruleset: &Ruleset, test: &PortTest) -> BTreeSet<u16> {
    match test {
        PortTest::In(first, last) => (*first..=*last).collect(),
        PortTest::Set(name) => {
            let elements = ruleset.sets.get(name).into_iter().flat_map(|set| &set.elements);
            let ports = elements.filter_map(|element| match element {
                Element::Port(port) => Some(*port),
                _ => None,
            });
            ports.collect()
        }
    }
}
