//! Reading files and folders.

use std::fs;
use std::path::{Path, PathBuf};

use watcher::files::{ReadError, Source, Validation, read};

/// A temporary folder for a test, removed at the end of the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("watcher-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).expect("temporary folder");
        Self(path)
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().unwrap_or(Path::new("/"))).expect("folder");
        fs::write(&path, text).expect("file");
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn namespace(name: &str) -> String {
    format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}}}\n")
}

fn names(sources: &[&Path]) -> Result<String, ReadError> {
    let sources: Vec<Source> =
        sources.iter().map(|path| Source::Path((*path).to_owned())).collect();
    let loaded = read(&sources, Validation::Strict)?;
    let names: Vec<String> = loaded.objects.iter().map(|one| one.key().name).collect();
    let findings: String = loaded.findings.iter().map(|one| format!(" !{}", one.message)).collect();
    Ok(names.join(" ") + &findings)
}

#[test]
fn folders() {
    let folder = Folder::new("folders");
    folder.write("b.yaml", namespace("b"));
    folder.write("a.yml", namespace("a"));
    folder.write("c/d.json", r#"{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"d"}}"#);
    folder.write("README.md", "# no manifest");
    folder.write(".hidden.yaml", namespace("hidden"));
    // A mounted ConfigMap: its files are links into a hidden folder.
    folder.write("..2026_01_01/e.yaml", namespace("e"));
    std::os::unix::fs::symlink("..2026_01_01", folder.0.join("..data")).unwrap();
    std::os::unix::fs::symlink("..data/e.yaml", folder.0.join("e.yaml")).unwrap();
    // A circular link.
    std::os::unix::fs::symlink("..", folder.0.join("c/up")).unwrap();
    assert_eq!(names(&[&folder.0]).unwrap(), "a b d e");
    let again = folder.0.join("b.yaml");
    assert_eq!(names(&[&again, &folder.0, &again]).unwrap(), "b a d e");
}

#[test]
fn what_cannot_be_read() {
    let folder = Folder::new("unreadable");
    let error = |sources: &[&Path]| {
        let text = names(sources).unwrap_err().to_string();
        text.replace(&*folder.0.to_string_lossy(), "F")
    };
    assert_eq!(error(&[&folder.0]), "no *.yaml, *.yml or *.json in folder F");
    assert_eq!(error(&[&folder.0.join("x.yaml")]), "cannot read F/x.yaml");
    let empty = folder.write("empty.yaml", "# nothing\n---\n");
    assert_eq!(error(&[&empty]), "no objects in F/empty.yaml");
    std::os::unix::fs::symlink("nowhere", folder.0.join("z.yaml")).unwrap();
    assert_eq!(error(&[&folder.0]), "cannot read F/z.yaml");
}

#[test]
fn a_bad_file_loses_no_other() {
    let folder = Folder::new("bad");
    folder.write("a.yaml", namespace("a"));
    folder.write("b.yaml", b"kind: \xff\n");
    folder.write("c.yaml", namespace("c"));
    folder.write("d.yaml", b"\xff\xfek\0");
    assert_eq!(
        names(&[&folder.0]).unwrap(),
        "a c !is not UTF-8 text (byte 0xff) !is UTF-16 text; save it as UTF-8"
    );
}
