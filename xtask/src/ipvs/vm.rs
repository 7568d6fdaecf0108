//! The virtual machine: Debian's kernel under qemu, which sees this machine's files.
//!
//! In: the package of a kernel, the file `command`, which it runs. Out: what it prints.
//! Never: a change to this machine's files.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

/// The kernel: Debian's newest for this release.
const META_PACKAGE: &str = "linux-image-amd64";
/// Where `busybox-static` has its program.
const BUSYBOX: &str = "/bin/busybox";
/// What the root of the machine is mounted with, in an order in which each finds what it
/// needs.
const OF_ROOT: [&str; 4] = ["virtio_pci", "9pnet_virtio", "9p", "overlay"];
/// The virtual machine prints it last, before the exit code.
pub const LAST_WORD: &str = "trial ended with";
/// qemu's memory (MiB), and how long all may take (seconds).
const MEMORY: &str = "1500";
const TIMEOUT: &str = "1800";

/// The first program of the virtual machine: mounts this machine's root, writable in memory.
const INIT: &str = include_str!("init.sh");
/// The kernel calls it to load a module, outside of that root.
const MODPROBE: &str = "#!/bin/busybox sh\nexec /bin/busybox chroot /new /run/vm/modprobe \"$@\"\n";

/// The virtual machine's files.
pub struct Vm {
    /// Where they are.
    pub folder: PathBuf,
    /// Words before qemu's command.
    pub before: Vec<String>,
    /// Whether it has a network that leads to this machine's: its `eth0`.
    pub is_connected: bool,
}

impl Vm {
    /// Downloads and unpacks the kernel, unless it is there. Its release.
    pub fn kernel(&self) -> Result<String> {
        let modules = self.folder.join("kernel/lib/modules");
        if !modules.exists() {
            let depends = output(Command::new("apt-cache").args(["depends", META_PACKAGE]))?;
            let package = depends.lines().find_map(|line| line.trim().strip_prefix("Depends: "));
            let package = package.with_context(|| format!("{META_PACKAGE} names no kernel"))?;
            let mut download = Command::new("apt-get");
            finish_in(
                &self.folder,
                download.args(["--quiet", "-o", "APT::Sandbox::User=root", "download", package]),
            )?;
            let file = self.file(|name| name.starts_with(package) && name.ends_with(".deb"))?;
            let mut unpack = Command::new("dpkg-deb");
            finish_in(&self.folder, unpack.arg("--extract").arg(file).arg("kernel"))?;
        }
        let release = names(&modules)?.pop().context("the package has no modules")?;
        let mut index = Command::new(BUSYBOX);
        finish_in(&self.folder, index.args(["depmod", "-b", "kernel", &release]))?;
        Ok(release)
    }

    /// The file system in which the kernel starts.
    pub fn initrd(&self, release: &str) -> Result<()> {
        let root = self.folder.join("initrd.d");
        if root.exists() {
            fs::remove_dir_all(&root).context("remove the old start files")?;
        }
        for folder in ["bin", "sbin", "modules", "dev", "proc", "sys", "host", "rw", "new"] {
            fs::create_dir_all(root.join(folder))?;
        }
        fs::copy(BUSYBOX, root.join("bin/busybox")).context("copy busybox")?;
        for (name, content) in [("init", INIT), ("sbin/modprobe", MODPROBE)] {
            fs::write(root.join(name), content)?;
            fs::set_permissions(root.join(name), fs::Permissions::from_mode(0o755))?;
        }
        let modules = self.folder.join("kernel/lib/modules").join(release);
        for (number, module) in with_needs(&modules)?.iter().enumerate() {
            let name = Path::new(module).file_name().context("a module without a name")?;
            let to = format!("modules/{number:02}-{}", name.to_string_lossy());
            fs::copy(modules.join(module), root.join(to))
                .with_context(|| format!("copy {module}"))?;
        }
        let pack = "find . | /bin/busybox cpio -o -H newc 2>/dev/null | gzip -1 >../initrd";
        finish_in(&root, Command::new("sh").args(["-c", pack]))
    }

    pub fn boot(&self, release: &str) -> Result<()> {
        let append = format!(
            "console=ttyS0 quiet loglevel=3 no_timer_check panic=-1 command={}",
            self.folder.join("command").display()
        );
        let mut words = self.before.iter().map(String::as_str).chain(["timeout", TIMEOUT]);
        let mut qemu = Command::new(words.next().unwrap_or_default());
        qemu.args(words).args(["qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", "max"]);
        qemu.args(["-m", MEMORY, "-smp", "2", "-nographic", "-no-reboot"]);
        qemu.args(["-nic", if self.is_connected { "user,model=virtio-net-pci" } else { "none" }]);
        qemu.arg("-kernel").arg(format!("kernel/boot/vmlinuz-{release}"));
        qemu.args(["-initrd", "initrd", "-append", &append, "-virtfs"]);
        qemu.arg("local,path=/,mount_tag=host,security_model=none,readonly=on,multidevs=remap");
        let log = self.folder.join("log");
        qemu.current_dir(&self.folder).stdin(Stdio::null());
        qemu.stdout(fs::File::create(&log).context("make a log")?);
        eprintln!(
            "ipvs: kernel {release} under qemu, some minutes; it prints to {}",
            log.display()
        );
        let ended = qemu.status().context("run qemu (Debian package qemu-system-x86)")?;
        let log = String::from_utf8_lossy(&fs::read(&log)?).into_owned();
        let of_trial = log.lines().skip_while(|line| !line.starts_with("trial:"));
        of_trial.for_each(|line| println!("{}", line.trim_end()));
        ensure!(ended.success(), "qemu: {ended}");
        match log.contains(&format!("{LAST_WORD} 0")) {
            true => Ok(()),
            false => bail!("the trial failed; all that the virtual machine printed is in the log"),
        }
    }

    pub fn write(&self, name: &str, content: &str) -> Result<()> {
        fs::write(self.folder.join(name), content).with_context(|| format!("write {name}"))
    }

    fn file(&self, is_wanted: impl Fn(&str) -> bool) -> Result<String> {
        let mut names = names(&self.folder)?.into_iter();
        names.find(|name| is_wanted(name)).context("apt-get downloaded no package")
    }
}

/// The modules of [`OF_ROOT`], each behind what it needs (modules.dep(5)).
fn with_needs(modules: &Path) -> Result<Vec<String>> {
    let index = fs::read_to_string(modules.join("modules.dep")).context("read modules.dep")?;
    let mut found: Vec<String> = Vec::new();
    for name in OF_ROOT {
        let line = index.lines().find_map(|line| {
            let (module, needs) = line.split_once(':')?;
            module.ends_with(&format!("/{name}.ko")).then_some((module, needs))
        });
        let (module, needs) = line.with_context(|| format!("the kernel has no module {name}"))?;
        // What is needed most stands last.
        for one in needs.split_whitespace().rev().chain([module]) {
            if !found.iter().any(|known| known == one) {
                found.push(one.to_owned());
            }
        }
    }
    Ok(found)
}

fn names(folder: &Path) -> Result<Vec<String>> {
    let read = fs::read_dir(folder).with_context(|| format!("read {}", folder.display()))?;
    let names = read.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
    names.collect()
}

fn output(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("run {command:?}"))?;
    ensure!(output.status.success(), "{command:?}: {}", output.status);
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn finish_in(folder: &Path, command: &mut Command) -> Result<()> {
    let status =
        command.current_dir(folder).status().with_context(|| format!("run {command:?}"))?;
    ensure!(status.success(), "{command:?}: {status}");
    Ok(())
}
