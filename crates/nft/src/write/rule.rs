//! A rule as the kernel's expressions, the same that nft 1.0.6 makes from its
//! text.
//!
//! In: the family of a table and a [`Rule`]. Out: expressions. Never: the sets
//! that the rule names.

mod condition;

use std::ffi::CString;

use ruleset::{
    AddressTest, EtherType, Family, Field, Finish, FlowSide, Log, Match, Rule, TableFamily,
    TagType, TcpFlags, Verdict,
};

use crate::expression::{EQUAL, Expression, NOT_EQUAL};
use crate::ffi::{self, Object};
use crate::needs::Needs;
use crate::packet::{Network, Part, ether_type, nfproto};
use crate::register::Register;
use crate::userdata::{self, Userdata};

/// `NF_CT_STATE_BIT(IP_CT_ESTABLISHED)` (include/uapi/linux/netfilter/nf_conntrack_common.h).
pub(crate) const ESTABLISHED: u32 = 1 << 1;
/// `NF_CT_STATE_BIT(IP_CT_RELATED)`.
pub(crate) const RELATED: u32 = 1 << 2;
/// IPS_DST_NAT (include/uapi/linux/netfilter/nf_conntrack_common.h).
pub(crate) const TRANSLATED: u32 = 1 << 5;
/// RTN_LOCAL (include/uapi/linux/rtnetlink.h).
pub(crate) const LOCAL: u32 = libc::RTN_LOCAL as u32;
/// PACKET_HOST (include/uapi/linux/if_packet.h). nft writes `host` or `unicast`.
pub(crate) const PACKET_HOST: u8 = libc::PACKET_HOST;

use condition::key_parts;
pub(crate) use condition::prefix_mask;

/// The kernel object of a rule, without table and chain.
pub(crate) fn object(table: TableFamily, rule: &Rule) -> Object<ffi::Rule> {
    let mut object = Object::new();
    for expression in expressions(table, rule) {
        expression.append_to(&mut object);
    }
    let comment = Userdata::default().comment(userdata::COMMENT, rule.comment.as_ref());
    if let Some(bytes) = comment.bytes() {
        object.bytes(&ffi::Rule::USERDATA, bytes);
    }
    object
}

/// The expressions of a rule in a table of this family.
pub(crate) fn expressions(table: TableFamily, rule: &Rule) -> Vec<Expression> {
    let mut writer = Writer { table, expressions: Vec::new(), network: None, protocol: None };
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
            writer.look_up(map.as_str(), true);
        }
    }
    writer.expressions
}

/// The expressions so far, and the network header and protocol that they test for.
struct Writer {
    table: TableFamily,
    expressions: Vec<Expression>,
    network: Option<Network>,
    protocol: Option<u8>,
}

impl Writer {
    fn test(&mut self, test: &Match) {
        let Needs { network, protocol } = Needs::of(test);
        match network {
            Some(Network::Ip(family)) => self.need_family(family),
            Some(Network::Arp) => self.need_arp(),
            None => {}
        }
        if let Some(protocol) = protocol {
            self.need_protocol(protocol);
        }
        match test {
            Match::CtState(states) => self.ct_state(*states),
            Match::CtTranslated => {
                self.load(Part::CtStatus);
                self.has_bit_of(TRANSLATED);
            }
            Match::SourceIsLocal => {
                self.load(Part::SourceType);
                self.compare(EQUAL, LOCAL.to_ne_bytes().to_vec());
            }
            Match::NotToHost => {
                self.load(Part::PacketType);
                self.compare(NOT_EQUAL, vec![PACKET_HOST]);
            }
            Match::Family(family) => self.family(*family),
            Match::HopLimit(hops) => {
                self.load(Part::HopLimit);
                self.compare(EQUAL, vec![*hops]);
            }
            Match::Protocol(protocol) => self.protocol(*protocol),
            Match::NotOpening => {
                self.load(Part::TcpFlags);
                self.mask(vec![TcpFlags::OPENING_MASK.0]);
                self.compare(NOT_EQUAL, vec![TcpFlags::SYN.0]);
            }
            Match::Address(field, AddressTest::In(range)) => self.address(*field, range),
            Match::Address(field, AddressTest::Set(family, set)) => {
                self.is_in([Part::address(*family, *field)], set);
            }
            Match::Ports(set) => self.is_in([Part::Protocol, Part::Port], set),
            Match::Port(_, ports) => self.port(*ports),
            Match::SourcePort(_, port) => {
                self.load(Part::SourcePort);
                self.compare(EQUAL, port.to_be_bytes().to_vec());
            }
            Match::AddressPort(field, family, _, set) => {
                self.is_in([Part::address(*family, *field), Part::Port], set);
            }
            Match::AddressPair(family, set) => {
                let fields = [Field::Source, Field::Destination];
                self.is_in(fields.map(|field| Part::address(*family, field)), set);
            }
            Match::FlowSource(side, family, set) => {
                let source = Part::address(*family, Field::Source);
                self.is_in([source, Part::FlowSource(*side, *family)], set);
            }
            Match::FlowOpener(family, set) => {
                self.is_in([Part::FlowSource(FlowSide::Original, *family)], set);
            }
            Match::Icmpv6Type(set) => {
                self.is_in([Part::IcmpType], set);
            }
            Match::Key(fields, set) => self.is_in(key_parts(*fields), set),
            Match::EtherType(kind) => self.ether_type(*kind),
            Match::PriorityTag(kind) => {
                self.load(Part::Tag);
                self.mask(TagType::MASK.to_be_bytes().to_vec());
                self.compare(EQUAL, kind.priority_tagged().to_be_bytes().to_vec());
            }
            Match::NotProtocol(protocol) => {
                self.load(Part::Protocol);
                self.compare(NOT_EQUAL, vec![*protocol]);
            }
            Match::IcmpType(number) => {
                self.load(Part::IcmpType);
                self.compare(EQUAL, vec![*number]);
            }
            Match::NotInit => {
                self.load(Part::ChunkType);
                self.compare(NOT_EQUAL, vec![Match::SCTP_INIT]);
            }
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

    fn need_arp(&mut self) {
        if self.network != Some(Network::Arp) {
            self.ether_type(EtherType::Arp);
        }
    }

    fn need_family(&mut self, family: Family) {
        if self.network != Some(Network::Ip(family)) {
            self.family(family);
        }
    }

    fn need_protocol(&mut self, protocol: u8) {
        if self.protocol != Some(protocol) {
            self.protocol(protocol);
        }
    }

    fn family(&mut self, family: Family) {
        match self.table {
            TableFamily::Inet => {
                self.load(Part::Family);
                self.compare(EQUAL, vec![nfproto(family)]);
            }
            TableFamily::Bridge => {
                self.load(Part::NetworkProtocol);
                self.compare(EQUAL, ether_type(family).number().to_be_bytes().to_vec());
            }
        }
        self.network = Some(Network::Ip(family));
    }

    fn ether_type(&mut self, kind: EtherType) {
        self.load(Part::EtherType);
        self.compare(EQUAL, kind.number().to_be_bytes().to_vec());
        self.network = Some(Network::of(kind));
    }

    fn protocol(&mut self, protocol: u8) {
        self.load(Part::Protocol);
        self.compare(EQUAL, vec![protocol]);
        self.protocol = Some(protocol);
    }

    fn load(&mut self, part: Part) {
        self.expressions.push(part.load(Register::FIRST));
    }

    fn mask(&mut self, mask: Vec<u8>) {
        let (from, into) = (Register::FIRST, Register::FIRST);
        self.expressions.push(Expression::Mask { from, mask, into });
    }

    fn compare(&mut self, operation: u32, value: Vec<u8>) {
        self.expressions.push(Expression::Compare { register: Register::FIRST, operation, value });
    }

    fn look_up(&mut self, set: &str, verdict: bool) {
        let (register, set) = (Register::FIRST, c_string(set));
        self.expressions.push(Expression::Lookup { register, set, verdict });
    }
}

/// Text for C. Names, comments and prefixes contain no NUL. If one did, the text
/// would end there.
pub(crate) fn c_string(text: &str) -> CString {
    let before_nul: Vec<u8> = text.bytes().take_while(|byte| *byte != 0).collect();
    CString::new(before_nul).unwrap_or_default()
}

#[cfg(test)]
mod tests;
