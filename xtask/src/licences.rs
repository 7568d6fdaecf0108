//! The licences of all that a program of ours links.
//!
//! In: the dependencies of a crate (`cargo metadata`), their sources in cargo's registry,
//! and the Debian packages of the libraries that are shipped beside the program. Out: one
//! text with every licence text once, and who is under it.
//! Never: a crate without a licence text, or under a licence that is not on the list.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::cargo::Cargo;

/// The words of licence expressions that may occur (SPDX 2.3, Annex D): all can be combined
/// with the GPL-2.0-or-later of libnftnl, under which the binary is distributed, MPL-2.0 by
/// its section 3.3, Apache-2.0 by choosing version 3 of the GPL (gnu.org/licenses/license-list).
const ALLOWED: [&str; 13] = [
    "MIT",
    "Apache-2.0",
    "ISC",
    "BSD-3-Clause",
    "BSD-2-Clause",
    "Zlib",
    "Unicode-3.0",
    "MPL-2.0",
    "MPL-2.0+",
    "Unlicense",
    "LLVM-exception",
    "CC0-1.0",
    "BSL-1.0",
];

/// How files with licence texts begin.
const NAMES: [&str; 7] =
    ["LICENSE", "LICENCE", "COPYING", "COPYRIGHT", "UNLICENSE", "NOTICE", "AUTHORS"];

/// The Debian packages whose libraries are in the image and the archive.
pub const DEBIAN: [&str; 4] = ["libnftnl11", "libmnl0", "libc6", "libgcc-s1"];

/// A crate of another that is linked.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Linked {
    pub name: String,
    pub version: String,
    /// As its Cargo.toml says.
    pub licence: String,
    folder: PathBuf,
}

/// The crates of others that a crate of ours links: dependencies that are not only for
/// builds or tests, and their dependencies.
pub fn linked(metadata: &Value, root: &str) -> Result<BTreeSet<Linked>> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let packages = list(&metadata["packages"]);
    let by_id: BTreeMap<&str, &Value> =
        packages.iter().filter_map(|one| Some((one["id"].as_str()?, one))).collect();
    let nodes = list(&metadata["resolve"]["nodes"]);
    let nodes: BTreeMap<&str, &Value> =
        nodes.iter().filter_map(|one| Some((one["id"].as_str()?, one))).collect();
    let start = by_id.iter().find(|(_, package)| package["name"] == root);
    let mut waiting = vec![*start.with_context(|| format!("no crate {root}"))?.0];
    let mut seen = BTreeSet::new();
    while let Some(id) = waiting.pop() {
        if !seen.insert(id) {
            continue;
        }
        let dependencies = nodes.get(id).and_then(|node| node["deps"].as_array());
        for one in dependencies.into_iter().flatten() {
            let is_linked = one["dep_kinds"].as_array().into_iter().flatten();
            if is_linked.clone().any(|kind| kind["kind"].is_null()) {
                waiting.extend(one["pkg"].as_str());
            }
        }
    }
    let others =
        seen.into_iter().filter_map(|id| by_id.get(id)).filter(|one| !one["source"].is_null());
    others.map(|package| Linked::of(package)).collect()
}

impl Linked {
    fn of(package: &Value) -> Result<Self> {
        let text = |key: &str| {
            let text = package[key].as_str();
            Ok::<_, anyhow::Error>(
                text.with_context(|| format!("a crate without {key}"))?.to_owned(),
            )
        };
        let manifest = PathBuf::from(text("manifest_path")?);
        let folder = manifest.parent().context("a manifest without a folder")?.to_owned();
        let name = text("name")?;
        let licence = text("license").with_context(|| name.clone())?;
        let this = Self { version: text("version")?, name, licence, folder };
        this.allowed()?;
        Ok(this)
    }

    fn allowed(&self) -> Result<()> {
        let words = self.licence.split([' ', '(', ')', '/']).filter(|word| !word.is_empty());
        for word in words.filter(|word| !["OR", "AND", "WITH"].contains(word)) {
            ensure!(
                ALLOWED.contains(&word),
                "{} {} is under {}; {word} is not on the list in xtask/src/licences.rs",
                self.name,
                self.version,
                self.licence
            );
        }
        Ok(())
    }

    /// Its licence texts. A crate that ships none is under the text of this repository that
    /// its expression names.
    fn texts(&self, root: &Path) -> Result<Vec<String>> {
        let mut texts = Vec::new();
        collect(&self.folder, 2, &mut texts)?;
        if texts.is_empty() {
            let ours = ["Apache-2.0", "MIT"].iter().find(|id| self.licence.contains(**id));
            let file = match ours {
                Some(&"Apache-2.0") => "LICENSE-APACHE",
                _ => bail!("{} {} has no licence text", self.name, self.version),
            };
            texts.push(read(&root.join(file))?);
        }
        Ok(texts)
    }
}

/// Also from folders in it: C sources that a crate brings (jemalloc).
fn collect(folder: &Path, depth: usize, texts: &mut Vec<String>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("read {}", folder.display()))? {
        let path = entry?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().to_uppercase());
        let is_text = name.is_some_and(|name| NAMES.iter().any(|start| name.starts_with(start)));
        if is_text && path.is_file() {
            texts.push(read(&path)?);
        } else if path.is_dir() && depth > 1 {
            collect(&path, depth - 1, texts)?;
        }
    }
    Ok(())
}

fn read(path: &Path) -> Result<String> {
    let bytes = fs::read(path).with_context(|| format!("read {}", path.display()))?;
    Ok(String::from_utf8_lossy(&bytes).trim().to_owned())
}

const HEAD: &str = "nftpol is under MIT OR Apache-2.0. The binary links libnftnl (GPL-2.0-or-later) and\n\
libmnl (LGPL-2.1-or-later), so it is distributed under the terms of the GPL. The source of\n\
nftpol of this version is in its repository under the tag of the version; that of the\n\
libraries is in Debian's source packages named below (sources.debian.org).\n";

/// The text for programs that link these crates and, if `debian`, the C libraries.
pub fn text(cargo: &Cargo, root: &str, debian: bool) -> Result<String> {
    let folder = cargo.workspace_folder()?;
    let mut texts: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut out = format!("{HEAD}\nCrates:\n");
    for one in linked(&cargo.metadata()?, root)? {
        let name = format!("{} {}", one.name, one.version);
        out += &format!("  {name}: {}\n", one.licence);
        for text in one.texts(&folder)? {
            texts.entry(text).or_default().push(name.clone());
        }
    }
    if debian {
        out += "\nLibraries beside the program:\n";
        for package in DEBIAN {
            let (version, source) = version(package)?;
            let name = format!("{package} {version} (Debian source package {source})");
            out += &format!("  {name}\n");
            let path = Path::new("/usr/share/doc").join(package).join("copyright");
            texts.entry(read(&path)?).or_default().push(name);
        }
        for name in ["GPL-2", "LGPL-2.1", "GPL-3"] {
            let path = Path::new("/usr/share/common-licenses").join(name);
            texts.entry(read(&path)?).or_default().push(format!("the text of the {name}"));
        }
    }
    let mut texts: Vec<_> = texts.into_iter().collect();
    texts.sort_by(|one, other| one.1.cmp(&other.1));
    for (text, names) in texts {
        let line = "-".repeat(78);
        out += &format!("\n{line}\n{}\n{line}\n\n{text}\n", names.join("\n"));
    }
    Ok(out)
}

/// Version and source package, as dpkg knows them.
pub fn version(package: &str) -> Result<(String, String)> {
    let mut command = Command::new("dpkg-query");
    command.args(["--show", "--showformat=${Version} ${source:Package} ${source:Version}"]);
    let output = command.arg(package).output().context("run dpkg-query")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let (version, source) = text.split_once(' ').with_context(|| format!("no {package}"))?;
    Ok((version.to_owned(), source.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The check of CI.
    #[test]
    fn all_that_is_linked_has_a_known_licence_and_its_text() -> Result<()> {
        let cargo = Cargo::locked();
        for (root, debian) in [("agent", true), ("author", false)] {
            let crates = linked(&cargo.metadata()?, root)?;
            assert!(crates.len() > 20, "{root} links {} crates", crates.len());
            let text = text(&cargo, root, debian)?;
            for one in crates {
                assert!(text.contains(&format!("{} {}", one.name, one.version)));
            }
            assert_eq!(text.contains("libnftnl11"), debian);
            assert_eq!(text.contains("GNU GENERAL PUBLIC LICENSE"), debian);
        }
        Ok(())
    }

    #[test]
    fn an_unknown_licence_is_refused() {
        let of = |licence: &str| Linked {
            name: "one".to_owned(),
            version: "1".to_owned(),
            licence: licence.to_owned(),
            folder: PathBuf::new(),
        };
        assert!(of("(MIT OR Apache-2.0) AND Unicode-3.0").allowed().is_ok());
        assert!(of("MIT/Apache-2.0").allowed().is_ok());
        assert!(of("AGPL-3.0").allowed().is_err());
        assert!(of("MIT AND SSPL-1.0").allowed().is_err());
    }
}
