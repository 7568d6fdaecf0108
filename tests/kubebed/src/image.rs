//! Makes container images from scratch, without a container engine.
//!
//! The result is a tar file. It is an OCI image layout (image-spec v1.1,
//! image-layout.md) and also has the `manifest.json` of `docker load`. So `ctr
//! images import`, `docker load`, `podman load` and `skopeo` read it.
//! Never: anything in the image but the program, the loader and the libraries that
//! it loads, and the text of the licences. Never: a time, an owner or an order that differs between two runs. The
//! same program gives the same digest.

mod archive;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::rootfs;
use archive::Archive;

/// Media types (image-spec v1.1, media-types.md).
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// The registry of images whose name has none
/// (pkg.go.dev/github.com/distribution/reference, "ParseNormalizedNamed").
const DEFAULT_REGISTRY: &str = "docker.io/library";

/// Where the licences of all that is in the image are.
pub const LICENCES: &str = "/usr/share/doc/nftpol/LICENCES.txt";

/// Where the CNI plugin is in the image.
pub const PLUGIN: &str = "/usr/local/bin/nftpol-cni";

/// The content of an image.
#[derive(Clone, Debug)]
pub struct Image {
    name: String,
    entrypoint: Vec<String>,
    command: Vec<String>,
    /// Absolute paths in the image, and the files on this machine.
    files: BTreeMap<String, PathBuf>,
}

/// Paths and their sizes in bytes.
pub type Sizes = Vec<(String, u64)>;

/// A written image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The digest of its manifest: `sha256:...`.
    pub digest: String,
    /// The files in it with their sizes in bytes.
    pub files: Sizes,
    /// The size of its one layer in bytes, uncompressed.
    pub layer: u64,
}

impl Image {
    /// An image with this name (`nftpol:0.1.0`) that runs this program at the path
    /// `inside`. It contains the libraries of the program where the loader finds
    /// them.
    ///
    /// # Errors
    /// When one of the program's libraries is missing.
    pub fn of(name: &str, program: &Path, inside: &str) -> Result<Self> {
        ensure!(name.contains(':'), "the image name {name} has no tag");
        let libraries = rootfs::libraries(program)?.into_iter();
        let mut files: BTreeMap<String, PathBuf> =
            libraries.map(|path| (path.display().to_string(), path)).collect();
        files.insert(inside.to_owned(), program.to_owned());
        let entrypoint = vec![inside.to_owned()];
        Ok(Self { name: name.to_owned(), entrypoint, command: Vec::new(), files })
    }

    /// The image of the built `nftpol`, with the name that `manifests/` use.
    ///
    /// # Errors
    /// As [`Image::of`].
    pub fn nftpol(program: &Path) -> Result<Self> {
        let name = concat!("nftpol:", env!("CARGO_PKG_VERSION"));
        Self::of(name, program, rootfs::PROGRAM)
    }

    /// The same image, with the CNI plugin, which runs on nodes. A released one is static.
    #[must_use]
    pub fn plugin(mut self, plugin: &Path) -> Self {
        self.files.insert(PLUGIN.to_owned(), plugin.to_owned());
        self
    }

    /// The same image, with these arguments for pods that give none.
    #[must_use]
    pub fn command(mut self, arguments: &[&str]) -> Self {
        self.command = arguments.iter().map(|&word| word.to_owned()).collect();
        self
    }

    /// The same image, with the text of the licences of all that is in it.
    #[must_use]
    pub fn licences(mut self, text: &Path) -> Self {
        self.files.insert(LICENCES.to_owned(), text.to_owned());
        self
    }

    /// The name including its registry, as container runtimes store it.
    pub fn full_name(&self) -> String {
        // The first part is a registry if it has a dot or a port.
        match self.name.split_once('/') {
            Some((first, _)) if first.contains(['.', ':']) => self.name.clone(),
            _ => format!("{DEFAULT_REGISTRY}/{}", self.name),
        }
    }

    /// Writes the tar file.
    ///
    /// # Errors
    /// When a file cannot be read or the tar file cannot be written.
    pub fn write(&self, to: &Path) -> Result<Written> {
        let (layer, files) = self.layer()?;
        let architecture = architecture()?;
        let config = json!({
            "architecture": architecture,
            "os": "linux",
            "config": {
                "Entrypoint": self.entrypoint, "Cmd": self.command, "WorkingDir": "/",
                // image-spec v1.1, annotations.md, "Pre-Defined Annotation Keys".
                "Labels": self.labels(),
            },
            "rootfs": {"type": "layers", "diff_ids": [digest(&layer)]},
        });
        let config = config.to_string().into_bytes();
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": descriptor(CONFIG, &config),
            "layers": [descriptor(LAYER, &layer)],
        });
        let manifest = manifest.to_string().into_bytes();
        let index = self.index(&manifest, architecture);
        let docker = json!([{
            "Config": blob(&config),
            "RepoTags": [self.name],
            "Layers": [blob(&layer)],
        }]);
        let out = File::create(to).with_context(|| format!("make {}", to.display()))?;
        let mut archive = Archive::new(BufWriter::new(out));
        archive.file("oci-layout", 0o644, br#"{"imageLayoutVersion":"1.0.0"}"#)?;
        archive.file("index.json", 0o644, index.to_string().as_bytes())?;
        archive.file("manifest.json", 0o644, docker.to_string().as_bytes())?;
        for content in [&manifest, &config, &layer] {
            archive.file(&blob(content), 0o644, content)?;
        }
        archive.finish()?.flush().with_context(|| format!("write {}", to.display()))?;
        Ok(Written { digest: digest(&manifest), files, layer: layer.len() as u64 })
    }

    fn labels(&self) -> Value {
        let (title, version) = self.name.rsplit_once(':').unwrap_or((&self.name, ""));
        let mut labels = json!({
            "org.opencontainers.image.title": title,
            "org.opencontainers.image.version": version,
        });
        if self.files.contains_key(LICENCES) {
            // By libnftnl; the text in the image has all.
            labels["org.opencontainers.image.licenses"] = "GPL-2.0-or-later".into();
        }
        labels
    }

    /// The one layer, and its content.
    fn layer(&self) -> Result<(Vec<u8>, Sizes)> {
        let mut archive = Archive::new(Vec::new());
        let mut listed = Sizes::new();
        for (inside, path) in &self.files {
            let content = fs::read(path).with_context(|| format!("read {}", path.display()))?;
            archive.folders_to(inside.trim_start_matches('/'))?;
            let mode = if inside == LICENCES { 0o644 } else { 0o755 };
            archive.file(inside.trim_start_matches('/'), mode, &content)?;
            listed.push((inside.clone(), content.len() as u64));
        }
        Ok((archive.finish()?, listed))
    }

    fn index(&self, manifest: &[u8], architecture: &str) -> Value {
        let mut entry = descriptor(MANIFEST, manifest);
        entry["platform"] = json!({"architecture": architecture, "os": "linux"});
        entry["annotations"] = json!({
            // containerd uses this one unchanged (images/annotations.go). The other
            // is from the specification.
            "io.containerd.image.name": self.full_name(),
            "org.opencontainers.image.ref.name": self.name.rsplit(':').next(),
        });
        json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry]})
    }
}

fn descriptor(media: &str, content: &[u8]) -> Value {
    json!({"mediaType": media, "digest": digest(content), "size": content.len()})
}

fn blob(content: &[u8]) -> String {
    format!("blobs/{}", digest(content).replace(':', "/"))
}

fn digest(content: &[u8]) -> String {
    format!("sha256:{:x}", Sha256::digest(content))
}

/// This machine's architecture by Go's name.
fn architecture() -> Result<&'static str> {
    match std::env::consts::ARCH {
        "x86_64" => Ok("amd64"),
        "aarch64" => Ok("arm64"),
        other => bail!("no image architecture name is known for {other}"),
    }
}
