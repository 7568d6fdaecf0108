//! The dashboard's form.
//!
//! The facts are those of Grafana's own JSON schema (grafana/grafana-foundation-sdk, commit
//! f178d5a42a89 of June 2026, `jsonschema/dashboard.jsonschema.json`), against which the whole
//! dashboard was also checked when it was written: which fields an object may have, which it
//! must have, and of which type they are.

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::prometheus::dashboard;

/// A type of JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Is {
    Text,
    Number,
    Flag,
    List,
    Object,
}

use Is::{Flag, List, Number, Object, Text};

/// The fields of an object, and those that it must have.
type Form = (&'static [(&'static str, Is)], &'static [&'static str]);

const DASHBOARD: Form = (
    &[
        ("title", Text),
        ("uid", Text),
        ("tags", List),
        ("timezone", Text),
        ("editable", Flag),
        ("time", Object),
        ("refresh", Text),
        ("schemaVersion", Number),
        ("version", Number),
        ("panels", List),
        ("templating", Object),
        ("annotations", Object),
        ("links", List),
    ],
    &["schemaVersion", "templating", "annotations"],
);
const PANEL: Form = (
    &[
        ("type", Text),
        ("id", Number),
        ("targets", List),
        ("title", Text),
        ("description", Text),
        ("datasource", Object),
        ("gridPos", Object),
        ("options", Object),
        ("fieldConfig", Object),
    ],
    &["type"],
);
const PLACE: Form =
    (&[("h", Number), ("w", Number), ("x", Number), ("y", Number)], &["h", "w", "x", "y"]);
const SOURCE: Form = (&[("type", Text), ("uid", Text)], &[]);
const FIELDS: Form = (&[("defaults", Object), ("overrides", List)], &["defaults", "overrides"]);
const VARIABLE: Form = (
    &[
        ("type", Text),
        ("name", Text),
        ("label", Text),
        ("query", Text),
        ("datasource", Object),
        ("current", Object),
        ("multi", Flag),
        ("refresh", Number),
        ("includeAll", Flag),
        ("allValue", Text),
    ],
    &["type", "name"],
);
const OPTION: Form = (&[("text", Text), ("value", Text)], &["text", "value"]);
const TIME: Form = (&[("from", Text), ("to", Text)], &["from", "to"]);

#[test]
fn the_dashboard_has_the_form_that_grafana_reads() -> Result<()> {
    let mut dashboard = dashboard()?;
    whole(&dashboard)?;
    // The check can fail, in each of its halves.
    let panel = |dashboard: &mut Value, key: &str, value: Value| {
        dashboard["panels"][0][key] = value;
    };
    let mut misspelt = dashboard.clone();
    panel(&mut misspelt, "gridpos", Value::Null);
    ensure!(whole(&misspelt).is_err(), "a field that Grafana does not know");
    let mut other = dashboard.clone();
    panel(&mut other, "title", 5.into());
    ensure!(whole(&other).is_err(), "a title that is no text");
    dashboard.as_object_mut().context("no object")?.remove("schemaVersion");
    ensure!(whole(&dashboard).is_err(), "a field that is missing");
    Ok(())
}

fn whole(dashboard: &Value) -> Result<()> {
    has(dashboard, DASHBOARD, "the dashboard")?;
    has(&dashboard["time"], TIME, "its time")?;
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    for variable in list(&dashboard["templating"]["list"]) {
        let name = format!("the variable {}", variable["name"]);
        has(&variable, VARIABLE, &name)?;
        optional(&variable["datasource"], SOURCE, &name)?;
        optional(&variable["current"], OPTION, &name)?;
    }
    for panel in list(&dashboard["panels"]) {
        let name = format!("the panel {}", panel["title"]);
        has(&panel, PANEL, &name)?;
        has(&panel["gridPos"], PLACE, &name)?;
        has(&panel["datasource"], SOURCE, &name)?;
        has(&panel["fieldConfig"], FIELDS, &name)?;
        for target in list(&panel["targets"]) {
            has(&target["datasource"], SOURCE, &name)?;
            ensure!(target["refId"].is_string() && target["expr"].is_string(), "{name}: {target}");
        }
    }
    Ok(())
}

fn optional(value: &Value, form: Form, name: &str) -> Result<()> {
    if value.is_null() { Ok(()) } else { has(value, form, name) }
}

fn has(value: &Value, (fields, required): Form, name: &str) -> Result<()> {
    let object = value.as_object().with_context(|| format!("{name}: no object: {value}"))?;
    for field in required {
        ensure!(object.contains_key(*field), "{name} has no {field}");
    }
    for (key, value) in object {
        let known = fields.iter().find(|(field, _)| field == key);
        let (_, wanted) = known.with_context(|| format!("{name}: unknown field {key}"))?;
        ensure!(*wanted == of(value)?, "{name}: {key} is {value}");
    }
    Ok(())
}

fn of(value: &Value) -> Result<Is> {
    Ok(match value {
        Value::String(_) => Text,
        Value::Number(_) => Number,
        Value::Bool(_) => Flag,
        Value::Array(_) => List,
        Value::Object(_) => Object,
        Value::Null => anyhow::bail!("null"),
    })
}
