//! What a release consists of, in one folder.
//!
//! | file | content |
//! |---|---|
//! | `nftpol-VERSION-linux-ARCH.tar.gz` | the program with its loader and libraries beside it, licences |
//! | `kubectl-nftpol-VERSION-linux-ARCH.tar.gz` | the authors' commands; needs the machine's glibc |
//! | `nftpol-VERSION-image-linux-ARCH.tar` | the image |
//! | `nftpol-VERSION-manifests.tar.gz`, `nftpol-VERSION.tgz` | manifests, and the Helm chart |
//! | `*.cdx.json` | the components of both programs |
//! | `SHA256SUMS` | of all of them |
//!
//! Archives have no times and owners, so equal content gives equal sums.
//! Never: a file that is published from here. The workflow does that.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::cargo::{Cargo, finish};
use crate::{image, licences, sbom, setup};

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Starts the program with the loader and the libraries beside it, whatever the machine has.
const START: &str = "#!/bin/sh
# nftpol with its own loader and libraries.
here=$(dirname \"$(readlink -f \"$0\")\")
exec \"$here/lib/LOADER\" --library-path \"$here/lib\" \"$here/lib/nftpol\" \"$@\"
";

const READ_ME: &str =
    "nftpol for Linux. `./nftpol --help` says what it does; docs/ in the repository has more.

The program is dynamic: it is linked with glibc, libmnl and libnftnl. They are in lib/, and
the script `nftpol` starts it with these, so it runs on distributions of any age. Keep the
folder together; a link to the script may be anywhere. LICENCES.txt has the licences of all
that is in here.
";

/// Makes the folder.
pub fn run(args: &[String]) -> Result<()> {
    let cargo = Cargo::locked();
    let folder = match args {
        [] => cargo.target_folder()?.join(format!("release-{VERSION}")),
        [folder] => folder.into(),
        _ => bail!("`release` takes a folder or nothing"),
    };
    setup::packages()?;
    let root = cargo.workspace_folder()?;
    if folder.exists() {
        fs::remove_dir_all(&folder).with_context(|| format!("remove {}", folder.display()))?;
    }
    fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
    let arch = architecture()?;
    let name = |rest: &str| folder.join(format!("nftpol-{VERSION}-{rest}"));
    image(&[name(&format!("image-linux-{arch}.tar")).display().to_string()])?;
    cargo.run(["build", "--release", "--package", "author", "--bin", "kubectl-nftpol"])?;

    let target = cargo.target_folder()?;
    let scratch = target.join("release-scratch");
    let place = fresh(&scratch, "nftpol")?;
    program(&target.join("release/nftpol"), &place)?;
    fs::write(place.join("LICENCES.txt"), licences::text(&cargo, "agent", true)?)?;
    archive(&scratch, "nftpol", &name(&format!("linux-{arch}.tar.gz")))?;
    author(
        &cargo,
        &scratch,
        &folder.join(format!("kubectl-nftpol-{VERSION}-linux-{arch}.tar.gz")),
    )?;
    archive(&root, "manifests", &name("manifests.tar.gz"))?;
    archive(&root.join("charts"), "nftpol", &folder.join(format!("nftpol-{VERSION}.tgz")))?;
    sbom::write(&cargo, "agent", Some(arch), &name(&format!("linux-{arch}.cdx.json")))?;
    let list = folder.join(format!("kubectl-nftpol-{VERSION}-linux-{arch}.cdx.json"));
    sbom::write(&cargo, "author", None, &list)?;
    sums(&folder)?;
    let _ = fs::remove_dir_all(&scratch);
    eprintln!("release: {}", folder.display());
    Ok(())
}

/// Puts a built `nftpol` and what it loads into a folder, and tries it there.
fn program(built: &Path, place: &Path) -> Result<()> {
    let lib = place.join("lib");
    fs::create_dir_all(&lib)?;
    let libraries = libraries(built)?;
    let mut loader = None;
    for path in &libraries {
        let name = path.file_name().context("a library without a name")?;
        if name.to_string_lossy().starts_with("ld-linux") {
            loader = Some(name.to_string_lossy().into_owned());
        }
        fs::copy(path, lib.join(name)).with_context(|| format!("copy {}", path.display()))?;
    }
    fs::copy(built, lib.join("nftpol")).context("copy nftpol")?;
    let loader = loader.context("nftpol has no loader")?;
    let start = place.join("nftpol");
    fs::write(&start, START.replace("LOADER", &loader))?;
    fs::set_permissions(&start, fs::Permissions::from_mode(0o755))?;
    fs::write(place.join("README.txt"), READ_ME)?;
    let mut command = Command::new(&start);
    let said = command.arg("--version").output().context("run the packed nftpol")?;
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    ensure!(said.trim() == format!("nftpol {VERSION}"), "the packed nftpol says {said:?}");
    Ok(())
}

fn author(cargo: &Cargo, scratch: &Path, to: &Path) -> Result<()> {
    let place = fresh(scratch, "kubectl-nftpol")?;
    let built = cargo.target_folder()?.join("release/kubectl-nftpol");
    fs::copy(&built, place.join("kubectl-nftpol")).context("copy kubectl-nftpol")?;
    fs::write(place.join("LICENCES.txt"), licences::text(cargo, "author", false)?)?;
    archive(scratch, "kubectl-nftpol", to)
}

fn fresh(scratch: &Path, name: &str) -> Result<PathBuf> {
    let place = scratch.join(name);
    if place.exists() {
        fs::remove_dir_all(&place).with_context(|| format!("remove {}", place.display()))?;
    }
    fs::create_dir_all(&place).with_context(|| format!("make {}", place.display()))?;
    Ok(place)
}

/// The files that the loader loads (ldd(1)): words that are paths.
fn libraries(program: &Path) -> Result<Vec<PathBuf>> {
    let output = Command::new("ldd").arg(program).output().context("run ldd")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(output.status.success() && !text.contains("not found"), "ldd: {text}");
    Ok(text.split_whitespace().filter(|word| word.starts_with('/')).map(PathBuf::from).collect())
}

/// Packs a folder without times, owners and the order of the file system (tar(1), gzip(1)).
fn archive(parent: &Path, name: &str, to: &Path) -> Result<()> {
    let mut command = Command::new("tar");
    command.args(["--sort=name", "--mtime=@0", "--owner=0", "--group=0", "--numeric-owner"]);
    command.args(["--use-compress-program", "gzip -9n", "--create", "--file"]).arg(to);
    command.arg("--directory").arg(parent).arg(name);
    finish(command)
}

fn sums(folder: &Path) -> Result<()> {
    let mut names = Vec::new();
    for file in fs::read_dir(folder)? {
        names.push(file?.file_name());
    }
    names.sort();
    let output = Command::new("sha256sum").current_dir(folder).args(&names).output();
    let output = output.context("run sha256sum")?;
    ensure!(output.status.success(), "sha256sum failed");
    fs::write(folder.join("SHA256SUMS"), output.stdout).context("write SHA256SUMS")
}

/// By Go's name, as images have it.
fn architecture() -> Result<&'static str> {
    match std::env::consts::ARCH {
        "x86_64" => Ok("amd64"),
        "aarch64" => Ok("arm64"),
        other => bail!("no release is made for {other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loader(place: &Path) -> Result<std::ffi::OsString> {
        let mut names = fs::read_dir(place.join("lib"))?.flatten().map(|file| file.file_name());
        names.find(|name| name.to_string_lossy().starts_with("ld-linux")).context("no loader")
    }

    /// `cargo xtask test` builds the program before it runs tests.
    #[test]
    fn the_packed_program_brings_all_that_it_loads() -> Result<()> {
        let here = std::env::current_exe()?;
        let debug = here.ancestors().nth(2).context("no folder of programs")?;
        let place = fresh(&debug.join("release-test"), "nftpol")?;
        program(&debug.join("nftpol"), &place)?;
        let mut list = Command::new(place.join("lib").join(loader(&place)?));
        list.arg("--library-path").arg(place.join("lib")).arg("--list");
        let loaded = list.arg(place.join("lib/nftpol")).output()?;
        let loaded = String::from_utf8_lossy(&loaded.stdout).into_owned();
        let elsewhere = loaded.lines().filter(|line| line.contains("=> /"));
        for line in elsewhere {
            let is_here = line.contains(&place.display().to_string());
            assert!(is_here, "not from the archive: {line}");
        }
        assert!(loaded.contains("libnftnl"), "{loaded}");
        Ok(fs::remove_dir_all(debug.join("release-test"))?)
    }

    #[test]
    fn equal_folders_make_equal_archives() -> Result<()> {
        let folder = std::env::temp_dir().join(format!("nftpol-archives-{}", std::process::id()));
        let mut archives = Vec::new();
        for number in 0..2 {
            let place = fresh(&folder.join(number.to_string()), "one")?;
            fs::write(place.join("file"), "text")?;
            let to = folder.join(format!("{number}.tar.gz"));
            archive(&folder.join(number.to_string()), "one", &to)?;
            archives.push(fs::read(to)?);
        }
        assert_eq!(archives[0], archives[1]);
        Ok(fs::remove_dir_all(folder)?)
    }
}
