//! Failures of requests to the API server, explained for people.
//!
//! In: kube's errors and the server's Status.
//! Out: what was attempted, why it failed and what to do; a word for metrics.
//! Never: a decision what to do next. `watch` decides.

mod failure_kind;

use std::error::Error;
use std::io;
use std::time::Duration;

use kube::core::Status;
use policy::ObjectKey;

use crate::Kind;
pub use failure_kind::FailureKind;

/// Why a list or watch failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WatchError {
    /// The API server answered 403.
    #[error(
        "cannot {verb} {resource}: forbidden: {message}; a ClusterRole must grant the verbs list \
         and watch on {resource}"
    )]
    Forbidden {
        /// `list` or `watch`.
        verb: &'static str,
        /// As a ClusterRole names it, with the API group after a dot.
        resource: &'static str,
        /// The server's message.
        message: String,
    },
    /// The API server answered 401.
    #[error(
        "cannot {verb} {resource}: unauthorized: {message}; the API server does not accept \
         this token or client certificate"
    )]
    Unauthorized {
        /// `list` or `watch`.
        verb: &'static str,
        /// The resource.
        resource: &'static str,
        /// The server's message.
        message: String,
    },
    /// The server no longer has the history since the last event (410). The
    /// objects are listed again.
    #[error("cannot resume the watch of {resource}: {message}; listing again")]
    Expired {
        /// The resource.
        resource: &'static str,
        /// Why.
        message: String,
    },
    /// No answer, or one that broke off or stalled.
    #[error("cannot {verb} {resource}: {message}")]
    Connection {
        /// `list` or `watch`.
        verb: &'static str,
        /// The resource.
        resource: &'static str,
        /// The innermost cause, and advice.
        message: String,
        /// kube's error, if there is one.
        #[source]
        source: Option<Box<kube::Error>>,
    },
    /// The answer is not what the API documents.
    #[error("cannot read {what}: {message}")]
    Decode {
        /// The kind and, if known, the object.
        what: String,
        /// What is wrong.
        message: String,
    },
    /// Any other answer.
    #[error("cannot {verb} {resource}: the API server answers {code}: {message}")]
    Refused {
        /// `list` or `watch`.
        verb: &'static str,
        /// The resource.
        resource: &'static str,
        /// The HTTP status.
        code: u16,
        /// The server's message.
        message: String,
        /// How long the server asks to wait (`Retry-After`).
        retry_after: Option<Duration>,
    },
    /// The server's version is before one that it told earlier.
    #[error(
        "the history of {resource} went back from version {known} to {now}, as after etcd was \
         restored from a snapshot; listing again"
    )]
    WentBack {
        /// The resource.
        resource: &'static str,
        /// The version known.
        known: String,
        /// The version told now.
        now: String,
    },
    /// A list lacks what the server still has when it is asked for it.
    #[error(
        "the API server lists no {what}, but it still has {key}; the list does not count, and the \
         next one is not to come from a cache"
    )]
    Contradicted {
        /// What is missing in the list.
        what: String,
        /// An object that should be in the list.
        key: ObjectKey,
    },
    /// The Namespace `kube-system` has another uid than the known one, or is missing.
    #[error(
        "this is the API server of another cluster: the uid of its Namespace kube-system is \
         {found}, and the rules of this node are of the cluster where it is {known}; the rules \
         stay in force. If the node belongs to this cluster now, start the agent with \
         --cluster-uid={found}"
    )]
    OtherCluster {
        /// The uid known.
        known: String,
        /// The uid found.
        found: String,
    },
    /// There is no Namespace `kube-system`.
    #[error(
        "the API server has no Namespace kube-system, so it is not known which cluster this is; \
         is its database new or empty? The rules of this node stay in force"
    )]
    NoCluster,
    /// The kind's CustomResourceDefinition is not installed.
    #[error(
        "the API server serves no {kind}: its CustomResourceDefinition is not installed; it is \
         looked for again every minute"
    )]
    NotServed {
        /// Which.
        kind: Kind,
    },
}

/// The resource of a kind as a ClusterRole names it.
pub(super) const fn resource(kind: Kind) -> &'static str {
    match kind {
        Kind::NetworkPolicy => "networkpolicies.networking.k8s.io",
        Kind::Pod => "pods",
        Kind::Namespace => "namespaces",
        Kind::MultiNetworkPolicy => "multi-networkpolicies.k8s.cni.cncf.io",
    }
}

impl WatchError {
    /// The kind of failure.
    pub fn failure_kind(&self) -> FailureKind {
        match self {
            Self::Forbidden { .. } | Self::Unauthorized { .. } => FailureKind::Forbidden,
            Self::Expired { .. } => FailureKind::Expired,
            Self::Connection { .. } => FailureKind::Connection,
            Self::Decode { .. } => FailureKind::Decode,
            Self::WentBack { .. } => FailureKind::WentBack,
            Self::Contradicted { .. } => FailureKind::Contradicted,
            Self::OtherCluster { .. } | Self::NoCluster => FailureKind::OtherCluster,
            Self::Refused { .. } | Self::NotServed { .. } => FailureKind::Other,
        }
    }

    /// The HTTP status of a [`WatchError::Refused`].
    pub(super) fn code(&self) -> Option<u16> {
        match self {
            Self::Refused { code, .. } => Some(*code),
            _ => None,
        }
    }

    /// Whether the history since the last event cannot be told any more.
    pub(super) fn loses_history(&self) -> bool {
        matches!(self, Self::Expired { .. } | Self::WentBack { .. })
    }

    /// Whether the server does not know a parameter, such as `sendInitialEvents`.
    /// It answers that the request is invalid (422) or, if older, malformed (400).
    pub(super) fn is_unknown_parameter(&self) -> bool {
        self.code().is_some_and(|code| {
            (400..500).contains(&code) && !matches!(code, 404 | 408 | 409 | 429)
        })
    }

    /// Whether the reason may be the way of listing: an answer that broke off, or
    /// that means nothing. Not, if the server cannot be reached, does not accept us, or
    /// has no time.
    pub(super) fn is_about_lists(&self) -> bool {
        match self {
            Self::Connection { source, .. } => source.is_none(),
            Self::Decode { .. } => true,
            Self::Refused { code, .. } => !matches!(code, 429 | 503 | 504),
            Self::Forbidden { .. }
            | Self::Unauthorized { .. }
            | Self::Expired { .. }
            | Self::WentBack { .. }
            | Self::Contradicted { .. }
            | Self::OtherCluster { .. }
            | Self::NoCluster
            | Self::NotServed { .. } => false,
        }
    }

    /// From a Status, which is an answer or an event of a watch.
    pub(super) fn status(verb: &'static str, kind: Kind, status: &Status) -> Self {
        let resource = resource(kind);
        let message = match status.message.trim() {
            "" => status.reason.clone(),
            text => text.to_owned(),
        };
        match status.code {
            401 => Self::Unauthorized { verb, resource, message },
            403 => Self::Forbidden { verb, resource, message },
            410 => Self::Expired { resource, message },
            code => {
                let seconds = status.details.as_ref().map_or(0, |one| one.retry_after_seconds);
                let retry_after = (seconds > 0).then(|| Duration::from_secs(seconds.into()));
                Self::Refused { verb, resource, code, message, retry_after }
            }
        }
    }

    /// The server's version is before the known one.
    pub(super) fn went_back(kind: Kind, known: &str, now: &str) -> Self {
        Self::WentBack { resource: resource(kind), known: known.to_owned(), now: now.to_owned() }
    }

    /// Another uid than the known one; `None` where there is no Namespace.
    pub(super) fn other_cluster(known: Option<&str>, found: Option<&str>) -> Self {
        let (Some(known), Some(found)) = (known, found) else { return Self::NoCluster };
        Self::OtherCluster { known: known.to_owned(), found: found.to_owned() }
    }

    /// As the header `Retry-After` says.
    pub(super) fn asking_for(mut self, pause: Option<Duration>) -> Self {
        if let Self::Refused { retry_after, .. } = &mut self {
            *retry_after = pause.or(*retry_after);
        }
        self
    }

    /// How long the server asks to wait.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// From a failed request.
    pub(super) fn request(verb: &'static str, kind: Kind, error: kube::Error) -> Self {
        if let kube::Error::Api(status) = &error {
            return Self::status(verb, kind, status);
        }
        let message = format!("{}{}", innermost(&error), advice(&error));
        let source = Some(Box::new(error));
        Self::Connection { verb, resource: resource(kind), message, source }
    }

    /// An answer that broke off or stalled.
    pub(super) fn broken(verb: &'static str, kind: Kind, message: impl Into<String>) -> Self {
        let (resource, message) = (resource(kind), message.into());
        Self::Connection { verb, resource, message, source: None }
    }

    /// An object or an answer that cannot be read.
    pub(super) fn decode(kind: Kind, key: Option<&ObjectKey>, message: impl ToString) -> Self {
        let what = match key {
            Some(key) if key.namespace.is_empty() => format!("{kind} {}", key.name),
            Some(key) => format!("{kind} {key}"),
            None => resource(kind).to_owned(),
        };
        Self::Decode { what, message: message.to_string() }
    }
}

/// The cause at the end of the chain, which is the most specific one.
pub(super) fn innermost<'a>(error: &'a (dyn Error + 'static)) -> &'a (dyn Error + 'static) {
    let mut inner = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    inner
}

fn advice(error: &(dyn Error + 'static)) -> &'static str {
    let inner = innermost(error);
    let refused = inner
        .downcast_ref::<io::Error>()
        .is_some_and(|error| error.kind() == io::ErrorKind::ConnectionRefused);
    if refused {
        return "; is the API server running, at this address and port?";
    }
    if inner.to_string().contains("certificate") {
        return "; check the certificate authority and the server name in the configuration";
    }
    ""
}
