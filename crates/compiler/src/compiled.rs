//! What compiling a snapshot gives.

use std::collections::BTreeSet;
use std::sync::Arc;

use imbl::OrdMap;
use policy::spec::RuleRef;
use policy::{Diagnostic, ObjectKey};
use ruleset::{Match, Name, Ruleset};

use crate::scaffold::{self, Place};
use crate::signature::Signature;
use crate::{Layout, Options};

/// A table, and what stands behind its parts.
///
/// The maps are persistent: a clone costs nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compiled {
    /// The table.
    pub ruleset: Ruleset,
    /// What people should know about their objects.
    pub diagnostics: Arc<[Diagnostic]>,
    /// The signature behind each signature chain.
    pub signatures: OrdMap<Name, Arc<Signature>>,
    /// The API rules behind each signature chain's first rules, in order.
    pub rule_sources: OrdMap<Name, Arc<Vec<Vec<RuleRef>>>>,
    /// The policies whose rules look into each set.
    pub set_users: OrdMap<Name, Arc<BTreeSet<ObjectKey>>>,
}

impl Compiled {
    /// What a snapshot without objects compiles to at a place.
    pub fn of_nothing(place: &Place, options: &Options) -> Self {
        Self {
            ruleset: scaffold::of(place, false, options.log.is_some()),
            diagnostics: Arc::default(),
            signatures: OrdMap::new(),
            rule_sources: OrdMap::new(),
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

    /// The policies to set aside when the kernel refuses something about this
    /// object, or about a chain that stands in for it while the table changes
    /// (its name ends in that of the object): those behind the rule with these
    /// matches if they are given and known, else those behind the whole set or
    /// chain. None for what every table has.
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
