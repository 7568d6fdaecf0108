//! An empty folder for one test. It is deleted when its value is dropped. Two
//! processes never share one.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result};

static COUNTER: AtomicU32 = AtomicU32::new(0);

/// An empty folder below the system's folder for temporary files.
#[derive(Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// Makes it.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn new(prefix: &str) -> Result<Self> {
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let name = format!("nftpol-{prefix}-{}-{number}", std::process::id());
        Self::at(std::env::temp_dir().join(name))
    }

    /// Makes one inside this one.
    ///
    /// # Errors
    /// When the name is taken or it cannot be made.
    pub fn inner(&self, name: &str) -> Result<Self> {
        Self::at(self.0.join(name))
    }

    /// Makes exactly this one.
    ///
    /// # Errors
    /// When it is there or cannot be made.
    pub fn at(path: PathBuf) -> Result<Self> {
        fs::create_dir(&path).with_context(|| format!("make {}", path.display()))?;
        Ok(Self(path))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What stays behind is a few files among other temporary ones.
        let _ = fs::remove_dir_all(&self.0);
    }
}
