//! The kernel's expressions as a rule, written by us or by nft.
//!
//! In: a rule's expressions, and the table's sets, whose types tell what a
//! look-up means. Out: a [`Rule`], or why it cannot be expressed.
//! Never: a guess. A rule is understood completely or not at all.
//!
//! A rule tests the packet's family before it uses an address, and the protocol
//! before it uses a port. Such a test belongs to the match that depends on it
//! and is not a match of its own. A test that no match depends on stays. The
//! result is in the form of [`crate::normal_form`].

mod comparison;
mod look_up;
mod registers;
mod value;

use std::ffi::CStr;

use ruleset::{
    EtherType, Family, Finish, Log, LogPrefix, Match, Name, Rule, Ruleset, SetType, Transport,
};

use super::unreadable::Unreadable;
use crate::expression::{AT_LEAST, AT_MOST, Expression};
use crate::packet::{Network, Part};
use crate::register::Register;
use registers::{Content, Registers};
use value::{Dependency, field_of, text, verdict};

/// Reads a rule, without its comment, of a table whose sets are these.
pub(crate) fn read(sets: &Ruleset, expressions: &[Expression]) -> Result<Rule, Unreadable> {
    let mut reader = RuleReader::new(sets);
    let mut rest = expressions;
    while !rest.is_empty() {
        let read = reader.step(rest)?;
        rest = rest.get(read..).unwrap_or_default();
    }
    if reader.matches.iter().skip(reader.before_log).any(Option::is_some) {
        return Err("a match after the log".to_owned());
    }
    let matches = reader.matches.into_iter().flatten().collect();
    Ok(Rule { matches, log: reader.log, finish: reader.finish, comment: None })
}

/// A rule while it is read.
struct RuleReader<'a> {
    sets: &'a Ruleset,
    registers: Registers,
    /// `None` replaces a test that a later match depends on.
    matches: Vec<Option<Match>>,
    log: Option<Log>,
    /// The number of matches before the log. All, if there is no log.
    before_log: usize,
    finish: Option<Finish>,
    network: Dependency<Network>,
    protocol: Dependency<u8>,
}

impl<'a> RuleReader<'a> {
    const fn new(sets: &'a Ruleset) -> Self {
        Self {
            sets,
            registers: Registers::EMPTY,
            matches: Vec::new(),
            log: None,
            before_log: usize::MAX,
            finish: None,
            network: Dependency::NONE,
            protocol: Dependency::NONE,
        }
    }

    /// Reads the next expression, or several that belong together. Returns their
    /// number.
    fn step(&mut self, rest: &[Expression]) -> Result<usize, Unreadable> {
        if self.finish.is_some() {
            return Err("an expression after the verdict".to_owned());
        }
        match rest {
            [
                Expression::Compare { register, operation: AT_LEAST, value: first },
                Expression::Compare { register: same, operation: AT_MOST, value: last },
                ..,
            ] if register == same => {
                let found = self.between(*register, first, last)?;
                self.matches.push(Some(found));
                Ok(2)
            }
            [
                Expression::LimitPer { register, set, per_second, burst },
                Expression::Log { prefix, group },
                ..,
            ] => {
                let prefix = text(prefix.as_deref().unwrap_or_default())?;
                self.log(*register, set, *per_second, *burst, prefix, *group).map(|()| 2)
            }
            [single, ..] => self.single(single).map(|()| 1),
            [] => Ok(0),
        }
    }

    fn single(&mut self, expression: &Expression) -> Result<(), Unreadable> {
        if let Some((part, into)) = Part::loaded(expression, self.network.known) {
            self.registers.store(into, Content::of(part));
            return Ok(());
        }
        let found = match expression {
            Expression::Mask { from, mask, into } => {
                let part = self.registers.whole(*from)?;
                let is_zero = mask.iter().all(|byte| *byte == 0);
                let content = match is_zero && value::is_tag_piece(part, mask) {
                    true => Content { tag_piece: Some(mask.clone()), ..Content::of(part) },
                    false => Content { mask: Some(mask.clone()), ..Content::of(part) },
                };
                self.registers.store(*into, content);
                return Ok(());
            }
            Expression::Replace { from, value, into } => {
                let part = self.registers.whole(*from)?;
                if !value::is_tag_piece(part, value) {
                    return Err("a number instead of a part".to_owned());
                }
                let content = Content { tag_piece: Some(value.clone()), ..Content::of(part) };
                self.registers.store(*into, content);
                return Ok(());
            }
            Expression::Lookup { register, set, verdict: true } => {
                self.finish = Some(self.dispatch(*register, set)?);
                return Ok(());
            }
            Expression::Verdict { code, chain } => {
                self.finish = Some(Finish::Verdict(verdict(*code, chain.as_deref())?));
                return Ok(());
            }
            Expression::Compare { register, operation, value } => {
                self.compare(*register, *operation, value)
            }
            Expression::Between { register, first, last } => self.between(*register, first, last),
            Expression::Lookup { register, set, verdict: false } => self.look_up(*register, set),
            other => Err(format!("unsupported expression {other:?}")),
        };
        let found = found?;
        let at = self.matches.len();
        let is_new = match &found {
            Match::Family(family) => self.network.tested(Network::Ip(*family), at),
            Match::EtherType(kind) => self.network.told(Network::of(*kind)),
            Match::Protocol(protocol) => self.protocol.tested(*protocol, at),
            _ => true,
        };
        self.matches.extend(is_new.then_some(Some(found)));
        Ok(())
    }

    fn dispatch(&mut self, register: Register, map: &CStr) -> Result<Finish, Unreadable> {
        let name = self.name(map)?;
        let map =
            self.sets.maps.get(&name).ok_or_else(|| format!("a map that is not ours: {name}"))?;
        let family = map.family;
        let field = field_of(self.registers.whole(register)?, family)?;
        self.need_family(family)?;
        Ok(Finish::Dispatch(field, family, name))
    }

    fn log(
        &mut self,
        register: Register,
        set: &CStr,
        per_second: u64,
        burst: u32,
        prefix: &str,
        group: u16,
    ) -> Result<(), Unreadable> {
        let set = self.name(set)?;
        let Some(SetType::RateLimit(family)) = self.sets.sets.get(&set).map(|set| set.set_type)
        else {
            return Err(format!("a limit by a set that is not ours: {set}"));
        };
        let field = field_of(self.registers.whole(register)?, family)?;
        let per_second = u32::try_from(per_second).map_err(|_| "a high limit")?;
        if burst != Log::BURST_PACKETS || self.log.is_some() {
            return Err("a burst that is not ours, or two logs".to_owned());
        }
        self.need_family(family)?;
        let prefix = LogPrefix::new(prefix);
        self.before_log = self.matches.len();
        self.log = Some(Log { field, family, set, per_second, prefix, group });
        Ok(())
    }

    fn need_family(&mut self, family: Family) -> Result<(), Unreadable> {
        let implied = self.network.need(Network::Ip(family))?;
        self.remove(implied);
        Ok(())
    }

    /// The rule must have tested for ARP. That test stays a match of its own.
    fn need_arp(&mut self) -> Result<(), Unreadable> {
        self.network.need(Network::of(EtherType::Arp)).map(|_| ())
    }

    fn need_protocol(&mut self, protocol: u8) -> Result<(), Unreadable> {
        let implied = self.protocol.need(protocol)?;
        self.remove(implied);
        Ok(())
    }

    fn need_transport(&mut self) -> Result<Transport, Unreadable> {
        let known = self.protocol.known;
        let transport = Transport::ALL.into_iter().find(|one| known == Some(one.number()));
        let transport = transport.ok_or("a port of no protocol with ports")?;
        self.need_protocol(transport.number())?;
        Ok(transport)
    }

    fn remove(&mut self, implied: Option<usize>) {
        if let Some(slot) = implied.and_then(|index| self.matches.get_mut(index)) {
            *slot = None;
        }
    }

    fn name(&self, name: &CStr) -> Result<Name, Unreadable> {
        Name::new(text(name)?).map_err(|error| error.to_string())
    }
}
