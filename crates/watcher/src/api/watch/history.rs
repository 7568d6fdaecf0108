//! Whether the server's history is the one that is known.
//!
//! After etcd was restored from a snapshot, the history goes back to it and then goes
//! another way. From a version that the server does not have yet, a watch tells nothing,
//! and what lies between would never come. Three things tell:
//!
//! * the server's version is before the known one,
//! * the object that changed last has an earlier version than the known one,
//! * that object is not there, and its deletion is not told.

use super::super::error::WatchError;
use super::super::kinds::{Identity, Watched};
use super::super::question;
use super::super::version::is_before;
use super::{Failure, Watch};

impl<T: Watched> Watch<T> {
    /// Asks, before a watch is resumed.
    pub(super) async fn has_the_same_history(&mut self) -> Result<(), Failure> {
        let same = self.following.cluster.confirm(&self.client, self.doubtful).await;
        same.map_err(Failure::resume)?;
        let answer = question::version::<T>(&self.client, self.last.as_ref()).await;
        let answer = answer.map_err(Failure::resume)?;
        self.following.contact.heard(T::KIND);
        not_before::<T>(&self.version, answer.version())?;
        let Some(last) = &self.last else { return Ok(()) };
        match answer.object().filter(|now| now.key() == last.key) {
            Some(now) => not_before::<T>(&last.version, &now.resource_version),
            None => {
                let version = answer.version().to_owned();
                self.vanished = Some(Identity { key: last.key.clone(), version });
                Ok(())
            }
        }
    }

    /// An object was added or modified.
    pub(super) fn changed(&mut self, identity: &Identity) -> Result<(), Failure> {
        self.advance(identity)?;
        self.last = Some(identity.clone()).filter(|last| !last.version.is_empty());
        Ok(())
    }

    /// An object was deleted.
    pub(super) fn deleted(&mut self, identity: &Identity) -> Result<(), Failure> {
        self.advance(identity)?;
        self.last = self.last.take().filter(|last| last.key != identity.key);
        Ok(())
    }

    /// Everything up to this version was told.
    pub(super) fn passed(&mut self, version: String) -> Result<(), Failure> {
        not_before::<T>(&self.version, &version)?;
        if let Some(vanished) = &self.vanished
            && !is_before(&version, &vanished.version)
        {
            let key = &vanished.key;
            let known = format!("{}, which has {key},", self.version);
            let now = format!("{version}, which never had it");
            return Err(Failure::relist(WatchError::went_back(T::KIND, &known, &now)));
        }
        if !version.is_empty() {
            self.version = version;
        }
        Ok(())
    }

    /// Remembers the version to resume from.
    fn advance(&mut self, identity: &Identity) -> Result<(), Failure> {
        not_before::<T>(&self.version, &identity.version)?;
        if !identity.version.is_empty() {
            self.version.clone_from(&identity.version);
        }
        self.vanished = self.vanished.take().filter(|vanished| vanished.key != identity.key);
        Ok(())
    }
}

fn not_before<T: Watched>(known: &str, now: &str) -> Result<(), Failure> {
    match is_before(now, known) {
        true => Err(Failure::relist(WatchError::went_back(T::KIND, known, now))),
        false => Ok(()),
    }
}
