//! The operations of a batch.

use std::net::IpAddr;

use crate::{BaseChain, Comment, Element, Family, Name, Rule, SetType};

/// Operations that the kernel commits together or not at all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// In order.
    pub ops: Vec<Op>,
}

/// One operation on the objects of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Makes the table; nothing if it is there.
    CreateTable,
    /// Makes an empty set. Of a stored set the kernel learns by its elements alone.
    CreateSet(Name, SetType, Option<Comment>),
    /// Deletes a set that no rule uses. A stored set must be empty.
    DeleteSet(Name),
    /// Adds elements; those already there are no error.
    AddElements(Name, SetType, Vec<Element>),
    /// Deletes elements that are there.
    DeleteElements(Name, SetType, Vec<Element>),
    /// Makes an empty verdict map.
    CreateMap(Name, Family, Option<Comment>),
    /// Deletes a map that no rule uses.
    DeleteMap(Name),
    /// Adds entries `address : goto chain`; a key that is there with another
    /// chain must be deleted before.
    AddEntries(Name, Family, Vec<(IpAddr, Name)>),
    /// Deletes the entries of these keys.
    DeleteEntries(Name, Family, Vec<IpAddr>),
    /// Makes an empty chain.
    CreateChain(Name, Option<BaseChain>, Option<Comment>),
    /// Deletes all rules of a chain.
    FlushChain(Name),
    /// Deletes an empty chain that nothing refers to.
    DeleteChain(Name),
    /// Appends a rule.
    AddRule(Name, Rule),
}

impl Op {
    /// The chain, set or map that the operation is about.
    pub fn object(&self) -> Option<&Name> {
        match self {
            Self::CreateTable => None,
            Self::CreateSet(name, ..)
            | Self::DeleteSet(name)
            | Self::AddElements(name, ..)
            | Self::DeleteElements(name, ..)
            | Self::CreateMap(name, ..)
            | Self::DeleteMap(name)
            | Self::AddEntries(name, ..)
            | Self::DeleteEntries(name, ..)
            | Self::CreateChain(name, ..)
            | Self::FlushChain(name)
            | Self::DeleteChain(name)
            | Self::AddRule(name, _) => Some(name),
        }
    }
}
