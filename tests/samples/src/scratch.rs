//! An empty folder for one test. Dropping its value deletes it. Two processes never
//! share one.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result};

static COUNTER: AtomicU32 = AtomicU32::new(0);

/// An empty folder below the system's temporary folder.
#[derive(Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// Creates it.
    ///
    /// # Errors
    /// When it cannot be created.
    pub fn new(prefix: &str) -> Result<Self> {
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let name = format!("nftpol-{prefix}-{}-{number}", std::process::id());
        Self::at(std::env::temp_dir().join(name))
    }

    /// Creates a folder with this name inside this one.
    ///
    /// # Errors
    /// When the name is taken or the folder cannot be created.
    pub fn inner(&self, name: &str) -> Result<Self> {
        Self::at(self.0.join(name))
    }

    /// Creates exactly this folder.
    ///
    /// # Errors
    /// When it already exists or cannot be created.
    pub fn at(path: PathBuf) -> Result<Self> {
        fs::create_dir(&path).with_context(|| format!("make {}", path.display()))?;
        Ok(Self(path))
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // If deletion fails, a few temporary files stay behind.
        let _ = fs::remove_dir_all(&self.0);
    }
}
