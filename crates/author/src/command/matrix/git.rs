//! Manifests of a git revision.
//!
//! In: a revision and paths in it. Out: texts, named `REVISION:PATH`.
//! Never: a change of the repository or of the work tree.
//!
//! It runs `git`, the program, because those who compare revisions have it, and a library
//! that reads repositories weighs more than all of these commands. Nothing that enforces
//! policies does so.

use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use watcher::files::{EXTENSIONS, Source};

use crate::matrix::names::printable;

/// The commit that a revision names.
///
/// # Errors
/// There is no such revision, no repository or no `git`.
pub fn commit(revision: &str) -> Result<String> {
    let name = format!("{revision}^{{commit}}");
    let output = run(&["rev-parse", "--verify", "--end-of-options", &name])?;
    Ok(String::from_utf8_lossy(&output).trim().to_owned())
}

/// The manifests below these paths, called `NAME:PATH` in messages. A path is relative to
/// the working directory, as for files.
///
/// # Errors
/// `git` fails, or a path has no manifests.
pub fn manifests(name: &str, commit: &str, paths: &[PathBuf]) -> Result<Vec<Source>> {
    let mut files = Vec::new();
    for path in paths {
        if path.as_os_str() == "-" {
            bail!("standard input has no revisions");
        }
        let mut arguments: Vec<&OsStr> =
            ["ls-tree", "-r", "-z", "--full-name", commit, "--"].map(OsStr::new).to_vec();
        arguments.push(path.as_os_str());
        let listed = run(&arguments).with_context(|| format!("list {}", path.display()))?;
        let before = files.len();
        files.extend(entries(&listed, path));
        if files.len() == before {
            bail!("no *.yaml, *.yml or *.json in {} at {name}", path.display());
        }
    }
    files.sort();
    files.dedup();
    read(name, files)
}

/// Object and path of each manifest in a list such as `100644 blob ID\tPATH\0`.
fn entries(listed: &[u8], asked: &Path) -> Vec<(String, String)> {
    let lines = listed.split(|byte| *byte == 0).map(String::from_utf8_lossy);
    let entries = lines.filter_map(|line| {
        let (about, path) = line.split_once('\t')?;
        let mut about = about.split(' ');
        // 120000 is a symbolic link, 160000 another repository.
        let is_file = about.next().is_some_and(|mode| mode.starts_with("100"));
        let object = about.nth(1)?.to_owned();
        let extension = Path::new(path).extension();
        let is_manifest = extension.is_some_and(|one| EXTENSIONS.iter().any(|known| one == *known));
        let is_hidden = path.split('/').any(|part| part.starts_with('.'));
        let is_asked =
            asked.file_name().is_some_and(|name| path.ends_with(&*name.to_string_lossy()));
        (is_file && (is_manifest && !is_hidden || is_asked)).then(|| (object, path.to_owned()))
    });
    entries.collect()
}

/// Reads objects, all by one process.
fn read(name: &str, files: Vec<(String, String)>) -> Result<Vec<Source>> {
    let mut git = Command::new("git")
        .args(["cat-file", "--batch"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("run git")?;
    let asked: String = files.iter().map(|(object, _)| format!("{object}\n")).collect();
    let input = git.stdin.take();
    // It answers while it is asked: a thread asks, so that neither waits for the other.
    let asking = std::thread::spawn(move || {
        input.map_or(Ok(()), |mut input| input.write_all(asked.as_bytes()))
    });
    let output = git.wait_with_output().context("run git cat-file")?;
    drop(asking.join());
    let mut rest = output.stdout.as_slice();
    files
        .into_iter()
        .map(|(object, path)| {
            let bytes = next(&mut rest).with_context(|| format!("read {object} ({path})"))?;
            Ok(Source::Text { name: format!("{name}:{path}"), bytes })
        })
        .collect()
}

/// The next of the answers `ID blob SIZE\nBYTES\n` (git-cat-file(1), "Batch output").
fn next(rest: &mut &[u8]) -> Option<Vec<u8>> {
    let end = rest.iter().position(|byte| *byte == b'\n')?;
    let head = String::from_utf8_lossy(&rest[..end]).into_owned();
    let size: usize = head.rsplit(' ').next()?.parse().ok()?;
    let bytes = rest.get(end + 1..)?.get(..size)?.to_vec();
    *rest = rest.get(end + 1 + size + 1..)?;
    Some(bytes)
}

fn run<S: AsRef<OsStr>>(arguments: &[S]) -> Result<Vec<u8>> {
    let output = Command::new("git").args(arguments).output().context("run git")?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("git says: {}", printable(said.trim().trim_start_matches("fatal: ")));
    }
    Ok(output.stdout)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_manifests_are_read() {
        let listed =
            b"100644 blob aa\tpol/a.yaml\x00100644 blob bb\tpol/README.md\x00120000 blob cc\t\
            pol/link.yaml\x00100644 blob dd\tpol/.hidden/b.yaml\x00";
        let found = entries(listed, Path::new("pol"));
        assert_eq!(found, [("aa".to_owned(), "pol/a.yaml".to_owned())]);
        let named = entries(b"100644 blob aa\tpol/a.txt\x00", Path::new("pol/a.txt"));
        assert_eq!(named.len(), 1, "a file that is named is read whatever its name");
    }

    #[test]
    fn answers_are_cut_by_their_sizes() {
        let mut rest = &b"aa blob 3\na\nb\nbb blob 0\n\n"[..];
        assert_eq!(next(&mut rest).as_deref(), Some(&b"a\nb"[..]));
        assert_eq!(next(&mut rest).as_deref(), Some(&b""[..]));
        assert_eq!(next(&mut rest), None);
        assert_eq!(next(&mut &b"cc missing\n"[..]), None);
    }
}
