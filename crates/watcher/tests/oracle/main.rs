//! Our reader of manifests against an independent one.
//!
//! ```text
//!            +-- watcher::files::read(.., Warn) ----------------------------+
//! manifest --|                                                              |-- equal?
//!            +-- serde_yaml -- k8s_openapi -- `model` (written for this) ---+
//! ```
//!
//! It compares every YAML and JSON file of the repository. `differences` lists the
//! objects that the two readers read differently, each with the reason. The test
//! fails for a difference that is not listed, and for a listed one that is gone.
//! Never: code of ours in the second reader, except the model's own types.

mod differences;
mod model;
mod reader;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use policy::ObjectKey;
use watcher::files::{Source, Validation, read};
use watcher::{Kind, Object};

use differences::DIFFERENCES;
use model::Counts;

/// The objects of a file.
type Objects = BTreeMap<(Kind, ObjectKey), Object>;

/// A folder of further manifests to compare, to look for differences by hand:
/// `NFTPOL_MANIFESTS=DIR cargo test -p watcher --test oracle -- --nocapture`.
const FURTHER: &str = "NFTPOL_MANIFESTS";

fn manifests(folder: &Path, found: &mut Vec<PathBuf>) {
    let entries = std::fs::read_dir(folder).expect("a folder");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    for path in paths {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let is_ours = !name.starts_with('.') && name != "target" && name != "corpus";
        if path.is_dir() && !path.is_symlink() && is_ours {
            manifests(&path, found);
        } else if [".yaml", ".yml", ".json"].iter().any(|end| name.ends_with(end)) {
            found.push(path);
        }
    }
}

/// Reads a file as the product does.
fn ours(path: &Path) -> Objects {
    let loaded = read(&[Source::Path(path.to_owned())], Validation::Warn);
    let objects = loaded.map(|loaded| loaded.objects).unwrap_or_default();
    objects.into_iter().map(|one| ((one.kind(), one.key()), one)).collect()
}

/// The file's name in the table of differences: its folder and its name.
fn short(path: &Path) -> String {
    let parts: Vec<_> = path.iter().rev().take(2).map(|part| part.to_string_lossy()).collect();
    parts.into_iter().rev().collect::<Vec<_>>().join("/")
}

/// The objects that differ between the sides.
fn unequal(ours: &Objects, theirs: &Objects) -> Vec<(Kind, ObjectKey)> {
    let keys: BTreeSet<_> = ours.keys().chain(theirs.keys()).collect();
    keys.into_iter().filter(|key| ours.get(key) != theirs.get(key)).cloned().collect()
}

/// Compares these files. Returns every difference as `file: kind key`, with both
/// sides.
fn compare(files: &[PathBuf], counts: &mut Counts) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for path in files {
        let text = String::from_utf8_lossy(&std::fs::read(path).expect("a file")).into_owned();
        let (ours, theirs) = (ours(path), reader::read(&text));
        counts.files += 1;
        counts.documents += theirs.documents;
        theirs.objects.values().for_each(|object| counts.object(object));
        for key in unequal(&ours, &theirs.objects) {
            let name = format!("{}: {} {}", short(path), key.0, key.1);
            let (ours, theirs_too) = (ours.get(&key), theirs.objects.get(&key));
            let errors = theirs.errors.join("\n    ");
            let both = format!("ours:   {ours:?}\n  theirs: {theirs_too:?}\n    {errors}");
            found.insert(name, both);
        }
    }
    found
}

#[test]
fn every_manifest_is_the_same_object_to_an_independent_reader() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("the repository");
    let mut files = Vec::new();
    manifests(root, &mut files);
    let mut counts = Counts::default();
    let mut found = compare(&files, &mut counts);
    println!("oracle: compared {counts:?}; {} listed differences", DIFFERENCES.len());
    let mut wrong = Vec::new();
    for (name, reason) in DIFFERENCES {
        if found.remove(*name).is_none() {
            wrong.push(format!("listed, but no difference any more: {name} ({reason})"));
        }
    }
    wrong.extend(found.iter().map(|(name, both)| format!("not listed: {name}\n  {both}")));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(counts.objects > 200, "the manifests are somewhere else: {counts:?}");
    if let Some(folder) = std::env::var_os(FURTHER) {
        let (mut files, mut counts) = (Vec::new(), Counts::default());
        manifests(Path::new(&folder), &mut files);
        for (name, both) in compare(&files, &mut counts) {
            println!("{name}\n  {both}");
        }
        println!("oracle: compared {counts:?} of {}", folder.display());
    }
}
