//! An nftables table as a typed value.
//!
//! In: a [`Ruleset`] that the compiler or the kernel reader made.
//! Out: its text for `nft -f` ([`text`], [`json`]), the ordered batches that turn one
//! into another ([`plan`](mod@plan)), and what it does to a packet ([`simulator`]).
//! Never: Kubernetes words, I/O, strings or bytes as intermediate form.

mod address;
mod apply;
mod chain;
mod implied;
pub mod json;
mod key;
mod name;
pub mod op;
pub mod plan;
mod rule;
mod set;
pub mod simulator;
mod store;
mod table;
pub mod text;

pub use address::{AddressRange, Family, from_number, number};
pub use apply::ApplyError;
pub use chain::{BaseChain, Chain, Hook};
pub use key::{
    EtherType, InterfaceField, Key, KeyAddress, KeyAddressType, KeyFields, KeyShape, MacField,
    TagType,
};
pub use name::{Comment, LogPrefix, Name, NameError};
pub use op::{Batch, Op};
pub use rule::{
    AddressTest, CtStates, Field, Finish, FlowSide, Log, Match, PortRange, Rule, TcpFlags,
    Transport, Verdict,
};
pub use set::{Element, Set, SetType, VerdictMap};
pub use store::{Store, StoreError, Tag, TagPiece};
pub use table::{Ruleset, TableFamily, TableId};
