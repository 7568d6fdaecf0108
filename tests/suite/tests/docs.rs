//! The tests and paths that the documentation names exist.

#![expect(clippy::unwrap_used, reason = "a page that cannot be read fails the test")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// All Rust sources of the repository as one text.
fn sources(folder: &Path) -> String {
    let mut text = String::new();
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            text += &sources(&path);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            text += &fs::read_to_string(path).unwrap();
        }
    }
    text
}

/// The pieces of a text between two marks.
fn between<'a>(text: &'a str, mark: &str) -> Vec<&'a str> {
    text.split(mark).skip(1).step_by(2).collect()
}

#[test]
fn every_rule_of_the_semantics_names_tests_that_exist() {
    let page = fs::read_to_string(root().join("docs/semantics.md")).unwrap();
    let code = sources(&root().join("crates")) + &sources(&root().join("tests"));
    let mut numbers = BTreeSet::new();
    for line in page.lines().filter(|line| line.starts_with('|')) {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let Ok(number) = cells[1].parse::<u32>() else { continue };
        numbers.insert(number);
        let held_by = cells[3];
        assert!(!held_by.is_empty(), "rule {number} has no test");
        let names = between(held_by, "`").into_iter();
        for name in names.filter(|name| name.contains('_') && !name.contains('.')) {
            assert!(code.contains(&format!("fn {name}(")), "rule {number}: no test {name}");
        }
        for topic in between(held_by, "*") {
            assert!(code.contains(&format!("\"{topic}\"")), "rule {number}: no topic {topic}");
        }
    }
    assert_eq!(numbers, (1..=41).collect());
}

#[test]
fn every_line_of_the_threat_model_names_tests_that_exist() {
    let page = fs::read_to_string(root().join("docs/threat-model.md")).unwrap();
    let code = sources(&root().join("crates")) + &sources(&root().join("tests"));
    let (mut in_table, mut lines) = (false, 0);
    for line in page.lines() {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let [_, tries, verdict, held_by, _] = cells[..] else { continue };
        in_table = in_table || held_by == "tests";
        if !in_table || held_by == "tests" || held_by.starts_with("---") {
            continue;
        }
        lines += 1;
        let verdict = verdict.trim_matches('*');
        assert!(verdict.starts_with("closed") || verdict.starts_with("open"), "{tries}: {verdict}");
        let (functions, attacks) = (between(held_by, "`"), between(held_by, "*"));
        assert!(!functions.is_empty() || !attacks.is_empty(), "{tries}: no test");
        for name in functions {
            assert!(code.contains(&format!("fn {name}(")), "{tries}: no test {name}");
        }
        for name in attacks {
            // A name may end with what differs from try to try.
            let is_there = [format!("\"{name}\""), format!("\"{name} {{")];
            let is_there = is_there.iter().any(|one| code.contains(one));
            assert!(is_there, "{tries}: no attack {name}");
        }
    }
    assert!(lines > 20, "{lines} lines");
}

/// Whether a word in backticks is a path from the `crates` folder or the root.
fn is_path(word: &str) -> bool {
    let is_file = word.ends_with(".rs") || word.ends_with(".md") || word.ends_with('/');
    is_file && word.contains('/') && !word.contains(' ')
}

#[test]
fn every_path_of_the_architecture_page_exists() {
    let folder = root().join("crates");
    let page = fs::read_to_string(folder.join("README.md")).unwrap();
    let links = page.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
    for (link, _) in links {
        assert!(folder.join(link).exists(), "no {link}");
    }
    let rows: String = page.lines().filter(|line| line.starts_with('|')).collect();
    for path in between(&rows, "`").into_iter().filter(|word| is_path(word)) {
        // Beside a file that was named with its folder, its neighbours are not.
        let names_a_crate = ["tests/", "docs/", "manifests/"].iter().any(|of| path.starts_with(of));
        let place = if names_a_crate { root().join(path) } else { folder.join(path) };
        let is_short = !path.contains("/src/") && !path.contains("/tests/") && !names_a_crate;
        assert!(is_short || place.exists(), "no {path}");
    }
}

/// `cargo xtask docs` writes the page anew.
#[test]
fn the_page_of_the_command_line_is_what_the_commands_say() {
    let folder = samples::scratch::Folder::new("reference").unwrap();
    let mut command = std::process::Command::new(netbed::program::path().unwrap());
    command.arg("reference").arg(folder.path()).env_remove("NODE_NAME");
    assert!(command.status().unwrap().success());
    let [made, committed] = [folder.path().join("cli.md"), root().join("docs/cli.md")]
        .map(|path| fs::read_to_string(path).unwrap());
    assert_eq!(made, committed, "run `cargo xtask docs`");
    let manual = fs::read_to_string(folder.path().join("man/nftpol-explain.1")).unwrap();
    assert!(manual.contains("nftpol\\-explain") && manual.contains("FROM"), "{manual}");
    let names = ["nftpol.bash", "_nftpol", "nftpol.fish"];
    assert!(names.iter().all(|name| folder.path().join("completions").join(name).exists()));
}

#[test]
fn the_krew_manifest_is_of_this_version() {
    let manifest = fs::read_to_string(root().join("dist/krew.yaml")).unwrap();
    let version = format!("v{}", env!("CARGO_PKG_VERSION"));
    assert!(manifest.contains(&format!("version: {version}\n")), "{manifest}");
    let addresses: Vec<&str> = manifest.lines().filter(|line| line.contains("uri:")).collect();
    assert_eq!(addresses.len(), 5, "{addresses:?}");
    assert!(addresses.iter().all(|line| line.contains(&format!("/{version}/"))), "{addresses:?}");
}
