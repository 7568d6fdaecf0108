//! All chains of a table and their rules.
//!
//! In: a table whose sets have been read. Out: its chains, with a stand-in for
//! each rule that cannot be expressed. Chains that are not ours go to the
//! foreign objects.
//! Never: a list of all rules at once, which takes quadratic time in the kernel.

use std::collections::BTreeSet;
use std::ffi::{CStr, CString};

use ruleset::{BaseChain, Chain, Comment, Name, Rule, Ruleset, Set, TableId};

use super::rule;
use super::{ReadFailure, TableReader, lossy, named_ours, object};
use crate::client::{Answer, NetlinkClient, Scope};
use crate::dump::ForeignKind;
use crate::expression::Expression;
use crate::ffi::{self, Body, Object, Ref, parse};
use crate::netlink::Message;
use crate::userdata;
use crate::write::rule::c_string;
use crate::write::{CHAIN_TYPE, HOOKS, POLICY_ACCEPT, hook_number, in_chain};

/// NFT_CHAIN_BASE of `enum nft_chain_flags`, which the kernel states of every
/// base chain.
const CHAIN_BASE: u32 = 1;

impl TableReader<'_> {
    /// Reads all chains.
    pub(super) fn chains(&mut self) -> Result<(), ReadFailure> {
        let mut found = Vec::new();
        let mut listed = Listing::default();
        let table = self.table();
        self.list(libc::NFT_MSG_GETCHAIN, Body::Empty, |message| {
            listed.add(message);
            found.push(object::<ffi::Chain>(message)?);
            Ok(())
        })?;
        listed.whole()?;
        for object in found {
            let chain = object.get();
            if chain.text(&ffi::Chain::TABLE) != Some(&table) {
                continue;
            }
            let name = chain.text(&ffi::Chain::NAME).map(lossy).unwrap_or_default();
            match named_ours(&name).and_then(|ours| Ok((ours, base(&chain)?))) {
                Ok((ours, base)) => {
                    let comment = chain.bytes(&ffi::Chain::USERDATA);
                    let comment = userdata::comment(comment, userdata::COMMENT);
                    let rules = self.rules(&ours)?;
                    self.ruleset.sets.extend(empty(&self.ruleset, &rules));
                    self.ruleset.chains.insert(ours, Chain { base, comment, rules }.into());
                }
                Err(why) => self.foreign(ForeignKind::Chain, name, why),
            }
        }
        Ok(())
    }

    fn rules(&mut self, chain: &Name) -> Result<Vec<Rule>, ReadFailure> {
        let mut objects = Vec::new();
        let asked = in_chain(&self.ruleset.table, chain, Object::new());
        self.list(libc::NFT_MSG_GETRULE, Body::Rule(&asked), |message| {
            objects.push(parse::<ffi::Rule>(message.bytes));
            Ok(())
        })?;
        let (table, name) = (self.table(), c_string(chain.as_str()));
        let rules = objects.iter().filter_map(|object| {
            let Some(object) = object else {
                return Some(unreadable("libnftnl does not know an expression"));
            };
            let rule = object.get();
            let here = rule.text(&ffi::Rule::TABLE) == Some(&table)
                && rule.text(&ffi::Rule::CHAIN) == Some(&name);
            here.then(|| read_rule(&self.ruleset, &rule))
        });
        Ok(rules.collect())
    }
}

/// The stored sets that rules ask and that have no elements.
fn empty(sets: &Ruleset, rules: &[Rule]) -> Vec<(Name, Set)> {
    let asked = rules.iter().flat_map(Rule::lookups);
    let empty = asked.filter(|name| !sets.sets.contains_key(*name)).filter_map(|name| {
        let (store, _) = name.stored()?;
        Some((name.clone(), Set::new(store.stores(), None)))
    });
    empty.collect()
}

/// The chains that one list has named.
///
/// Before each datagram the kernel skips as many chains as it has listed. It counts
/// those of a batch that is not committed among them, which it does not list
/// (`nf_tables_dump_chains`, net/netfilter/nf_tables_api.c, Linux 6.18). The list then
/// names other chains twice, in the same generation. If that batch is refused in the
/// end, the list also lacks some.
#[derive(Default)]
pub(crate) struct Listing {
    named: BTreeSet<[Vec<u8>; 3]>,
    is_doubled: bool,
}

impl Listing {
    /// One chain of the list.
    pub(crate) fn add(&mut self, message: &Message<'_>) {
        /// Attributes of chains (`enum nft_chain_attributes`).
        const TABLE: u16 = 1;
        const NAME: u16 = 3;
        let text = |kind| message.attribute(kind).unwrap_or_default().to_vec();
        let family = message.family().into_iter().collect();
        self.is_doubled |= !self.named.insert([family, text(TABLE), text(NAME)]);
    }

    /// Fails if the list named a chain twice.
    pub(crate) fn whole(&self) -> Result<(), ReadFailure> {
        if self.is_doubled { Err(ReadFailure::Changed) } else { Ok(()) }
    }
}

/// The names of the chains of a table that are on a hook.
pub(crate) fn on_hooks(
    client: &mut NetlinkClient,
    table: &TableId,
) -> Result<Vec<CString>, ReadFailure> {
    /// Attributes of chains (`enum nft_chain_attributes`).
    const TABLE: u16 = 1;
    const NAME: u16 = 3;
    const HOOK: u16 = 4;
    let of_table = c_string(table.name.as_str());
    let mut found = Vec::new();
    let mut listed = Listing::default();
    let all = Scope::All(table.family);
    let answer = client.request(libc::NFT_MSG_GETCHAIN, all, Body::Empty, |message| {
        listed.add(message);
        let is_on_hook = message.attribute(HOOK).is_some();
        if is_on_hook && message.attribute(TABLE) == Some(of_table.to_bytes_with_nul()) {
            let name =
                message.attribute(NAME).and_then(|name| CStr::from_bytes_with_nul(name).ok());
            found.extend(name.map(CStr::to_owned));
        }
        Ok(())
    })?;
    listed.whole()?;
    if answer == Answer::Whole { Ok(found) } else { Err(ReadFailure::Changed) }
}

/// The hook and priority of a chain.
pub(crate) fn base(chain: &Ref<'_, ffi::Chain>) -> Result<Option<BaseChain>, String> {
    let flags = chain.number(&ffi::Chain::FLAGS).unwrap_or(0) & !CHAIN_BASE;
    if flags != 0 {
        return Err(format!("a chain with flags {flags:#x}"));
    }
    let Some(number) = chain.number(&ffi::Chain::HOOK) else { return Ok(None) };
    let fits = chain.text(&ffi::Chain::TYPE) == Some(CHAIN_TYPE)
        && chain.number(&ffi::Chain::POLICY) == Some(POLICY_ACCEPT);
    let hook = HOOKS.into_iter().find(|hook| hook_number(*hook) == number).filter(|_| fits);
    let hook = hook.ok_or("a base chain of another hook, type or policy")?;
    let priority = chain.number(&ffi::Chain::PRIORITY).unwrap_or_default();
    Ok(Some(BaseChain { hook, priority }))
}

pub(crate) fn read_rule(sets: &Ruleset, rule: &Ref<'_, ffi::Rule>) -> Rule {
    let expressions: Vec<Expression> = rule.expressions().iter().map(Expression::read).collect();
    match rule::read(sets, &expressions) {
        Ok(read) => {
            let comment = userdata::comment(rule.bytes(&ffi::Rule::USERDATA), userdata::COMMENT);
            Rule { comment, ..read }
        }
        Err(why) => unreadable(&why),
    }
}

/// The stand-in for a rule that cannot be expressed.
fn unreadable(why: &str) -> Rule {
    let comment = Some(Comment::new(&format!("unreadable: {why}")));
    Rule { matches: Vec::new(), log: None, finish: None, comment }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::{self, Request};

    fn is_whole(chains: &[(u8, &str, &str)]) -> bool {
        let mut request = Request::default();
        for (family, table, chain) in chains {
            request.begin(0, 0, 1, *family, 0);
            request.attribute(1, table.as_bytes());
            request.attribute(3, chain.as_bytes());
        }
        let mut listing = Listing::default();
        netlink::messages(request.bytes()).for_each(|message| listing.add(&message));
        listing.whole().is_ok()
    }

    #[test]
    fn a_list_that_names_a_chain_twice_is_not_whole() {
        let chains = [(1, "a", "c"), (1, "a", "d"), (1, "b", "c"), (2, "a", "c"), (1, "ac", "")];
        assert!(is_whole(&chains));
        for chain in chains {
            assert!(!is_whole(&[&chains[..], &[chain]].concat()), "{chain:?}");
        }
    }
}
