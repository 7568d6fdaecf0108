//! What the thread that enforces shows to others.
//!
//! In: the cluster as it is known, what the kernel enforces. Out: the same for threads that
//! name packets and answer questions. Never: a wait: a look takes a lock for as long as a
//! few pointers take to copy.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use compiler::signature::Signature;
use imbl::OrdMap;
use imbl::ordmap::DiffItem;
use policy::{NetworkPolicy, ObjectKey, Snapshot};
use ruleset::Name;

use crate::pipeline::Proofs;

/// The signatures of the chains, by their names.
pub type Signatures = OrdMap<Name, Arc<Signature>>;

/// What one thread shows and others look at.
#[derive(Clone, Debug, Default)]
pub struct View(Arc<Mutex<Shown>>);

/// What is shown. A clone costs little: maps are shared.
#[derive(Clone, Debug, Default)]
pub struct Shown {
    /// The objects that are known, with what is kept.
    pub cluster: Snapshot,
    /// What the kernel enforces; `None` before the first success.
    pub enforced: Option<Enforced>,
}

/// What the kernel enforces.
#[derive(Clone, Debug, Default)]
pub struct Enforced {
    /// The policies, as they were compiled.
    pub policies: OrdMap<ObjectKey, Arc<NetworkPolicy>>,
    /// Since when, in milliseconds since 1970.
    pub since_ms: OrdMap<ObjectKey, u64>,
    /// The chains.
    pub signatures: Signatures,
    /// The chains before the last change: a packet that they dropped may be told of now.
    pub earlier: Signatures,
    /// Policies that the kernel refused.
    pub set_aside: BTreeSet<ObjectKey>,
    /// Tables proved.
    pub proofs: Proofs,
    /// When a table was last proved equal.
    pub proved: Option<Instant>,
}

impl View {
    /// These objects are known now.
    pub fn knows(&self, cluster: &Snapshot) {
        self.lock().cluster = cluster.clone();
    }

    /// The kernel enforces these now.
    pub fn enforces(
        &self,
        policies: &OrdMap<ObjectKey, Arc<NetworkPolicy>>,
        signatures: &Signatures,
        set_aside: &BTreeSet<ObjectKey>,
        proofs: Proofs,
    ) {
        let now = now_ms();
        let mut shown = self.lock();
        let enforced = shown.enforced.get_or_insert_default();
        for change in enforced.policies.diff(policies) {
            match change {
                DiffItem::Add(key, _) | DiffItem::Update { new: (key, _), .. } => {
                    enforced.since_ms.insert(key.clone(), now);
                }
                DiffItem::Remove(key, _) => drop(enforced.since_ms.remove(key)),
            }
        }
        enforced.policies = policies.clone();
        if !enforced.signatures.ptr_eq(signatures) {
            enforced.earlier = std::mem::replace(&mut enforced.signatures, signatures.clone());
        }
        enforced.set_aside.clone_from(set_aside);
        if proofs.equal > enforced.proofs.equal {
            enforced.proved = Some(Instant::now());
        }
        enforced.proofs = proofs;
    }

    /// What is shown now.
    pub fn look(&self) -> Shown {
        self.lock().clone()
    }

    /// A thread that panicked while it held the lock left no half-written value.
    fn lock(&self) -> MutexGuard<'_, Shown> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Enforced {
    /// The policies behind a chain, if it is one of ours.
    pub fn signature(&self, chain: &str) -> Option<&Arc<Signature>> {
        let name = Name::new(chain).ok()?;
        self.signatures.get(&name).or_else(|| self.earlier.get(&name))
    }
}

/// The time of the node's clock, in milliseconds since 1970.
pub fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_is_in_force_since_it_last_changed() {
        let view = View::default();
        let policy = |name: &str| {
            let key = ObjectKey::new("dev", name);
            (key.clone(), Arc::new(NetworkPolicy::shut(key)))
        };
        let show = |policies: OrdMap<_, _>| {
            view.enforces(&policies, &Signatures::new(), &BTreeSet::new(), Proofs::default());
            view.look().enforced.expect("shown").since_ms
        };
        assert!(view.look().enforced.is_none());
        let first = show([policy("a")].into_iter().collect());
        std::thread::sleep(std::time::Duration::from_millis(3));
        let later = show([policy("a"), policy("b")].into_iter().collect());
        let [a, b] = ["a", "b"].map(|name| ObjectKey::new("dev", name));
        assert_eq!(later.get(&a), first.get(&a));
        assert!(later.get(&b) > first.get(&a));
        assert_eq!(show(OrdMap::new()).len(), 0);
    }
}
