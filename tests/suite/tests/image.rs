//! The image of `nftpol` contains what it needs and nothing else. Every build gives
//! the same image.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::SystemTime;

use anyhow::{Context, Result, ensure};
use kubebed::image::Image;
use kubebed::world::manifests;
use netbed::net::require_root;
use netbed::program;
use samples::scratch::Folder;
use serde_json::Value;

fn run(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("start {command:?}"))?;
    let wrong = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?}: {}: {wrong}", output.status);
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn unpack(archive: &Path, to: &Path) -> Result<()> {
    fs::create_dir(to)?;
    run(Command::new("tar").arg("-xf").arg(archive).arg("-C").arg(to)).map(drop)
}

fn json(path: &Path) -> Result<Value> {
    Ok(serde_json::from_str(&fs::read_to_string(path)?)?)
}

/// The blob of a descriptor. Its digest and size must be as the descriptor states.
fn blob(layout: &Path, descriptor: &Value) -> Result<std::path::PathBuf> {
    let digest = descriptor["digest"].as_str().context("no digest")?;
    let (algorithm, sum) = digest.split_once(':').context("no algorithm")?;
    let path = layout.join("blobs").join(algorithm).join(sum);
    let said = run(Command::new("sha256sum").arg(&path))?;
    ensure!(said.starts_with(sum), "{digest}: {said}");
    assert_eq!(Some(fs::metadata(&path)?.len()), descriptor["size"].as_u64());
    Ok(path)
}

#[test]
fn equal_programs_make_equal_images() -> Result<()> {
    let folder = Folder::new("image")?;
    let [one, other, copy] =
        ["one.tar", "other.tar", "nftpol"].map(|name| folder.path().join(name));
    let first = Image::nftpol(&program::path()?)?.write(&one)?;
    fs::copy(program::path()?, &copy)?;
    fs::File::open(&copy)?.set_modified(SystemTime::UNIX_EPOCH)?;
    let second = Image::nftpol(&copy)?.write(&other)?;
    assert_eq!(first, second);
    run(Command::new("cmp").arg(&one).arg(&other))?;
    // Another program gives another image.
    let sleep = Image::of("nftpol:0.1.0", Path::new("/bin/sleep"), "/usr/local/bin/nftpol")?;
    assert_ne!(sleep.write(&other)?.digest, first.digest);
    Ok(())
}

#[test]
fn the_image_runs_and_has_nothing_else() -> Result<()> {
    require_root()?;
    let folder = Folder::new("image")?;
    let [archive, layout, root] = ["a.tar", "layout", "root"].map(|name| folder.path().join(name));
    let written = Image::nftpol(&program::path()?)?.write(&archive)?;
    unpack(&archive, &layout)?;
    let index = json(&layout.join("index.json"))?;
    let entry = &index["manifests"][0];
    assert_eq!(entry["digest"], written.digest.as_str());
    let manifest = json(&blob(&layout, entry)?)?;
    let config = json(&blob(&layout, &manifest["config"])?)?;
    assert_eq!(config["rootfs"]["diff_ids"][0], manifest["layers"][0]["digest"]);
    unpack(&blob(&layout, &manifest["layers"][0])?, &root)?;

    let entrypoint = config["config"]["Entrypoint"][0].as_str().context("no entrypoint")?;
    let version = run(Command::new("chroot").arg(&root).args([entrypoint, "--version"]))?;
    assert_eq!(version.trim(), concat!("nftpol ", env!("CARGO_PKG_VERSION")));
    // The image's own loader lists what it loads.
    let loader = written.files.iter().find(|(path, _)| path.contains("/ld-linux"));
    let loader = &loader.context("no loader")?.0;
    let loaded = run(Command::new("chroot").arg(&root).args([loader, "--list", entrypoint]))?;
    for (path, _) in &written.files {
        assert!(path == entrypoint || loaded.contains(path.as_str()), "{path} is not needed");
    }
    let files = run(Command::new("find").arg(&root).args(["-not", "-type", "d"]))?;
    assert_eq!(files.lines().count(), written.files.len(), "{files}");
    Ok(())
}

#[test]
fn the_licences_are_in_the_image() -> Result<()> {
    let folder = Folder::new("image")?;
    let [archive, text] = ["a.tar", "licences.txt"].map(|name| folder.path().join(name));
    fs::write(&text, "free")?;
    let written = Image::nftpol(&program::path()?)?.licences(&text).write(&archive)?;
    let there = written.files.iter().find(|(path, _)| path == kubebed::image::LICENCES);
    assert_eq!(there.context("no licences")?.1, 4);
    Ok(())
}

#[test]
fn the_daemonset_names_the_image() -> Result<()> {
    let kustomization = fs::read_to_string(manifests().join("base/kustomization.yaml"))?;
    let tag = kustomization.lines().find_map(|line| line.trim().strip_prefix("newTag: "));
    let image = Image::nftpol(&program::path()?)?;
    assert_eq!(image.full_name(), format!("docker.io/library/nftpol:{}", tag.unwrap_or_default()));
    let other = Image::of("registry.example:5000/nftpol:1", Path::new("/bin/sleep"), "/sleep")?;
    assert_eq!(other.full_name(), "registry.example:5000/nftpol:1");
    Ok(())
}
