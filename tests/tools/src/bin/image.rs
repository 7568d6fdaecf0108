//! Writes the image of `nftpol` to a file, without a container engine.
//!
//! Takes the path of the file, and that of the licences' text. Prints the image's content, size and digest on stdout.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Result, bail};
use kubebed::image::Image;
use kubebed::rootfs;
use netbed::program;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Result<()> {
    let [to, licences] = arguments else { bail!("usage: image FILE LICENCES") };
    let to = PathBuf::from(to);
    let image = Image::nftpol(&program::path()?)?.licences(Path::new(licences));
    let plugin = program::beside("nftpol-cni")?;
    // The image has no loader for it, nor may a node have the right one.
    if let Some(loader) = rootfs::loader(&plugin)? {
        bail!("{} needs {loader}; `cargo xtask image` builds it static", plugin.display());
    }
    let image = image.plugin(&plugin);
    let written = image.write(&to)?;
    for (path, size) in &written.files {
        println!("{size:>10}  {path}");
    }
    println!("{:>10}  {}", written.layer, image.full_name());
    println!("{}", written.digest);
    eprintln!(
        "image: {} written; on a node: ctr --namespace k8s.io images import {0}",
        to.display()
    );
    Ok(())
}
