//! The list of components of a release, in CycloneDX's JSON.
//!
//! cargo-cyclonedx lists the crates. What it cannot know is added: the C libraries that are
//! shipped beside the program, as Debian packages (package-url purl-spec, type `deb`).
//! cargo-cyclonedx is installed into `target/tools` when it is missing, which takes minutes,
//! so CI does not make the list.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::cargo::{Cargo, finish};
use crate::licences;

const VERSION: &str = "0.5.9";
/// The name under which cargo-cyclonedx writes a list into the folder of each crate.
const NAME: &str = "components-of-a-release";

/// Writes the list of a crate's program to a file, with the C libraries of this
/// architecture if there are any.
pub fn write(cargo: &Cargo, root: &str, libraries: Option<&str>, to: &Path) -> Result<()> {
    let tool = tool(cargo)?;
    let folder = cargo.workspace_folder()?;
    let mut command = Command::new(tool);
    command.current_dir(&folder).args(["cyclonedx", "--format", "json", "--spec-version", "1.5"]);
    command.arg("--no-build-deps");
    let target = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    command.args(["--target", &target, "--override-filename", NAME]);
    let written = finish(command);
    let mut list = None;
    // It writes a list for each member of the workspace.
    for member in members(cargo)? {
        let path = member.join(format!("{NAME}.json"));
        if member.ends_with(Path::new("crates").join(root)) {
            list = fs::read_to_string(&path).ok();
        }
        if path.exists() {
            fs::remove_file(&path).with_context(|| format!("remove {}", path.display()))?;
        }
    }
    written?;
    let list = list.with_context(|| format!("cargo-cyclonedx wrote no list of {root}"))?;
    // Where it was made is nobody's matter, and when and as which run would differ each time.
    let list = list.replace(&format!("file://{}", folder.display()), "file://");
    let mut list: Value = serde_json::from_str(&list).context("the list of cargo-cyclonedx")?;
    list.as_object_mut().context("no object")?.remove("serialNumber");
    list["metadata"].as_object_mut().context("no metadata")?.remove("timestamp");
    if let Some(architecture) = libraries {
        add_libraries(&mut list, architecture)?;
    }
    complete(cargo, root, &list)?;
    fs::write(to, format!("{list:#}\n")).with_context(|| format!("write {}", to.display()))
}

fn add_libraries(list: &mut Value, architecture: &str) -> Result<()> {
    let components = list["components"].as_array_mut().context("a list without components")?;
    for package in licences::DEBIAN {
        let (version, _) = licences::version(package)?;
        let purl = format!("pkg:deb/debian/{package}@{version}?arch={architecture}");
        components.push(json!({
            "type": "library", "bom-ref": purl, "name": package, "version": version, "purl": purl,
        }));
    }
    Ok(())
}

/// Every crate that is linked is in the list.
fn complete(cargo: &Cargo, root: &str, list: &Value) -> Result<()> {
    ensure!(list["bomFormat"] == "CycloneDX", "not a list of CycloneDX");
    let components = list["components"].as_array().context("a list without components")?;
    for one in licences::linked(&cargo.metadata()?, root)? {
        let is_it = |component: &Value| {
            component["name"] == one.name.as_str() && component["version"] == one.version.as_str()
        };
        ensure!(components.iter().any(is_it), "{} {} is missing", one.name, one.version);
    }
    Ok(())
}

fn members(cargo: &Cargo) -> Result<Vec<PathBuf>> {
    let members = cargo.members()?;
    let packages = members["packages"].as_array().context("no packages")?;
    let manifests = packages.iter().filter_map(|package| package["manifest_path"].as_str());
    Ok(manifests.filter_map(|path| Path::new(path).parent().map(Path::to_owned)).collect())
}

fn tool(cargo: &Cargo) -> Result<PathBuf> {
    let root = cargo.target_folder()?.join("tools");
    let tool = root.join("bin/cargo-cyclonedx");
    if !tool.exists() {
        let root = root.display().to_string();
        cargo.run([
            "install",
            "cargo-cyclonedx",
            "--version",
            VERSION,
            "--locked",
            "--root",
            &root,
        ])?;
    }
    Ok(tool)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_added_and_a_missing_crate_is_noticed() -> Result<()> {
        let mut list = json!({"bomFormat": "CycloneDX", "components": []});
        add_libraries(&mut list, "amd64")?;
        let names: Vec<_> = list["components"].as_array().into_iter().flatten().collect();
        assert_eq!(names.len(), licences::DEBIAN.len());
        let purl = names[0]["purl"].as_str().context("no purl")?;
        assert!(purl.starts_with("pkg:deb/debian/libnftnl11@"), "{purl}");
        let missing = complete(&Cargo::locked(), "agent", &list).err().context("it is complete")?;
        assert!(missing.to_string().ends_with("is missing"), "{missing}");
        Ok(())
    }
}
