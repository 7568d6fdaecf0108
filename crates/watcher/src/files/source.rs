//! The texts to read: files, folders, standard input.
//!
//! In: what was named on a command line.
//! Out: names with their bytes, in a fixed order, each file once.
//! Never: an opinion about what the bytes mean.

use std::collections::HashSet;
use std::fs::{DirEntry, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Largest file that is read, in bytes. `kubectl get pods -A -o json` writes
/// about 15 KB a pod, with managedFields.
const SIZE_MAX: u64 = 256 << 20;
/// Deepest folder in folder.
const FOLDERS_MAX: usize = 32;
/// Files that a folder is read for; the same as kubectl.
const EXTENSIONS: [&str; 3] = ["yaml", "yml", "json"];

/// Where manifests are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A file, or a folder: every `*.yaml`, `*.yml` and `*.json` in it and in
    /// its folders, sorted by path. Hidden entries (`.git`, `..data` of a
    /// mounted ConfigMap) are passed over; a symbolic link counts as what it
    /// leads to.
    Path(PathBuf),
    /// Standard input.
    Stdin,
}

/// Why sources could not be read. What they hold is then unknown, and nothing
/// should be done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// A file or folder that cannot be opened or read.
    #[error("cannot read {path}")]
    Io {
        /// The file or folder, or `stdin`.
        path: String,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// A folder without a manifest in it.
    #[error("no *.yaml, *.yml or *.json in folder {path}")]
    NoManifests {
        /// The folder.
        path: String,
    },
    /// Files without a single document, such as one that is just being
    /// written. Taken at its word it would mean to delete everything.
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
    /// Folders in folders, deeper than any manifests are kept.
    #[error("folders in {path} are nested more than {limit} deep", limit = FOLDERS_MAX)]
    TooDeep {
        /// The innermost folder.
        path: String,
    },
}

/// A name and what stands there.
pub(super) struct Text {
    pub name: String,
    pub bytes: Vec<u8>,
}

/// Reads all sources, in the order given; a file that is named twice is read
/// once.
///
/// # Errors
/// See [`ReadError`]; the first one ends the reading.
pub(super) fn texts(sources: &[Source]) -> Result<Vec<Text>, ReadError> {
    let mut seen = HashSet::new();
    let mut texts = Vec::new();
    for source in sources {
        match source {
            Source::Stdin => texts.push(bounded(io::stdin().lock(), "stdin")?),
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
                        texts.push(open(&file)?);
                    }
                }
            }
        }
    }
    Ok(texts)
}

/// Adds the manifests of a folder, sorted. `visited` holds the folders that
/// were read: links between folders end, and each is read once.
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
            // Sockets, devices, and links to nowhere that name no manifest.
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

/// A path by which a file is known twice; a pipe (`/dev/fd/63`) has none.
fn canonical(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

fn io_error(path: &Path, source: io::Error) -> ReadError {
    ReadError::Io { path: show(path), source }
}

fn show(path: &Path) -> String {
    path.display().to_string()
}
