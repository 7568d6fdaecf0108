//! Failures of requests to the API server, explained for people.
//!
//! In: kube's errors and the server's Status.
//! Out: what was attempted, why it failed and what to do; a word for metrics.
//! Never: a decision what to do next. `watch` decides.

use std::error::Error;
use std::io;

use kube::core::Status;
use policy::ObjectKey;

use crate::Kind;

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
    },
}

/// The kind of a [`WatchError`], for the label of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FailureKind {
    /// 401 or 403.
    Forbidden,
    /// 410: the objects are listed again.
    Expired,
    /// No answer, or one that broke off.
    Connection,
    /// An object or an answer that cannot be read.
    Decode,
    /// Any other answer.
    Other,
}

impl FailureKind {
    /// Every kind.
    pub const ALL: [Self; 5] =
        [Self::Forbidden, Self::Expired, Self::Connection, Self::Decode, Self::Other];

    /// The value of the label.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Forbidden => "forbidden",
            Self::Expired => "expired",
            Self::Connection => "connection",
            Self::Decode => "decode",
            Self::Other => "other",
        }
    }
}

/// The resource of a kind as a ClusterRole names it.
pub(super) const fn resource(kind: Kind) -> &'static str {
    match kind {
        Kind::NetworkPolicy => "networkpolicies.networking.k8s.io",
        Kind::Pod => "pods",
        Kind::Namespace => "namespaces",
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
            Self::Refused { .. } => FailureKind::Other,
        }
    }

    /// The HTTP status of a [`WatchError::Refused`].
    pub(super) fn code(&self) -> Option<u16> {
        match self {
            Self::Refused { code, .. } => Some(*code),
            _ => None,
        }
    }

    /// Whether the server does not know a parameter, such as `sendInitialEvents`.
    /// It answers that the request is invalid (422) or, if older, malformed (400).
    pub(super) fn is_unknown_parameter(&self) -> bool {
        self.code().is_some_and(|code| {
            (400..500).contains(&code) && !matches!(code, 404 | 408 | 409 | 429)
        })
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
            code => Self::Refused { verb, resource, code, message },
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
