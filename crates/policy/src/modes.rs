//! Which policies are in audit now.
//!
//! In: the objects as they are written, the node's default, the time. Out: the policies with
//! their modes. Never: a clock; a walk over all policies when one changes.
//!
//! An audit with an end ends at the earlier of two moments: when the node's clock shows the
//! end, and when as much time has passed as the clock promised when the annotation was first
//! seen. So a clock that is set back opens nothing for longer, and once it is over it stays
//! over. An agent that starts anew knows the clock alone.
//!
//! An end that is further away than [`LONGEST`] counts as over: it is mistyped, or the clock
//! of the node is wrong, as after a boot without a battery.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use imbl::OrdMap;

use crate::audit::resolve;
use crate::snapshot::differing;
use crate::{Mode, MultiNetworkPolicy, NetworkPolicy, ObjectKey, Snapshot, Switch};

/// How far an end may be away.
pub const LONGEST: Duration = Duration::from_secs(31 * 24 * 3600);

/// A moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// The node's clock: seconds since 1970.
    pub wall_seconds: i64,
    /// A clock that never goes back.
    pub steady: Duration,
}

/// An object with an end.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ending {
    /// A policy.
    Policy(ObjectKey),
    /// A Namespace.
    Namespace(String),
}

/// How an audit with an end is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It ends at this time of the steady clock at the latest.
    Runs(Duration),
    /// It is over.
    Over,
    /// Its end is further away than [`LONGEST`], so it has not begun.
    TooFar,
}

/// The modes of all policies.
#[derive(Clone, Debug, Default)]
pub struct Modes {
    default: Mode,
    /// As they are written.
    objects: Snapshot,
    /// With their modes.
    policies: OrdMap<ObjectKey, Arc<NetworkPolicy>>,
    ends: BTreeMap<Ending, (i64, End)>,
    /// How often the ends changed.
    changes: u64,
}

impl Modes {
    /// Where nobody says anything else, this holds.
    pub fn of(default: Mode) -> Self {
        Self { default, ..Self::default() }
    }

    /// What holds where nobody says anything else.
    pub const fn node(&self) -> Mode {
        self.default
    }

    /// The policies with their modes.
    pub const fn policies(&self) -> &OrdMap<ObjectKey, Arc<NetworkPolicy>> {
        &self.policies
    }

    /// The mode of a policy in a namespace that says nothing itself.
    pub fn of_namespace(&self, name: &str) -> Mode {
        resolve((Switch::default(), false), self.namespace(name), self.default)
    }

    /// The audits with an end, each with its end in seconds since 1970.
    pub fn ends(&self) -> impl Iterator<Item = (&Ending, i64, End)> {
        self.ends.iter().map(|(whose, (at, end))| (whose, *at, *end))
    }

    /// Another number after each change of [`Self::ends`]. There can be thousands.
    pub const fn changes(&self) -> u64 {
        self.changes
    }

    /// Goes on to these objects and this moment. Whether a policy has another mode, or is
    /// another one.
    pub fn follow(&mut self, objects: &Snapshot, now: Now) -> bool {
        let mut policies = differing(&self.objects.policies, &objects.policies);
        let namespaces = differing(&self.objects.namespaces, &objects.namespaces);
        self.objects = objects.clone();
        for key in &policies {
            let until = objects.policies.get(key).and_then(|one| one.audit.written.until);
            self.set_end(Ending::Policy(key.clone()), until, now);
        }
        for name in &namespaces {
            let until = objects.namespaces.get(name).and_then(|one| one.switch.until);
            self.set_end(Ending::Namespace(name.clone()), until, now);
            policies.extend(self.policies_of(name));
        }
        policies.extend(self.advance(now));
        let mut is_news = false;
        for key in policies {
            is_news |= self.put(&key);
        }
        is_news
    }

    /// Goes on to this moment. Whether a policy has another mode.
    pub fn pass(&mut self, now: Now) -> bool {
        let mut is_news = false;
        for key in self.advance(now) {
            is_news |= self.put(&key);
        }
        is_news
    }

    fn set_end(&mut self, whose: Ending, until: Option<i64>, now: Now) {
        match until {
            Some(at) if self.ends.get(&whose).is_some_and(|(known, _)| *known == at) => {}
            Some(at) => {
                self.ends.insert(whose, (at, began(at, now)));
                self.changes += 1;
            }
            None => self.changes += u64::from(self.ends.remove(&whose).is_some()),
        }
    }

    /// The policies that an end concerns which came.
    fn advance(&mut self, now: Now) -> BTreeSet<ObjectKey> {
        let mut changed = Vec::new();
        for (whose, (at, end)) in &mut self.ends {
            let after = match *end {
                End::Over => End::Over,
                End::Runs(latest) if *at <= now.wall_seconds || latest <= now.steady => End::Over,
                End::Runs(latest) => End::Runs(latest),
                End::TooFar => began(*at, now),
            };
            if std::mem::replace(end, after) != after {
                changed.push(whose.clone());
            }
        }
        self.changes += changed.len() as u64;
        let mut policies = BTreeSet::new();
        for whose in changed {
            match whose {
                Ending::Policy(key) => drop(policies.insert(key)),
                Ending::Namespace(name) => policies.extend(self.policies_of(&name)),
            }
        }
        policies
    }

    fn policies_of(&self, namespace: &str) -> Vec<ObjectKey> {
        let policies = self.objects.policies.range(ObjectKey::new(namespace, "")..);
        let policies = policies.take_while(|(key, _)| key.namespace == namespace);
        policies.map(|(key, _)| key.clone()).collect()
    }

    fn put(&mut self, key: &ObjectKey) -> bool {
        let Some(written) = self.objects.policies.get(key) else {
            return self.policies.remove(key).is_some();
        };
        let own = (written.audit.written, self.runs(&Ending::Policy(key.clone())));
        let mode = resolve(own, self.namespace(&key.namespace), self.default);
        let policy = match written.audit.mode == mode {
            true => Arc::clone(written),
            false => {
                let mut policy = NetworkPolicy::clone(written);
                policy.audit.mode = mode;
                Arc::new(policy)
            }
        };
        if self.policies.get(key) == Some(&policy) {
            return false;
        }
        self.policies.insert(key.clone(), policy);
        true
    }

    fn namespace(&self, name: &str) -> (Switch, bool) {
        let switch = self.objects.namespaces.get(name).map(|one| one.switch).unwrap_or_default();
        (switch, switch.until.is_some() && self.runs(&Ending::Namespace(name.to_owned())))
    }

    fn runs(&self, whose: &Ending) -> bool {
        self.ends.get(whose).is_some_and(|(_, end)| matches!(end, End::Runs(_)))
    }
}

/// The policies of further networks, with the modes that `modes` of them alone gives them.
pub fn multi_policies_with(
    modes: &mut Modes,
    objects: &Snapshot,
    now: Now,
) -> OrdMap<ObjectKey, Arc<MultiNetworkPolicy>> {
    let written = &objects.multi_policies;
    if written.is_empty() && modes.policies.is_empty() {
        return OrdMap::new();
    }
    let policies = written.iter().map(|(key, one)| (key.clone(), Arc::new(one.policy.clone())));
    let namespaces = objects.namespaces.clone();
    let policies = policies.collect();
    modes.follow(&Snapshot { policies, namespaces, ..Snapshot::default() }, now);
    let with_mode = |(key, one): (&ObjectKey, &Arc<MultiNetworkPolicy>)| {
        let policy = modes.policies.get(key).filter(|policy| policy.audit != one.policy.audit);
        let changed = policy.map(|policy| {
            Arc::new(MultiNetworkPolicy { policy: NetworkPolicy::clone(policy), ..(**one).clone() })
        });
        (key.clone(), changed.unwrap_or_else(|| Arc::clone(one)))
    };
    written.iter().map(with_mode).collect()
}

/// An end that is first seen now.
fn began(at: i64, now: Now) -> End {
    let left = at.saturating_sub(now.wall_seconds);
    match u64::try_from(left).ok().filter(|left| *left > 0).map(Duration::from_secs) {
        None => End::Over,
        Some(left) if left > LONGEST => End::TooFar,
        Some(left) => End::Runs(now.steady.saturating_add(left)),
    }
}

/// The objects with the modes of their policies.
pub fn with_modes(objects: &Snapshot, default: Mode, now: Now) -> Snapshot {
    let mut modes = Modes::of(default);
    modes.follow(objects, now);
    let multi_policies = multi_policies_with(&mut Modes::of(default), objects, now);
    Snapshot { policies: modes.policies, multi_policies, ..objects.clone() }
}

#[cfg(test)]
mod tests;
