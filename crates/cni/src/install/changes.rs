//! Wakes at each change of some folders.
//!
//! In: folders. Out: a wait that ends when one may have changed. Never: a change that is
//! missed for longer than [`SLOW`], or [`FAST`] where the kernel tells of none; a folder
//! that was moved away and is still taken for the one of its name.
//!
//! The kernel tells of changes by inotify(7). It tells of none that another machine made on a
//! file system of the network, and gives no watch where all are taken
//! (`fs.inotify.max_user_instances`): so the folders are looked at from time to time, too.
//!
//! | the folder itself | what follows |
//! |---|---|
//! | was removed, or renamed, and its path leads to another one | that one is watched |
//! | its path still leads to it | the path is a mount of the folder, in a container: the installer ends with [`Moved`], and the kubelet starts it again with the folder that has the name now |

use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor};

/// How often the folders are looked at while the kernel tells of changes.
pub(super) const SLOW: Duration = Duration::from_secs(1);
/// How often they are looked at while it tells of none.
const FAST: Duration = Duration::from_millis(50);

/// The folder at a path is no longer the one that the node has there.
#[derive(Debug, thiserror::Error)]
#[error(
    "{} was moved or removed on the node while it is mounted here; start again to get the one \
     that has its name now", .0.display()
)]
pub(super) struct Moved(PathBuf);

impl Moved {
    pub fn into_error(self) -> io::Error {
        io::Error::other(self)
    }
}

/// Changes of some folders.
#[derive(Debug)]
pub(super) struct Changes {
    inotify: Option<Inotify>,
    folders: Vec<Watched>,
}

#[derive(Debug)]
struct Watched {
    path: PathBuf,
    /// Device and number of the folder that is watched.
    folder: Option<(u64, u64)>,
    watch: Option<WatchDescriptor>,
}

impl Changes {
    /// From now on. A folder that is not there yet is watched once it is.
    pub fn of(paths: &[&Path]) -> Self {
        let folders = paths.iter().map(|path| Watched {
            path: path.to_path_buf(),
            folder: None,
            watch: None,
        });
        let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC);
        let inotify = inotify.inspect_err(|error| {
            eprintln!(
                "nftpol-cni: the kernel tells of no changes of files (inotify: {error}), so they \
                 are looked at {} times a second",
                1000 / FAST.as_millis()
            );
        });
        let mut this = Self { inotify: inotify.ok(), folders: folders.collect() };
        this.watch();
        this
    }

    /// Waits until something may have changed.
    ///
    /// # Errors
    /// A folder was moved away, and its path still leads to it.
    pub fn wait(&mut self) -> Result<(), Moved> {
        let mut folders = self.folders.iter();
        let is_watched = folders.all(|folder| folder.folder.is_none() || folder.watch.is_some());
        let patience = if is_watched { SLOW } else { FAST };
        let Some(inotify) = &self.inotify else {
            std::thread::sleep(FAST);
            return self.check();
        };
        let mut ready = [PollFd::new(inotify.as_fd(), PollFlags::POLLIN)];
        let timeout = PollTimeout::try_from(patience).unwrap_or(PollTimeout::MAX);
        // A signal, or a poll that fails, is a change: the look that follows finds none.
        let _ = poll(&mut ready, timeout);
        let mut moved = Vec::new();
        while let Ok(events) = inotify.read_events() {
            let own = AddWatchFlags::IN_MOVE_SELF | AddWatchFlags::IN_UNMOUNT;
            moved.extend(events.iter().filter(|one| one.mask.intersects(own)).map(|one| one.wd));
        }
        for folder in &mut self.folders {
            if folder.watch.is_some_and(|watch| moved.contains(&watch)) {
                folder.was_moved(inotify)?;
            }
        }
        self.check()
    }

    /// Watches what is at the paths now.
    ///
    /// # Errors
    /// As [`Self::wait`].
    fn check(&mut self) -> Result<(), Moved> {
        for folder in &self.folders {
            // A removed folder that is mounted stays there, without a name.
            if fs::metadata(&folder.path).is_ok_and(|found| found.nlink() == 0) {
                return Err(Moved(folder.path.clone()));
            }
        }
        self.watch();
        Ok(())
    }

    fn watch(&mut self) {
        let Some(inotify) = &self.inotify else { return };
        self.folders.iter_mut().for_each(|folder| folder.watch_now(inotify));
    }
}

impl Watched {
    fn watch_now(&mut self, inotify: &Inotify) {
        let now = identity(&self.path);
        if now == self.folder && (now.is_none() || self.watch.is_some()) {
            return;
        }
        if let Some(old) = self.watch.take() {
            // The kernel has removed it already where the folder is gone.
            let _ = inotify.rm_watch(old);
        }
        let changes = AddWatchFlags::IN_CREATE
            | AddWatchFlags::IN_CLOSE_WRITE
            | AddWatchFlags::IN_MOVE
            | AddWatchFlags::IN_DELETE
            | AddWatchFlags::IN_ATTRIB
            | AddWatchFlags::IN_DELETE_SELF
            | AddWatchFlags::IN_MOVE_SELF
            | AddWatchFlags::IN_ONLYDIR;
        let watch = inotify.add_watch(&self.path, changes);
        if let Err(error) = watch
            && error != Errno::ENOENT
        {
            eprintln!("nftpol-cni: {} cannot be watched: {error}", self.path.display());
        }
        (self.folder, self.watch) = (now, watch.ok());
    }

    fn was_moved(&mut self, inotify: &Inotify) -> Result<(), Moved> {
        if identity(&self.path).is_some_and(|now| Some(now) == self.folder) {
            return Err(Moved(self.path.clone()));
        }
        self.watch_now(inotify);
        Ok(())
    }
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    fs::metadata(path).ok().map(|found| (found.dev(), found.ino()))
}

#[cfg(test)]
mod tests;
