//! All objects that tell what policies mean, listed once.
//!
//! In: a client, and the namespace if it may see only that. Out: policies, pods,
//! namespaces and the related kinds.
//! Never: an incomplete list without a word about it. Agents must not use this.

use std::cell::Cell;
use std::time::Duration;

use kube::Client;
use kube::api::ListParams;
use kube::core::Request;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::kinds::{MultiPolicyJson, NamespaceFields, PolicyJson, V1Beta1, V1Beta2, Watched};
use super::{Found, optional};
use crate::convert::PodFields;
use crate::related::{self, Related};

/// The items of a page.
const PAGE: u32 = 500;

/// The kind of networks that are not the primary one. A server need not have it.
const NETWORK: &str = "NetworkAttachmentDefinition";

/// The related kinds, and where an API server has them.
const PATHS: [(&str, &str, &str); 13] = [
    ("Pod", "/api/v1", "pods"),
    ("Deployment", "/apis/apps/v1", "deployments"),
    ("StatefulSet", "/apis/apps/v1", "statefulsets"),
    ("DaemonSet", "/apis/apps/v1", "daemonsets"),
    ("ReplicaSet", "/apis/apps/v1", "replicasets"),
    ("ReplicationController", "/api/v1", "replicationcontrollers"),
    ("Job", "/apis/batch/v1", "jobs"),
    ("CronJob", "/apis/batch/v1", "cronjobs"),
    ("Service", "/api/v1", "services"),
    ("Ingress", "/apis/networking.k8s.io/v1", "ingresses"),
    ("EndpointSlice", "/apis/discovery.k8s.io/v1", "endpointslices"),
    ("Node", "/api/v1", "nodes"),
    (NETWORK, "/apis/k8s.cni.cncf.io/v1", "network-attachment-definitions"),
];

/// What an API server has.
#[derive(Debug, Default)]
pub struct Listed {
    /// Policies, pods that have not ended, and namespaces.
    pub objects: Vec<Found>,
    /// The related kinds.
    pub related: Vec<Related>,
    /// What could not be read, and why, a line each. The answers are about the rest.
    pub notices: Vec<String>,
    /// Whether only one namespace could be read.
    pub only: Option<String>,
    /// Whether NetworkAttachmentDefinitions could not be read.
    pub lacks_networks: bool,
    /// Whether there are MultiNetworkPolicies that could not be read.
    pub lacks_multi_policies: bool,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ListError {
    /// No answer in time.
    #[error("cannot list {resource}: no answer within {seconds} s")]
    Silent {
        /// Which.
        resource: &'static str,
        /// How long it was waited for.
        seconds: u64,
    },
    /// Refused, or broken off.
    #[error("cannot list {resource}")]
    Failed {
        /// Which.
        resource: &'static str,
        /// Why.
        #[source]
        source: Box<kube::Error>,
    },
}

impl ListError {
    /// Whether the server says that this client may not do this.
    fn is_forbidden(&self) -> bool {
        matches!(self.code(), Some(403))
    }

    fn code(&self) -> Option<u16> {
        match self {
            Self::Failed { source, .. } => match &**source {
                kube::Error::Api(status) => Some(status.code),
                _ => None,
            },
            Self::Silent { .. } => None,
        }
    }
}

#[derive(Deserialize)]
#[serde(bound = "T: DeserializeOwned")]
struct Page<T> {
    #[serde(default)]
    metadata: PageMetadata,
    #[serde(default = "Vec::new")]
    items: Vec<T>,
}

#[derive(Default, Deserialize)]
struct PageMetadata {
    #[serde(default, rename = "continue")]
    rest: Option<String>,
}

/// Lists everything. A client that may not list the whole cluster gets what is in
/// `namespace`. `came` counts the objects that have come so far.
///
/// # Errors
/// NetworkPolicies or Pods cannot be listed.
pub async fn everything(
    client: &Client,
    namespace: &str,
    patience: Option<Duration>,
    came: &Cell<usize>,
) -> Result<Listed, ListError> {
    let mut listed = Listed::default();
    let whole = Lister { client, namespace: None, patience, came };
    let lister = match whole.of_kind::<PolicyJson>().await {
        Ok(found) => {
            listed.objects.extend(found);
            whole
        }
        Err(error) if error.is_forbidden() => {
            let lister = Lister { namespace: Some(namespace), ..whole };
            listed.objects.extend(lister.of_kind::<PolicyJson>().await?);
            listed.notices.push(format!(
                "you may not list the NetworkPolicies of all namespaces, so the answers are about \
                 namespace {namespace} alone"
            ));
            listed.only = Some(namespace.to_owned());
            lister
        }
        Err(error) => return Err(error),
    };
    listed.objects.extend(lister.of_kind::<PodFields>().await?);
    match whole.of_kind::<NamespaceFields>().await {
        Ok(found) => listed.objects.extend(found),
        Err(error) if error.is_forbidden() => listed
            .notices
            .push("you may not list Namespaces, so their labels are not known".to_owned()),
        Err(error) => return Err(error),
    }
    match lister.multi_policies().await {
        Ok(found) => listed.objects.extend(found),
        Err(error) if error.is_forbidden() => {
            listed.notices.push("you may not list multi-networkpolicies; they are left out".into());
            listed.lacks_multi_policies = true;
        }
        Err(error) => return Err(error),
    }
    for (kind, group, resource) in PATHS {
        let items = match lister.items::<related::Fields>(group, resource, None).await {
            Ok(items) => items,
            // An API that is not served, such as that of EndpointSlices.
            Err(error) if error.code() == Some(404) => continue,
            // A server that lacks the kind says the same to whoever may not list it.
            Err(error) if error.is_forbidden() && kind == NETWORK => {
                listed.lacks_networks = true;
                continue;
            }
            Err(error) if error.is_forbidden() => {
                listed.notices.push(format!("you may not list {resource}; they are left out"));
                continue;
            }
            Err(error) => return Err(error),
        };
        let related = items.into_iter().filter_map(|one| related::convert(kind, one, ""));
        listed.related.extend(related);
    }
    Ok(listed)
}

/// Where to list, and how long to wait for an answer.
#[derive(Clone, Copy)]
struct Lister<'a> {
    client: &'a Client,
    namespace: Option<&'a str>,
    patience: Option<Duration>,
    came: &'a Cell<usize>,
}

impl Lister<'_> {
    async fn of_kind<T: Watched>(&self) -> Result<Vec<Found>, ListError> {
        let (group, resource) = T::PATH.rsplit_once('/').unwrap_or(("", T::PATH));
        let items = self.items::<T>(group, resource, T::FIELDS).await?;
        Ok(items.into_iter().map(Watched::found).collect())
    }

    /// By the newest version that is served. A server need not have the kind.
    async fn multi_policies(&self) -> Result<Vec<Found>, ListError> {
        // A 403 does not tell whether the server lacks the kind.
        if let Ok(None) = optional::served(self.client).await {
            return Ok(Vec::new());
        }
        match self.of_kind::<MultiPolicyJson<V1Beta2>>().await {
            Err(error) if error.code() == Some(404) => {}
            answer => return answer,
        }
        match self.of_kind::<MultiPolicyJson<V1Beta1>>().await {
            Err(error) if error.code() == Some(404) => Ok(Vec::new()),
            answer => answer,
        }
    }

    async fn items<T: DeserializeOwned>(
        &self,
        group: &str,
        resource: &'static str,
        fields: Option<&str>,
    ) -> Result<Vec<T>, ListError> {
        let is_namespaced = !matches!(resource, "namespaces" | "nodes");
        let path = match self.namespace.filter(|_| is_namespaced) {
            Some(namespace) => format!("{group}/namespaces/{namespace}/{resource}"),
            None => format!("{group}/{resource}"),
        };
        let mut parameters = ListParams::default().limit(PAGE);
        parameters.field_selector = fields.map(str::to_owned);
        let mut items = Vec::new();
        loop {
            let failed = |source| ListError::Failed { resource, source: Box::new(source) };
            let request = Request::new(&path).list(&parameters);
            let request = request.map_err(kube::Error::BuildRequest).map_err(failed)?;
            let answer = self.client.request::<Page<T>>(request);
            let page = match self.patience {
                None => answer.await,
                Some(patience) => {
                    let seconds = patience.as_secs();
                    let silent = |_| ListError::Silent { resource, seconds };
                    timeout(patience, answer).await.map_err(silent)?
                }
            };
            let Page { metadata, items: more } = page.map_err(failed)?;
            self.came.set(self.came.get() + more.len());
            items.extend(more);
            let rest = metadata.rest.filter(|rest| !rest.is_empty());
            if rest.is_none() {
                return Ok(items);
            }
            parameters.continue_token = rest;
        }
    }
}
