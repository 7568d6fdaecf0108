//! Finds the property tests.
//!
//! Reads the sources of the workspace. Returns the names of tests inside `proptest!
//! { }`, and of all tests in a file that creates its own `TestRunner`. A test of
//! another crate with the same name also runs, which does no harm.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// Where property tests are.
const FOLDERS: [&str; 2] = ["crates", "tests"];

/// Names of all property tests of a workspace.
pub fn properties(workspace: &Path) -> Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    let mut folders: Vec<_> = FOLDERS.iter().map(|folder| workspace.join(folder)).collect();
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(&folder);
        for entry in entries.with_context(|| format!("read {}", folder.display()))? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path);
                let text = text.with_context(|| format!("read {}", path.display()))?;
                names.extend(named(&text).into_iter().map(str::to_owned));
            }
        }
    }
    Ok(names)
}

/// Names of the property tests of one file in rustfmt's layout.
fn named(text: &str) -> Vec<&str> {
    let all = text.contains("TestRunner::new(");
    let (mut names, mut block, mut test) = (Vec::new(), None, false);
    for line in text.lines() {
        let code = line.trim_start();
        let indent = line.len() - code.len();
        if code == "proptest! {" {
            block = Some(indent);
        } else if code == "}" && block == Some(indent) {
            block = None;
        } else if code.starts_with("#[test]") {
            test = true;
        } else if let Some(rest) = code.strip_prefix("fn ") {
            let name = rest.split('(').next().unwrap_or(rest);
            if test && (all || block.is_some()) {
                names.push(name);
            }
            test = false;
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_of_the_macro_are_properties() {
        let text = "
#[test]
fn a_table() {
}

proptest! {
    #![proptest_config(cases())]
    /// What it holds.
    #[test]
    fn a_property(
        x in any::<u8>(),
    ) {
    }

    #[test]
    fn another(x in any::<u8>()) {}
}

#[test]
fn another_table() {}
";
        assert_eq!(named(text), ["a_property", "another"]);
    }

    #[test]
    fn tests_with_a_runner_of_their_own_are_properties() {
        let text = "#[test]\nfn first() {}\nfn helper() { TestRunner::new(config); }\n";
        assert_eq!(named(text), ["first"]);
    }

    #[test]
    fn those_of_this_workspace_are_found() {
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let names = properties(&workspace).unwrap();
        assert!(names.len() > 15, "{names:?}");
    }
}
