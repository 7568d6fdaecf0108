//! Puts the plugin behind the one whose network the runtime takes, and keeps it there.
//!
//! In: the runtime's folders of programs and of configurations. Out: the program, and the
//! first configuration with the plugin at its end. Never: a file that is half written; a
//! copy of another plugin's configuration that outlives it; a configuration that names a
//! program which is not there.
//!
//! Another plugin may write its configuration again at any time, and ours is gone from it.
//! So [`changes`] wakes the installer at each change of the folders.
//!
//! | to be removed | why in this order |
//! |---|---|
//! | the plugin in the configurations | a runtime must never find a name without a program |
//! | the program, [`IN_FLIGHT`] later, once no pod's cached configuration names it | a pod that is starting was given the former configuration. CRI-O ends a pod by the configuration that it was started with: see [`references`] |

mod changes;
mod conflist;
mod references;

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use changes::{Changes, Moved};
use conflist::{Change, NAME};

/// How long the program stays at least after the configurations no longer name it. A kubelet
/// gives a sandbox two minutes.
const IN_FLIGHT: Duration = Duration::from_secs(130);
/// Where runtimes keep the configuration of each pod that they started (`CacheDir`,
/// libcni/api.go, CNI 1.1).
const CACHE: &str = "/host/var/lib/cni";
/// The name of a configuration that a list of ours took the place of.
const REPLACED: &str = ".before-nftpol";

/// `nftpol-cni install|remove --conf-dir DIR --bin-dir DIR [--cache-dir DIR] [--watch]
/// [--without-agent X] [--keep-program]`.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Arguments {
    remove: bool,
    watch: bool,
    conf: PathBuf,
    bin: PathBuf,
    cache: PathBuf,
    without_agent: Option<String>,
    keep_program: bool,
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
            cache: CACHE.into(),
            ..Self::default()
        };
        while let Some(word) = words.next() {
            // As manifests write it, and as people do.
            let (word, given) = match word.split_once('=') {
                Some((word, given)) => (word, Some(given.to_owned())),
                None => (word.as_str(), None),
            };
            if let (Some(given), "--watch" | "--keep-program") = (&given, word) {
                return Err(format!("{word} takes no value, not {given:?}"));
            }
            let mut value = || {
                let value = given.clone().or_else(|| words.next().cloned());
                value.ok_or_else(|| format!("{word} needs a value"))
            };
            match word {
                "--watch" => arguments.watch = true,
                "--conf-dir" => arguments.conf = value()?.into(),
                "--bin-dir" => arguments.bin = value()?.into(),
                "--cache-dir" => arguments.cache = value()?.into(),
                "--keep-program" => arguments.keep_program = true,
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

    /// Does it. With `--watch` it returns only if it cannot go on.
    ///
    /// # Errors
    /// A folder cannot be read or written, or was moved away.
    pub fn run(&self) -> io::Result<()> {
        match (self.remove, self.watch) {
            (false, _) => self.install(),
            (true, false) => self.unchain().and_then(|()| self.remove_program()).map(drop),
            (true, true) => self.remove_in_time(),
        }
    }

    fn install(&self) -> io::Result<()> {
        let program = fs::read(std::env::current_exe()?)?;
        put_program(&self.bin, &program)?;
        let mut said = Said::default();
        if !self.watch {
            return self.look(&mut said, &program);
        }
        // Before the first look, so that no change is missed.
        let mut changes = Changes::of(&[&self.conf, &self.bin]);
        loop {
            if let Err(error) = self.look(&mut said, &program) {
                said.once(&format!("{}: {error}", self.conf.display()));
            }
            changes.wait().map_err(Moved::into_error)?;
        }
    }

    fn look(&self, said: &mut Said, program: &[u8]) -> io::Result<()> {
        if put_program(&self.bin, program)? {
            eprintln!("nftpol-cni: the program is in {}", self.bin.display());
        }
        match chain(&self.conf, self.without_agent.as_deref())? {
            Some(line) => eprintln!("nftpol-cni: {line}"),
            None if first(&self.conf)?.is_none() => {
                said.once("no network configuration is here yet; waiting for one");
            }
            None => {}
        }
        Ok(())
    }

    fn unchain(&self) -> io::Result<()> {
        for line in unchain(&self.conf)? {
            eprintln!("nftpol-cni: {line}");
        }
        Ok(())
    }

    /// Removes the program, if no pod needs it to end. Whether it is gone.
    fn remove_program(&self) -> io::Result<bool> {
        let path = self.bin.join(NAME);
        if self.keep_program {
            return Ok(false);
        }
        let pods = references::count(&self.cache, NAME)?;
        if pods > 0 {
            eprintln!(
                "nftpol-cni: the program {} stays: {pods} pods were started with it, and the \
                 runtime may need it to end them; no new pod uses it",
                path.display()
            );
            return Ok(false);
        }
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => eprintln!("nftpol-cni: the program is removed"),
        }
        Ok(true)
    }

    /// Takes the plugin out of each configuration that comes, and removes the program once
    /// nobody can need it. Then it waits to be ended.
    fn remove_in_time(&self) -> io::Result<()> {
        let mut changes = Changes::of(&[&self.conf, &self.cache]);
        let (start, mut last, mut is_gone) = (Instant::now(), None, self.keep_program);
        loop {
            self.unchain()?;
            if !is_gone && start.elapsed() >= IN_FLIGHT {
                let pods = references::count(&self.cache, NAME)?;
                if last.is_none() || pods == 0 {
                    is_gone = self.remove_program()?;
                }
                last = Some(pods);
            }
            changes.wait().map_err(Moved::into_error)?;
        }
    }
}

/// Complaints, each said once until there is another one.
#[derive(Debug, Default)]
struct Said(String);

impl Said {
    fn once(&mut self, text: &str) {
        if self.0 != text {
            eprintln!("nftpol-cni: {text}");
            text.clone_into(&mut self.0);
        }
    }
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
/// Whether it was another one.
fn put_program(folder: &Path, program: &[u8]) -> io::Result<bool> {
    let path = folder.join(NAME);
    let is_there = fs::metadata(&path).is_ok_and(|there| {
        there.is_file()
            && there.len() == program.len() as u64
            && there.permissions().mode() & 0o777 == 0o755
    });
    if is_there && fs::read(&path)? == program {
        return Ok(false);
    }
    write_whole(&path, program, 0o755).map(|()| true)
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
    // A program that is open for writing cannot be run (ETXTBSY, execve(2)).
    drop(file);
    written.and_then(|()| fs::rename(&other, path)).inspect_err(|_| drop(fs::remove_file(&other)))
}

#[cfg(test)]
mod tests;
