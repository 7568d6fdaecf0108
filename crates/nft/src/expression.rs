//! The kernel's expressions, which its rules consist of.
//!
//! Converts values to libnftnl's objects, and back. Never: the meaning of a
//! sequence of expressions, which `write` and `read` know.

mod read;

use std::ffi::{CStr, CString};

use ruleset::FlowSide;

use crate::ffi::{self, Object};
use crate::register::Register;

/// One expression, with the details that our rules use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Expression {
    /// Loads information about the packet: NFT_META_*.
    Meta { key: u32, into: Register },
    /// Loads what connection tracking knows of the flow: NFT_CT_*.
    Ct { key: u32, side: Option<FlowSide>, into: Register },
    /// Loads what kind of address the source is to the routing table: RTN_*.
    SourceType { into: Register },
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
/// NFT_FIB_RESULT_ADDRTYPE (include/uapi/linux/netfilter/nf_tables.h).
const ADDRESS_TYPE: u32 = 3;
/// NFTA_FIB_F_SADDR.
const OF_SOURCE: u32 = 1;
/// The kernel's unit of a limit, in seconds.
const PER_SECOND: u64 = 1;
/// NFT_DYNSET_OP_UPDATE.
const DYNSET_UPDATE: u32 = libc::NFT_DYNSET_OP_UPDATE as u32;
/// NFT_DYNSET_F_EXPR (include/uapi/linux/netfilter/nf_tables.h): there are several
/// expressions. The kernel refuses them without it (`nft_dynset_init`, Linux 5.11 and later).
const DYNSET_SEVERAL: u32 = 1 << 1;

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
            | Self::SourceType { .. }
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
            Self::SourceType { into } => {
                let mut object = Object::<ffi::Fib>::new();
                object.number(&ffi::Fib::DREG, into.number());
                object.number(&ffi::Fib::RESULT, ADDRESS_TYPE).number(&ffi::Fib::FLAGS, OF_SOURCE);
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
    object.number(&ffi::Dynset::OP, DYNSET_UPDATE).number(&ffi::Dynset::FLAGS, DYNSET_SEVERAL);
    object.text(&ffi::Dynset::SET, set);
    object.push(Object::<ffi::Counter>::new());
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
