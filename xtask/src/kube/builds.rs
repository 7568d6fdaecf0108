//! Builds groups in the background of other work.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use anyhow::{Result, bail};

use super::{Group, build_by};
use crate::background;
use crate::cargo::Cargo;

/// Builds in the background, one group after the other.
pub struct Builds {
    groups: &'static [&'static Group],
    state: Arc<(Mutex<State>, Condvar)>,
}

#[derive(Default)]
struct State {
    built: usize,
    failed: Option<String>,
}

impl Builds {
    /// Starts. Whatever needs a group calls [`Builds::wait`].
    pub fn start(cargo: &Cargo, groups: &'static [&'static Group]) -> Self {
        let cargo = cargo.clone();
        Self::with(groups, move |group| build_by(&cargo, group, background::words()))
    }

    fn with(
        groups: &'static [&'static Group],
        build: impl Fn(&'static Group) -> Result<()> + Send + 'static,
    ) -> Self {
        let state = Arc::new((Mutex::new(State::default()), Condvar::new()));
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for group in groups {
                let result = build(group);
                let mut state = lock(&shared.0);
                match result {
                    Ok(()) => state.built += 1,
                    Err(error) => state.failed = Some(format!("{error:#}")),
                }
                shared.1.notify_all();
                if state.failed.is_some() {
                    return;
                }
            }
        });
        Self { groups, state }
    }

    /// Returns when this group is built.
    ///
    /// # Errors
    /// When this group or one before it could not be built.
    pub fn wait(&self, group: &Group) -> Result<()> {
        let needed = self.groups.iter().position(|one| *one == group).map_or(0, |index| index + 1);
        let (state, changed) = &*self.state;
        let pending = |state: &mut State| state.built < needed && state.failed.is_none();
        let state = changed.wait_while(lock(state), pending);
        let state = state.unwrap_or_else(PoisonError::into_inner);
        match &state.failed {
            Some(error) if state.built < needed => bail!("{error}"),
            _ => Ok(()),
        }
    }

    /// Returns when all are built.
    ///
    /// # Errors
    /// When a group could not be built.
    pub fn wait_for_all(&self) -> Result<()> {
        self.groups.last().map_or(Ok(()), |group| self.wait(group))
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::super::{E2E, NODES, SERVER};
    use super::*;

    const GROUPS: &[&Group] = &[&SERVER, &NODES];

    #[test]
    fn each_group_is_waited_for() {
        let builds = Builds::with(GROUPS, |_| Ok(()));
        assert!(builds.wait(&SERVER).is_ok());
        assert!(builds.wait_for_all().is_ok());
    }

    #[test]
    fn a_failure_is_told_to_who_needs_the_group_or_a_later_one() {
        let fails = |group: &Group| if group == &NODES { bail!("no Go") } else { Ok(()) };
        let builds = Builds::with(GROUPS, fails);
        assert_eq!(builds.wait(&NODES).unwrap_err().to_string(), "no Go");
        assert!(builds.wait(&SERVER).is_ok());
    }

    #[test]
    fn a_group_that_is_not_built_is_not_waited_for() {
        assert!(Builds::with(&[], |_| Ok(())).wait(&E2E).is_ok());
    }
}
