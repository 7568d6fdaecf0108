//! What compiling a snapshot gives.

use std::collections::BTreeSet;
use std::sync::Arc;

use imbl::OrdMap;
use policy::spec::RuleRef;
use policy::{Diagnostic, ObjectKey};
use ruleset::{Match, Name, Ruleset};

use crate::signature::Signature;
use crate::{Layout, Options, Place, scaffold};

/// A table, and where its parts come from.
///
/// The maps are persistent: a clone costs nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compiled {
    /// The table `inet nftpol`.
    pub ruleset: Ruleset,
    /// The table `bridge nftpol`; `None` while no bound pod is on a bridge.
    pub bridge: Option<Ruleset>,
    /// What people should know about their objects.
    pub diagnostics: Arc<[Diagnostic]>,
    /// The signature of each signature chain.
    pub signatures: OrdMap<Name, Arc<Signature>>,
    /// The API rules that each signature chain's first rules come from, in order.
    pub rule_sources: OrdMap<Name, Arc<Vec<Vec<RuleRef>>>>,
    /// Policies that find no room in the budgets: they isolate and allow nothing.
    pub over_budget: Arc<BTreeSet<ObjectKey>>,
    /// The policies whose rules look into each set.
    pub set_users: OrdMap<Name, Arc<BTreeSet<ObjectKey>>>,
}

impl Compiled {
    /// What a snapshot without objects compiles to at a place.
    pub fn of_nothing(place: &Place, options: &Options) -> Self {
        Self {
            ruleset: scaffold::of(place, false, options.log.is_some()),
            bridge: None,
            diagnostics: Arc::default(),
            signatures: OrdMap::new(),
            rule_sources: OrdMap::new(),
            over_budget: Arc::default(),
            set_users: OrdMap::new(),
        }
    }

    /// Where the table judges which address.
    pub fn layout(&self) -> Layout<'_> {
        Layout::of(&self.ruleset)
    }

    /// Whether a policy isolates a local pod that has an address.
    pub fn isolates(&self, policy: &ObjectKey) -> bool {
        self.signatures.values().any(|signature| signature.policies.contains(policy))
    }

    /// The policies to set aside when the kernel refuses an operation on this
    /// object. The object may also be a stand-in: a chain that replaces another
    /// while the table changes, with a name that ends in the other's.
    ///
    /// With the matches of a known rule these are the policies of that rule, else
    /// all policies of the set or chain. Objects of the scaffold have none.
    pub fn policies_behind(&self, object: &Name, rule: Option<&[Match]>) -> BTreeSet<ObjectKey> {
        let stands_for = |name: &&Name| object.as_str().ends_with(&format!(".{name}"));
        let object = match self.signatures.contains_key(object) {
            true => object,
            false => self.signatures.keys().find(stands_for).unwrap_or(object),
        };
        let by_rule = rule.and_then(|matches| {
            let chain = self.ruleset.chains.get(object)?;
            let place = chain.rules.iter().position(|rule| rule.matches == matches)?;
            self.rule_sources.get(object)?.get(place)
        });
        if let Some(sources) = by_rule {
            return sources.iter().map(|source| source.policy.clone()).collect();
        }
        if let Some(signature) = self.signatures.get(object) {
            return signature.policies.clone();
        }
        self.set_users.get(object).map(|users| BTreeSet::clone(users)).unwrap_or_default()
    }
}
