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
    assert_eq!(numbers, (1..=44).collect());
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

/// The pages that people read, from the root.
fn pages() -> Vec<String> {
    let docs = fs::read_dir(root().join("docs")).unwrap().flatten();
    let docs = docs.map(|entry| format!("docs/{}", entry.file_name().to_string_lossy()));
    let others =
        ["README.md", "CHANGELOG.md", "SECURITY.md", "crates/README.md", "tests/README.md"];
    docs.filter(|name| name.ends_with(".md")).chain(others.map(str::to_owned)).collect()
}

/// The anchors of a page's headings, as GitHub and mdBook make them: small letters,
/// hyphens for spaces, no punctuation.
fn anchors(page: &str) -> BTreeSet<String> {
    let mut is_code = false;
    let mut anchors = BTreeSet::new();
    for line in page.lines() {
        is_code ^= line.trim_start().starts_with("```");
        if let Some(heading) = line.strip_prefix('#').filter(|_| !is_code) {
            let kept = heading.trim_start_matches('#').trim().chars().filter_map(|letter| {
                let letter = letter.to_ascii_lowercase();
                let is_kept = letter.is_alphanumeric() || ['-', '_'].contains(&letter);
                if letter == ' ' { Some('-') } else { is_kept.then_some(letter) }
            });
            anchors.insert(kept.collect());
        }
    }
    anchors
}

/// Links of Markdown outside blocks of code.
fn links(page: &str) -> Vec<&str> {
    let mut is_code = false;
    let mut links = Vec::new();
    for line in page.lines() {
        is_code ^= line.trim_start().starts_with("```");
        if !is_code {
            let found = line.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
            links.extend(found.map(|(link, _)| link));
        }
    }
    links
}

#[test]
fn every_link_leads_somewhere() {
    let mut count = 0;
    for page in pages() {
        let path = root().join(&page);
        let text = fs::read_to_string(&path).unwrap();
        for link in links(&text).into_iter().filter(|link| !link.contains("://")) {
            count += 1;
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() { path.clone() } else { path.with_file_name(file) };
            assert!(target.exists(), "{page}: no {link}");
            let is_page = target.extension().is_some_and(|extension| extension == "md");
            if is_page && !anchor.is_empty() {
                let there = anchors(&fs::read_to_string(&target).unwrap());
                assert!(there.contains(anchor), "{page}: no heading for {link}");
            }
        }
    }
    assert!(count > 50, "{count} links");
}

#[test]
fn the_table_of_contents_has_every_page() {
    let contents = fs::read_to_string(root().join("docs/SUMMARY.md")).unwrap();
    for page in pages() {
        let Some(name) = page.strip_prefix("docs/").filter(|name| *name != "SUMMARY.md") else {
            continue;
        };
        assert!(contents.contains(&format!("({name})")), "docs/SUMMARY.md lacks {name}");
    }
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    assert!(readme.lines().count() <= 150, "README.md is too long for a first look");
}

/// The page of networks names test programs, scenes and fixtures that exist.
#[test]
fn the_page_of_networks_names_tests_that_exist() {
    let page = fs::read_to_string(root().join("docs/networks.md")).unwrap();
    let scenes = fs::read_to_string(root().join("tests/suite/tests/kubernetes/main.rs")).unwrap();
    let mut names = 0;
    for line in page.lines().filter(|line| line.starts_with('|') && !line.contains("---")) {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let held_by = cells[cells.len() - 2];
        let words = between(held_by, "`");
        for (index, name) in words.iter().enumerate() {
            names += 1;
            let before = held_by.split('`').nth(2 * index).unwrap_or_default();
            if before.contains("scene ") {
                assert!(scenes.contains(&format!("\"{name}\"")), "no scene {name}");
            } else if before.trim_end().ends_with("the command") {
                let command = name.strip_prefix("cargo xtask ").unwrap_or_default();
                let chores = fs::read_to_string(root().join("xtask/src/main.rs")).unwrap();
                assert!(chores.contains(&format!("\"{command}\" =>")), "no command {name}");
            } else if before.contains("fixture") {
                let path = match name.ends_with(".yaml") {
                    true => root().join("tests/fixtures").join(name),
                    false => root().join(format!("tests/fixtures/policies/{name}.yaml")),
                };
                assert!(path.exists(), "no policy {name}");
            } else if before.contains("whole Kubernetes on ")
                || before.contains("Whole Kubernetes on ")
                || before.trim_end().ends_with("tests' network")
            {
                let options = root().join("tests/kubebed/src/kubernetes/options.rs");
                let options = fs::read_to_string(options).unwrap();
                assert!(options.contains(name.rsplit('-').next().unwrap()), "no network {name}");
            } else {
                let folder = root().join("tests/suite/tests");
                let is_there = folder.join(format!("{name}.rs")).exists()
                    || folder.join(name).exists()
                    || sources(&folder).contains(&format!("fn {name}("));
                assert!(is_there, "no test {name}");
            }
        }
    }
    assert!(names > 30, "{names} names");
}
