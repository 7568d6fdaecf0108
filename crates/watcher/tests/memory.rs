//! What reading files costs in memory, fine ones and those that somebody made to
//! hurt. Each text is read by a process of its own, which this program starts.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use watcher::files::{Source, Validation, read};

/// Tells a child which file to read.
const FILE: &str = "NFTPOL_MEMORY_FILE";
/// The pods of the large texts.
const PODS: usize = 10_000;
/// A text for a process without work.
const SMALL: &str = "{apiVersion: v1, kind: Namespace, metadata: {name: a}}\n";

/// A text, and the most memory that it may cost.
struct Case {
    name: &'static str,
    text: String,
    /// Bytes for each byte of the text.
    ratio: usize,
    /// What the first finding is about; empty for no finding.
    finding: &'static str,
}

#[test]
fn files_cost_little_memory() {
    if let Some(path) = std::env::var_os(FILE) {
        return print_peak(Path::new(&path));
    }
    let base = measure("small", SMALL).0;
    let mut passed = true;
    for case in fine().into_iter().chain(broken()) {
        let (peak, finding) = measure(case.name, &case.text);
        let bytes = peak.saturating_sub(base);
        let ratio = bytes as f64 / case.text.len() as f64;
        let is_expected = match case.finding {
            "" => finding.is_empty(),
            part => finding.contains(part),
        };
        let is_small = bytes <= case.ratio * case.text.len();
        println!(
            "{}: {} KB of text, {} KB of memory, {ratio:.1} bytes for each byte, at most {}{}{}",
            case.name,
            case.text.len() / 1024,
            bytes / 1024,
            case.ratio,
            if is_small { "" } else { ": TOO MUCH" },
            if is_expected { String::new() } else { format!(": UNEXPECTED {finding:?}") },
        );
        passed &= is_small && is_expected;
    }
    assert!(passed);
}

/// The child: reads a file and prints the most memory that this process had, in
/// bytes, and the first finding.
fn print_peak(path: &Path) {
    let loaded = read(&[Source::Path(path.to_owned())], Validation::Strict).expect("a file");
    let status = std::fs::read_to_string("/proc/self/status").expect("proc");
    // proc_pid_status(5): "VmHWM: Peak resident set size", in kB.
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("VmHWM");
    let kilobytes: usize = peak.trim().trim_end_matches(" kB").parse().expect("a number");
    let finding = loaded.findings.first().map(ToString::to_string).unwrap_or_default();
    println!("\npeak {} {finding}", kilobytes * 1024);
}

/// The peak of a process that reads a text, and the first finding.
fn measure(name: &str, text: &str) -> (usize, String) {
    let path = File::new(name, text);
    let program = std::env::current_exe().expect("this program");
    let mut child = Command::new(program);
    child.args(["--exact", "files_cost_little_memory", "--nocapture"]).env(FILE, &path.0);
    let output = child.output().expect("a child");
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("text");
    let line = text.lines().find_map(|line| line.strip_prefix("peak ")).expect("a peak");
    let (peak, finding) = line.split_once(' ').expect("a number");
    (peak.parse().expect("a number"), finding.to_owned())
}

/// A temporary file, removed at the end.
struct File(PathBuf);

impl File {
    fn new(name: &str, text: &str) -> Self {
        let name = format!("watcher-memory-{}-{}.yaml", name.replace(' ', "-"), std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, text).expect("a file");
        Self(path)
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Pods as `kubectl get` writes them, in few words, so that the model's own size
/// counts most.
fn fine() -> Vec<Case> {
    let pods = |write: fn(usize) -> String, between: &str| {
        (0..PODS).map(write).collect::<Vec<_>>().join(between)
    };
    let list = |items: String| {
        format!(r#"{{"apiVersion":"v1","items":[{items}],"kind":"List","metadata":{{}}}}"#)
    };
    let case = |name, text| Case { name, text, ratio: 8, finding: "" };
    vec![
        case("a List in JSON", list(pods(json_pod, ","))),
        case("a List in YAML", format!("kind: List\nitems:\n- {}", pods(yaml_pod, "\n- "))),
        case("documents in JSON", pods(json_pod, "\n---\n")),
        case("documents in YAML", format!("  {}", pods(yaml_pod, "\n---\n  "))),
        // More values than an object may have, and deeper: nobody reads these.
        Case { ratio: 2, ..case("managedFields", managed(&fields(4_000, 300))) },
        Case { ratio: 2, ..case("deep managedFields", managed(&deep(9_000))) },
    ]
}

/// A policy with this `fieldsV1`.
fn managed(fields: &str) -> String {
    format!(
        r#"{{"apiVersion":"networking.k8s.io/v1","kind":"NetworkPolicy","metadata":{{"name":"a","managedFields":[{{"manager":"m","fieldsV1":{fields}}}]}},"spec":{{"podSelector":{{}}}}}}"#
    )
}

fn fields(objects: usize, each: usize) -> String {
    let inner: Vec<String> = (0..each).map(|number| format!(r#""f:{number}":{{}}"#)).collect();
    let inner = inner.join(",");
    let outer = (0..objects).map(|number| format!(r#""f:{number}":{{{inner}}}"#));
    format!("{{{}}}", outer.collect::<Vec<_>>().join(","))
}

/// So many objects in one another, and then blanks, so that the text is as large as others.
fn deep(levels: usize) -> String {
    format!("{}{{}}{}{}", r#"{"f:a":"#.repeat(levels), "}".repeat(levels), " ".repeat(4 << 20))
}

fn json_pod(number: usize) -> String {
    let [.., high, low] = number.to_be_bytes();
    format!(
        r#"{{"apiVersion":"v1","kind":"Pod","metadata":{{"name":"pod-{number}","namespace":"ns-{}","labels":{{"app":"app-{}"}},"creationTimestamp":"2026-01-01T00:00:00Z"}},"spec":{{"nodeName":"node-{}","containers":[{{"name":"c","image":"i"}}]}},"status":{{"phase":"Running","podIPs":[{{"ip":"10.64.{high}.{low}"}},{{"ip":"fd00::1:{low:x}{high:02x}"}}],"hostIPs":[{{"ip":"192.168.0.1"}}]}}}}"#,
        number / 100,
        number % 10,
        number % 40,
    )
}

fn yaml_pod(number: usize) -> String {
    let [.., high, low] = number.to_be_bytes();
    format!(
        "apiVersion: v1\n  kind: Pod\n  metadata:\n    name: pod-{number}\n    namespace: ns-{}\n    \
         labels:\n      app: app-{}\n  spec:\n    nodeName: node-{}\n    containers:\n    - name: c\n  \
         status:\n    phase: Running\n    podIPs:\n    - ip: 10.64.{high}.{low}\n    - ip: fd00::1:{low:x}{high:02x}",
        number / 100,
        number % 10,
        number % 40,
    )
}

/// Texts with mistakes, by accident or on purpose.
fn broken() -> Vec<Case> {
    let fine = fine();
    let list = &fine[0].text;
    let mut laughs = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..20 {
        let alias = format!("*a{}", level - 1);
        // Writing to a String cannot fail.
        let _ = writeln!(laughs, "a{level}: &a{level} [{}]", [alias.as_str(); 10].join(", "));
    }
    laughs += &"#".repeat(1 << 20);
    let case = |name, text, ratio, finding| Case { name, text, ratio, finding };
    let long = "x".repeat(20 << 20);
    // The YAML parser holds all tokens of a `[...]` or `{...}` that is not JSON.
    vec![
        case("cut off", list[..list.len() - 40].to_owned(), 48, "not valid YAML"),
        case("laughs", laughs, 64, "expand to more than"),
        case("nested", "[".repeat(1 << 20), 16, "nested"),
        case("a long line", format!("kind: {long}"), 6, "is skipped"),
        case("values", format!("kind: List\nx: [{}]", "1,".repeat(4 << 20)), 64, "more than"),
        case(
            "items",
            format!("kind: List\nitems: [{}]", "1,".repeat(4 << 20)),
            8,
            "is the number 1",
        ),
        case("separators", "---\na\n".repeat(1 << 20), 8, "is the text"),
        case("a repeated key", format!("{{{}}}", "a: 1,".repeat(1 << 19)), 256, "more than"),
    ]
}
