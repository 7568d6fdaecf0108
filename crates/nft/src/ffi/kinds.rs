//! The kinds of objects and the C types of their attributes.
//!
//! Checked against libnftnl 1.2.4: `src/{table,chain,rule,set,set_elem}.c` and
//! `src/expr/*.c`. All numbers are in host order here. libnftnl converts them.

use std::ffi::{CStr, c_int, c_void};

use nftnl_sys as sys;

use super::object::{Bytes, Key, Kind, Text};

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident: $raw:ident, $allocate:expr, $free:ident, $set:ident, $get:ident;)*) => {$(
        $(#[$doc])*
        pub(crate) struct $kind;

        // SAFETY: these are libnftnl's functions for this type, by name.
        unsafe impl Kind for $kind {
            type Raw = sys::$raw;

            fn allocate() -> *mut sys::$raw {
                // SAFETY: the only argument is a static name, for expressions.
                unsafe { $allocate }
            }

            unsafe fn free(raw: *mut sys::$raw) {
                // SAFETY: the caller guarantees it.
                unsafe { sys::$free(raw) }
            }

            unsafe fn set(raw: *mut sys::$raw, key: u16, data: *const c_void, length: u32) -> c_int {
                // SAFETY: the caller guarantees it.
                unsafe { sys::$set(raw, key, data, length) }
            }

            unsafe fn get(raw: *mut sys::$raw, key: u16, length: &mut u32) -> *const c_void {
                // SAFETY: the caller guarantees it.
                unsafe { sys::$get(raw, key, length) }
            }
        }
    )*};
}

kinds! {
    /// A table.
    Table: nftnl_table, sys::nftnl_table_alloc(), nftnl_table_free, nftnl_table_set_data, nftnl_table_get_data;
    /// A chain.
    Chain: nftnl_chain, sys::nftnl_chain_alloc(), nftnl_chain_free, nftnl_chain_set_data, nftnl_chain_get_data;
    /// A rule, which holds expressions.
    Rule: nftnl_rule, sys::nftnl_rule_alloc(), nftnl_rule_free, nftnl_rule_set_data, nftnl_rule_get_data;
    /// A set or map, which may hold elements.
    Set: nftnl_set, sys::nftnl_set_alloc(), nftnl_set_free, nftnl_set_set_data, nftnl_set_get_data;
    /// An element of a set or map.
    Element: nftnl_set_elem, sys::nftnl_set_elem_alloc(), nftnl_set_elem_free, nftnl_set_elem_set, nftnl_set_elem_get;
}

/// An expression of a certain name.
pub(crate) trait Expression: Kind<Raw = sys::nftnl_expr> {
    /// The kernel's name for it.
    const NAME: &'static CStr;
}

macro_rules! expressions {
    ($($(#[$doc:meta])* $kind:ident = $name:literal;)*) => {
        kinds! {$(
            $(#[$doc])*
            $kind: nftnl_expr, sys::nftnl_expr_alloc($name.as_ptr()), nftnl_expr_free, nftnl_expr_set, nftnl_expr_get;
        )*}
        $(impl Expression for $kind {
            const NAME: &'static CStr = $name;
        })*
    };
}

expressions! {
    /// Loads information about the packet.
    Meta = c"meta";
    /// Loads information about the flow.
    Ct = c"ct";
    /// Loads what the routing table says of an address.
    Fib = c"fib";
    /// Loads bytes of the packet.
    Payload = c"payload";
    /// Masks a register.
    Bitwise = c"bitwise";
    /// Compares a register.
    Cmp = c"cmp";
    /// Compares a register with both ends of a range.
    Range = c"range";
    /// Looks a register up in a set or map.
    Lookup = c"lookup";
    /// A verdict.
    Immediate = c"immediate";
    /// Adds a register to a set.
    Dynset = c"dynset";
    /// Passes a number of packets per second.
    Limit = c"limit";
    /// Counts.
    Counter = c"counter";
    /// Logs.
    Log = c"log";
}

/// An expression of any name. It only results from reading: `allocate` returns
/// null.
pub(crate) struct AnyExpression;

// SAFETY: as for the expressions above.
unsafe impl Kind for AnyExpression {
    type Raw = sys::nftnl_expr;

    fn allocate() -> *mut sys::nftnl_expr {
        std::ptr::null_mut()
    }

    unsafe fn free(raw: *mut sys::nftnl_expr) {
        // SAFETY: the caller guarantees it.
        unsafe { sys::nftnl_expr_free(raw) }
    }

    unsafe fn set(raw: *mut sys::nftnl_expr, key: u16, data: *const c_void, length: u32) -> c_int {
        // SAFETY: the caller guarantees it.
        unsafe { sys::nftnl_expr_set(raw, key, data, length) }
    }

    unsafe fn get(raw: *mut sys::nftnl_expr, key: u16, length: &mut u32) -> *const c_void {
        // SAFETY: the caller guarantees it.
        unsafe { sys::nftnl_expr_get(raw, key, length) }
    }
}

/// `sizeof(union nftnl_data_reg.val)`, include/data_reg.h: NFT_DATA_VALUE_MAXLEN.
const DATA: usize = 64;
/// The kernel's NFT_USERDATA_MAXLEN. libnftnl accepts any length.
const USERDATA: usize = 256;
impl Table {
    pub(crate) const NAME: Text<Self> = Text::new(sys::NFTNL_TABLE_NAME);
    pub(crate) const FLAGS: Key<Self, u32> = Key::new(sys::NFTNL_TABLE_FLAGS);
}

impl Chain {
    pub(crate) const NAME: Text<Self> = Text::new(sys::NFTNL_CHAIN_NAME);
    pub(crate) const TABLE: Text<Self> = Text::new(sys::NFTNL_CHAIN_TABLE);
    pub(crate) const TYPE: Text<Self> = Text::new(sys::NFTNL_CHAIN_TYPE);
    pub(crate) const HOOK: Key<Self, u32> = Key::new(sys::NFTNL_CHAIN_HOOKNUM);
    pub(crate) const PRIORITY: Key<Self, i32> = Key::new(sys::NFTNL_CHAIN_PRIO);
    pub(crate) const POLICY: Key<Self, u32> = Key::new(sys::NFTNL_CHAIN_POLICY);
    pub(crate) const FLAGS: Key<Self, u32> = Key::new(sys::NFTNL_CHAIN_FLAGS);
    pub(crate) const USERDATA: Bytes<Self> = Bytes::new(sys::NFTNL_CHAIN_USERDATA, USERDATA);
}

impl Rule {
    pub(crate) const TABLE: Text<Self> = Text::new(sys::NFTNL_RULE_TABLE);
    pub(crate) const CHAIN: Text<Self> = Text::new(sys::NFTNL_RULE_CHAIN);
    pub(crate) const USERDATA: Bytes<Self> = Bytes::new(sys::NFTNL_RULE_USERDATA, USERDATA);
}

impl Set {
    pub(crate) const TABLE: Text<Self> = Text::new(sys::NFTNL_SET_TABLE);
    pub(crate) const NAME: Text<Self> = Text::new(sys::NFTNL_SET_NAME);
    pub(crate) const ID: Key<Self, u32> = Key::new(sys::NFTNL_SET_ID);
    pub(crate) const FLAGS: Key<Self, u32> = Key::new(sys::NFTNL_SET_FLAGS);
    pub(crate) const KEY_TYPE: Key<Self, u32> = Key::new(sys::NFTNL_SET_KEY_TYPE);
    pub(crate) const KEY_LEN: Key<Self, u32> = Key::new(sys::NFTNL_SET_KEY_LEN);
    pub(crate) const DATA_TYPE: Key<Self, u32> = Key::new(sys::NFTNL_SET_DATA_TYPE);
    pub(crate) const DATA_LEN: Key<Self, u32> = Key::new(sys::NFTNL_SET_DATA_LEN);
    pub(crate) const SIZE: Key<Self, u32> = Key::new(sys::NFTNL_SET_DESC_SIZE);
    pub(crate) const TIMEOUT: Key<Self, u64> = Key::new(sys::NFTNL_SET_TIMEOUT);
    pub(crate) const USERDATA: Bytes<Self> = Bytes::new(sys::NFTNL_SET_USERDATA, USERDATA);
}

impl Element {
    pub(crate) const KEY: Bytes<Self> = Bytes::new(sys::NFTNL_SET_ELEM_KEY, DATA);
    pub(crate) const FLAGS: Key<Self, u32> = Key::new(sys::NFTNL_SET_ELEM_FLAGS);
    pub(crate) const VERDICT: Key<Self, u32> = Key::new(sys::NFTNL_SET_ELEM_VERDICT);
    pub(crate) const CHAIN: Text<Self> = Text::new(sys::NFTNL_SET_ELEM_CHAIN);
}

impl AnyExpression {
    pub(super) const NAME: Text<Self> = Text::new(sys::NFTNL_EXPR_NAME);
}

impl Meta {
    pub(crate) const KEY: Key<Self, u32> = Key::new(sys::NFTNL_EXPR_META_KEY);
    pub(crate) const DREG: Key<Self, u32> = Key::new(sys::NFTNL_EXPR_META_DREG);
}

impl Ct {
    pub(crate) const KEY: Key<Self, u32> = Key::new(sys::NFTNL_EXPR_CT_KEY);
    pub(crate) const DREG: Key<Self, u32> = Key::new(sys::NFTNL_EXPR_CT_DREG);
    pub(crate) const DIR: Key<Self, u8> = Key::new(sys::NFTNL_EXPR_CT_DIR);
}

impl Fib {
    pub(crate) const DREG: Key<Self, u32> = Key::new(sys::NFTNL_EXPR_FIB_DREG);
    pub(crate) const RESULT: Key<Self, u32> = Key::new(sys::NFTNL_EXPR_FIB_RESULT);
    pub(crate) const FLAGS: Key<Self, u32> = Key::new(sys::NFTNL_EXPR_FIB_FLAGS);
}

impl Payload {
    pub(crate) const DREG: Key<Self, u32> = Key::new(sys::NFTNL_EXPR_PAYLOAD_DREG);
    pub(crate) const BASE: Key<Self, u32> = Key::new(sys::NFTNL_EXPR_PAYLOAD_BASE);
    pub(crate) const OFFSET: Key<Self, u32> = Key::new(sys::NFTNL_EXPR_PAYLOAD_OFFSET);
    pub(crate) const LEN: Key<Self, u32> = Key::new(sys::NFTNL_EXPR_PAYLOAD_LEN);
}

impl Bitwise {
    pub(crate) const SREG: Key<Self, u32> = Key::new(sys::NFTNL_EXPR_BITWISE_SREG);
    pub(crate) const DREG: Key<Self, u32> = Key::new(sys::NFTNL_EXPR_BITWISE_DREG);
    pub(crate) const OP: Key<Self, u32> = Key::new(sys::NFTNL_EXPR_BITWISE_OP);
    pub(crate) const LEN: Key<Self, u32> = Key::new(sys::NFTNL_EXPR_BITWISE_LEN);
    pub(crate) const MASK: Bytes<Self> = Bytes::new(sys::NFTNL_EXPR_BITWISE_MASK, DATA);
    pub(crate) const XOR: Bytes<Self> = Bytes::new(sys::NFTNL_EXPR_BITWISE_XOR, DATA);
}

impl Cmp {
    pub(crate) const SREG: Key<Self, u32> = Key::new(sys::NFTNL_EXPR_CMP_SREG);
    pub(crate) const OP: Key<Self, u32> = Key::new(sys::NFTNL_EXPR_CMP_OP);
    pub(crate) const DATA: Bytes<Self> = Bytes::new(sys::NFTNL_EXPR_CMP_DATA, DATA);
}

impl Range {
    pub(crate) const SREG: Key<Self, u32> = Key::new(sys::NFTNL_EXPR_RANGE_SREG);
    pub(crate) const OP: Key<Self, u32> = Key::new(sys::NFTNL_EXPR_RANGE_OP);
    pub(crate) const FROM: Bytes<Self> = Bytes::new(sys::NFTNL_EXPR_RANGE_FROM_DATA, DATA);
    pub(crate) const TO: Bytes<Self> = Bytes::new(sys::NFTNL_EXPR_RANGE_TO_DATA, DATA);
}

impl Lookup {
    pub(crate) const SREG: Key<Self, u32> = Key::new(sys::NFTNL_EXPR_LOOKUP_SREG);
    pub(crate) const DREG: Key<Self, u32> = Key::new(sys::NFTNL_EXPR_LOOKUP_DREG);
    pub(crate) const SET: Text<Self> = Text::new(sys::NFTNL_EXPR_LOOKUP_SET);
    pub(crate) const FLAGS: Key<Self, u32> = Key::new(sys::NFTNL_EXPR_LOOKUP_FLAGS);
}

impl Immediate {
    pub(crate) const DREG: Key<Self, u32> = Key::new(sys::NFTNL_EXPR_IMM_DREG);
    pub(crate) const VERDICT: Key<Self, u32> = Key::new(sys::NFTNL_EXPR_IMM_VERDICT);
    pub(crate) const CHAIN: Text<Self> = Text::new(sys::NFTNL_EXPR_IMM_CHAIN);
}

impl Dynset {
    pub(crate) const OP: Key<Self, u32> = Key::new(sys::NFTNL_EXPR_DYNSET_OP);
    pub(crate) const SREG_KEY: Key<Self, u32> = Key::new(sys::NFTNL_EXPR_DYNSET_SREG_KEY);
    pub(crate) const SREG_DATA: Key<Self, u32> = Key::new(sys::NFTNL_EXPR_DYNSET_SREG_DATA);
    pub(crate) const TIMEOUT: Key<Self, u64> = Key::new(sys::NFTNL_EXPR_DYNSET_TIMEOUT);
    pub(crate) const SET: Text<Self> = Text::new(sys::NFTNL_EXPR_DYNSET_SET_NAME);
    pub(crate) const FLAGS: Key<Self, u32> = Key::new(sys::NFTNL_EXPR_DYNSET_FLAGS);
}

impl Limit {
    pub(crate) const RATE: Key<Self, u64> = Key::new(sys::NFTNL_EXPR_LIMIT_RATE);
    pub(crate) const UNIT: Key<Self, u64> = Key::new(sys::NFTNL_EXPR_LIMIT_UNIT);
    pub(crate) const BURST: Key<Self, u32> = Key::new(sys::NFTNL_EXPR_LIMIT_BURST);
    pub(crate) const TYPE: Key<Self, u32> = Key::new(sys::NFTNL_EXPR_LIMIT_TYPE);
    pub(crate) const FLAGS: Key<Self, u32> = Key::new(sys::NFTNL_EXPR_LIMIT_FLAGS);
}

impl Log {
    pub(crate) const PREFIX: Text<Self> = Text::new(sys::NFTNL_EXPR_LOG_PREFIX);
    pub(crate) const GROUP: Key<Self, u16> = Key::new(sys::NFTNL_EXPR_LOG_GROUP);
    pub(crate) const SNAPLEN: Key<Self, u32> = Key::new(sys::NFTNL_EXPR_LOG_SNAPLEN);
    pub(crate) const QTHRESHOLD: Key<Self, u16> = Key::new(sys::NFTNL_EXPR_LOG_QTHRESHOLD);
    pub(crate) const LEVEL: Key<Self, u32> = Key::new(sys::NFTNL_EXPR_LOG_LEVEL);
}
