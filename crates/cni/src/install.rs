//! Puts the plugin behind the one whose network the runtime takes, and keeps it there.
//!
//! In: the runtime's folders of programs and of configurations. Out: the program, and the
//! first configuration with the plugin at its end. Never: a file that is half written; a
//! copy of another plugin's configuration that outlives it; a configuration that names a
//! program which is not there.
//!
//! Another plugin may write its configuration again at any time, and ours is gone from it.
//! So the folder is looked at [`LOOK_EVERY`]; two calls of stat(2) tell whether anything
//! changed.

mod conflist;

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use conflist::{Change, NAME};

/// How often the folder is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// After this many looks the files are read in any case: a clock that was set can hide a
/// change.
const READ_EVERY: u32 = 100;
/// The name of a configuration that a list of ours took the place of.
const REPLACED: &str = ".before-nftpol";

/// `nftpol-cni install|remove --conf-dir DIR --bin-dir DIR [--watch] [--without-agent X]`.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Arguments {
    remove: bool,
    watch: bool,
    conf: PathBuf,
    bin: PathBuf,
    without_agent: Option<String>,
}

impl Arguments {
    /// Reads them.
    ///
    /// # Errors
    /// One is not known, or lacks its value.
    pub fn parse(words: &[String]) -> Result<Self, String> {
        let mut words = words.iter();
        let remove = match words.next().map(String::as_str) {
            Some("install") => false,
            Some("remove") => true,
            Some(other) => return Err(format!("{other:?} is no command: install or remove")),
            None => return Err("give install or remove".to_owned()),
        };
        let mut arguments = Self {
            remove,
            conf: "/host/etc/cni/net.d".into(),
            bin: "/host/opt/cni/bin".into(),
            ..Self::default()
        };
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or_else(|| format!("{word} needs a value"));
            match word.as_str() {
                "--watch" => arguments.watch = true,
                "--conf-dir" => arguments.conf = value()?.into(),
                "--bin-dir" => arguments.bin = value()?.into(),
                "--without-agent" => match value()?.as_str() {
                    choice @ ("fail" | "continue") => {
                        arguments.without_agent = Some(choice.to_owned());
                    }
                    other => return Err(format!("--without-agent {other}: fail or continue")),
                },
                other => return Err(format!("{other:?} is no option")),
            }
        }
        Ok(arguments)
    }

    /// Does it. With `--watch` it does not return.
    ///
    /// # Errors
    /// A folder cannot be read or written.
    pub fn run(&self) -> io::Result<()> {
        if self.remove {
            // The configuration first: a runtime must never find a name without a program.
            for line in unchain(&self.conf)? {
                eprintln!("nftpol-cni: {line}");
            }
            match fs::remove_file(self.bin.join(NAME)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => eprintln!("nftpol-cni: the program is removed"),
            }
            return if self.watch { wait() } else { Ok(()) };
        }
        let program = fs::read(std::env::current_exe()?)?;
        put_program(&self.bin, &program)?;
        let mut seen = Seen::default();
        loop {
            match self.look(&mut seen, &program) {
                Err(error) if self.watch => {
                    seen.complain(&format!("{}: {error}", self.conf.display()));
                }
                result => result?,
            }
            if !self.watch {
                return Ok(());
            }
            sleep(LOOK_EVERY);
        }
    }

    fn look(&self, seen: &mut Seen, program: &[u8]) -> io::Result<()> {
        if !seen.is_news(&self.conf) {
            return Ok(());
        }
        put_program(&self.bin, program)?;
        match chain(&self.conf, self.without_agent.as_deref())? {
            Some(line) => eprintln!("nftpol-cni: {line}"),
            None if first(&self.conf)?.is_none() => {
                seen.complain("no network configuration is here yet; waiting for one");
            }
            None => {}
        }
        seen.remember(&self.conf);
        Ok(())
    }
}

fn wait() -> ! {
    eprintln!("nftpol-cni: waiting to be ended");
    loop {
        std::thread::park();
    }
}

/// What a folder looked like.
#[derive(Debug, Default)]
struct Seen {
    marks: Option<Vec<(u64, i64, i64, u64)>>,
    looks: u32,
    complaint: String,
}

impl Seen {
    fn is_news(&mut self, folder: &Path) -> bool {
        self.looks = (self.looks + 1) % READ_EVERY;
        self.looks == 0 || self.marks.is_none() || self.marks != marks(folder)
    }

    fn remember(&mut self, folder: &Path) {
        self.marks = marks(folder);
    }

    /// Says something once.
    fn complain(&mut self, text: &str) {
        if self.complaint != text {
            eprintln!("nftpol-cni: {text}");
            text.clone_into(&mut self.complaint);
        }
    }
}

/// What changes when the folder or the first configuration does.
fn marks(folder: &Path) -> Option<Vec<(u64, i64, i64, u64)>> {
    let mark = |path: &Path| {
        let found = fs::metadata(path).ok()?;
        Some((found.ino(), found.mtime(), found.mtime_nsec(), found.size()))
    };
    let chosen = names(folder).ok()?.into_iter().next();
    let chosen = chosen.and_then(|name| mark(&folder.join(name)));
    Some([mark(folder)?].into_iter().chain(chosen).collect())
}

/// The configurations in the order in which runtimes take them: by name (`ConfFiles`,
/// libcni/conf.go, CNI 1.1, with go-cni's extensions .conf, .conflist and .json).
fn names(folder: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        let Ok(name) = entry?.file_name().into_string() else { continue };
        let ending = Path::new(&name).extension().and_then(|ending| ending.to_str());
        if matches!(ending, Some("conf" | "conflist" | "json")) {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// The configuration that a runtime takes: the first that it can read.
fn first(folder: &Path) -> io::Result<Option<(String, Vec<u8>)>> {
    for name in names(folder)? {
        let text = fs::read(folder.join(&name))?;
        if conflist::is_one(&name, &text) {
            return Ok(Some((name, text)));
        }
    }
    Ok(None)
}

/// Puts the plugin at the end of the first configuration. What was done, if anything.
fn chain(folder: &Path, without_agent: Option<&str>) -> io::Result<Option<String>> {
    let Some((name, text)) = first(folder)? else { return Ok(None) };
    match conflist::chained(&name, &text, without_agent) {
        Change::None => Ok(None),
        Change::Text(text) => {
            write_whole(&folder.join(&name), &text, 0o600)?;
            Ok(Some(format!("the plugin is in {name}")))
        }
        Change::List(list, text) => {
            // `x.conf` comes before `x.conflist`. The list is there first, so a runtime
            // always finds a network.
            write_whole(&folder.join(&list), &text, 0o600)?;
            fs::rename(folder.join(&name), folder.join(format!("{name}{REPLACED}")))?;
            Ok(Some(format!("{list} takes the place of {name}, with the plugin")))
        }
    }
}

/// Takes the plugin out of all configurations. What was done.
fn unchain(folder: &Path) -> io::Result<Vec<String>> {
    let mut done = Vec::new();
    for name in names(folder)? {
        let path = folder.join(&name);
        let stem = name.strip_suffix(".conflist").unwrap_or(&name);
        let replaced = ["conf", "json"].map(|ending| format!("{stem}.{ending}"));
        let replaced =
            replaced.into_iter().find(|one| folder.join(format!("{one}{REPLACED}")).exists());
        if let Some(one) = replaced {
            fs::rename(folder.join(format!("{one}{REPLACED}")), folder.join(&one))?;
            fs::remove_file(&path)?;
            done.push(format!("{one} is back in place of {name}"));
        } else if let Some(text) = conflist::unchained(&fs::read(&path)?) {
            write_whole(&path, &text, 0o600)?;
            done.push(format!("the plugin is out of {name}"));
        }
    }
    Ok(done)
}

/// A program that runs cannot be written ("Text file busy"): another file takes its name.
fn put_program(folder: &Path, program: &[u8]) -> io::Result<()> {
    let path = folder.join(NAME);
    match fs::metadata(&path) {
        Ok(there) if there.len() == program.len() as u64 && fs::read(&path)? == program => Ok(()),
        Ok(_) | Err(_) => write_whole(&path, program, 0o755),
    }
}

/// Writes a file under a name that no runtime reads, then gives it its own.
fn write_whole(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".nftpol-new");
    let other = path.with_file_name(name);
    match fs::remove_file(&other) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&other)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    written.and_then(|()| fs::rename(&other, path)).inspect_err(|_| drop(fs::remove_file(&other)))
}

#[cfg(test)]
mod tests;
