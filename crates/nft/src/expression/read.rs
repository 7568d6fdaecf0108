//! Expressions from libnftnl's objects.
//!
//! In: an object. Out: the expression, or its name where our rules use none such.
//! Never: a detail left out that changes the meaning.

use std::ffi::CStr;

use ruleset::FlowSide;

use super::{
    ADDRESS_TYPE, BITWISE_BOOL, DYNSET_SEVERAL, DYNSET_UPDATE, Expression, OF_SOURCE, PER_SECOND,
    VERDICT, direction,
};
use crate::ffi::{self, AnyExpression, Ref};
use crate::register::Register;

impl Expression {
    /// Reads an expression of a rule.
    pub(crate) fn read(object: &Ref<'_, AnyExpression>) -> Self {
        let name = object.name().map(CStr::to_string_lossy).unwrap_or_default();
        read_load(object)
            .or_else(|| read_test(object))
            .or_else(|| read_action(object))
            .unwrap_or_else(|| Self::Other(name.into_owned()))
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
    if let Some(fib) = object.as_kind::<ffi::Fib>() {
        let is_ours = fib.number(&ffi::Fib::RESULT)? == ADDRESS_TYPE
            && fib.number(&ffi::Fib::FLAGS)? == OF_SOURCE;
        let into = Register::from_number(fib.number(&ffi::Fib::DREG)?)?;
        return is_ours.then_some(Expression::SourceType { into });
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
    let of_elements = dynset.expressions();
    let [counter, limit] = of_elements.as_slice() else { return None };
    counter.as_kind::<ffi::Counter>()?;
    let limit = limit.as_kind::<ffi::Limit>()?;
    let plain = dynset.number(&ffi::Dynset::OP)? == DYNSET_UPDATE
        && dynset.number(&ffi::Dynset::FLAGS).unwrap_or(0) & !DYNSET_SEVERAL == 0
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
