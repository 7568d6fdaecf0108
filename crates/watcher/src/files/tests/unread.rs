//! The content of `fieldsV1` is not read, and what is beside it is.

use super::*;

/// A policy whose `managedFields` have this item.
fn managed(item: &str) -> String {
    format!(
        r#"{{"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
 "metadata": {{"name": "web", "namespace": "dev", "managedFields": [{item}]}},
 "spec": {{"podSelector": {{}}}}}}
"#
    )
}

fn deep(levels: usize) -> String {
    format!("{}{{}}{}", r#"{"f:a": "#.repeat(levels - 1), "}".repeat(levels - 1))
}

#[test]
fn what_nobody_reads_makes_no_object_unreadable() {
    let mut objects = Vec::new();
    for fields in [
        "{}".to_owned(),
        // An object may be 100 levels deep.
        deep(300),
        deep(10_000),
        r#"{"f:a": {}, "f:a": [null, 1, {"a": "b\u00e9"}]}"#.to_owned(),
        r#"[[{"a": [1]}], 2]"#.to_owned(),
    ] {
        let text = managed(&format!(r#"{{"manager": "m", "fieldsV1": {fields}}}"#));
        check("fields", &text, &[]);
        objects.push(parse("f", &text, Validation::Warn).objects);
    }
    objects.dedup();
    assert_eq!(objects.len(), 1, "{objects:#?}");
}

#[test]
fn what_is_beside_it_is_read() {
    for (name, item, finding) in [
        ("a mistyped field", r#"{"fieldsV1": {}, "managr": "m"}"#, "managr: "),
        ("a wrong type", r#"{"fieldsV1": {"f:a": {}}, "manager": 1}"#, "manager: "),
        ("a field twice", r#"{"fieldsV1": {}, "fieldsV1": {}}"#, "fieldsV1: "),
        ("fields of another name", r#"{"fieldsV2": {"a": {}}}"#, "fieldsV2: "),
    ] {
        let found = findings(&managed(item));
        assert!(found.contains(&format!("managedFields[0].{finding}")), "{name}: {found}");
    }
}

#[test]
fn it_has_the_limit_and_the_syntax_of_json() {
    let text = managed(&format!(r#"{{"fieldsV1": {}}}"#, deep(10_001)));
    let found = findings(&text);
    // The YAML parser tells what is wrong, and has a limit of its own.
    assert!(found.contains("not valid YAML: values are nested too deep"), "{found}");
    for fields in [r#"{"f:a" {}}"#, r#"{"f:a": [}"#, r#"{"f:a": {}"#] {
        let found = findings(&managed(&format!(r#"{{"fieldsV1": {fields}}}"#)));
        assert!(found.contains("not valid YAML"), "{fields}: {found}");
    }
}
