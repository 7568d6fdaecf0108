//! Tables of further networks that nobody follows: `--multi-network-policies` was taken away.
//!
//! In: the namespaces of pods. Out: how many such tables there are, in how many namespaces.
//! Never: a table removed. They isolate as they did when the flag was there, and removing them
//! would open pods because of an option that somebody forgot.

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use nft::{Kernel, NamespaceId};

use super::processes::all_namespaces;
use super::secondary::is_of_network;

/// How often it is looked again while there are any.
const AGAIN: Duration = Duration::from_secs(60);

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Leftovers {
    tables: usize,
    namespaces: usize,
    looked: Option<Instant>,
}

impl Leftovers {
    /// Looks once, and again while there are any.
    ///
    /// # Errors
    /// `/proc` cannot be listed. A namespace that cannot be entered is passed over.
    pub fn look(&mut self, proc: &Path, own: NamespaceId, now: Instant) -> io::Result<()> {
        let is_due = |looked: Instant| self.tables > 0 && now >= looked + AGAIN;
        if !self.looked.is_none_or(is_due) {
            return Ok(());
        }
        let is_first = self.looked.replace(now).is_none();
        (self.tables, self.namespaces) = (0, 0);
        for namespace in all_namespaces(proc, own)? {
            let tables = namespace.inside(|| {
                let mut kernel = Kernel::open().ok()?;
                Some(kernel.tables_named(is_of_network).ok()?.len())
            });
            let tables = tables.ok().flatten().unwrap_or_default();
            self.tables += tables;
            self.namespaces += usize::from(tables > 0);
        }
        if is_first && let Some(remark) = self.remark() {
            tracing::warn!("{remark}");
        }
        Ok(())
    }

    /// What there is to say of them.
    pub fn remark(&self) -> Option<String> {
        (self.tables > 0).then(|| {
            format!(
                "tables of further networks are as a pod agent with --multi-network-policies left \
                 them ({}, in {} network namespaces): nothing follows the policies there. Give \
                 the option again, or stop the pod agent and run `nftpol cleanup --pods`",
                self.tables, self.namespaces
            )
        })
    }
}
