//! The two versions of `--diff`.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::git;
use crate::{Cluster, InputArgs};

/// The word for the cluster of the kubeconfig.
const CLUSTER: &str = "cluster";

/// What one version is.
#[derive(Debug, PartialEq, Eq)]
enum Version {
    Cluster,
    Files(PathBuf),
    Revision { name: String, commit: String, paths: Vec<PathBuf> },
}

/// Reads both. Notices and findings of each are printed.
///
/// # Errors
/// A version that is nothing of the kind, or that cannot be read.
pub fn read(input: &InputArgs, versions: &[String]) -> Result<[Cluster; 2]> {
    let texts: [&str; 2] = match versions {
        [both] => match both.split_once("..") {
            Some((before, after)) if !Path::new(both).exists() => {
                [before, if after.is_empty() { "HEAD" } else { after }]
            }
            Some(_) | None => bail!(
                "--diff wants two versions: two files or folders, `{CLUSTER}` and a folder, or \
                 two git revisions, such as main..HEAD"
            ),
        },
        [before, after] => [before, after],
        _ => bail!("--diff wants two versions"),
    };
    let [before, after] = texts.map(|text| version(input, text));
    let versions = [before?, after?];
    let over_cluster = versions.contains(&Version::Cluster);
    let of_revisions = versions.iter().any(|one| matches!(one, Version::Revision { .. }));
    let read = |(version, text): (Version, &str)| {
        let args = of(input, version, over_cluster, of_revisions);
        args.and_then(|args| args.read()).with_context(|| format!("read {text}"))
    };
    let [before, after] = versions;
    let before = read((before, texts[0]))?;
    let mut after = read((after, texts[1]))?;
    // A notice of both versions is printed once.
    after.notices.retain(|notice| !before.notices.contains(notice));
    Ok([InputArgs::reported(before)?, InputArgs::reported(after)?])
}

fn version(input: &InputArgs, text: &str) -> Result<Version> {
    if text == CLUSTER {
        return Ok(Version::Cluster);
    }
    if Path::new(text).exists() {
        return Ok(Version::Files(text.into()));
    }
    let (revision, path) = match text.split_once(':') {
        Some((revision, path)) => (revision, Some(PathBuf::from(path))),
        None => (text, None),
    };
    let commit = git::commit(revision)
        .with_context(|| format!("{text} is no file, no folder, no revision, not `{CLUSTER}`"))?;
    let paths: Vec<PathBuf> = match path {
        Some(path) => vec![path],
        None => input.filenames.clone(),
    };
    if paths.is_empty() {
        bail!("which manifests of {text}? Name them with -f, or write {text}:FOLDER");
    }
    // A name that is the commit itself tells nobody anything: eight digits tell as much.
    let name = match commit == revision {
        true => commit.chars().take(8).collect(),
        false => revision.to_owned(),
    };
    Ok(Version::Revision { name, commit, paths })
}

/// What is read for a version. Files are laid over the cluster if the other version is the
/// cluster: the difference is then what applying them would change.
fn of(
    input: &InputArgs,
    version: Version,
    over_cluster: bool,
    of_revisions: bool,
) -> Result<InputArgs> {
    let mut args = input.clone();
    args.with_cluster |= over_cluster;
    // A change is in the namespaces that its manifests name, whichever the kubeconfig has.
    args.all_namespaces |= args.namespace.is_none();
    // Of two revisions -f names paths in each. Otherwise it names what both have.
    match version {
        Version::Cluster => {}
        Version::Files(path) => {
            if of_revisions {
                args.filenames.clear();
            }
            args.filenames.push(path);
        }
        Version::Revision { name, commit, paths } => {
            args.filenames.clear();
            args.texts = git::manifests(&name, &commit, &paths)?;
        }
    }
    Ok(args)
}
