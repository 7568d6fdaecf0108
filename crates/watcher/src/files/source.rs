//! The texts to read: files, folders, standard input.
//!
//! In: the sources of a command line.
//! Out: names with their bytes, in a fixed order, each file once.
//! Never: an interpretation of the bytes.

use std::collections::HashSet;
use std::fs::{DirEntry, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Largest file that is read, in bytes. `kubectl get pods -A -o json` writes
/// about 15 KB a pod, with managedFields.
const SIZE_MAX: u64 = 256 << 20;
/// The deepest nesting of folders.
const FOLDERS_MAX: usize = 32;
/// The files that are read from a folder, as kubectl does.
pub const EXTENSIONS: [&str; 3] = ["yaml", "yml", "json"];

/// Where manifests are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A file, or a folder: every `*.yaml`, `*.yml` and `*.json` in it and in
    /// its folders, sorted by path. Hidden entries (`.git`, `..data` of a
    /// mounted ConfigMap) are skipped. A symbolic link counts as its target.
    Path(PathBuf),
    /// Standard input.
    Stdin,
    /// A text that was read elsewhere, such as from a version control system.
    Text {
        /// What messages call it.
        name: String,
        /// Its bytes.
        bytes: Vec<u8>,
    },
}

/// Why sources could not be read. Their contents are then unknown, so do not act
/// on them.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// A file or folder that cannot be opened or read.
    #[error("cannot read {path}")]
    Io {
        /// The file or folder, or `stdin`.
        path: String,
        /// The error of the system.
        #[source]
        source: io::Error,
    },
    /// A folder without a manifest in it.
    #[error("no *.yaml, *.yml or *.json in folder {path}")]
    NoManifests {
        /// The folder.
        path: String,
    },
    /// Files without a single document, such as a file that is still being
    /// written. Taken literally, this would delete everything.
    #[error("no objects in {path}")]
    NoObjects {
        /// The files.
        path: String,
    },
    /// A file that is too large to be a manifest.
    #[error("{path} is larger than {limit} bytes", limit = SIZE_MAX)]
    TooLarge {
        /// The file, or `stdin`.
        path: String,
    },
    /// Folders nested deeper than anybody keeps manifests.
    #[error("folders in {path} are nested more than {limit} deep", limit = FOLDERS_MAX)]
    TooDeep {
        /// The innermost folder.
        path: String,
    },
}

/// A name and the bytes of a source.
pub(super) struct Text {
    pub name: String,
    pub bytes: Vec<u8>,
}

/// Reads all sources, one text at a time, in the order given; a file that is named
/// twice is read once.
///
/// # Errors
/// See [`ReadError`]; reading stops at the first one.
pub(super) fn texts(sources: &[Source], mut each: impl FnMut(Text)) -> Result<(), ReadError> {
    let mut seen = HashSet::new();
    for source in sources {
        match source {
            Source::Stdin => each(bounded(io::stdin().lock(), "stdin")?),
            Source::Text { name, bytes } => {
                each(Text { name: name.clone(), bytes: bytes.clone() });
            }
            Source::Path(path) => {
                let mut files = Vec::new();
                if metadata(path)?.is_dir() {
                    folder(path, 0, &mut HashSet::new(), &mut files)?;
                    if files.is_empty() {
                        return Err(ReadError::NoManifests { path: show(path) });
                    }
                } else {
                    files.push(path.clone());
                }
                for file in files {
                    if seen.insert(canonical(&file)) {
                        each(open(&file)?);
                    }
                }
            }
        }
    }
    Ok(())
}

/// Adds the manifests of a folder, sorted. `visited` has the folders that were
/// read, so that each is read once and circular links end.
fn folder(
    path: &Path,
    depth: usize,
    visited: &mut HashSet<PathBuf>,
    files: &mut Vec<PathBuf>,
) -> Result<(), ReadError> {
    if depth > FOLDERS_MAX {
        return Err(ReadError::TooDeep { path: show(path) });
    }
    if !visited.insert(canonical(path)) {
        return Ok(());
    }
    let listed = std::fs::read_dir(path).and_then(Iterator::collect);
    let mut entries: Vec<DirEntry> = listed.map_err(|source| io_error(path, source))?;
    entries.sort_by_key(DirEntry::file_name);
    for entry in entries {
        if entry.file_name().as_encoded_bytes().starts_with(b".") {
            continue;
        }
        let inner = entry.path();
        let is_manifest = inner
            .extension()
            .is_some_and(|extension| EXTENSIONS.iter().any(|known| extension == *known));
        match metadata(&inner) {
            Ok(found) if found.is_dir() => folder(&inner, depth + 1, visited, files)?,
            Ok(found) if found.is_file() && is_manifest => files.push(inner),
            Err(error) if is_manifest => return Err(error),
            // Sockets, devices, and broken links not named like a manifest.
            Ok(_) | Err(_) => {}
        }
    }
    Ok(())
}

fn open(path: &Path) -> Result<Text, ReadError> {
    let file = File::open(path).map_err(|source| io_error(path, source))?;
    bounded(file, &show(path))
}

fn bounded(reader: impl Read, name: &str) -> Result<Text, ReadError> {
    let mut bytes = Vec::new();
    reader
        .take(SIZE_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(|source| ReadError::Io { path: name.to_owned(), source })?;
    if bytes.len() as u64 > SIZE_MAX {
        return Err(ReadError::TooLarge { path: name.to_owned() });
    }
    Ok(Text { name: name.to_owned(), bytes })
}

fn metadata(path: &Path) -> Result<std::fs::Metadata, ReadError> {
    std::fs::metadata(path).map_err(|source| io_error(path, source))
}

/// The path that identifies a file. A pipe (`/dev/fd/63`) has no canonical one.
fn canonical(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

fn io_error(path: &Path, source: io::Error) -> ReadError {
    ReadError::Io { path: show(path), source }
}

fn show(path: &Path) -> String {
    path.display().to_string()
}
