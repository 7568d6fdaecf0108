//! A rule as the kernel's expressions, the same that nft 1.0.6 makes from its
//! text.
//!
//! In: a [`Rule`]. Out: expressions. Never: the sets that it names.

use std::ffi::CString;

use ruleset::{
    AddressRange, AddressTest, CtStates, Family, Field, Finish, Log, Match, PortTest, Rule,
    TcpFlags, Transport, Verdict,
};

use crate::datatype::address_bytes;
use crate::expression::{AT_LEAST, AT_MOST, EQUAL, Expression, NOT_EQUAL};
use crate::ffi::{self, Object};
use crate::packet::{Part, nfproto};
use crate::register::Register;
use crate::userdata::{self, Userdata};

/// `NF_CT_STATE_BIT(IP_CT_ESTABLISHED)` (include/uapi/linux/netfilter/nf_conntrack_common.h).
pub(crate) const ESTABLISHED: u32 = 1 << 1;
/// `NF_CT_STATE_BIT(IP_CT_RELATED)`.
pub(crate) const RELATED: u32 = 1 << 2;
/// PACKET_HOST (include/uapi/linux/if_packet.h). nft writes `host` or `unicast`.
pub(crate) const PACKET_HOST: u8 = libc::PACKET_HOST;
/// IPPROTO_ICMPV6.
pub(crate) const ICMPV6: u8 = libc::IPPROTO_ICMPV6 as u8;

/// The kernel object of a rule, without table and chain.
pub(crate) fn object(rule: &Rule) -> Object<ffi::Rule> {
    let mut object = Object::new();
    for expression in expressions(rule) {
        expression.append_to(&mut object);
    }
    let comment = Userdata::default().comment(userdata::COMMENT, rule.comment.as_ref());
    if let Some(bytes) = comment.bytes() {
        object.bytes(&ffi::Rule::USERDATA, bytes);
    }
    object
}

/// The expressions of a rule.
pub(crate) fn expressions(rule: &Rule) -> Vec<Expression> {
    let mut writer = Writer::default();
    for test in &rule.matches {
        writer.test(test);
    }
    if let Some(log) = &rule.log {
        writer.log(log);
    }
    match &rule.finish {
        None => {}
        Some(Finish::Verdict(verdict)) => writer.verdict(verdict),
        Some(Finish::Dispatch(field, family, map)) => {
            writer.need_family(*family);
            writer.load(Part::address(*family, *field));
            writer.look_up(map, true);
        }
    }
    writer.expressions
}

/// The expressions so far, and the family and protocol that they test for.
#[derive(Default)]
struct Writer {
    expressions: Vec<Expression>,
    family: Option<Family>,
    protocol: Option<u8>,
}

impl Writer {
    fn test(&mut self, test: &Match) {
        match test {
            Match::CtState(states) => self.ct_state(*states),
            Match::NotToHost => {
                self.load(Part::PacketType);
                self.compare(NOT_EQUAL, vec![PACKET_HOST]);
            }
            Match::Family(family) => self.family(*family),
            Match::HopLimit(hops) => {
                self.need_family(Family::V6);
                self.load(Part::HopLimit);
                self.compare(EQUAL, vec![*hops]);
            }
            Match::Protocol(protocol) => self.protocol(*protocol),
            Match::NotOpening => {
                self.need_protocol(Transport::Tcp.number());
                self.load(Part::TcpFlags);
                self.mask(vec![TcpFlags::OPENING_MASK.0]);
                self.compare(NOT_EQUAL, vec![TcpFlags::SYN.0]);
            }
            Match::Address(field, AddressTest::In(range)) => self.address(*field, range),
            Match::Address(field, AddressTest::Set(family, set)) => {
                self.need_family(*family);
                self.load(Part::address(*family, *field));
                self.look_up(set, false);
            }
            Match::Port(transport, test) => self.port(*transport, test),
            Match::AddressPort(field, family, transport, set) => {
                self.need_family(*family);
                self.need_protocol(transport.number());
                self.load_both(Part::address(*family, *field), Part::Port);
                self.look_up(set, false);
            }
            Match::AddressPair(family, set) => {
                self.need_family(*family);
                let destination = Part::address(*family, Field::Destination);
                self.load_both(Part::address(*family, Field::Source), destination);
                self.look_up(set, false);
            }
            Match::Icmpv6Type(set) => {
                self.need_family(Family::V6);
                self.need_protocol(ICMPV6);
                self.load(Part::Icmpv6Type);
                self.look_up(set, false);
            }
            // Not written yet. The kernel refuses a look-up in a register that
            // nothing was loaded into, and in a set that does not exist.
            Match::Key(_, set) => self.look_up(set, false),
            Match::EtherType(_)
            | Match::PriorityTag(_)
            | Match::NotProtocol(_)
            | Match::IcmpType(_)
            | Match::NotInit => self.look_up_nothing(),
        }
    }

    fn ct_state(&mut self, states: CtStates) {
        let established = if states.established { ESTABLISHED } else { 0 };
        let related = if states.related { RELATED } else { 0 };
        self.load(Part::CtState);
        self.mask((established | related).to_ne_bytes().to_vec());
        self.compare(NOT_EQUAL, vec![0; size_of::<u32>()]);
    }

    /// The first of these that fits: one address, a prefix of whole bytes, a
    /// prefix by mask, both ends of the range.
    fn address(&mut self, field: Field, range: &AddressRange) {
        let family = range.family();
        self.need_family(family);
        let whole = Part::address(family, field);
        let first = address_bytes(range.first());
        match range.prefix_len() {
            Some(length) if length == family.bits() => {
                self.load(whole);
                self.compare(EQUAL, first);
            }
            Some(length) if length > 0 && length.is_multiple_of(8) => {
                let bytes = length / 8;
                self.load(Part::Address(family, field, bytes));
                self.compare(EQUAL, first.into_iter().take(bytes as usize).collect());
            }
            Some(length) => {
                self.load(whole);
                self.mask(prefix_mask(family, length));
                self.compare(EQUAL, first);
            }
            None => {
                self.load(whole);
                self.compare(AT_LEAST, first);
                self.compare(AT_MOST, address_bytes(range.last()));
            }
        }
    }

    fn port(&mut self, transport: Transport, test: &PortTest) {
        self.need_protocol(transport.number());
        self.load(Part::Port);
        match test {
            PortTest::In(first, last) if first == last => {
                self.compare(EQUAL, first.to_be_bytes().to_vec());
            }
            PortTest::In(first, last) => {
                self.compare(AT_LEAST, first.to_be_bytes().to_vec());
                self.compare(AT_MOST, last.to_be_bytes().to_vec());
            }
            PortTest::Set(set) => self.look_up(set, false),
        }
    }

    fn log(&mut self, log: &Log) {
        self.need_family(log.family);
        self.load(Part::address(log.family, log.field));
        self.expressions.push(Expression::LimitPer {
            register: Register::FIRST,
            set: c_string(log.set.as_str()),
            per_second: log.per_second.into(),
            burst: Log::BURST_PACKETS,
        });
        let prefix = log.prefix.as_str();
        let prefix = (!prefix.is_empty()).then(|| c_string(prefix));
        self.expressions.push(Expression::Log { prefix, group: log.group });
    }

    fn verdict(&mut self, verdict: &Verdict) {
        let (code, chain) = match verdict {
            Verdict::Accept => (libc::NF_ACCEPT, None),
            Verdict::Drop => (libc::NF_DROP, None),
            Verdict::Return => (libc::NFT_RETURN, None),
            Verdict::Jump(chain) => (libc::NFT_JUMP, Some(chain)),
            Verdict::Goto(chain) => (libc::NFT_GOTO, Some(chain)),
        };
        let chain = chain.map(|chain| c_string(chain.as_str()));
        self.expressions.push(Expression::Verdict { code, chain });
    }

    fn need_family(&mut self, family: Family) {
        if self.family != Some(family) {
            self.family(family);
        }
    }

    fn need_protocol(&mut self, protocol: u8) {
        if self.protocol != Some(protocol) {
            self.protocol(protocol);
        }
    }

    fn family(&mut self, family: Family) {
        self.load(Part::Family);
        self.compare(EQUAL, vec![nfproto(family)]);
        self.family = Some(family);
    }

    fn protocol(&mut self, protocol: u8) {
        self.load(Part::Protocol);
        self.compare(EQUAL, vec![protocol]);
        self.protocol = Some(protocol);
    }

    fn load(&mut self, part: Part) {
        self.expressions.push(part.load(Register::FIRST));
    }

    fn load_both(&mut self, first: Part, second: Part) {
        self.load(first);
        self.expressions.push(second.load(Register::FIRST.after(first.bytes())));
    }

    fn mask(&mut self, mask: Vec<u8>) {
        let (from, into) = (Register::FIRST, Register::FIRST);
        self.expressions.push(Expression::Mask { from, mask, into });
    }

    fn compare(&mut self, operation: u32, value: Vec<u8>) {
        self.expressions.push(Expression::Compare { register: Register::FIRST, operation, value });
    }

    fn look_up_nothing(&mut self) {
        let (register, set) = (Register::FIRST, c_string(""));
        self.expressions.push(Expression::Lookup { register, set, verdict: false });
    }

    fn look_up(&mut self, set: &ruleset::Name, verdict: bool) {
        let (register, set) = (Register::FIRST, c_string(set.as_str()));
        self.expressions.push(Expression::Lookup { register, set, verdict });
    }
}

/// The mask of a prefix length.
pub(crate) fn prefix_mask(family: Family, length: u32) -> Vec<u8> {
    let bytes = 0..family.bits() / 8;
    bytes
        .map(|byte| 0xff_u8.checked_shl(8 - length.saturating_sub(byte * 8).min(8)).unwrap_or(0))
        .collect()
}

/// Text for C. Names, comments and prefixes contain no NUL. If one did, the text
/// would end there.
pub(crate) fn c_string(text: &str) -> CString {
    let before_nul: Vec<u8> = text.bytes().take_while(|byte| *byte != 0).collect();
    CString::new(before_nul).unwrap_or_default()
}

#[cfg(test)]
mod tests;
