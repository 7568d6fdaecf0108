//! The annotations that put policies in audit.
//!
//! In: metadata of a policy or a Namespace. Out: what it says. Never: an audit by a value that
//! cannot be read, or by another key.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::jiff::Timestamp;
use policy::{Mode, Switch};
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};

use super::report::Report;
use crate::spelling::suggest;

/// How the keys of nftpol's annotations begin. All others belong to others.
const PREFIX: &str = "nftpol.dev/";
/// All annotations that nftpol reads.
const KEYS: [&str; 2] = [Switch::MODE, Switch::UNTIL];

pub(super) fn convert(report: &mut Report<'_>, metadata: &ObjectMeta) -> Switch {
    if report.is_unreadable("metadata.annotations") {
        return Switch::UNREADABLE;
    }
    let all = metadata.annotations.iter().flatten();
    let own = all.filter(|(key, _)| key.starts_with(PREFIX));
    let mut switch = Switch::default();
    let mut is_readable = true;
    for (key, value) in own {
        let read = match key.as_str() {
            Switch::MODE => mode(value).map(|mode| switch.mode = Some(mode)),
            Switch::UNTIL => until(value).map(|until| switch.until = Some(until)),
            _ => {
                unknown(report, key);
                continue;
            }
        };
        if let Err(problem) = read {
            is_readable = false;
            report.warning(format!("metadata.annotations[{key}]"), problem);
        }
    }
    if is_readable { switch } else { Switch::UNREADABLE }
}

fn mode(value: &str) -> Result<Mode, String> {
    let known = Mode::BOTH.into_iter().find(|mode| mode.name() == value);
    known.ok_or_else(|| {
        let meant = suggest(value, Mode::BOTH.map(Mode::name));
        let meant = meant.map(|meant| format!(" Did you mean {meant}?")).unwrap_or_default();
        format!("{value:?} is neither audit nor enforce, so it means enforce.{meant}")
    })
}

/// RFC 3339, 5.6.
fn until(value: &str) -> Result<i64, String> {
    let time = value.parse::<Timestamp>().map(Timestamp::as_second);
    time.map_err(|_| {
        format!(
            "{value:?} is no time with an offset, such as 2026-11-30T18:00:00Z, so nothing is in \
             audit by it"
        )
    })
}

fn unknown(report: &mut Report<'_>, key: &str) {
    let meant = suggest(key, KEYS);
    let meant = meant.map(|meant| format!("; did you mean {meant}?")).unwrap_or_default();
    report.warning(
        format!("metadata.annotations[{key}]"),
        format!("has no effect: nftpol knows no such annotation{meant}"),
    );
}

/// Others' that nftpol reads: a pod's networks and a MultiNetworkPolicy's (Multus), and a
/// static pod's uid (kubelet).
const KEPT: [&str; 4] =
    [super::pod::NETWORK_STATUS, crate::related::ASKED, policy::POLICY_FOR, super::pod::MIRROR];

/// Reads annotations and keeps nftpol's and these. Others can be as
/// long as the object.
///
/// # Errors
/// One of these is no text.
pub(crate) fn own_annotations<'de, D: Deserializer<'de>>(
    from: D,
) -> Result<Option<BTreeMap<String, String>>, D::Error> {
    from.deserialize_option(Own)
}

struct Own;

impl<'de> Visitor<'de> for Own {
    type Value = Option<BTreeMap<String, String>>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("annotations")
    }

    fn visit_none<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_some<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        from.deserialize_map(self)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        let mut own = BTreeMap::new();
        while let Some(key) = entries.next_key::<String>()? {
            match key.starts_with(PREFIX) || KEPT.contains(&&*key) {
                true => drop(own.insert(key, entries.next_value()?)),
                false => drop(entries.next_value::<IgnoredAny>()?),
            }
        }
        Ok((!own.is_empty()).then_some(own))
    }
}

#[cfg(test)]
mod tests {
    use policy::Diagnostic;

    use super::*;
    use crate::Kind;
    use crate::decode::Unreadable;

    fn read(annotations: &[(&str, &str)]) -> (Switch, Vec<Diagnostic>) {
        let annotations = annotations.iter().map(|(key, value)| ((*key).into(), (*value).into()));
        let metadata = ObjectMeta {
            name: Some("p".to_owned()),
            namespace: Some("shop".to_owned()),
            annotations: Some(annotations.collect()),
            ..ObjectMeta::default()
        };
        let unreadable = Unreadable::default();
        let mut report = Report::new(Kind::NetworkPolicy, &metadata, &unreadable);
        let switch = convert(&mut report, &metadata);
        (switch, report.finish())
    }

    #[test]
    fn what_is_written_is_read() {
        let mode = |mode| Switch { mode: Some(mode), until: None };
        let until = |until| Switch { mode: None, until: Some(until) };
        let cases: [(&[(&str, &str)], Switch); 7] = [
            (&[], Switch::default()),
            (&[("nftpol.dev/mode", "audit")], mode(Mode::Audit)),
            (&[("nftpol.dev/mode", "enforce")], mode(Mode::Enforce)),
            (&[("nftpol.dev/audit-until", "1970-01-01T00:01:00Z")], until(60)),
            (&[("nftpol.dev/audit-until", "1970-01-01T02:00:00.9+02:00")], until(0)),
            (
                &[("nftpol.dev/mode", "audit"), ("nftpol.dev/audit-until", "1970-01-01T00:00:09Z")],
                Switch { mode: Some(Mode::Audit), until: Some(9) },
            ),
            (&[("mode", "audit"), ("example.com/nftpol.dev/mode", "audit")], Switch::default()),
        ];
        for (annotations, expected) in cases {
            assert_eq!(read(annotations), (expected, vec![]), "{annotations:?}");
        }
    }

    #[test]
    fn what_cannot_be_read_enforces_and_is_named() {
        type Annotations<'a> = &'a [(&'a str, &'a str)];
        let until = ("nftpol.dev/audit-until", "2999-01-01T00:00:00Z");
        let cases: [(Annotations<'_>, Switch, &str); 9] = [
            (&[("nftpol.dev/mode", "Audit")], Switch::UNREADABLE, "Did you mean audit?"),
            (&[("nftpol.dev/mode", "")], Switch::UNREADABLE, "neither audit nor enforce"),
            (&[("nftpol.dev/mode", "off"), until], Switch::UNREADABLE, "neither"),
            (&[("nftpol.dev/audit-until", "2026-11-30")], Switch::UNREADABLE, "no time"),
            (&[("nftpol.dev/audit-until", "2026-11-30T18:00:00")], Switch::UNREADABLE, "offset"),
            (&[("nftpol.dev/audit-until", "1h")], Switch::UNREADABLE, "no time"),
            (
                &[("nftpol.dev/audit-until", "1h"), ("nftpol.dev/mode", "audit")],
                Switch::UNREADABLE,
                "no time",
            ),
            (&[("nftpol.dev/modus", "audit")], Switch::default(), "nftpol.dev/mode?"),
            (&[("nftpol.dev/audit", "true")], Switch::default(), "no effect"),
        ];
        for (annotations, expected, word) in cases {
            let (switch, found) = read(annotations);
            assert_eq!(switch, expected, "{annotations:?}");
            let [one] = found.as_slice() else { panic!("{annotations:?}: {found:?}") };
            assert_eq!(one.severity, policy::Severity::Warning);
            assert!(one.message.contains(word), "{}", one.message);
        }
    }
}
