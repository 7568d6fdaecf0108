//! Runs the program.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::Value;

/// The fixtures: `cluster.yaml`, and a policy with a mistake in each other file.
pub fn fixtures() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/checks")
}

/// Runs `check` in a folder.
pub fn check(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kubectl-nftpol"));
    command.arg("check").args(arguments).current_dir(folder).env("KUBECONFIG", "/dev/null");
    command.output().expect("the program runs")
}

pub fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("UTF-8")
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("UTF-8")
}

/// The findings of `-o json`.
pub fn findings(folder: &Path, files: &[&str]) -> Vec<Value> {
    let mut arguments = vec!["-o", "json"];
    arguments.extend(files.iter().flat_map(|file| ["-f", file]));
    let output = check(folder, &arguments);
    let parsed: Value = serde_json::from_str(&stdout(&output)).unwrap_or_default();
    assert!(parsed.is_object(), "{}", stderr(&output));
    parsed["findings"].as_array().expect("a list").clone()
}

/// A folder that goes when it is dropped.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path =
            std::env::temp_dir().join(format!("nftpol-check-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a folder");
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn write(&self, name: &str, text: &str) {
        std::fs::write(self.0.join(name), text).expect("a file");
    }

    pub fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.0.join(name)).expect("a file")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
