//! Audit: policies that drop nothing, and of which it is told what they would drop.
//!
//! In: what annotations of policies and Namespaces say, and the node's default. Out: the
//! [`Mode`] of a policy. Never: a clock. [`Modes`](crate::Modes) gives this the time.
//!
//! | who says it, the first that says something holds | what |
//! |---|---|
//! | the policy: `nftpol.dev/audit-until`, not over yet | audit |
//! | its Namespace: the same | audit |
//! | the policy: `nftpol.dev/mode` | what it says |
//! | its Namespace: the same | what it says |
//! | the node: `--mode` | what it says |
//!
//! After its end, `audit-until` and a `mode: audit` beside it count as not written: the end
//! of both was told. A value that cannot be read enforces.
//!
//! A policy in audit counts as absent: it isolates nobody and allows nobody anything. An
//! address that no enforced policy isolates in a direction, and that policies in audit would
//! isolate, is **audited** in that direction: what these would deny is told. Where an
//! enforced policy isolates the address already, one more policy could only allow more, so
//! there is nothing to tell.

/// Whether a policy drops.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mode {
    /// What it denies is dropped.
    #[default]
    Enforce,
    /// What it would deny is told.
    Audit,
}

/// What the annotations of an object say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Switch {
    /// `nftpol.dev/mode`.
    pub mode: Option<Mode>,
    /// `nftpol.dev/audit-until`, in seconds since 1970.
    pub until: Option<i64>,
}

/// What is known of a policy's mode.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Audit {
    /// What its own annotations say.
    pub written: Switch,
    /// The mode in force, once the Namespace and the agent were asked, too.
    pub mode: Mode,
}

impl Mode {
    /// Both.
    pub const BOTH: [Self; 2] = [Self::Enforce, Self::Audit];

    /// The value of the annotation.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Enforce => "enforce",
            Self::Audit => "audit",
        }
    }
}

impl Switch {
    /// The annotation that says whether a policy drops.
    pub const MODE: &'static str = "nftpol.dev/mode";
    /// The annotation that says until when it does not.
    pub const UNTIL: &'static str = "nftpol.dev/audit-until";
    /// What a value that cannot be read means.
    pub const UNREADABLE: Self = Self { mode: Some(Mode::Enforce), until: None };

    /// The mode that remains once a temporary audit is over.
    const fn mode(self) -> Option<Mode> {
        match (self.mode, self.until) {
            (Some(Mode::Audit), Some(_)) => None,
            (mode, _) => mode,
        }
    }
}

impl Audit {
    /// What annotations say of a policy, until somebody says what holds for its Namespace,
    /// for the node and at this time.
    pub const fn written(written: Switch) -> Self {
        let mode = match (written.mode, written.until) {
            (Some(Mode::Audit), None) => Mode::Audit,
            (Some(_) | None, _) => Mode::Enforce,
        };
        Self { written, mode }
    }
}

/// The mode of a policy: see the table above. Each switch comes with whether its end is yet
/// to come.
pub(crate) fn resolve(policy: (Switch, bool), namespace: (Switch, bool), default: Mode) -> Mode {
    if policy.1 || namespace.1 {
        return Mode::Audit;
    }
    policy.0.mode().or(namespace.0.mode()).unwrap_or(default)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every combination of what can be written on both, before and after the end.
    #[test]
    fn the_most_specific_word_holds_and_an_end_comes_first() {
        let modes = [None, Some(Mode::Enforce), Some(Mode::Audit)];
        let written = modes.into_iter().flat_map(|mode| {
            [(None, false), (Some(9), true), (Some(9), false)]
                .map(|(until, runs)| (Switch { mode, until }, runs))
        });
        let written: Vec<(Switch, bool)> = written.collect();
        for default in Mode::BOTH {
            for policy in &written {
                for namespace in &written {
                    let found = resolve(*policy, *namespace, default);
                    if policy.1 || namespace.1 {
                        assert_eq!(found, Mode::Audit, "{policy:?} {namespace:?}");
                        continue;
                    }
                    let said = [policy, namespace].map(|(switch, _)| match switch.mode {
                        Some(Mode::Audit) if switch.until.is_some() => None,
                        mode => mode,
                    });
                    let expected = match said {
                        [Some(mode), _] | [None, Some(mode)] => mode,
                        [None, None] => default,
                    };
                    assert_eq!(found, expected, "{policy:?} {namespace:?} {default:?}");
                }
            }
        }
    }
}
