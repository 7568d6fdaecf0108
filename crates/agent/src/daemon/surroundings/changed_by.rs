//! Who changes our tables.
//!
//! In: that others changed one. Out: the programs that do, from the second time on.
//! Never: a listener for longer than [`LISTEN`] after the last change: it makes large commits
//! take twice as long.

use std::time::{Duration, Instant};

use agent::report;
use nft::{ChangeListener, Committer, Kernel};

/// How long to listen after a change. Who flushes rules by a timer does so more rarely; who
/// fights does so more often.
const LISTEN: Duration = Duration::from_secs(60);
/// Programs that are named at a time.
const NAMED: usize = 3;

/// Listens while others change tables.
#[derive(Debug, Default)]
pub(super) struct ChangedBy {
    listening: Option<(ChangeListener, Instant)>,
}

impl ChangedBy {
    /// Others changed a table just now. Listens from now on.
    pub fn ask(&mut self, now: Instant, kernel: &Kernel) -> Option<String> {
        let Some((listener, until)) = &mut self.listening else {
            match kernel.changes() {
                Ok(listener) => self.listening = Some((listener, now + LISTEN)),
                Err(error) => tracing::debug!("listen to who changes tables: {error}"),
            }
            return None;
        };
        *until = now + LISTEN;
        named(listener.take())
    }

    /// Stops to listen when nobody changed anything for a while.
    pub fn rest(&mut self, now: Instant) {
        self.listening.take_if(|(_, until)| now >= *until);
    }
}

/// The programs, each once, the last ones first.
fn named(mut found: Vec<Committer>) -> Option<String> {
    found.reverse();
    let mut once: Vec<Committer> = Vec::new();
    for one in found {
        if !once.contains(&one) {
            once.push(one);
        }
    }
    (!once.is_empty()).then(|| report::some(once.iter(), NAMED))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_program_is_named_once() {
        let commit = |program: &str, pid| Committer { program: program.to_owned(), pid };
        assert_eq!(named(Vec::new()), None);
        let found = vec![commit("nft", 7), commit("firewalld", 8), commit("nft", 7)];
        assert_eq!(named(found).as_deref(), Some("nft (pid 7), firewalld (pid 8)"));
    }
}
