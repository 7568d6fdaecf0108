//! How many lines of the log one namespace may fill.
//!
//! In: whose object a line is about, the time. Out: whether the line is written; how many
//! were left out. Never: a namespace that hides what the log says of others, or fills the
//! disks of all nodes: an object can have thousands of findings, and its owner can change
//! it many times a second.

use std::collections::BTreeMap;
use std::time::Duration;

use policy::ObjectKey;

/// Lines a minute about the objects of one namespace.
pub const A_MINUTE: u32 = 30;
const MINUTE: Duration = Duration::from_secs(60);

/// What was said in this minute.
#[derive(Clone, Debug, Default)]
pub struct TenantLines {
    since: Duration,
    of: BTreeMap<String, Said>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Said {
    lines: u32,
    left_out: u64,
}

impl TenantLines {
    /// Whether a line about this object is written now, by the time since the start.
    pub fn may_say(&mut self, object: &ObjectKey, now: Duration) -> bool {
        self.end_minute(now);
        let said = self.of.entry(namespace(object).to_owned()).or_default();
        if said.lines < A_MINUTE {
            said.lines += 1;
            return true;
        }
        if said.left_out == 0 {
            tracing::warn!(
                "namespace {}: further lines about its objects are left out for a minute",
                namespace(object)
            );
        }
        said.left_out += 1;
        false
    }

    /// Says what was left out in the minute before.
    fn end_minute(&mut self, now: Duration) {
        if now.saturating_sub(self.since) < MINUTE {
            return;
        }
        self.since = now;
        for (namespace, said) in std::mem::take(&mut self.of) {
            if said.left_out > 0 {
                tracing::warn!(
                    "namespace {namespace}: {} lines about its objects were left out; \
                     `kubectl nftpol check -n {namespace}` shows all that is wrong with them",
                    said.left_out
                );
            }
        }
    }
}

/// Whose an object is. A Namespace is in none.
fn namespace(object: &ObjectKey) -> &str {
    if object.namespace.is_empty() { &object.name } else { &object.namespace }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_gets_its_share_and_no_more() {
        let mut lines = TenantLines::default();
        let (loud, quiet) = (ObjectKey::new("loud", "p"), ObjectKey::new("quiet", "p"));
        let mut said = |object: &ObjectKey, times: u32, seconds: u64| {
            let now = Duration::from_secs(seconds);
            (0..times).filter(|_| lines.may_say(object, now)).count()
        };
        assert_eq!(said(&loud, 10_000, 0), A_MINUTE as usize);
        assert_eq!(said(&ObjectKey::new("", "loud"), 1, 1), 0, "its Namespace");
        assert_eq!(said(&quiet, 3, 1), 3);
        assert_eq!(said(&loud, 1, 59), 0);
        assert_eq!(said(&loud, 10_000, 60), A_MINUTE as usize);
    }
}
