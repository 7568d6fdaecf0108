//! Objects in which nothing is wrong, read without a tree.
//!
//! In: the tokens of one object.
//! Out: what [`Reader::object`] finds, if that is one usable object and nothing to
//! report.
//! Never: a finding.

use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::serde::de::Deserialize;
use k8s_openapi::{Metadata, Resource};
use policy::Diagnostic;

use super::{DEFAULT_NAMESPACE, Origin, ReadObject, Reader, place_in};
use crate::convert;
use crate::decode::token::{self, Token};
use crate::decode::{self, Unreadable};
use crate::{Kind, Object};

impl Reader {
    /// Reads an object. Returns whether it could be read; if not, nothing changed.
    pub(in crate::files) fn plain(
        &mut self,
        tokens: &[Token<'_>],
        listed: Option<Kind>,
        place: Origin<'_>,
    ) -> bool {
        let read = match kind(tokens, listed) {
            // Where each field is, only a tree tells.
            _ if self.kept.is_some() => None,
            None => None,
            Some(Kind::NetworkPolicy) => typed(tokens, convert::network_policy_with, |policy| {
                Object::NetworkPolicy(Arc::new(policy))
            }),
            Some(Kind::Pod) => typed(tokens, convert::pod_with, |pod| Object::Pod(Arc::new(pod))),
            // Its type is no NetworkPolicy's.
            Some(Kind::MultiNetworkPolicy) => None,
            Some(Kind::Namespace) => typed(tokens, convert::namespace_with, |namespace| {
                Object::Namespace(Arc::new(namespace.with_metadata_name()))
            }),
        };
        let Some((object, name)) = read.zip(name(tokens)) else { return false };
        self.found.push(ReadObject { object, place: place.place(name.at), usable: true });
        self.counts.plain += 1;
        true
    }
}

/// The kind of an object that names it as it must.
fn kind(tokens: &[Token<'_>], listed: Option<Kind>) -> Option<Kind> {
    let kind = match token::field(tokens, "kind") {
        None => listed?,
        Some(value) => {
            let text = token::text(value)?;
            Kind::EVERY.into_iter().find(|kind| kind.name() == text)?
        }
    };
    let is_named = match token::field(tokens, "apiVersion") {
        None => listed == Some(kind),
        Some(value) => token::text(value) == Some(kind.api_version()),
    };
    is_named.then_some(kind)
}

/// The value of `metadata.name`.
fn name<'t, 'a>(tokens: &'t [Token<'a>]) -> Option<&'t Token<'a>> {
    token::field(token::field(tokens, "metadata")?, "name")?.first()
}

/// Decodes and converts an object of a known kind.
fn typed<T, M>(
    tokens: &[Token<'_>],
    convert: impl Fn(&T, &Unreadable) -> (M, Vec<Diagnostic>),
    wrap: impl Fn(M) -> Object,
) -> Option<Object>
where
    T: for<'de> Deserialize<'de> + Resource + Metadata<Ty = ObjectMeta>,
{
    let mut object = decode::plain::<T>(tokens)?;
    // Who asks for another namespace asks for trees.
    let is_namespace = place_in(&mut object, DEFAULT_NAMESPACE);
    let (converted, diagnostics) = convert(&object, &Unreadable::default());
    let object = wrap(converted);
    let key = object.key();
    let is_usable = convert::is_addressable(&key.name)
        && (is_namespace || convert::is_addressable(&key.namespace));
    (diagnostics.is_empty() && is_usable).then_some(object)
}
