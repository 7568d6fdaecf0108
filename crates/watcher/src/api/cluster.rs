//! Which cluster the API server is of.
//!
//! In: the uid of the Namespace `kube-system` that is expected, if one is.
//! Out: whether the API server has that Namespace now.
//! Never: another cluster taken for the known one.
//!
//! Each cluster makes this Namespace at its first start, and it cannot be deleted
//! (k8s.io/apiserver, admission plugin NamespaceLifecycle). So its uid is that of the
//! cluster. A database that was wiped has another one, a database that was restored the same.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kube::Client;
use policy::ObjectKey;
use tokio::sync::Mutex as AsyncMutex;
use tokio::time::Instant;

use super::error::WatchError;
use super::kinds::{Identity, NamespaceFields};
use super::question;

const NAMESPACE: &str = "kube-system";

/// The identity of the cluster, shared by all who have to know it.
#[derive(Clone, Debug, Default)]
pub struct Cluster(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    uid: Mutex<Option<String>>,
    /// When the API server was last asked, with success.
    confirmed: AsyncMutex<Option<Instant>>,
}

impl Cluster {
    /// From now on this cluster is expected. Until this is called, the first one
    /// that is seen.
    pub fn expect(&self, uid: String) {
        *self.known() = Some(uid);
    }

    /// The cluster that is expected, or was seen first.
    pub fn uid(&self) -> Option<String> {
        self.known().clone()
    }

    /// Asks the API server, unless it was asked after this moment.
    ///
    /// # Errors
    /// It is of another cluster, or there is no answer.
    pub(super) async fn confirm(&self, client: &Client, after: Instant) -> Result<(), WatchError> {
        let mut confirmed = self.0.confirmed.lock().await;
        if confirmed.is_some_and(|when| when > after) {
            return Ok(());
        }
        let asked = Instant::now();
        let about = Identity { key: ObjectKey::new("", NAMESPACE), version: String::new() };
        let answer = question::version::<NamespaceFields>(client, Some(&about)).await?;
        let named = answer.object().filter(|object| object.key() == about.key);
        let found = named.map(|object| object.uid.as_str()).filter(|uid| is_uid(uid));
        let mut known = self.known();
        match (known.as_deref(), found) {
            (Some(known), Some(found)) if known == found => {}
            (None, Some(found)) => *known = Some(found.to_owned()),
            (known, found) => return Err(WatchError::other_cluster(known, found)),
        }
        *confirmed = Some(asked);
        Ok(())
    }

    fn known(&self) -> MutexGuard<'_, Option<String>> {
        self.0.uid.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A UUID of Kubernetes, or what else may stand in the name of a table.
fn is_uid(uid: &str) -> bool {
    (1..=64).contains(&uid.len())
        && uid.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}
