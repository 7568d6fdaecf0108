//! The test programs that cargo builds from this workspace.
//!
//! Returns every test program, with what is needed to start it and the words that
//! start it alone. Never: runs one.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::background;
use crate::cargo::{Cargo, words};

/// Whether errors have backtraces, other than panics (doc.rust-lang.org/std/backtrace,
/// "Environment Variables"). A test's error names what failed by itself.
const ERRORS_TRACE: &str = "RUST_LIB_BACKTRACE";

/// One test program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// The package that it tests.
    pub package: String,
    /// The target that it is built from: the name of the library, the program or
    /// the test.
    pub target: String,
    /// `lib`, `bin` or `test`.
    pub kind: String,
    /// The executable.
    pub path: PathBuf,
    /// The package's folder, in which cargo starts its tests.
    pub folder: PathBuf,
}

impl Program {
    /// Its readable name: `suite meaning`, `policy lib`.
    pub fn name(&self) -> String {
        let target = if self.kind == "lib" { "lib" } else { &self.target };
        format!("{} {target}", self.package)
    }

    /// The arguments that make `cargo test` run it alone.
    pub fn selection(&self) -> String {
        match self.kind.as_str() {
            "lib" => format!("--package {} --lib", self.package),
            kind => format!("--package {} --{kind} {}", self.package, self.target),
        }
    }

    /// The command, not yet started.
    pub fn command(&self, before: &[&str]) -> Command {
        let mut command = background::command(before, &self.path);
        command.current_dir(&self.folder).env("CARGO_MANIFEST_DIR", &self.folder);
        if std::env::var_os(ERRORS_TRACE).is_none() {
            command.env(ERRORS_TRACE, "0");
        }
        command
    }

    /// The names of its tests that these arguments select.
    pub fn tests(&self, args: &[String]) -> Result<Vec<String>> {
        listed(self.listing(args))
    }

    /// The command that lists tests. `--list` comes first: behind a `--` of
    /// `args` it would be a filter, and the tests would run.
    fn listing(&self, args: &[String]) -> Command {
        let mut command = self.command(&[]);
        command.args(["--list", "--format=terse"]).args(args);
        command
    }
}

/// The tests that a command lists.
///
/// # Errors
/// When it does not exit with 0. A program that cannot even list its tests must
/// not look like one that has none.
fn listed(mut command: Command) -> Result<Vec<String>> {
    let output = command.output();
    let output = output.with_context(|| format!("cannot start `{}`", words(&command)))?;
    if !output.status.success() {
        let errors = String::from_utf8_lossy(&output.stderr);
        bail!("`{}` failed: {}\n{}", words(&command), output.status, errors.trim_end());
    }
    let listing = String::from_utf8_lossy(&output.stdout);
    let tests = listing.lines().filter_map(|line| line.strip_suffix(": test"));
    Ok(tests.map(str::to_owned).collect())
}

/// Builds all programs and tests in one build. The tests start `nftpol`, and a
/// separate build would give it other features of its dependencies.
pub fn build(cargo: &Cargo) -> Result<Vec<Program>> {
    let fixed = ["build", "--workspace", "--bins", "--tests"];
    let mut command = cargo.command(fixed.into_iter().chain([MESSAGES]));
    let mut child = command.stdout(Stdio::piped()).spawn().context("cannot start cargo")?;
    let output = child.stdout.take().context("cargo has no output")?;
    let mut programs = Vec::new();
    for line in BufReader::new(output).lines() {
        let line = line.context("cannot read what cargo prints")?;
        programs.extend(serde_json::from_str(&line).ok().and_then(|message| read(&message)));
    }
    let status = child.wait().context("cannot wait for cargo")?;
    if !status.success() {
        bail!("the build failed: `{}`: {status}", words(&command));
    }
    programs.sort_by_key(Program::name);
    Ok(programs)
}

/// Prints names of artifacts on stdout and the compiler's messages on stderr
/// (doc.rust-lang.org/cargo/reference/external-tools.html).
const MESSAGES: &str = "--message-format=json-render-diagnostics";

/// A message of cargo, if it is about a test program.
fn read(message: &Value) -> Option<Program> {
    if message["reason"] != "compiler-artifact" || message["profile"]["test"] != true {
        return None;
    }
    let path = message["executable"].as_str()?;
    let folder = Path::new(message["manifest_path"].as_str()?).parent()?;
    let target = &message["target"];
    Some(Program {
        package: package(message["package_id"].as_str()?)?.to_owned(),
        target: target["name"].as_str()?.to_owned(),
        kind: target["kind"][0].as_str()?.to_owned(),
        path: path.into(),
        folder: folder.into(),
    })
}

/// `path+file:///src/crates/policy#0.1.0` or `path+file:///src/here#policy@0.1.0`
/// (doc.rust-lang.org/cargo/reference/pkgid-spec.html).
fn package(id: &str) -> Option<&str> {
    let (url, fragment) = id.rsplit_once('#')?;
    match fragment.split_once('@') {
        Some((name, _)) => Some(name),
        None => url.rsplit('/').next(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn message(kind: &str, test: bool) -> Value {
        json!({
            "reason": "compiler-artifact",
            "package_id": "path+file:///home/crates/policy#0.1.0",
            "manifest_path": "/home/crates/policy/Cargo.toml",
            "target": {"kind": [kind], "name": "limits"},
            "profile": {"test": test},
            "executable": "/home/target/debug/deps/limits-1",
        })
    }

    #[test]
    fn test_programs_are_known_by_package_and_target() {
        let program = read(&message("test", true)).unwrap();
        assert_eq!(program.name(), "policy limits");
        assert_eq!(program.selection(), "--package policy --test limits");
        assert_eq!(program.folder, Path::new("/home/crates/policy"));
        assert_eq!(read(&message("lib", true)).unwrap().name(), "policy lib");
        assert_eq!(read(&message("lib", true)).unwrap().selection(), "--package policy --lib");
    }

    #[test]
    fn other_artifacts_are_no_test_programs() {
        assert_eq!(read(&message("bin", false)), None);
        assert_eq!(read(&json!({"reason": "build-finished", "success": true})), None);
    }

    #[test]
    fn a_package_is_named_by_its_id() {
        assert_eq!(package("path+file:///home/crates/policy#0.1.0"), Some("policy"));
        assert_eq!(package("path+file:///home/xyz#policy@0.1.0"), Some("policy"));
        assert_eq!(package("nonsense"), None);
    }

    #[test]
    fn words_can_stand_before_the_program() {
        let program = read(&message("lib", true)).unwrap();
        let command = program.command(&["nice", "-n", "19"]);
        assert_eq!(words(&command), "nice -n 19 /home/target/debug/deps/limits-1");
    }

    fn sh(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn a_program_that_cannot_list_its_tests_is_an_error() {
        let error = listed(sh("echo no libmnl.so.0 >&2; exit 127")).unwrap_err().to_string();
        assert!(error.ends_with("failed: exit status: 127\nno libmnl.so.0"), "{error}");
        assert!(listed(sh("echo a: test; kill -SEGV $$")).is_err());
        assert_eq!(listed(sh("echo a: test; echo b: benchmark")).unwrap(), ["a"]);
    }

    #[test]
    fn tests_are_listed_before_any_argument_of_a_person() {
        let program = read(&message("lib", true)).unwrap();
        let args = ["--", "a_filter"].map(str::to_owned);
        assert_eq!(words(&program.listing(&args)), "limits-1 --list --format=terse -- a_filter");
    }
}
