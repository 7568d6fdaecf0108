//! What a request asks for.
//!
//! Reads verb, resource and query, in the API's words, from method and target
//! (kubernetes.io/docs/reference/using-api/api-concepts).

use std::collections::BTreeMap;

use hyper::{Method, Uri};

/// A request's verb, as in RBAC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// GET of one object, or of a path that is no resource.
    Get,
    /// GET of a collection.
    List,
    /// GET of a collection with `watch`.
    Watch,
    /// POST, PUT, PATCH, DELETE.
    Write,
}

/// A request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// Its verb.
    pub verb: Verb,
    /// The plural name of the resource, such as `pods`. If the path is no resource,
    /// the whole path.
    pub resource: String,
    /// The path as sent.
    pub path: String,
    /// The parameters as sent, still percent-encoded.
    pub query: BTreeMap<String, String>,
}

impl Call {
    /// Reads a request line.
    pub(super) fn new(method: &Method, uri: &Uri) -> Self {
        let path = uri.path().to_owned();
        let query: BTreeMap<String, String> = uri
            .query()
            .unwrap_or_default()
            .split('&')
            .filter(|pair| !pair.is_empty())
            .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect();
        let (resource, one) = resource(&path).unwrap_or((&path, true));
        let resource = resource.to_owned();
        let watch = query.get("watch").is_some_and(|value| value == "true" || value == "1");
        let verb = match (method, one) {
            (&Method::GET, true) => Verb::Get,
            (&Method::GET, false) if watch => Verb::Watch,
            (&Method::GET, false) => Verb::List,
            _ => Verb::Write,
        };
        Self { verb, resource, path, query }
    }
}

/// The resource of a path, and whether the path names one object of it.
fn resource(path: &str) -> Option<(&str, bool)> {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let rest = match parts.as_slice() {
        ["api", _, rest @ ..] | ["apis", _, _, rest @ ..] => rest,
        _ => return None,
    };
    let rest = match rest {
        ["namespaces", _name, rest @ ..] if !rest.is_empty() => rest,
        rest => rest,
    };
    Some((rest.first()?, rest.len() > 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_read_as_the_server_reads_them() {
        let cases = [
            ("/api/v1/pods", Verb::List, "pods"),
            ("/api/v1/pods?watch=true&resourceVersion=7", Verb::Watch, "pods"),
            ("/api/v1/pods?watch=false", Verb::List, "pods"),
            ("/api/v1/namespaces", Verb::List, "namespaces"),
            ("/api/v1/namespaces/dev", Verb::Get, "namespaces"),
            ("/api/v1/namespaces/dev/pods", Verb::List, "pods"),
            ("/api/v1/namespaces/dev/pods/a", Verb::Get, "pods"),
            ("/apis/networking.k8s.io/v1/networkpolicies?", Verb::List, "networkpolicies"),
            ("/version", Verb::Get, "/version"),
            ("/api/v1", Verb::Get, "/api/v1"),
        ];
        for (target, verb, resource) in cases {
            let call = Call::new(&Method::GET, &Uri::from_static(target));
            assert_eq!((call.verb, call.resource.as_str()), (verb, resource), "{target}");
        }
        let uri = Uri::from_static("/api/v1/pods?fieldSelector=spec.nodeName%3Da&x");
        let call = Call::new(&Method::DELETE, &uri);
        assert_eq!(call.verb, Verb::Write);
        assert_eq!(call.query["fieldSelector"], "spec.nodeName%3Da");
        assert_eq!(call.query["x"], "");
    }
}
