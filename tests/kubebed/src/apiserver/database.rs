//! The database behind the API server: saved, restored, wiped.
//!
//! Never: a change while one of the programs runs.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::{ApiServer, start_etcd};

impl ApiServer {
    /// Takes a snapshot of the database, as of a time when nobody writes: both programs
    /// stop, and start again.
    ///
    /// # Errors
    /// As [`ApiServer::start`], and when the files cannot be copied.
    pub fn save(&mut self) -> Result<()> {
        self.with_database(copy)
    }

    /// Puts the last snapshot in place of the database, as an operator does after a
    /// loss of data.
    ///
    /// # Errors
    /// As [`ApiServer::save`].
    pub fn restore(&mut self) -> Result<()> {
        self.with_database(|etcd, saved| {
            fs::remove_dir_all(etcd).context("remove the database")?;
            copy(saved, etcd)
        })
    }

    /// Starts with an empty database at the same address, with the same certificates.
    ///
    /// # Errors
    /// As [`ApiServer::save`].
    pub fn wipe(&mut self) -> Result<()> {
        self.with_database(|etcd, _| fs::remove_dir_all(etcd).context("remove the database"))
    }

    /// Does something with the folders of the database and of its snapshot while
    /// neither program runs.
    fn with_database(&mut self, change: impl FnOnce(&Path, &Path) -> Result<()>) -> Result<()> {
        self.stop();
        self.etcd = None;
        change(&self.folder.path().join("etcd"), &self.folder.path().join("saved"))?;
        self.etcd = Some(start_etcd(&self.inside, self.folder.path())?);
        self.restart()
    }
}

/// Copies a folder with everything in it.
fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).with_context(|| format!("make {}", to.display()))?;
    for entry in fs::read_dir(from).with_context(|| format!("read {}", from.display()))? {
        let (entry, to) = (entry?.path(), to);
        let Some(name) = entry.file_name() else { continue };
        match entry.is_dir() {
            true => copy(&entry, &to.join(name))?,
            false => fs::copy(&entry, to.join(name)).map(drop).context("copy a file")?,
        }
    }
    Ok(())
}
