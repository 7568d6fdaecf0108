//! The kernel's expressions, which its rules consist of.
//!
//! Converts values to libnftnl's objects, and back. Never: the meaning of a
//! sequence of expressions, which `write` and `read` know.

use std::ffi::{CStr, CString};

use ruleset::FlowSide;

use crate::ffi::{self, AnyExpression, Object, Ref};
use crate::register::Register;

/// One expression, with the details that our rules use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Expression {
    /// Loads information about the packet: NFT_META_*.
    Meta { key: u32, into: Register },
    /// Loads what connection tracking knows of the flow: NFT_CT_*.
    Ct { key: u32, side: Option<FlowSide>, into: Register },
    /// Loads bytes of the packet.
    Payload { base: u32, offset: u32, length: u32, into: Register },
    /// `into = from & mask`.
    Mask { from: Register, mask: Vec<u8>, into: Register },
    /// `into` = this value, whatever `from` is: a bitwise operation without the bits
    /// of `from`.
    Replace { from: Register, value: Vec<u8>, into: Register },
    /// Continues if the comparison (NFT_CMP_*) of the register with the value
    /// holds.
    Compare { register: Register, operation: u32, value: Vec<u8> },
    /// Continues if the register is in `first..=last`.
    Between { register: Register, first: Vec<u8>, last: Vec<u8> },
    /// Continues if the register is in the set. With a map, applies the verdict.
    Lookup { register: Register, set: CString, verdict: bool },
    /// A verdict, with the target chain of a jump.
    Verdict { code: i32, chain: Option<CString> },
    /// Adds the register to a set. Continues for this many packets per second.
    LimitPer { register: Register, set: CString, per_second: u64, burst: u32 },
    /// Logs to an NFLOG group.
    Log { prefix: Option<CString>, group: u16 },
    /// An expression that our rules do not use, by name.
    Other(String),
}

/// NFT_CMP_EQ.
pub(crate) const EQUAL: u32 = libc::NFT_CMP_EQ as u32;
/// NFT_CMP_NEQ.
pub(crate) const NOT_EQUAL: u32 = libc::NFT_CMP_NEQ as u32;
/// NFT_CMP_GTE.
pub(crate) const AT_LEAST: u32 = libc::NFT_CMP_GTE as u32;
/// NFT_CMP_LTE.
pub(crate) const AT_MOST: u32 = libc::NFT_CMP_LTE as u32;

/// NFT_REG_VERDICT.
const VERDICT: u32 = libc::NFT_REG_VERDICT as u32;
/// NFT_BITWISE_BOOL, the default operation: `(register & mask) ^ xor`.
const BITWISE_BOOL: u32 = 0;
/// The kernel's unit of a limit, in seconds.
const PER_SECOND: u64 = 1;
/// NFT_DYNSET_OP_ADD.
const DYNSET_ADD: u32 = libc::NFT_DYNSET_OP_ADD as u32;
/// NFT_DYNSET_F_EXPR, which only tells how the expression was sent.
const DYNSET_SILENT_FLAGS: u32 = 1 << 1;

impl Expression {
    /// Replaces a register by a value. If that is zero, the kernel has only one form of
    /// this and of a mask without bits.
    pub(crate) fn replace(register: Register, value: Vec<u8>) -> Self {
        let (from, into) = (register, register);
        match value.iter().all(|byte| *byte == 0) {
            true => Self::Mask { from, mask: value, into },
            false => Self::Replace { from, value, into },
        }
    }

    /// Appends the expression to a rule.
    pub(crate) fn append_to(&self, rule: &mut Object<ffi::Rule>) {
        match self {
            Self::Meta { .. }
            | Self::Ct { .. }
            | Self::Payload { .. }
            | Self::Mask { .. }
            | Self::Replace { .. } => self.append_load(rule),
            Self::Compare { .. } | Self::Between { .. } | Self::Lookup { .. } => {
                self.append_test(rule);
            }
            Self::Verdict { .. } | Self::LimitPer { .. } | Self::Log { .. } => {
                self.append_action(rule);
            }
            Self::Other(_) => {} // only results from reading
        }
    }

    fn append_load(&self, rule: &mut Object<ffi::Rule>) {
        match self {
            Self::Meta { key, into } => {
                let mut object = Object::<ffi::Meta>::new();
                object.number(&ffi::Meta::KEY, *key).number(&ffi::Meta::DREG, into.number());
                rule.push(object);
            }
            Self::Ct { key, side, into } => {
                let mut object = Object::<ffi::Ct>::new();
                object.number(&ffi::Ct::KEY, *key).number(&ffi::Ct::DREG, into.number());
                if let Some(side) = side {
                    object.number(&ffi::Ct::DIR, direction(*side));
                }
                rule.push(object);
            }
            Self::Payload { base, offset, length, into } => {
                let mut object = Object::<ffi::Payload>::new();
                object.number(&ffi::Payload::DREG, into.number());
                object.number(&ffi::Payload::BASE, *base).number(&ffi::Payload::OFFSET, *offset);
                object.number(&ffi::Payload::LEN, *length);
                rule.push(object);
            }
            Self::Mask { from, mask, into } => {
                rule.push(bitwise(*from, mask, &vec![0; mask.len()], *into));
            }
            Self::Replace { from, value, into } => {
                rule.push(bitwise(*from, &vec![0; value.len()], value, *into));
            }
            _ => {}
        }
    }

    fn append_test(&self, rule: &mut Object<ffi::Rule>) {
        match self {
            Self::Compare { register, operation, value } => {
                let mut object = Object::<ffi::Cmp>::new();
                object.number(&ffi::Cmp::SREG, register.number());
                object.number(&ffi::Cmp::OP, *operation).bytes(&ffi::Cmp::DATA, value);
                rule.push(object);
            }
            Self::Between { register, first, last } => {
                let mut object = Object::<ffi::Range>::new();
                object.number(&ffi::Range::SREG, register.number());
                object.number(&ffi::Range::OP, libc::NFT_RANGE_EQ as u32);
                object.bytes(&ffi::Range::FROM, first).bytes(&ffi::Range::TO, last);
                rule.push(object);
            }
            Self::Lookup { register, set, verdict } => {
                let mut object = Object::<ffi::Lookup>::new();
                object.number(&ffi::Lookup::SREG, register.number());
                object.text(&ffi::Lookup::SET, set);
                if *verdict {
                    object.number(&ffi::Lookup::DREG, VERDICT);
                }
                rule.push(object);
            }
            _ => {}
        }
    }

    fn append_action(&self, rule: &mut Object<ffi::Rule>) {
        match self {
            Self::Verdict { code, chain } => {
                let mut object = Object::<ffi::Immediate>::new();
                object.number(&ffi::Immediate::DREG, VERDICT);
                object.number(&ffi::Immediate::VERDICT, code.cast_unsigned());
                if let Some(chain) = chain {
                    object.text(&ffi::Immediate::CHAIN, chain);
                }
                rule.push(object);
            }
            Self::LimitPer { register, set, per_second, burst } => {
                rule.push(limit_per(*register, set, *per_second, *burst));
            }
            Self::Log { prefix, group } => {
                let mut object = Object::<ffi::Log>::new();
                if let Some(prefix) = prefix {
                    object.text(&ffi::Log::PREFIX, prefix);
                }
                object.number(&ffi::Log::GROUP, *group);
                rule.push(object);
            }
            _ => {}
        }
    }

    /// Reads an expression of a rule.
    pub(crate) fn read(object: &Ref<'_, AnyExpression>) -> Self {
        let name = object.name().map(CStr::to_string_lossy).unwrap_or_default();
        read_load(object)
            .or_else(|| read_test(object))
            .or_else(|| read_action(object))
            .unwrap_or_else(|| Self::Other(name.into_owned()))
    }
}

/// `into = (from & mask) ^ xor`.
fn bitwise(from: Register, mask: &[u8], xor: &[u8], into: Register) -> Object<ffi::Bitwise> {
    let mut object = Object::<ffi::Bitwise>::new();
    object.number(&ffi::Bitwise::SREG, from.number());
    object.number(&ffi::Bitwise::DREG, into.number());
    object.number(&ffi::Bitwise::OP, BITWISE_BOOL);
    object.number(&ffi::Bitwise::LEN, mask.len() as u32);
    object.bytes(&ffi::Bitwise::MASK, mask).bytes(&ffi::Bitwise::XOR, xor);
    object
}

fn limit_per(register: Register, set: &CStr, per_second: u64, burst: u32) -> Object<ffi::Dynset> {
    let mut limit = Object::<ffi::Limit>::new();
    limit.number(&ffi::Limit::RATE, per_second).number(&ffi::Limit::UNIT, PER_SECOND);
    limit.number(&ffi::Limit::BURST, burst);
    limit.number(&ffi::Limit::TYPE, libc::NFT_LIMIT_PKTS as u32).number(&ffi::Limit::FLAGS, 0);
    let mut object = Object::<ffi::Dynset>::new();
    object.number(&ffi::Dynset::SREG_KEY, register.number());
    object.number(&ffi::Dynset::OP, DYNSET_ADD);
    object.text(&ffi::Dynset::SET, set);
    object.push(limit);
    object
}

/// IP_CT_DIR_ORIGINAL and IP_CT_DIR_REPLY (`enum ip_conntrack_dir`,
/// include/uapi/linux/netfilter/nf_conntrack_tuple_common.h).
const fn direction(side: FlowSide) -> u8 {
    match side {
        FlowSide::Original => 0,
        FlowSide::Reply => 1,
    }
}

/// Expressions that load a register.
fn read_load(object: &Ref<'_, AnyExpression>) -> Option<Expression> {
    if let Some(meta) = object.as_kind::<ffi::Meta>() {
        let into = Register::from_number(meta.number(&ffi::Meta::DREG)?)?;
        return Some(Expression::Meta { key: meta.number(&ffi::Meta::KEY)?, into });
    }
    if let Some(ct) = object.as_kind::<ffi::Ct>() {
        let into = Register::from_number(ct.number(&ffi::Ct::DREG)?)?;
        let side = match ct.number(&ffi::Ct::DIR) {
            None => None,
            Some(number) => Some(FlowSide::BOTH.into_iter().find(|one| direction(*one) == number)?),
        };
        return Some(Expression::Ct { key: ct.number(&ffi::Ct::KEY)?, side, into });
    }
    if let Some(payload) = object.as_kind::<ffi::Payload>() {
        return Some(Expression::Payload {
            base: payload.number(&ffi::Payload::BASE)?,
            offset: payload.number(&ffi::Payload::OFFSET)?,
            length: payload.number(&ffi::Payload::LEN)?,
            into: Register::from_number(payload.number(&ffi::Payload::DREG)?)?,
        });
    }
    let bitwise = object.as_kind::<ffi::Bitwise>()?;
    if bitwise.number(&ffi::Bitwise::OP).unwrap_or(BITWISE_BOOL) != BITWISE_BOOL {
        return None;
    }
    let [mask, xor] = [bitwise.bytes(&ffi::Bitwise::MASK)?, bitwise.bytes(&ffi::Bitwise::XOR)?];
    let from = Register::from_number(bitwise.number(&ffi::Bitwise::SREG)?)?;
    let into = Register::from_number(bitwise.number(&ffi::Bitwise::DREG)?)?;
    let is_zero = |bytes: &[u8]| bytes.iter().all(|byte| *byte == 0);
    match (is_zero(mask), is_zero(xor)) {
        (_, true) => Some(Expression::Mask { from, mask: mask.to_vec(), into }),
        (true, false) => Some(Expression::Replace { from, value: xor.to_vec(), into }),
        (false, false) => None,
    }
}

/// Expressions that test a register.
fn read_test(object: &Ref<'_, AnyExpression>) -> Option<Expression> {
    if let Some(cmp) = object.as_kind::<ffi::Cmp>() {
        return Some(Expression::Compare {
            register: Register::from_number(cmp.number(&ffi::Cmp::SREG)?)?,
            operation: cmp.number(&ffi::Cmp::OP)?,
            value: cmp.bytes(&ffi::Cmp::DATA)?.to_vec(),
        });
    }
    if let Some(range) = object.as_kind::<ffi::Range>() {
        let equal = range.number(&ffi::Range::OP)? == libc::NFT_RANGE_EQ as u32;
        let register = Register::from_number(range.number(&ffi::Range::SREG)?)?;
        let first = range.bytes(&ffi::Range::FROM)?.to_vec();
        let last = range.bytes(&ffi::Range::TO)?.to_vec();
        return equal.then_some(Expression::Between { register, first, last });
    }
    let lookup = object.as_kind::<ffi::Lookup>()?;
    let verdict = match lookup.number(&ffi::Lookup::DREG) {
        None => false,
        Some(VERDICT) => true,
        Some(_) => return None,
    };
    let register = Register::from_number(lookup.number(&ffi::Lookup::SREG)?)?;
    let set = lookup.text(&ffi::Lookup::SET)?.to_owned();
    let plain = lookup.number(&ffi::Lookup::FLAGS).unwrap_or(0) == 0; // else inverted
    plain.then_some(Expression::Lookup { register, set, verdict })
}

/// Expressions that act.
fn read_action(object: &Ref<'_, AnyExpression>) -> Option<Expression> {
    if let Some(immediate) = object.as_kind::<ffi::Immediate>() {
        let code = immediate.number(&ffi::Immediate::VERDICT)?.cast_signed();
        let chain = immediate.text(&ffi::Immediate::CHAIN).map(CStr::to_owned);
        return Some(Expression::Verdict { code, chain });
    }
    if let Some(log) = object.as_kind::<ffi::Log>() {
        let plain = log.number(&ffi::Log::SNAPLEN).unwrap_or(0) == 0
            && log.number(&ffi::Log::QTHRESHOLD).unwrap_or(0) == 0
            && log.number(&ffi::Log::LEVEL).is_none();
        let prefix = log.text(&ffi::Log::PREFIX).map(CStr::to_owned);
        let group = log.number(&ffi::Log::GROUP)?;
        return plain.then_some(Expression::Log { prefix, group });
    }
    let dynset = object.as_kind::<ffi::Dynset>()?;
    let limit = dynset.expression()?.as_kind::<ffi::Limit>()?;
    let plain = dynset.number(&ffi::Dynset::OP)? == DYNSET_ADD
        && dynset.number(&ffi::Dynset::FLAGS).unwrap_or(0) & !DYNSET_SILENT_FLAGS == 0
        && dynset.number(&ffi::Dynset::SREG_DATA).is_none()
        && dynset.number(&ffi::Dynset::TIMEOUT).unwrap_or(0) == 0
        && limit.number(&ffi::Limit::UNIT)? == PER_SECOND
        && limit.number(&ffi::Limit::TYPE)? == libc::NFT_LIMIT_PKTS as u32
        && limit.number(&ffi::Limit::FLAGS).unwrap_or(0) == 0;
    let register = Register::from_number(dynset.number(&ffi::Dynset::SREG_KEY)?)?;
    let set = dynset.text(&ffi::Dynset::SET)?.to_owned();
    let per_second = limit.number(&ffi::Limit::RATE)?;
    let burst = limit.number(&ffi::Limit::BURST)?;
    plain.then_some(Expression::LimitPer { register, set, per_second, burst })
}
