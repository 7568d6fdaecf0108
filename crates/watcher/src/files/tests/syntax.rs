//! Texts that are not YAML, and unusual texts that are.

use super::*;

#[test]
fn syntax() {
    let cases: &[(&str, &str, &str)] = &[
        (
            "tab",
            "a:\n\tb: 1\n",
            "2:2: error: not valid YAML: this line is indented by a tab; YAML allows only spaces",
        ),
        (
            "template",
            "a: 1\n{{ if x }}\n",
            "2:1: error: not valid YAML: this is a template; render it first",
        ),
        (
            "conflict",
            "<<<<<<< HEAD\na: 1\n",
            "2:2: error: not valid YAML: the file has an unresolved merge conflict",
        ),
        (
            "under a value",
            "a: 1\n  b: 2\n",
            "2:3: error: not valid YAML: b is indented under \"a: 1\", whose value is complete; indent both lines equally",
        ),
        (
            "under a value with a comment",
            "a: 1 # c\n  b: 2\n",
            "1:6: error: not valid YAML: the next line is indented as if it continued this value",
        ),
        (
            "under a finished list",
            "a: []\n  - b\n",
            "2:3: error: not valid YAML: - b is indented under the finished value [] of a; it belongs inside a, without the []",
        ),
        (
            "odd indentation",
            "a:\n  b: 1\n c: 2\n",
            "3:2: error: not valid YAML: c is indented by 1, where 0 or 2 would fit",
        ),
        (
            "field among items",
            "a:\n  - b\n  c: 2\n",
            "3:3: error: not valid YAML: c is where an item of the list above is expected; indent it to belong to the item, or less to end the list",
        ),
        (
            "item among fields",
            "a:\n  b: 1\n  - c\n",
            "3:3: error: not valid YAML: a list item is among the fields of a; the name of its list is missing before it",
        ),
        (
            "no blank after the colon",
            "a:b\nc: 1\n",
            "2:2: error: not valid YAML: a space is missing after the ':' of \"a:b\"",
        ),
        (
            "no colon",
            "a: 1\nfoo\nb: 2\n",
            "3:1: error: not valid YAML: \"foo\" has no ':' after it",
        ),
        (
            "two colons",
            "a: b: c\n",
            "1:5: error: not valid YAML: this line has a second ':'; quote the value, or begin a new line",
        ),
        (
            "open quote",
            "a: \"x\nb: 1\n",
            "1:4: error: not valid YAML: a quote that begins here is not closed",
        ),
        (
            "behind a quote",
            "{\"a\" 1}\n",
            "1:6: error: not valid YAML: there is text right after a closing quote",
        ),
        (
            "unknown escape",
            "a: \"\\q\"\n",
            "1:4: error: not valid YAML: YAML does not know this '\\' escape; write \"\\\\\" or use single quotes",
        ),
        (
            "open bracket",
            "a: [1, 2\n",
            "1:1: error: not valid YAML: a ',' is missing before here, or a '[' or '{' is not closed or closed twice",
        ),
        (
            "no comma in JSON",
            "{\"a\": 1\n \"b\": 2}\n",
            "2:5: error: not valid YAML: a ',' is missing before here, or a '[' or '{' is not closed or closed twice",
        ),
        (
            "reserved",
            "a: @x\n",
            "1:4: error: not valid YAML: a value cannot begin with @; quote it: \"@x\"",
        ),
        (
            "unknown alias",
            "a: *x\n",
            "1:4: error: not valid YAML: *x is an alias of an anchor that does not exist; quote it: \"*x\"",
        ),
        (
            "two JSON values",
            "{kind: x}\n{kind: y}\n",
            "2:1: error: not valid YAML: a second value follows the first; put \"---\" between them, or a List around them",
        ),
        (
            "deep in brackets",
            &"[".repeat(1000),
            "1:256: error: not valid YAML: values are nested too deep",
        ),
        (
            "deep in dashes",
            &"- ".repeat(1000),
            "1:203: error: values are nested more than 100 levels deep",
        ),
    ];
    for (name, text, expected) in cases {
        let found = findings(text);
        // Other tests check the findings before the error.
        let found: Vec<&str> = found
            .lines()
            .filter_map(|line| line.strip_prefix("f:"))
            .filter(|line| line.contains("YAML") || line.contains("nested"))
            .collect();
        assert_eq!(found, [*expected], "{name}\n{text}");
    }
}

#[test]
fn one_bad_document_loses_no_other() {
    let text = "\
# a comment
---
apiVersion: v1
kind: Namespace
metadata: {name: a}
---
kind: [
---
apiVersion: v1
kind: Namespace
metadata: {name: b}
--- # the last
apiVersion: v1
kind: Namespace
metadata: {name: c, lables: {}}
";
    let loaded = parse("f", text, Validation::Strict);
    let names: Vec<String> = loaded.objects.iter().map(|one| one.key().name).collect();
    assert_eq!(names, ["a", "b", "c"]);
    check(
        "lines are those of the file",
        text,
        &[
            "f:7:1: error: not valid YAML: a value is missing here, or a '[' or '{' before it is not closed",
            r#"f:15:21: error: Namespace c: metadata.lables: unknown field "lables"; did you mean labels?"#,
        ],
    );
}

#[test]
fn texts_of_all_sorts() {
    let namespace = "apiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n";
    check("byte order mark", &format!("\u{feff}{namespace}"), &[]);
    check("CRLF", &namespace.replace('\n', "\r\n"), &[]);
    check("nothing", "", &[]);
    check("comments and empty documents", "# a\n---\n# b\n---\n...\n", &[]);
    check("directive", &format!("%YAML 1.2\n---\n{namespace}"), &[]);
    check("NUL", "a: 1\nb\0: 2\n", &["f:2:2: error: is not text (a NUL byte)"]);
    check(
        "JSON with tabs, a trailing comma and surrogates",
        "{\"apiVersion\":\"v1\",\n\t\"kind\":\"Namespace\",\"metadata\":{\"name\":\"a\",\"annotations\":{\"a\":\"\\ud83d\\ude00\\/\"},},}\n",
        &[],
    );
    check(
        "anchors and merge keys",
        "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: a\n  labels: &l {a: b, c: d}\n  annotations: {<<: *l, a: e}\n",
        &[],
    );
    let loaded = parse("f", &String::from_utf8_lossy(b"kind: Pod\xff"), Validation::Strict);
    assert!(loaded.has_errors());
}

/// As `jq -c '.items[]'` writes it. A mistake in one text loses no other, and its place
/// is that in the file.
#[test]
fn json_texts_one_after_the_other() {
    let namespace = |name: &str, more: &str| {
        format!(
            "{{\"apiVersion\": \"v1\", \"kind\": \"Namespace\", \"metadata\": {{\"name\": \"{name}\"{more}}}}}"
        )
    };
    let [a, b, c] = ["a", "b", "c"].map(|name| namespace(name, ""));
    for text in
        [format!("{a}\n{b}\n{c}\n"), format!("{a}{b} {c}"), format!("{a}\n{b}\n\n\u{feff}{c}")]
    {
        let loaded = parse("f", &text, Validation::Strict);
        assert_eq!((loaded.objects.len(), loaded.findings.as_slice()), (3, &[][..]), "{text}");
    }
    let wrong = namespace("b", ", \"lables\": {}");
    check(
        "a wrong field in the second",
        &format!("{a}\n{wrong}\n{c}\n"),
        &[
            r#"f:2:69: error: Namespace b: metadata.lables: unknown field "lables"; did you mean labels?"#,
        ],
    );
    check(
        "the same, on one line",
        &format!("{a}{wrong}"),
        &[
            r#"f:1:137: error: Namespace b: metadata.lables: unknown field "lables"; did you mean labels?"#,
        ],
    );
    check(
        "the last is cut off",
        &format!("{a}\n{b}\n{}", &c[..40]),
        &[
            "f:3:1: error: not valid YAML: a ',' is missing before here, or a '[' or '{' is not closed or closed twice",
        ],
    );
}

#[test]
fn a_merge_key_is_overridden_by_what_follows_it() {
    let ports = |port: &str| {
        format!(
            "{POLICY}  podSelector: {{}}\n  ingress:\n  - ports:\n    - &p {{port: 80, protocol: UDP}}\n    - {port}\n"
        )
    };
    let plain = |port: &str| parse("f", &ports(port), Validation::Strict).objects;
    for merged in
        ["{<<: *p, port: 81}", "{<<: [*p, {port: 1}], port: 81}", "{<<: *p, <<: {port: 81}}"]
    {
        check(merged, &ports(merged), &[]);
        assert_eq!(
            format!("{:?}", plain(merged)),
            format!("{:?}", plain("{port: 81, protocol: UDP}")),
            "{merged}"
        );
    }
    check(
        "what precedes it is overridden",
        &ports("{port: 81, <<: *p}"),
        &[
            "f:11:8: warning: NetworkPolicy dev/web: spec.ingress[0].ports[1].port: is overridden by the merge key '<<' after it, as kubectl reads it; write '<<' first, so that this value counts",
        ],
    );
    check(
        "written twice beside it",
        &ports("{port: 81, <<: *p, port: 82}"),
        &[
            "f:11:26: error: NetworkPolicy dev/web: spec.ingress[0].ports[1].port: is given twice (first on line 11)",
        ],
    );
}

#[test]
fn tabs_separate_and_do_not_indent() {
    let namespace = "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: a\n";
    for (from, to) in
        [(": a", ":\ta"), (": v1", ": \t v1"), ("a:\n", "a:\t# c\n"), (": v1", "\t:\tv1\t")]
    {
        check("separates", &namespace.replace(from, to), &[]);
    }
    check(
        "in quotes it stays",
        &format!("{namespace}  labels: {{b:\t\"c\td\"}}\n"),
        &[
            "f:5:15: error: Namespace a: metadata.labels[b]: \"c\\td\" is not a label value: at most 63 letters, digits, '-', '_' or '.', beginning and ending with a letter or digit",
        ],
    );
}
